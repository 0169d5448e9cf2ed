/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Between frames the first bytes of the next thing are collected until they say what it is. The seek table comes
 * last, when all frames are known, so room for it follows from their number and not from what it claims.
 */
#include "shard/unpack.h"

#include "base/fault.h"
#include "shard/frame.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	N_MAGIC = 4,
	N_SKIPPABLE = 8, /* magic and length of a skippable frame */
	N_FOOTER = 9,
	N_ENTRY = 8, /* of a table without checksums */
	N_ENTRY_CHECKED = 12,
};

#define MAGIC_TABLE 0x184d2a5eu
#define MAGIC_FOOTER 0x8f92eab1u

enum state { BETWEEN, IN_FRAME, IN_SKIPPABLE, IN_TABLE, IN_PADDING };

struct unpack {
	char *path;
	enum packing packing;
	uint64_t file_size, at; /* of the file, the next byte */
	enum state state;
	struct decoder decoder;
	bool has_decoder;
	uint64_t raw_size, began; /* began: where the thing in hand did */
	uint8_t head[N_SKIPPABLE];
	unsigned n_head;
	uint64_t n_left; /* of a skippable frame */

	uint8_t footer[N_FOOTER]; /* the last bytes of a skippable frame that may be a table */
	uint8_t *table;		  /* NULL: its length is no table's of these frames */
	uint64_t table_at, n_table;

	struct shard_frame *frames; /* empty ones too: a table names them */
	uint64_t n_frames, frames_allocated;
};

