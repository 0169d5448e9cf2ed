/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The slots' memory in this process: mapped at attach, pinned if that was asked for, and unpinned and unmapped
 * when neither the session nor a loan refers to it any more.
 *
 * A rank's own slots are writable here. Those that others read, too, are not, but for the moment that pinning wants
 * them so. All slots are pinned or none, so that what
 * rf_session_pinned() says is true of every batch.
 */
#include "client/session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/memory.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

struct map *map_open(int fd, uint64_t n_bytes, bool is_writable, const char **ret_fault)
{
	struct map *map = calloc(1, sizeof(*map));
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	*ret_fault = NULL;
	if (!map || fstat(fd, &st) < 0)
		goto out;
	if (!S_ISREG(st.st_mode) || st.st_size < 0 || (uint64_t)st.st_size < n_bytes || n_bytes == 0) {
		*ret_fault = "SLOT with a memory file that is too small";
		goto out;
	}
	if (seals < 0 || !(seals & F_SEAL_SHRINK)) {
		*ret_fault = "SLOT with a memory file that could shrink";
		goto out;
	}
	map->is_sealed = memory_is_sealed(fd);
	/* memory_map rounds up to whole pages, and so does the file's last one. */
	map->n_bytes = ((size_t)n_bytes + 4095) & ~(size_t)4095;
	map->base = memory_map(fd, map->n_bytes, is_writable && !map->is_sealed ? PROT_READ | PROT_WRITE : PROT_READ);
	if (!map->base)
		goto out;
	map->n_refs = 1;
	close(fd);
	return map;
out:
	seals = errno;
	free(map);
	close(fd);
	errno = seals;
	return NULL;
}

void map_put(struct map *map)
{
	if (!map || --map->n_refs > 0)
		return;
	if (map->pin)
		pin_unregister(map->pin, map->base, map->n_bytes);
	pin_unref(map->pin);
	munmap(map->base, map->n_bytes);
	free(map);
}

void session_unmap(struct rf_session *s)
{
	if (s->shared.is_pinned)
		reason_set(&s->shared.not_pinned, "the daemon is gone, and no slots are mapped");
	s->shared.is_pinned = false;
	for (unsigned i = 0; i < SLOTS_MAX && s->shared.maps[i]; i++) {
		map_put(s->shared.maps[i]);
		s->shared.maps[i] = NULL;
	}
}

/* The driver would fault each page in under its locks. */
static void prefault(const struct map *map)
{
	if (madvise(map->base, map->n_bytes, MADV_POPULATE_WRITE) == 0)
		return;
	for (size_t i = 0; i < map->n_bytes; i += 4096) /* before Linux 5.14 */
		(void)((volatile char *)map->base)[i];
}

static int pin_maps(struct map **maps, unsigned n, struct reason *why)
{
	struct reason because;
	struct pin *pin = NULL;
	unsigned i = 0;
	int r = pin_open(&pin, why);

	if (r < 0)
		reason_set(why, "%s", strerror(-r));
	while (r == 0 && i < n) {
		prefault(maps[i]);
		r = pin_register(pin, maps[i]->base, maps[i]->n_bytes, &because);
		if (r == 0)
			maps[i++]->pin = pin_ref(pin);
		else
			reason_set(why, "slot %u of %u, %zu bytes: %s", i + 1, n, maps[i]->n_bytes, because.text);
	}
	while (r != 0 && i-- > 0) {
		pin_unregister(pin, maps[i]->base, maps[i]->n_bytes);
		maps[i]->pin = pin_unref(pin);
	}
	pin_unref(pin);
	return r;
}

void session_pin(struct rf_session *s)
{
	struct reason why = {"pinning was not asked for"};
	bool is_pinned = false;

	if (s->is_pin_wanted && s->shared.maps[0]->is_sealed)
		reason_set(&why, "daemon.sealed is true: CUDA pins only memory that may be mapped for writing");
	else if (s->is_pin_wanted)
		is_pinned = pin_maps(s->shared.maps, s->incoming.n_slots, &why) == 0;

	pthread_mutex_lock(&s->shared.lock);
	s->shared.is_pinned = is_pinned;
	if (!is_pinned)
		s->shared.not_pinned = why;
	pthread_mutex_unlock(&s->shared.lock);
}

int session_protect(struct rf_session *s)
{
	if (!s->incoming.is_shared || !s->is_pin_wanted)
		return 0; /* they are as they should be */
	for (unsigned i = 0; i < s->incoming.n_slots; i++)
		if (mprotect(s->shared.maps[i]->base, s->shared.maps[i]->n_bytes, PROT_READ) < 0)
			return fail(-errno);
	return 0;
}
