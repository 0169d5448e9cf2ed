/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* A packet goes whole or not at all, so there is nothing to continue. */
#include "base/packet.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

int packet_send(int socket, const void *bytes, size_t n_bytes, int fd, int flags)
{
	char room[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec iov = {(void *)bytes, n_bytes};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fd >= 0) {
		struct cmsghdr *c;

		m.msg_control = room;
		m.msg_controllen = sizeof(room);
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	while (sendmsg(socket, &m, flags | MSG_NOSIGNAL) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}
