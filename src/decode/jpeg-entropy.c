/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * ITU-T T.81, F.2.2, with libjpeg's answers to what a damaged file may hold: a code that is none is a zero,
 * coefficients past the last land on the last, missing bits are zeros and the blocks after them empty.
 *
 * One look at the next ENTROPY_LOOK bits gives code, run and value of most coefficients at once. Bits are
 * taken from the file eight bytes at a time where none of them is 0xff, and always before every third look,
 * since a branch that depends on how many are left would be guessed wrong too often. An MCU that meets
 * anything out of the ordinary, a marker, a code that is none, the end of the file nearby, is begun again
 * by a careful form, which looks at every bit.
 */
#include "decode/jpeg-entropy.h"

#include <string.h>

#include <jerror.h>

#define INLINE static inline __attribute__((always_inline))

enum {
	BLOCK_BYTES = 512, /* no block is longer in the file */
	AHEAD_BYTES = 32,  /* read before they are needed */
	FULL_BITS = 56,	   /* in hand after a fill; a code of 16 bits and a value of 15 need 31 */
	LOOKS = 3,	   /* whole ones after a fill, so that the last still finds 31 */
	SIXTEEN_ZEROS = 0xf0,
};

/* The place in the block of each coefficient; what a damaged file puts past the last goes to the last. */
static const uint8_t natural_order[DCTSIZE2 + 16] = {
	0,  1,	8,  16, 9,  2,	3,  10, 17, 24, 32, 25, 18, 11, 4,  5,	12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13,
	6,  7,	14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31,
	39, 46, 53, 60, 61, 54, 47, 55, 62, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63};

/* An MCU being decoded: nothing of it counts until it is whole. */
struct reading {
	j_decompress_ptr c;
	uint64_t acc;
	int n_bits;
	const uint8_t *at;
	size_t n_left; /* of the careful form */
	int last_dc[MAX_COMPS_IN_SCAN];
};

/* The value that n bits stand for (T.81, table F.1 and F.2). */
INLINE int extend(int bits, int n)
{
	return bits < 1 << (n - 1) ? bits - (1 << n) + 1 : bits;
}

static void fill_looks(uint16_t *at, int n, int what)
{
	for (int i = 0; i < n; i++)
		at[i] = (uint16_t)what;
}

/* All looks that begin with the code. */
static void put_code(struct entropy_table *t, int code, int length, int symbol)
{
	const int n_more = ENTROPY_LOOK - length, size = symbol & 15, n_rest = n_more - size;

	if (n_more < 0)
		return;
	fill_looks(t->codes + (code << n_more), 1 << n_more, symbol << 8 | length);
	for (int bits = 0; size && n_rest >= 0 && bits < 1 << size; bits++) {
		const int value = extend(bits, size);

		if (value >= INT8_MIN && value <= INT8_MAX)
			fill_looks(t->whole + ((code << size | bits) << n_rest), 1 << n_rest,
				   (value & 0xff) << 8 | (symbol & 0xf0) | (length + size));
	}
}

/* libjpeg has checked the table already (jpeg_make_d_derived_tbl): codes fit their lengths. */
static void table_make(struct entropy_table *t, const JHUFF_TBL *from)
{
	int code = 0, n = 0;

	if (t->is_made && memcmp(t->bits, from->bits, sizeof(t->bits)) == 0 &&
	    memcmp(t->symbols, from->huffval, sizeof(t->symbols)) == 0)
		return;
	memcpy(t->bits, from->bits, sizeof(t->bits));
	memcpy(t->symbols, from->huffval, sizeof(t->symbols));
	memset(t->whole, 0, sizeof(t->whole));
	memset(t->codes, 0, sizeof(t->codes));
	for (int length = 1; length <= 16; length++, code <<= 1) {
		t->offset[length] = n - code;
		for (int i = 0; i < t->bits[length] && n < 256; i++, n++, code++)
			put_code(t, code, length, t->symbols[n]);
		t->max_code[length] = t->bits[length] ? code - 1 : -1;
	}
	t->max_code[17] = INT32_MAX;
	t->is_made = true;
}

