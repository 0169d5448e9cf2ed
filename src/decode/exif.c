/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Only directory 0 is read and only tag 0x0112 matters; of repeated entries the last one counts, as in
 * Pillow's dictionary. Every offset is checked against the bytes that are there. */
#include "decode/exif.h"

#include <stdbool.h>
#include <string.h>

enum { TAG_ORIENTATION = 0x0112, TYPE_SHORT = 3, TYPE_LONG = 4, ENTRY_BYTES = 12 };

static uint32_t number(const uint8_t *at, unsigned n, bool is_big)
{
	uint32_t v = 0;

	for (unsigned i = 0; i < n; i++)
		v = v << 8 | at[is_big ? i : n - 1 - i];
	return v;
}

/* The first value of a directory entry, 0 when it is no integer or lies outside. */
static uint32_t entry_value(const uint8_t *tiff, size_t n, size_t entry, bool is_big)
{
	const uint32_t type = number(tiff + entry + 2, 2, is_big);
	const uint32_t count = number(tiff + entry + 4, 4, is_big);
	const unsigned size = type == TYPE_SHORT ? 2 : type == TYPE_LONG ? 4 : 0;
	size_t at = entry + 8;

	if (!size || !count)
		return 0;
	if ((uint64_t)count * size > 4) {
		at = number(tiff + entry + 8, 4, is_big);
		if (at > n || (uint64_t)count * size > n - at)
			return 0;
	}
	return number(tiff + at, size, is_big);
}

unsigned exif_orientation(const uint8_t *tiff, size_t n)
{
	unsigned found = 1;
	uint32_t at, n_entries;
	bool is_big;

	if (n < 8)
		return 1;
	if (memcmp(tiff, "II*\0", 4) == 0)
		is_big = false;
	else if (memcmp(tiff, "MM\0*", 4) == 0)
		is_big = true;
	else
		return 1;
	at = number(tiff + 4, 4, is_big);
	if (at > n - 2)
		return 1;
	n_entries = number(tiff + at, 2, is_big);
	for (uint32_t i = 0; i < n_entries; i++) {
		const size_t entry = (size_t)at + 2 + (size_t)i * ENTRY_BYTES;
		uint32_t v;

		if (entry + ENTRY_BYTES > n)
			break;
		if (number(tiff + entry, 2, is_big) != TAG_ORIENTATION)
			continue;
		v = entry_value(tiff, n, entry, is_big);
		found = v >= 1 && v <= 8 ? v : 1;
	}
	return found;
}

unsigned exif_of_jpeg(const uint8_t *bytes, size_t n)
{
	size_t at = 2;

	while (at + 4 <= n) {
		size_t n_segment;

		if (bytes[at] != 0xff) {
			at++;
			continue;
		}
		if (bytes[at + 1] == 0xff || bytes[at + 1] == 0x00) { /* fill bytes */
			at++;
			continue;
		}
		if (bytes[at + 1] == 0xda || bytes[at + 1] == 0xd9)
			return 1;
		if ((bytes[at + 1] >= 0xd0 && bytes[at + 1] <= 0xd8) || bytes[at + 1] == 0x01) {
			at += 2;
			continue;
		}
		n_segment = (size_t)bytes[at + 2] << 8 | bytes[at + 3];
		if (n_segment < 2 || n_segment > n - at - 2)
			return 1;
		if (bytes[at + 1] == 0xe1 && n_segment >= 8 && memcmp(bytes + at + 4, "Exif\0", 5) == 0)
			return exif_orientation(bytes + at + 10, n_segment - 8);
		at += 2 + n_segment;
	}
	return 1;
}
