/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
#include "main/member.h"

#include "base/fault.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PIECE = 512 << 10 };

void members_init(struct members *m, const struct samples *samples)
{
	*m = (struct members){.samples = samples, .fd = -1, .unit = UINT32_MAX};
}

void members_deinit(struct members *m)
{
	if (m->fd >= 0)
		close(m->fd);
	m->inflate = inflate_free(m->inflate);
	free(m->bytes);
	free(m->raw);
	members_init(m, m->samples);
}

static int make_room(char **bytes, size_t *room, size_t n)
{
	if (n <= *room)
		return 0;
	free(*bytes);
	*bytes = malloc(n);
	*room = *bytes ? n : 0;
	return *bytes ? 0 : fail(-ENOMEM);
}

static int unreadable(const struct members *m, const char *what, struct reason *why)
{
	reason_set(why, "%.300s: %.200s", m->samples->shards[m->shard].path, what);
	return MEMBER_E_UNREADABLE;
}

static int open_shard(struct members *m, uint32_t shard, struct reason *why)
{
	if (m->fd >= 0 && m->shard == shard)
		return 0;
	if (m->fd >= 0)
		close(m->fd);
	m->shard = shard;
	m->fd = open(m->samples->shards[shard].path, O_RDONLY | O_CLOEXEC);
	return m->fd >= 0 ? 0 : unreadable(m, strerror(errno), why);
}

/* *ret_n of the n bytes are there. 0 or MEMBER_E_UNREADABLE. */
static int read_at(struct members *m, char *into, size_t n, uint64_t offset, size_t *ret_n, struct reason *why)
{
	int64_t got = file_read_at(m->fd, into, n, offset);

	if (got < 0)
		return unreadable(m, strerror((int)-got), why);
	*ret_n = (size_t)got;
	return 0;
}

static int inflate_unit(struct members *m, uint32_t unit, struct reason *why)
{
	const struct sample_unit *u = &m->samples->units[unit];
	struct reason what = {{0}};
	int r = m->inflate ? 0 : inflate_new(&m->inflate);

	m->unit = UINT32_MAX;
	if (r == 0)
		r = make_room(&m->raw, &m->n_raw, u->n_raw);
	if (r == 0)
		r = make_room(&m->bytes, &m->n_bytes, PIECE);
	if (r < 0)
		return pass(r);
	inflate_begin(m->inflate, m->samples->shards[m->shard].packing, u, &m->samples->frames[u->first_frame], m->raw);
	for (uint64_t at = 0; at < u->n_bytes;) {
		size_t n = u->n_bytes - at < PIECE ? (size_t)(u->n_bytes - at) : PIECE;

		r = read_at(m, m->bytes, n, u->offset + at, &n, why);
		if (r == 0 && n == 0)
			r = unreadable(m, "the shard is not the one that was indexed", why);
		if (r)
			return r;
		if (inflate_feed(m->inflate, m->bytes, n, &what))
			return unreadable(m, what.text, why);
		at += n;
	}
	if (inflate_end(m->inflate, &what))
		return unreadable(m, what.text, why);
	m->unit = unit;
	return 0;
}

/* The bytes from start on, of the shard or of what it inflates to. */
static int find_bytes(struct members *m, uint64_t start, size_t n, const char **ret, size_t *ret_n, struct reason *why)
{
	const struct sample_shard *shard = &m->samples->shards[m->shard];
	uint32_t unit;
	int r;

	if (shard->packing == PACKING_NONE) {
		r = make_room(&m->bytes, &m->n_bytes, n);
		*ret = m->bytes;
		return r ? r : read_at(m, m->bytes, n, start, ret_n, why);
	}
	*ret_n = start + n < shard->raw_size ? n : (size_t)(shard->raw_size - start);
	unit = samples_unit(m->samples, m->shard, start, start + *ret_n);
	r = m->unit == unit ? 0 : inflate_unit(m, unit, why);
	if (r == 0)
		*ret = m->raw + (start - m->samples->units[m->unit].raw_offset);
	return r;
}

int members_read(struct members *m, uint32_t shard, uint64_t sample, unsigned field, const char **ret, size_t *ret_n,
		 struct reason *why)
{
	const struct sample_place *place = samples_place(m->samples, sample, field);
	size_t n = m->samples->shards[shard].header_bytes + place->size, got;
	const char *bytes;
	int r;

	if (place->header_block >= SAMPLE_REPEATED)
		return MEMBER_E_ABSENT;
	r = open_shard(m, shard, why);
	if (r == 0)
		r = find_bytes(m, (uint64_t)place->header_block * 512, n, &bytes, &got, why);
	if (r)
		return r < 0 ? pass(r) : r;
	if (tar_header_read(bytes, got, &m->header, why) || m->header.size != place->size ||
	    m->header.payload_at + m->header.size > got)
		return unreadable(m, "the shard is not the one that was indexed", why);
	*ret = bytes + m->header.payload_at;
	*ret_n = (size_t)m->header.size;
	return 0;
}
