/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * libzstd's own look at a frame's checksum is turned off: one pass of XXH64 serves it and the seek table, and
 * a mismatch can be told with both values. What a frame's checksum expects are the last four bytes taken.
 */
#define ZSTD_STATIC_LINKING_ONLY
#include "shard/frame.h"

#include "base/fault.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

enum {
	WINDOW_LOG_MAX = 27,
	HAS_CHECKSUM = 4, /* in a zstd frame's descriptor, its fifth byte */
	DESCRIPTOR_AT = 4,
	STRETCH = 1 << 30, /* zlib counts in 32 bits */
	GZIP_WINDOW = 15 + 16,
};

static void *gzip_alloc(void *opaque, unsigned n, unsigned size)
{
	struct decoder *d = opaque;
	size_t n_words = ((size_t)n * size + 7) / 8;
	void *at = d->gzip_room + d->n_gzip_room;

	if (n_words > DECODER_GZIP_ROOM / 8 - d->n_gzip_room)
		return NULL;
	d->n_gzip_room += n_words;
	return at;
}

static void gzip_free(void *opaque, void *at)
{
}

static int init_zstd(struct decoder *d, bool is_whole)
{
	size_t n = ZSTD_estimateDCtxSize() + ZSTD_BLOCKSIZE_MAX + 64, r;

	if (is_whole) {
		d->workspace = aligned_alloc(64, (n + 63) / 64 * 64);
		d->zstd = d->workspace ? ZSTD_initStaticDCtx(d->workspace, n) : NULL;
	} else {
		d->zstd = ZSTD_createDCtx();
	}
	if (!d->zstd)
		return fail(-ENOMEM);
	r = ZSTD_DCtx_setParameter(d->zstd, ZSTD_d_forceIgnoreChecksum, ZSTD_d_ignoreChecksum);
	if (!ZSTD_isError(r))
		r = ZSTD_DCtx_setParameter(d->zstd, ZSTD_d_windowLogMax, WINDOW_LOG_MAX);
	if (!ZSTD_isError(r) && is_whole)
		r = ZSTD_DCtx_setParameter(d->zstd, ZSTD_d_stableOutBuffer, 1);
	return ZSTD_isError(r) ? fail(-EINVAL) : 0;
}

int decoder_init(struct decoder *d, bool is_whole)
{
	int r;

	*d = (struct decoder){.gzip = {.zalloc = gzip_alloc, .zfree = gzip_free, .opaque = d}};
	r = init_zstd(d, is_whole);
	d->gzip_room = malloc(DECODER_GZIP_ROOM);
	if (r == 0)
		r = d->gzip_room && inflateInit2(&d->gzip, GZIP_WINDOW) == Z_OK ? 0 : fail(-ENOMEM);
	if (r < 0) {
		decoder_deinit(d);
		return pass(r);
	}
	d->has_gzip = true;
	return 0;
}

void decoder_deinit(struct decoder *d)
{
	if (d->has_gzip)
		inflateEnd(&d->gzip);
	if (d->workspace)
		free(d->workspace);
	else
		ZSTD_freeDCtx(d->zstd);
	free(d->gzip_room);
	*d = (struct decoder){.packing = PACKING_NONE};
}

void decoder_begin(struct decoder *d, enum packing packing, void *into, uint64_t n_raw, bool is_hashed)
{
	d->packing = packing;
	d->into = into;
	d->room = n_raw;
	d->n_in = d->n_raw = 0;
	d->descriptor = 0;
	d->is_hashed = is_hashed;
	XXH64_reset(&d->hash, 0);
	if (packing == PACKING_ZSTD)
		ZSTD_DCtx_reset(d->zstd, ZSTD_reset_session_only);
	else
		inflateReset(&d->gzip);
}

static void note_taken(struct decoder *d, const uint8_t *bytes, size_t n)
{
	if (d->n_in <= DESCRIPTOR_AT && DESCRIPTOR_AT < d->n_in + n)
		d->descriptor = bytes[DESCRIPTOR_AT - d->n_in];
	d->n_in += n;
	for (size_t i = n > sizeof(d->tail) ? n - sizeof(d->tail) : 0; i < n; i++) {
		memmove(d->tail, d->tail + 1, sizeof(d->tail) - 1);
		d->tail[sizeof(d->tail) - 1] = bytes[i];
	}
}

