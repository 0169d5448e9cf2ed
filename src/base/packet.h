/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * One packet over a SOCK_SEQPACKET socket, with at most one descriptor beside it (SCM_RIGHTS).
 *
 * Threads: any.
 */
#ifndef BASE_PACKET_H
#define BASE_PACKET_H

#include <stddef.h>

/* fd: goes along, and stays the caller's; -1: none. flags: of sendmsg; MSG_NOSIGNAL is always on. 0, or
 * -errno (not marked as a fault: a peer that is gone or slow is an outcome). */
int packet_send(int socket, const void *bytes, size_t n_bytes, int fd, int flags);

#endif