static int refuse(const struct unpack *u, uint64_t offset, struct reason *why, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

static int refuse(const struct unpack *u, uint64_t offset, struct reason *why, const char *format, ...)
{
	char text[300];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	reason_set(why, "%.250s, offset %llu: %s", u->path, (unsigned long long)offset, text);
	return UNPACK_E_REFUSED;
}

int unpack_new(const char *path, enum packing packing, uint64_t file_size, struct unpack **ret)
{
	struct unpack *u = calloc(1, sizeof(*u));
	int r;

	if (!u)
		return fail(-ENOMEM);
	u->packing = packing;
	u->file_size = file_size;
	u->path = strdup(path);
	r = u->path ? decoder_init(&u->decoder, false) : fail(-ENOMEM);
	if (r < 0) {
		unpack_free(u);
		return pass(r);
	}
	u->has_decoder = true;
	*ret = u;
	return 0;
}

struct unpack *unpack_free(struct unpack *u)
{
	if (u) {
		if (u->has_decoder)
			decoder_deinit(&u->decoder);
		free(u->path);
		free(u->table);
		free(u->frames);
		free(u);
	}
	return NULL;
}

static uint32_t number(const uint8_t *at)
{
	return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* ---- the table ---- */

static int begin_skippable(struct unpack *u)
{
	const uint64_t n_entry[2] = {N_ENTRY, N_ENTRY_CHECKED};

	u->n_left = number(u->head + N_MAGIC);
	u->state = IN_SKIPPABLE;
	if (number(u->head) != MAGIC_TABLE || u->at + u->n_left != u->file_size)
		return 0;
	u->state = IN_TABLE;
	u->n_table = 0;
	for (int i = 0; i < 2; i++) {
		if (u->n_left != u->n_frames * n_entry[i] + N_FOOTER)
			continue;
		u->table = malloc(u->n_left);
		return u->table ? 0 : fail(-ENOMEM);
	}
	return 0;
}

static void take_table(struct unpack *u, const uint8_t *bytes, size_t n)
{
	if (u->table)
		memcpy(u->table + u->n_table, bytes, n);
	u->n_table += n;
	for (size_t i = n > N_FOOTER ? n - N_FOOTER : 0; i < n; i++) {
		memmove(u->footer, u->footer + 1, N_FOOTER - 1);
		u->footer[N_FOOTER - 1] = bytes[i];
	}
}

static int compare_entry(struct unpack *u, uint64_t i, const uint8_t *entry, bool is_checked, struct reason *why)
{
	struct shard_frame *f = &u->frames[i];

	if (number(entry) != f->n_bytes || number(entry + 4) != f->n_raw)
		return refuse(u, f->offset, why,
			      "the zstd frame here has %llu bytes, inflated %llu; the seek table at offset %llu says %u and %u",
			      (unsigned long long)f->n_bytes, (unsigned long long)f->n_raw,
			      (unsigned long long)u->table_at, number(entry), number(entry + 4));
	if (is_checked && number(entry + 8) != f->checksum)
		return refuse(u, f->offset, why,
			      "the bytes of the zstd frame here have an XXH64 that ends with %08x; the seek table at offset "
			      "%llu says %08x", f->checksum, (unsigned long long)u->table_at, number(entry + 8));
	f->has_checksum = is_checked;
	return 0;
}

static int check_table(struct unpack *u, struct reason *why)
{
	const bool is_checked = u->footer[4] & 0x80;
	const unsigned n_entry = is_checked ? N_ENTRY_CHECKED : N_ENTRY;
	int r = 0;

	if (u->n_table < N_FOOTER || number(u->footer + 5) != MAGIC_FOOTER)
		return 0; /* something else, to be skipped */
	if (number(u->footer) != u->n_frames || !u->table || u->n_table != u->n_frames * n_entry + N_FOOTER)
		return refuse(u, u->table_at, why, "a seek table of %u frames and %llu bytes, but %llu frames are in front of it",
			      number(u->footer), (unsigned long long)u->n_table, (unsigned long long)u->n_frames);
	for (uint64_t i = 0; r == 0 && i < u->n_frames; i++)
		r = compare_entry(u, i, u->table + i * n_entry, is_checked, why);
	return r;
}

/* ---- frames ---- */

static int add_frame(struct unpack *u)
{
	if (u->n_frames == u->frames_allocated) {
		uint64_t n = u->n_frames + u->n_frames / 2 + 16;
		struct shard_frame *grown = reallocarray(u->frames, n, sizeof(*grown));

		if (!grown)
			return fail(-ENOMEM);
		u->frames = grown;
		u->frames_allocated = n;
	}
	u->frames[u->n_frames++] = (struct shard_frame){
		.offset = u->began, .n_bytes = u->at - u->began, .n_raw = u->decoder.n_raw,
		.raw_offset = u->raw_size - u->decoder.n_raw,
		.checksum = u->packing == PACKING_ZSTD ? decoder_hash(&u->decoder) : 0};
	return 0;
}

static int run_frame(struct unpack *u, struct unpack_io *io, struct reason *why)
{
	struct decoder_io d = {.in = io->in, .n_in = io->n_in, .out = io->out, .n_out = io->n_out};
	struct reason what = {{0}};
	bool is_over;
	int r = decoder_run(&u->decoder, &d, &is_over, &what);

	u->at += (uint64_t)(d.in - io->in);
	u->raw_size += (uint64_t)(d.out - io->out);
	*io = (struct unpack_io){.in = d.in, .n_in = d.n_in, .out = d.out, .n_out = d.n_out};
	if (r == DECODER_E_DAMAGED)
		return refuse(u, u->at, why, "damaged: %s", what.text);
	if (!is_over)
		return 0;
	u->state = BETWEEN;
	u->n_head = 0;
	return add_frame(u);
}

/* The bytes that told what it is belong to it. */
static int begin_frame(struct unpack *u, struct reason *why)
{
	struct decoder_io d = {.in = u->head, .n_in = u->n_head};
	struct reason what = {{0}};
	uint8_t none;
	bool is_over;

	u->state = IN_FRAME;
	d.out = &none;
	decoder_begin(&u->decoder, u->packing, NULL, 0, u->packing == PACKING_ZSTD);
	if (decoder_run(&u->decoder, &d, &is_over, &what) != 0)
		return refuse(u, u->began, why, "damaged: %s", what.text);
	assert(!is_over && d.n_in == 0);
	return 0;
}

static int begin_zstd(struct unpack *u, struct reason *why)
{
	if (u->n_head < N_MAGIC)
		return 0;
	if (number(u->head) == 0xfd2fb528u)
		return begin_frame(u, why);
	if ((number(u->head) & 0xfffffff0u) != 0x184d2a50u)
		return refuse(u, u->began, why, "neither a zstd frame nor a skippable one, but %llu bytes",
			      (unsigned long long)(u->file_size - u->began));
	if (u->n_head < N_SKIPPABLE)
		return 0;
	u->table_at = u->began;
	return begin_skippable(u);
}

static int begin_gzip(struct unpack *u, struct reason *why)
{
	if (u->head[0] == 0 && u->began > 0) {
		u->state = IN_PADDING;
		return 0;
	}
	if (u->n_head < 2)
		return 0;
	if (u->head[0] != 0x1f || u->head[1] != 0x8b)
		return refuse(u, u->began, why, "no gzip member, but %llu bytes behind the last one",
			      (unsigned long long)(u->file_size - u->began));
	return begin_frame(u, why);
}

static int take_head(struct unpack *u, struct unpack_io *io, struct reason *why)
{
	if (u->n_head == 0)
		u->began = u->at;
	u->head[u->n_head++] = *io->in++;
	io->n_in--;
	u->at++;
	return u->packing == PACKING_ZSTD ? begin_zstd(u, why) : begin_gzip(u, why);
}

static int skip(struct unpack *u, struct unpack_io *io, struct reason *why)
{
	size_t n = io->n_in < u->n_left ? io->n_in : (size_t)u->n_left;

	if (u->state == IN_TABLE)
		take_table(u, io->in, n);
	io->in += n;
	io->n_in -= n;
	u->at += n;
	u->n_left -= n;
	if (u->n_left > 0)
		return 0;
	u->n_head = 0;
	if (u->state == IN_TABLE) {
		u->state = BETWEEN;
		return check_table(u, why);
	}
	u->state = BETWEEN;
	return 0;
}

/* tape's blocks are filled up with zeros; gzip passes over them too */
static int pass_padding(struct unpack *u, struct unpack_io *io, struct reason *why)
{
	while (io->n_in > 0 && *io->in == 0) {
		io->in++;
		io->n_in--;
		u->at++;
	}
	if (io->n_in == 0)
		return 0;
	return refuse(u, u->at, why, "%llu bytes that are not zeros behind the last gzip member and zeros",
		      (unsigned long long)(u->file_size - u->at));
}

int unpack_run(struct unpack *u, struct unpack_io *io, struct reason *why)
{
	int r = 0;

	do {
		switch (u->state) {
		case BETWEEN:
			if (io->n_in > 0)
				r = take_head(u, io, why);
			if (r == 0 && (u->state == IN_SKIPPABLE || u->state == IN_TABLE) && u->n_left == 0)
				r = skip(u, io, why); /* an empty one */
			break;
		case IN_FRAME:
			r = run_frame(u, io, why);
			break;
		case IN_SKIPPABLE:
		case IN_TABLE:
			r = skip(u, io, why);
			break;
		case IN_PADDING:
			r = pass_padding(u, io, why);
			break;
		}
	} while (r == 0 && io->n_in > 0 && io->n_out > 0);
	return r < 0 ? pass(r) : r;
}

int unpack_end(struct unpack *u, struct reason *why)
{
	const char *name = u->packing == PACKING_ZSTD ? "zstd frame" : "gzip member";

	if ((u->state == BETWEEN && u->n_head == 0) || u->state == IN_PADDING)
		return 0;
	return refuse(u, u->at, why, "cut short: the file ends inside the %s that begins at offset %llu", name,
		      (unsigned long long)u->began);
}

uint64_t unpack_raw_size(const struct unpack *u)
{
	return u->raw_size;
}

void unpack_take_frames(struct unpack *u, struct shard_frame **ret, uint64_t *ret_n)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < u->n_frames; i++) {
		if (u->frames[i].n_raw == 0)
			continue;
		u->frames[n] = u->frames[i];
		if (!u->frames[n].has_checksum)
			u->frames[n].checksum = 0;
		n++;
	}
	*ret = u->frames;
	*ret_n = n;
	u->frames = NULL;
	u->n_frames = u->frames_allocated = 0;
}