INLINE void drop(struct reading *r, int n)
{
	r->acc <<= n;
	r->n_bits -= n;
}

/* n of 1 … 15 bits that are in hand. */
INLINE int take(struct reading *r, int n)
{
	const int bits = (int)(r->acc >> (64 - n));

	drop(r, n);
	return bits;
}

/* FULL_BITS bits in hand, or false: a marker is near. */
INLINE bool fill(struct reading *r)
{
	const uint64_t ones = UINT64_C(0x0101010101010101);
	uint64_t w;

	memcpy(&w, r->at, sizeof(w));
	if (__builtin_expect(!((~w - ones) & w & ones << 7), 1)) { /* no byte is 0xff */
		/* Bits past n_bits are those of the bytes that come next: they are or'ed in twice. */
		r->acc |= __builtin_bswap64(w) >> r->n_bits;
		r->at += (63 - r->n_bits) >> 3;
		r->n_bits |= FULL_BITS;
		return true;
	}
	while (r->n_bits <= FULL_BITS) {
		const uint8_t byte = *r->at++;

		if (byte == 0xff && *r->at++ != 0)
			return false;
		r->acc |= (uint64_t)byte << (56 - r->n_bits);
		r->n_bits += 8;
	}
	return true;
}

/* What a look says of a code longer than itself: symbol << 8 | bits, 0 for a code that is none. */
static unsigned look_long(uint64_t acc, const struct entropy_table *t)
{
	for (int length = ENTROPY_LOOK + 1; length <= 16; length++) {
		const int code = (int)(acc >> (64 - length));

		if (code <= t->max_code[length])
			return (unsigned)t->symbols[(code + t->offset[length]) & 0xff] << 8 | (unsigned)length;
	}
	return 0;
}

/* The next symbol, or -1 for a code that is none. */
INLINE int symbol_of(struct reading *r, const struct entropy_table *t)
{
	unsigned found = t->codes[r->acc >> (64 - ENTROPY_LOOK)];

	if (!found)
		found = look_long(r->acc, t);
	drop(r, found & 0xff);
	return found ? (int)(found >> 8) : -1;
}

/* block: NULL where the coefficients are not wanted. false: try carefully. */
INLINE bool decode_ac(struct reading *r, const struct entropy_table *t, JCOEF *block)
{
	int k = 1;

	while (k < DCTSIZE2) {
		int symbol, value = 0;

		if (!fill(r))
			return false;
		for (int i = 0; i < LOOKS && k < DCTSIZE2; i++) {
			const uint16_t whole = t->whole[r->acc >> (64 - ENTROPY_LOOK)];

			if (!whole)
				goto not_whole;
			drop(r, whole & 15);
			k += whole >> 4 & 15;
			if (block)
				block[natural_order[k]] = (int8_t)(whole >> 8);
			k++;
		}
		continue;
	not_whole:
		symbol = symbol_of(r, t);
		if (symbol < 0)
			return false;
		if (!(symbol & 15)) {
			if (symbol != SIXTEEN_ZEROS)
				return true; /* the end of the block, and what libjpeg takes for it */
			k += 16;
			continue;
		}
		value = extend(take(r, symbol & 15), symbol & 15);
		k += symbol >> 4;
		if (block)
			block[natural_order[k]] = (JCOEF)value;
		k++;
	}
	return true;
}

INLINE bool decode_dc(struct reading *r, const struct entropy_table *t, int *last)
{
	int difference = 0, size;
	uint16_t whole;

	if (!fill(r))
		return false;
	whole = t->whole[r->acc >> (64 - ENTROPY_LOOK)];
	if (whole) {
		drop(r, whole & 15);
		difference = (int8_t)(whole >> 8);
	} else {
		size = symbol_of(r, t);
		if (size < 0)
			return false;
		difference = size ? extend(take(r, size), size) : 0;
	}
	*last = (int)((unsigned)*last + (unsigned)difference); /* wraps, as in libjpeg */
	return true;
}