static uint32_t stored(const struct decoder *d)
{
	return (uint32_t)d->tail[0] | (uint32_t)d->tail[1] << 8 | (uint32_t)d->tail[2] << 16 | (uint32_t)d->tail[3] << 24;
}

/* What the steps of both libraries say. */
struct outcome {
	size_t n_taken, n_made;
	bool is_over;
	const char *error; /* what the library says, or NULL */
};

static struct outcome step_zstd(struct decoder *d, const struct decoder_io *io)
{
	ZSTD_inBuffer in = {io->in, io->n_in, 0};
	ZSTD_outBuffer out = {io->out, io->n_out, 0};
	size_t left;

	if (d->into) /* the same place at every step */
		out = (ZSTD_outBuffer){d->into, d->room, d->n_raw};
	left = ZSTD_decompressStream(d->zstd, &out, &in);
	return (struct outcome){.n_taken = in.pos, .n_made = out.pos - (d->into ? d->n_raw : 0), .is_over = left == 0,
				.error = ZSTD_isError(left) ? ZSTD_getErrorName(left) : NULL};
}

static struct outcome step_gzip(struct decoder *d, const struct decoder_io *io)
{
	uint64_t n_out = d->into ? d->room - d->n_raw : io->n_out;
	unsigned n_in = io->n_in < STRETCH ? (unsigned)io->n_in : STRETCH, room = n_out < STRETCH ? (unsigned)n_out : STRETCH;
	struct outcome o = {0};
	int r;

	d->gzip.next_in = (uint8_t *)io->in; /* zlib only reads it */
	d->gzip.avail_in = n_in;
	d->gzip.next_out = d->into ? d->into + d->n_raw : io->out;
	d->gzip.avail_out = room;
	r = inflate(&d->gzip, Z_NO_FLUSH);
	o.n_taken = n_in - d->gzip.avail_in;
	o.n_made = room - d->gzip.avail_out;
	o.is_over = r == Z_STREAM_END;
	if (r != Z_OK && r != Z_STREAM_END && r != Z_BUF_ERROR)
		o.error = d->gzip.msg ? d->gzip.msg : "damaged";
	return o;
}

static int tell_error(const struct decoder *d, const char *error, struct reason *why)
{
	if (d->packing == PACKING_GZIP && strcmp(error, "incorrect data check") == 0)
		reason_set(why, "CRC-32 is %08lx, the gzip member says %08x", d->gzip.adler, stored(d));
	else if (d->packing == PACKING_GZIP && strcmp(error, "incorrect length check") == 0)
		reason_set(why, "%llu bytes, the gzip member says %u (modulo 4 GiB)", (unsigned long long)d->n_raw, stored(d));
	else
		reason_set(why, "%s says '%s'", d->packing == PACKING_GZIP ? "zlib" : "libzstd", error);
	return DECODER_E_DAMAGED;
}

static int check_end(const struct decoder *d, struct reason *why)
{
	if (d->packing != PACKING_ZSTD || !(d->descriptor & HAS_CHECKSUM) || decoder_hash(d) == stored(d))
		return 0;
	reason_set(why, "XXH64 ends with %08x, the zstd frame says %08x", decoder_hash(d), stored(d));
	return DECODER_E_DAMAGED;
}

int decoder_run(struct decoder *d, struct decoder_io *io, bool *ret_is_over, struct reason *why)
{
	*ret_is_over = false;
	for (;;) {
		struct outcome o = d->packing == PACKING_ZSTD ? step_zstd(d, io) : step_gzip(d, io);
		const uint8_t *made = d->into ? d->into + d->n_raw : io->out;

		note_taken(d, io->in, o.n_taken);
		d->n_raw += o.n_made;
		if (d->packing == PACKING_ZSTD && (d->is_hashed || (d->descriptor & HAS_CHECKSUM)))
			XXH64_update(&d->hash, made, o.n_made);
		io->in += o.n_taken;
		io->n_in -= o.n_taken;
		if (!d->into) {
			io->out += o.n_made;
			io->n_out -= o.n_made;
		}
		if (o.error)
			return tell_error(d, o.error, why);
		if (o.is_over) {
			*ret_is_over = true;
			return check_end(d, why);
		}
		if (d->into ? io->n_in == 0 || (o.n_taken == 0 && o.n_made == 0)
			    : io->n_out == 0 || io->n_in == 0)
			return 0; /* more bytes or more room are needed */
	}
}

uint32_t decoder_hash(const struct decoder *d)
{
	return (uint32_t)XXH64_digest(&d->hash);
}
