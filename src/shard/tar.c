/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The scan is a cursor (at) and a state; a feed moves the cursor over the fed bytes as far as they
 * go, and what was not used is simply wanted again. Only an extension's payload is collected, and
 * its buffer grows with the bytes that came, never with a header's number.
 */
#include "shard/tar.h"

#include "base/fault.h"
#include "shard/header.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	LOOK_BEHIND = 1 << 20,	/* bytes looked at behind the end marker */
	PIECE_LARGE = 1 << 20,	/* for payloads under 16 KiB */
	PIECE_MIDDLE = 1 << 16, /* under 64 KiB */
	PIECE_SMALL = 1 << 12,
};

enum state { SCAN_HEADER, SCAN_EXTENSION, SCAN_BEHIND, SCAN_DONE };

struct tar_scan {
	char *path;
	uint64_t file_size;
	enum state state;
	uint64_t at;	   /* the next byte that matters */
	uint64_t header_at; /* the last header block taken */
	uint64_t first_at; /* the first header block of the member in hand */
	uint64_t recent;   /* the largest of the last payloads, fading */
	uint64_t behind_at, behind_end;
	uint64_t trailing_at;
	bool is_unterminated, is_zeros_behind;

	char extension_type;
	uint64_t extension_at, extension_size;
	uint8_t *extension;
	size_t n_extension, n_allocated;

	struct chain chain;
	struct chain_block block;
};

/* The bytes of one feed and where they lie in the file. */
struct piece {
	const uint8_t *bytes;
	uint64_t from, n;
	int (*on_member)(void *context, const struct tar_member *m);
	void *context;
};

/* Where byte at of the file lies in the piece; some valid address where it does not. */
static const uint8_t *piece_at(const struct piece *p, uint64_t at)
{
	return at - p->from < p->n ? p->bytes + (at - p->from) : (const uint8_t *)"";
}

int tar_scan_new(const char *path, uint64_t file_size, struct tar_scan **ret)
{
	struct tar_scan *s = calloc(1, sizeof(*s));

	if (!s)
		return fail(-ENOMEM);
	s->path = strdup(path);
	if (!s->path) {
		tar_scan_free(s);
		return fail(-ENOMEM);
	}
	s->file_size = file_size;
	s->recent = PIECE_MIDDLE / 2;
	s->trailing_at = file_size;
	chain_init(&s->chain, s->path);
	*ret = s;
	return 0;
}

struct tar_scan *tar_scan_free(struct tar_scan *s)
{
	if (s) {
		free(s->extension);
		free(s->path);
		free(s);
	}
	return NULL;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

void tar_scan_want(const struct tar_scan *s, uint64_t *ret_offset, size_t *ret_n_bytes)
{
	uint64_t n = s->recent < PIECE_LARGE / 64 ? PIECE_LARGE :
		     s->recent < PIECE_MIDDLE	  ? PIECE_MIDDLE :
						    PIECE_SMALL;

	if (s->state == SCAN_EXTENSION) {
		uint64_t rest = tar_round_up(s->extension_size) - s->n_extension + 2 * TAR_BLOCK;

		n = n < rest ? rest : n;
	} else if (s->state == SCAN_BEHIND) {
		n = s->behind_end - s->at;
	}
	*ret_offset = s->at;
	*ret_n_bytes = s->at < s->file_size ? least(n, s->file_size - s->at) : 0;
}

static void find_trailing(struct tar_scan *s)
{
	if (s->is_zeros_behind) /* where more follows than we look at: say all of it */
		s->trailing_at = s->behind_end < s->file_size ? s->behind_at + TAR_BLOCK : s->file_size;
}

void tar_scan_set_size(struct tar_scan *s, uint64_t file_size)
{
	s->file_size = file_size;
	if (s->behind_end > file_size)
		s->behind_end = file_size;
	if (s->trailing_at > file_size)
		s->trailing_at = file_size;
	find_trailing(s);
}

static bool is_zeros(const uint8_t *bytes, uint64_t n)
{
	return n == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, n - 1) == 0);
}

