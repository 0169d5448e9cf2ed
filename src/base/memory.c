/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Touch first, collapse second: MADV_COLLAPSE gathers pages that are there, also with
 * shmem_enabled=never. Seals: nobody can make the file shorter and so make a mapping fault. */
#include "base/memory.h"

#include "base/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8U
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x10
#endif

enum { HUGE = 2 << 20, PAGE = 4096 };

void *memory_map(int fd, size_t n_bytes, int protection)
{
	char *room, *at;
	size_t n = (n_bytes + PAGE - 1) & ~(size_t)(PAGE - 1);

	/* Reserve room for any alignment, map at the boundary inside, give the ends back. */
	room = mmap(NULL, n + HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (room == MAP_FAILED)
		return NULL;
	at = (char *)(((uintptr_t)room + HUGE - 1) & ~(uintptr_t)(HUGE - 1));
	if (mmap(at, n, protection, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
		int saved = errno;

		munmap(room, n + HUGE);
		errno = saved;
		return NULL;
	}
	if (at > room)
		munmap(room, (size_t)(at - room));
	if (at < room + HUGE)
		munmap(at + n, (size_t)(room + HUGE - at));
	return at;
}

static int touch(struct memory *m)
{
	if (madvise(m->base, m->n_bytes, MADV_POPULATE_WRITE) < 0) {
		if (errno != EINVAL)
			return fail(-errno);
		for (size_t i = 0; i < m->n_bytes; i += PAGE) /* before Linux 5.14 */
			((volatile char *)m->base)[i] = 0;
	}
	m->is_huge = m->n_bytes >= HUGE &&
		     madvise(m->base, m->n_bytes & ~(size_t)(HUGE - 1), MADV_COLLAPSE) == 0;
	return 0;
}

int memory_new(const char *name, size_t n_bytes, struct memory *ret)
{
	struct memory m = {.fd = -1, .n_bytes = (n_bytes + PAGE - 1) & ~(size_t)(PAGE - 1)};
	const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int r;

	m.fd = memfd_create(name, flags | MFD_NOEXEC_SEAL);
	if (m.fd < 0 && errno == EINVAL)
		m.fd = memfd_create(name, flags);
	if (m.fd < 0)
		return fail(-errno);
	if (ftruncate(m.fd, (off_t)m.n_bytes) < 0 ||
	    fcntl(m.fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0) {
		r = fail(-errno);
		goto out;
	}
	m.base = memory_map(m.fd, m.n_bytes, PROT_READ | PROT_WRITE);
	if (!m.base) {
		r = fail(-errno);
		goto out;
	}
	r = touch(&m);
	if (r < 0)
		goto out;
	*ret = m;
	return 0;
out:
	memory_deinit(&m);
	return r;
}

int memory_seal(struct memory *m)
{
	return fcntl(m->fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) < 0 ? fail(-errno) : 0;
}

bool memory_is_sealed(int fd)
{
	const int seals = fcntl(fd, F_GET_SEALS);

	return seals >= 0 && seals & (F_SEAL_FUTURE_WRITE | F_SEAL_WRITE);
}

void memory_deinit(struct memory *m)
{
	if (m->base)
		munmap(m->base, m->n_bytes);
	if (m->fd >= 0)
		close(m->fd);
	*m = (struct memory){.fd = -1};
}

size_t memory_resident(int fd)
{
	struct stat st;

	return fstat(fd, &st) < 0 ? 0 : (size_t)st.st_blocks * 512;
}
