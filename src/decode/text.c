/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* UTF-8 as Python decodes it: shortest forms, no surrogates, nothing above U+10FFFF. */
#include "decode/text.h"

#include "base/classes.h"
#include "decode/element.h"

#include <stdio.h>
#include <string.h>

/* Bytes of the character that begins here, 0: none does. */
static size_t character(const uint8_t *b, size_t n)
{
	const uint8_t lead = b[0];
	const size_t size = lead < 0x80	  ? 1
			    : lead < 0xc2 ? 0
			    : lead < 0xe0 ? 2
			    : lead < 0xf0 ? 3
			    : lead < 0xf5 ? 4
					  : 0;

	if (size == 0 || size > n)
		return 0;
	for (size_t i = 1; i < size; i++)
		if ((b[i] & 0xc0) != 0x80)
			return 0;
	if ((lead == 0xe0 && b[1] < 0xa0) || (lead == 0xed && b[1] > 0x9f) || (lead == 0xf0 && b[1] < 0x90) ||
	    (lead == 0xf4 && b[1] > 0x8f))
		return 0;
	return size;
}

/* Where the first byte lies that is no UTF-8; n: nowhere. */
static size_t end_of_text(const uint8_t *b, size_t n)
{
	size_t at = 0;

	while (at < n) {
		const size_t size = character(b + at, n - at);

		if (!size)
			break;
		at += size;
	}
	return at;
}

enum cause text_copy(const struct field *f, const void *bytes, size_t n_bytes, void *row, int64_t *ret_length,
		     char *detail, size_t n_detail)
{
	size_t n_good;

	if (n_bytes > f->dims[0]) {
		snprintf(detail, n_detail, "%zu bytes, max is %u", n_bytes, f->dims[0]);
		return CAUSE_too_long;
	}
	n_good = f->decode == DECODE_TEXT ? end_of_text(bytes, n_bytes) : n_bytes;
	if (n_good < n_bytes) {
		snprintf(detail, n_detail, "byte %zu", n_good);
		return CAUSE_not_utf8;
	}
	memcpy(row, bytes, n_bytes);
	memset((char *)row + n_bytes, 0, f->dims[0] - n_bytes);
	if (ret_length)
		*ret_length = (int64_t)n_bytes;
	return CAUSE_none;
}

enum cause text_class(const struct field *f, const void *bytes, size_t n_bytes, void *ret, char *detail,
		      size_t n_detail)
{
	const int64_t number = classes_find(f->classes, bytes, n_bytes);

	if (number >= 0 && element_put_integer(false, (uint64_t)number, f->dtype, ret))
		return CAUSE_none;
	element_quote(bytes, n_bytes, detail, n_detail);
	return CAUSE_unknown_class;
}