/* Less than a block is left: nothing, zeros, or a header cut short. */
static int end_without_marker(struct tar_scan *s, const uint8_t *bytes, uint64_t n,
			      struct reason *why)
{
	if (s->chain.is_awaited)
		return chain_refuse(&s->chain, s->at, why,
				    "cut short: an extension header without its member");
	if (s->file_size < TAR_BLOCK)
		return chain_refuse(&s->chain, s->at, why, "not a tar: a file of %llu bytes",
				    (unsigned long long)s->file_size);
	if (!is_zeros(bytes, n))
		return chain_refuse(&s->chain, s->at, why, "cut short: the file ends inside a header");
	s->is_unterminated = true;
	s->state = SCAN_DONE;
	return TAR_E_DONE;
}

static int take_end(struct tar_scan *s)
{
	s->at += TAR_BLOCK;
	s->behind_at = s->at;
	s->behind_end = s->at + least(s->file_size - s->at, LOOK_BEHIND);
	s->state = SCAN_BEHIND;
	return 0;
}

static int check_payload(const struct tar_scan *s, struct reason *why)
{
	uint64_t n_left = s->file_size - (s->header_at + TAR_BLOCK);

	if (s->block.size <= n_left && tar_round_up(s->block.size) <= n_left)
		return 0;
	return chain_refuse(&s->chain, s->header_at, why,
			    "cut short: the member here has %llu bytes (and fills its last block), but %llu follow",
			    (unsigned long long)s->block.size, (unsigned long long)n_left);
}

static int take_payload(struct tar_scan *s, const struct piece *p, struct reason *why)
{
	const struct chain_block *b = &s->block;
	uint64_t payload_at = s->at + TAR_BLOCK;
	int r;

	s->header_at = s->at;
	r = check_payload(s, why);
	if (r != 0)
		return r;
	if (b->kind == CHAIN_EXTENSION || b->kind == CHAIN_GLOBAL) {
		s->extension_type = b->type;
		s->extension_at = payload_at;
		s->extension_size = b->size;
		s->n_extension = 0;
		s->state = SCAN_EXTENSION;
		s->at = payload_at;
		return 0;
	}
	if (b->kind == CHAIN_MEMBER) {
		const struct tar_member m = {.name = b->name, .header_offset = s->first_at,
					     .payload_offset = payload_at, .size = b->size};

		r = p->on_member(p->context, &m);
		if (r != 0)
			return r;
	}
	s->recent -= s->recent / 8;
	if (s->recent < b->size)
		s->recent = b->size;
	s->at = payload_at + tar_round_up(b->size);
	return 0;
}

/* *ret_stuck is set where the piece does not hold enough to go on. */
static int take_header(struct tar_scan *s, const struct piece *p, bool *ret_stuck,
		       struct reason *why)
{
	uint64_t left = s->file_size - s->at;
	const uint8_t *bytes = piece_at(p, s->at);
	int r;

	if (left < TAR_BLOCK && (left == 0 || p->from + p->n >= s->file_size))
		return end_without_marker(s, bytes, left, why);
	if (s->at - p->from + TAR_BLOCK > p->n) {
		*ret_stuck = true;
		return 0;
	}
	if (!s->chain.is_open)
		s->first_at = s->at;
	r = chain_take(&s->chain, bytes, s->at, &s->block, why);
	if (r != 0)
		return r;
	return s->block.kind == CHAIN_END ? take_end(s) : take_payload(s, p, why);
}

static int collect(struct tar_scan *s, const uint8_t *bytes, size_t n)
{
	if (s->n_extension + n > s->n_allocated) {
		size_t n_allocated = (s->n_extension + n) * 2;
		uint8_t *grown = realloc(s->extension, n_allocated);

		if (!grown)
			return fail(-ENOMEM);
		s->extension = grown;
		s->n_allocated = n_allocated;
	}
	memcpy(s->extension + s->n_extension, bytes, n);
	s->n_extension += n;
	return 0;
}

static int take_extension(struct tar_scan *s, const struct piece *p, bool *ret_stuck,
			  struct reason *why)
{
	uint64_t n_all = tar_round_up(s->extension_size);
	uint64_t n_fed = s->at - p->from < p->n ? p->n - (s->at - p->from) : 0;
	uint64_t n = least(n_all - s->n_extension, n_fed);
	const uint8_t *bytes = piece_at(p, s->at);
	int r;