INLINE bool decode_blocks(const struct jpeg_entropy *e, struct reading *r, JBLOCKROW *blocks)
{
	for (int i = 0; i < e->n_blocks; i++) {
		const struct entropy_block *b = &e->blocks[i];
		JCOEF *block = blocks ? *blocks[i] : NULL;

		if (!decode_dc(r, b->dc, &r->last_dc[b->member]))
			return false;
		if (block)
			block[0] = (JCOEF)r->last_dc[b->member];
		if (!decode_ac(r, b->ac, block))
			return false;
	}
	return true;
}

/* The state is a copy that no other function sees, so that it can live in registers. */
static bool decode_fast(const struct jpeg_entropy *e, struct reading *state, JBLOCKROW *blocks)
{
	struct reading r = *state;

	if (!(blocks ? decode_blocks(e, &r, blocks) : decode_blocks(e, &r, NULL)))
		return false;
	*state = r;
	return true;
}

static uint8_t next_byte(struct reading *r)
{
	if (!r->n_left) {
		r->c->src->fill_input_buffer(r->c); /* never suspends */
		r->at = r->c->src->next_input_byte;
		r->n_left = r->c->src->bytes_in_buffer;
	}
	r->n_left--;
	return *r->at++;
}

/* As many bits as can be had: a marker ends them. */
static void fill_careful(struct reading *r)
{
	while (r->n_bits <= FULL_BITS && !r->c->unread_marker) {
		uint8_t byte = next_byte(r);

		if (byte == 0xff) {
			while (byte == 0xff)
				byte = next_byte(r);
			if (byte != 0) {
				r->c->unread_marker = byte;
				return;
			}
			byte = 0xff;
		}
		r->acc |= (uint64_t)byte << (56 - r->n_bits);
		r->n_bits += 8;
	}
}

/* n of 1 … 16 bits; where they are missing, zeros. */
static int take_careful(struct reading *r, int n)
{
	struct jpeg_entropy *e = (struct jpeg_entropy *)r->c->entropy;

	if (r->n_bits < n)
		fill_careful(r);
	if (r->n_bits < n) {
		if (!e->pub.insufficient_data)
			WARNMS(r->c, JWRN_HIT_MARKER);
		e->pub.insufficient_data = TRUE;
		r->n_bits = FULL_BITS; /* below what there was there are zeros */
	}
	return take(r, n);
}

/* The next symbol; 0 for a code that is none. */
static int symbol_careful(struct reading *r, const struct entropy_table *t)
{
	const unsigned found = t->codes[r->acc >> (64 - ENTROPY_LOOK)];
	int length = 1, code;

	if (found && (int)(found & 0xff) <= r->n_bits) {
		drop(r, found & 0xff);
		return (int)(found >> 8);
	}
	code = take_careful(r, 1);
	while (code > t->max_code[length]) {
		code = code << 1 | take_careful(r, 1);
		length++;
	}
	if (length <= 16)
		return t->symbols[(code + t->offset[length]) & 0xff];
	WARNMS(r->c, JWRN_HUFF_BAD_CODE);
	return 0;
}

static void decode_block_careful(struct reading *r, const struct entropy_block *b, JCOEF *block)
{
	int *last = &r->last_dc[b->member], size;

	fill_careful(r);
	size = symbol_careful(r, b->dc);
	if (size)
		*last = (int)((unsigned)*last + (unsigned)extend(take_careful(r, size), size));
	if (block)
		block[0] = (JCOEF)*last;
	for (int k = 1; k < DCTSIZE2; k++) {
		int symbol, value;

		if (r->n_bits < FULL_BITS / 2)
			fill_careful(r);
		symbol = symbol_careful(r, b->ac);
		k += symbol >> 4;
		if (symbol & 15) {
			value = extend(take_careful(r, symbol & 15), symbol & 15);
			if (block)
				block[natural_order[k]] = (JCOEF)value;
		} else if (symbol != SIXTEEN_ZEROS) {
			return;
		}
	}
}

