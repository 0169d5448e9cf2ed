/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Our Huffman decoding against libjpeg's own, on every JPEG below 100 kB of the test data and on thousands of
 * damaged copies: bits turned, bytes left out and put in, cut ends, markers in the middle. Same rows, same
 * warnings about missing bytes, same errors; read from the top, and with rows skipped. Codes that are none
 * are told at least as often, since libjpeg's own fast way keeps quiet about them.
 */
#include "decode/jpeg-entropy.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jerror.h>

enum { FILE_MAX = 100000, FILES_MAX = 2000, PIXELS_MAX = 1 << 20, DAMAGES = 25 };

struct file {
	char *path;
	uint8_t *bytes;
	size_t n;
};

/* What a decode came to. */
struct outcome {
	int error; /* libjpeg's code, or 0 */
	unsigned n_short, n_bad_codes;
	uint64_t hash; /* of all rows that came, FNV-1a */
	JDIMENSION n_rows;
};

struct errors {
	struct jpeg_error_mgr pub;
	jmp_buf out;
	struct outcome *outcome;
};

static struct file files[FILES_MAX];
static unsigned n_files;
static struct jpeg_entropy entropy; /* kept from file to file, as the decoder does */
static uint64_t state = 88172645463325252u;

static uint32_t draw(uint32_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 32) % below;
}

static void on_error(j_common_ptr c)
{
	struct errors *e = (struct errors *)c->err;

	e->outcome->error = c->err->msg_code;
	longjmp(e->out, 1);
}

static void on_message(j_common_ptr c, int level)
{
	struct outcome *o = ((struct errors *)c->err)->outcome;

	if (level >= 0)
		return;
	if (c->err->msg_code == JWRN_HIT_MARKER)
		o->n_short++;
	else if (c->err->msg_code == JWRN_HUFF_BAD_CODE)
		o->n_bad_codes++;
}

static void add_rows(struct outcome *o, const uint8_t *row, size_t n)
{
	for (size_t i = 0; i < n; i++)
		o->hash = (o->hash ^ row[i]) * UINT64_C(0x100000001b3);
	o->n_rows++;
}

/* Every row, or from the middle on, at 1/denominator of the size. */
static struct outcome decode(const uint8_t *bytes, size_t n, bool is_ours, bool is_skipping, unsigned denominator)
{
	struct outcome outcome = {.hash = UINT64_C(0xcbf29ce484222325)};
	struct jpeg_decompress_struct c;
	struct errors errors = {.outcome = &outcome};
	JSAMPARRAY row;

	c.err = jpeg_std_error(&errors.pub);
	errors.pub.error_exit = on_error;
	errors.pub.emit_message = on_message;
	if (setjmp(errors.out)) {
		jpeg_destroy_decompress(&c);
		return outcome;
	}
	jpeg_create_decompress(&c);
	jpeg_mem_src(&c, bytes, n);
	jpeg_read_header(&c, TRUE);
	if ((uint64_t)c.image_width * c.image_height > PIXELS_MAX || c.progressive_mode)
		longjmp(errors.out, 1);
	c.scale_denom = denominator;
	jpeg_start_decompress(&c);
	if (is_ours)
		jpeg_entropy_take_over(&entropy, &c);
	row = c.mem->alloc_sarray((j_common_ptr)&c, JPOOL_IMAGE, c.output_width * (JDIMENSION)c.output_components, 1);
	if (is_skipping && c.output_height > 1)
		jpeg_skip_scanlines(&c, c.output_height / 2);
	while (c.output_scanline < c.output_height) {
		jpeg_read_scanlines(&c, row, 1);
		add_rows(&outcome, row[0], c.output_width * (size_t)c.output_components);
	}
	jpeg_destroy_decompress(&c);
	return outcome;
}

static void check(const struct file *f, const uint8_t *bytes, size_t n, const char *what)
{
	static const unsigned denominators[] = {1, 1, 2, 4, 8};
	const unsigned denominator = denominators[draw(5)];
	const bool is_skipping = draw(2);
	const struct outcome theirs = decode(bytes, n, false, is_skipping, denominator);
	const struct outcome ours = decode(bytes, n, true, is_skipping, denominator);

	if (ours.error != theirs.error || ours.n_short != theirs.n_short ||
	    ours.hash != theirs.hash || ours.n_rows != theirs.n_rows || ours.n_bad_codes < theirs.n_bad_codes)
		fail_msg("%s, %s: error %d, wanted %d; short %u, %u; bad codes %u, %u; rows %u, %u%s", f->path, what,
			 ours.error, theirs.error, ours.n_short, theirs.n_short, ours.n_bad_codes, theirs.n_bad_codes,
			 ours.n_rows, theirs.n_rows, ours.hash == theirs.hash ? "" : "; other pixels");
}