	n -= n % TAR_BLOCK;
	if (n < n_all) { /* in several pieces */
		r = n ? collect(s, bytes, n) : 0;
		if (r < 0)
			return pass(r);
		s->at += n;
		if (s->n_extension < n_all) {
			*ret_stuck = true;
			return 0;
		}
		bytes = s->extension;
	} else {
		s->at += n;
	}
	s->state = SCAN_HEADER;
	return chain_extension(&s->chain, s->extension_type, bytes, s->extension_size,
			       s->extension_at, why);
}

static int take_behind(struct tar_scan *s, const struct piece *p, bool *ret_stuck)
{
	uint64_t n_fed = s->at - p->from < p->n ? p->n - (s->at - p->from) : 0;
	uint64_t n = least(s->behind_end - s->at, n_fed), zeros = 0;
	const uint8_t *bytes = piece_at(p, s->at);

	while (zeros < n && bytes[zeros] == 0)
		zeros++;
	if (zeros < n) {
		s->trailing_at = s->at + zeros - zeros % TAR_BLOCK;
		s->state = SCAN_DONE;
		return TAR_E_DONE;
	}
	if (s->at + n < s->behind_end) {
		s->at += n - n % TAR_BLOCK;
		*ret_stuck = true;
		return 0;
	}
	s->is_zeros_behind = true;
	find_trailing(s);
	s->state = SCAN_DONE;
	return TAR_E_DONE;
}

int tar_scan_feed(struct tar_scan *s, const void *bytes, size_t n_bytes,
		  int (*on_member)(void *context, const struct tar_member *m), void *context,
		  struct reason *why)
{
	const struct piece p = {.bytes = bytes, .from = s->at, .n = n_bytes,
				.on_member = on_member, .context = context};
	bool is_stuck = false;
	int r = 0;

	/* of a member whose bytes were promised before the size was known */
	if (s->state == SCAN_EXTENSION || s->at > s->file_size)
		r = check_payload(s, why);
	if (r != 0)
		return r;
	if (n_bytes < least(TAR_BLOCK, s->file_size - s->at))
		return chain_refuse(&s->chain, s->at + n_bytes, why,
				    "cut short: the file ends here, its size was %llu",
				    (unsigned long long)s->file_size);
	/* the cursor may stand behind the piece only where the file has ended */
	while (r == 0 && !is_stuck && (s->at - p.from < p.n || s->at == s->file_size)) {
		switch (s->state) {
		case SCAN_HEADER:
			r = take_header(s, &p, &is_stuck, why);
			break;
		case SCAN_EXTENSION:
			r = take_extension(s, &p, &is_stuck, why);
			break;
		case SCAN_BEHIND:
			r = take_behind(s, &p, &is_stuck);
			break;
		case SCAN_DONE:
			return TAR_E_DONE;
		}
	}
	return r;
}

void tar_scan_trailing(const struct tar_scan *s, uint64_t *ret_offset, uint64_t *ret_n_bytes)
{
	*ret_offset = s->trailing_at;
	*ret_n_bytes = s->file_size - s->trailing_at;
}

bool tar_scan_is_unterminated(const struct tar_scan *s)
{
	return s->is_unterminated;
}

int tar_header_read(const void *bytes, size_t n_bytes, struct tar_header *ret, struct reason *why)
{
	struct chain chain;
	struct chain_block block;
	uint64_t at = 0;
	int r;

	chain_init(&chain, NULL);
	while (at + TAR_BLOCK <= n_bytes) {
		r = chain_take(&chain, (const uint8_t *)bytes + at, at, &block, why);
		if (r != 0)
			return r;
		at += TAR_BLOCK;
		if (block.kind == CHAIN_MEMBER) {
			strcpy(ret->name, block.name);
			ret->payload_at = at;
			ret->size = block.size;
			return 0;
		}
		if (block.kind != CHAIN_EXTENSION)
			return chain_refuse(&chain, at - TAR_BLOCK, why, "no file's header here");
		if (tar_round_up(block.size) > n_bytes - at)
			break;
		r = chain_extension(&chain, block.type, (const uint8_t *)bytes + at, block.size, at, why);
		if (r != 0)
			return r;
		at += tar_round_up(block.size);
	}
	return chain_refuse(&chain, at, why, "the header does not end within %zu bytes", n_bytes);
}