static void decode_careful(const struct jpeg_entropy *e, struct reading *r, JBLOCKROW *blocks)
{
	/* Bits that fill() had on top do not count here. */
	r->acc &= r->n_bits ? ~UINT64_C(0) << (64 - r->n_bits) : 0;
	for (int i = 0; i < e->n_blocks; i++)
		decode_block_careful(r, &e->blocks[i], blocks ? *blocks[i] : NULL);
}

static bool restart(struct jpeg_entropy *e, j_decompress_ptr c)
{
	c->marker->discarded_bytes += (unsigned)e->n_bits / 8;
	e->n_bits = 0;
	e->acc = 0;
	if (!c->marker->read_restart_marker(c))
		return false;
	memset(e->last_dc, 0, sizeof(e->last_dc));
	e->restarts_to_go = c->restart_interval;
	if (!c->unread_marker)
		e->pub.insufficient_data = FALSE;
	return true;
}

/* false: r is as it was, and the careful form has to do it. */
static bool try_fast(const struct jpeg_entropy *e, struct reading *r, JBLOCKROW *blocks)
{
	const int n_blocks = e->n_blocks;
	const uint8_t *began = r->at;

	if (r->n_left < (size_t)BLOCK_BYTES * (size_t)n_blocks + AHEAD_BYTES || r->c->unread_marker)
		return false;
	if (decode_fast(e, r, blocks)) {
		r->n_left -= (size_t)(r->at - began);
		return true;
	}
	for (int i = 0; blocks && i < n_blocks; i++)
		memset(blocks[i], 0, sizeof(JBLOCK));
	return false;
}

/* libjpeg's method: one MCU, whose blocks are zeros; NULL: it is skipped. */
static boolean decode_mcu(j_decompress_ptr c, JBLOCKROW *blocks)
{
	struct jpeg_entropy *e = (struct jpeg_entropy *)c->entropy;
	struct reading r;

	if (c->restart_interval && e->restarts_to_go == 0 && !restart(e, c))
		return FALSE;
	e->restarts_to_go--; /* counts where there is an interval */
	if (e->pub.insufficient_data)
		return TRUE;
	r = (struct reading){.c = c, .acc = e->acc, .n_bits = e->n_bits, .at = c->src->next_input_byte,
			     .n_left = c->src->bytes_in_buffer};
	memcpy(r.last_dc, e->last_dc, sizeof(r.last_dc));
	if (!try_fast(e, &r, blocks))
		decode_careful(e, &r, blocks);
	c->src->next_input_byte = r.at;
	c->src->bytes_in_buffer = r.n_left;
	e->acc = r.acc;
	e->n_bits = r.n_bits;
	memcpy(e->last_dc, r.last_dc, sizeof(e->last_dc));
	return TRUE;
}

/* One scan has begun already; there is no other. */
static void start_pass(j_decompress_ptr c)
{
}

void jpeg_entropy_take_over(struct jpeg_entropy *e, j_decompress_ptr c)
{
	if (c->progressive_mode || c->arith_code || jpeg_has_multiple_scans(c))
		return;
	e->n_blocks = c->blocks_in_MCU;
	for (int i = 0; i < c->blocks_in_MCU; i++) {
		const int member = c->MCU_membership[i];
		const int dc = c->cur_comp_info[member]->dc_tbl_no, ac = c->cur_comp_info[member]->ac_tbl_no;

		table_make(&e->dc[dc], c->dc_huff_tbl_ptrs[dc]);
		table_make(&e->ac[ac], c->ac_huff_tbl_ptrs[ac]);
		e->blocks[i] = (struct entropy_block){&e->dc[dc], &e->ac[ac], member};
	}
	e->pub = (struct jpeg_entropy_decoder){.start_pass = start_pass, .decode_mcu = decode_mcu};
	e->acc = 0;
	e->n_bits = 0;
	memset(e->last_dc, 0, sizeof(e->last_dc));
	e->restarts_to_go = c->restart_interval;
	c->entropy = &e->pub;
}