/* Where the first scan's data may begin; damage before it is the header's business. */
static size_t data_begins(const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i + 1 < n; i++)
		if (bytes[i] == 0xff && bytes[i + 1] == 0xda)
			return i + 14 < n ? i + 14 : n;
	return n;
}

static size_t damage(uint8_t *bytes, size_t n, const char **ret_what)
{
	const size_t begin = data_begins(bytes, n);
	size_t at, n_cut;

	if (begin + 8 >= n)
		return n;
	at = begin + draw((uint32_t)(n - begin - 4));
	switch (draw(5)) {
	case 0:
		*ret_what = "bits turned";
		for (unsigned i = 1 + draw(4); i > 0; i--)
			bytes[begin + draw((uint32_t)(n - begin))] ^= (uint8_t)(1 << draw(8));
		return n;
	case 1:
		*ret_what = "cut";
		return at;
	case 2:
		*ret_what = "bytes left out";
		n_cut = 1 + draw((uint32_t)(n - at < 50 ? n - at : 50));
		memmove(bytes + at, bytes + at + n_cut, n - at - n_cut);
		return n - n_cut;
	case 3:
		*ret_what = "a marker put in";
		bytes[at] = 0xff;
		bytes[at + 1] = (uint8_t)(draw(2) ? 0xd0 + draw(10) : draw(256));
		return n;
	default:
		*ret_what = "0xff put in";
		memset(bytes + at, 0xff, 1 + draw(3));
		return n;
	}
}

/* Several 0xff and then a zero: the one kind of damage that comes out otherwise (jpeg-entropy.h). */
static bool has_odd_fill(const uint8_t *bytes, size_t n)
{
	for (size_t i = data_begins(bytes, n); i + 2 < n; i++)
		if (bytes[i] == 0xff && bytes[i + 1] == 0xff && bytes[i + 2] == 0)
			return true;
	return false;
}

static void test_whole(void **unused)
{
	for (unsigned i = 0; i < n_files; i++)
		for (unsigned k = 0; k < 4; k++)
			check(&files[i], files[i].bytes, files[i].n, "whole");
}

static void test_damaged(void **unused)
{
	static uint8_t copy[FILE_MAX];

	for (unsigned i = 0; i < n_files; i++) {
		for (unsigned k = 0; k < DAMAGES; k++) {
			const char *what = "too short to damage";
			size_t n;

			memcpy(copy, files[i].bytes, files[i].n);
			n = damage(copy, files[i].n, &what);
			if (!has_odd_fill(copy, n))
				check(&files[i], copy, n, what);
		}
	}
}

static int take_file(const char *path, const struct stat *st, int kind, struct FTW *where)
{
	struct file *f = &files[n_files];
	FILE *stream;

	if (kind != FTW_F || st->st_size < 4 || st->st_size > FILE_MAX || n_files == FILES_MAX)
		return 0;
	stream = fopen(path, "rb");
	f->bytes = malloc((size_t)st->st_size);
	f->n = stream && f->bytes ? fread(f->bytes, 1, (size_t)st->st_size, stream) : 0;
	if (stream)
		fclose(stream);
	if (f->n < 4 || f->bytes[0] != 0xff || f->bytes[1] != 0xd8) {
		free(f->bytes);
		return 0;
	}
	f->path = strdup(path);
	n_files++;
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_whole), cmocka_unit_test(test_damaged)};
	const char *data = getenv("RINGFEED_TEST_DATA"), *const folders[] = {"edge-jpeg", "coco128-train", "photos-exif"};
	char path[4096];

	for (unsigned i = 0; data && i < sizeof(folders) / sizeof(*folders); i++) {
		snprintf(path, sizeof(path), "%s/%s", data, folders[i]);
		nftw(path, take_file, 16, FTW_PHYS);
	}
	if (!n_files) {
		fprintf(stderr, "no test data: RINGFEED_TEST_DATA with edge-jpeg, coco128-train, photos-exif\n");
		return 77;
	}
	print_message("%u files\n", n_files);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
