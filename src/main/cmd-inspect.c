/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* inspect: what is inside a shard: samples, keys, members with extension, offset and size. */
#include "main/command.h"

#include "base/fault.h"
#include "serve/indexing.h"

#include <jansson.h>
#include <string.h>

struct inspection {
	const struct options *options;
	int status;
};

static uint64_t n_checked(const struct shard_index *index)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < index->n_frames; i++)
		n += index->frames[i].has_checksum;
	return n;
}

static uint64_t largest_frame(const struct shard_index *index)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < index->n_frames; i++)
		n = index->frames[i].n_raw > n ? index->frames[i].n_raw : n;
	return n;
}

static void print_packing(const struct shard_index *index)
{
	fprintf(stderr, "compressed with %s: %llu bytes in %llu %s, inflated %llu (%.3f); the largest inflates to %llu; %s\n",
		packing_name(index->packing), (unsigned long long)index->file_size,
		(unsigned long long)index->n_frames, index->packing == PACKING_ZSTD ? "frames" : "members",
		(unsigned long long)index->raw_size, (double)index->file_size / (double)index->raw_size,
		(unsigned long long)largest_frame(index),
		n_checked(index) ? "a seek table with checksums" : "no checksums in a seek table");
}

static void print_text(const struct shard_index *index, uint64_t first)
{
	for (uint64_t i = 0; i < index->n_samples && i < first; i++) {
		const struct index_sample *s = &index->samples[i];

		printf("%llu\t%s", (unsigned long long)i, index->text + s->key);
		for (uint32_t k = 0; k < s->n_members; k++) {
			const struct index_member *m = &index->members[s->first_member + k];

			printf("\t%s:%llu@%llu", index->text + m->extension, (unsigned long long)m->size,
			       (unsigned long long)m->payload_offset);
		}
		puts(s->flags & INDEX_REPEATED ? "\trepeated extension: a bad sample" : "");
	}
	if (index->trailing_bytes)
		fprintf(stderr, "%llu bytes behind the end marker at offset %llu are not read\n",
			(unsigned long long)index->trailing_bytes,
			(unsigned long long)index->trailing_offset);
	fprintf(stderr, "%llu samples, %llu members, %llu members that belong to no sample%s\n",
		(unsigned long long)index->n_samples, (unsigned long long)index->n_members,
		(unsigned long long)index->n_skipped, index->is_unterminated ? ", no end marker" : "");
	if (index->packing != PACKING_NONE)
		print_packing(index);
}

static json_t *packing_json(const struct shard_index *index)
{
	json_t *frames = json_array();

	for (uint64_t i = 0; i < index->n_frames; i++) {
		const struct shard_frame *f = &index->frames[i];

		json_array_append_new(frames, json_pack("{s:I, s:I, s:I, s:I}", "offset", (json_int_t)f->offset,
							"bytes", (json_int_t)f->n_bytes, "raw_offset",
							(json_int_t)f->raw_offset, "raw_bytes", (json_int_t)f->n_raw));
	}
	return json_pack("{s:s, s:I, s:I, s:b, s:I, s:o}", "packing", packing_name(index->packing), "bytes",
			 (json_int_t)index->file_size, "raw_bytes", (json_int_t)index->raw_size, "checksums_in_seek_table",
			 n_checked(index) > 0, "largest_frame", (json_int_t)largest_frame(index), "frames", frames);
}

static json_t *text_json(const char *text)
{
	json_t *j = json_string(text);

	return j ? j : json_string("(not UTF-8)");
}

static json_t *extensions_json(const struct shard_index *index)
{
	json_t *j = json_object();

	for (uint64_t i = 0; i < index->n_members; i++) {
		const char *extension = index->text + index->members[i].extension;
		const json_t *n = json_object_get(j, extension);

		json_object_set_new(j, extension, json_integer(json_integer_value(n) + 1));
	}
	return j;
}

static json_t *members_json(const struct shard_index *index, const struct index_sample *s)
{
	json_t *list = json_array();

	for (uint32_t k = 0; k < s->n_members; k++) {
		const struct index_member *m = &index->members[s->first_member + k];

		json_array_append_new(list, json_pack("{s:o, s:I, s:I}", "extension",
						      text_json(index->text + m->extension), "offset",
						      (json_int_t)m->payload_offset, "size",
						      (json_int_t)m->size));
	}
	return list;
}

static int print_json(const char *path, const struct shard_index *index, uint64_t first)
{
	json_t *all = json_object(), *list = json_array();
	int r;

	for (uint64_t i = 0; i < index->n_samples && i < first; i++) {
		const struct index_sample *s = &index->samples[i];

		json_array_append_new(list, json_pack("{s:o, s:b, s:o}", "key",
						      text_json(index->text + s->key), "repeated",
						      (s->flags & INDEX_REPEATED) != 0, "members",
						      members_json(index, s)));
	}
	json_object_set_new(all, "shard", text_json(path));
	json_object_set_new(all, "samples", json_integer((json_int_t)index->n_samples));
	json_object_set_new(all, "members", json_integer((json_int_t)index->n_members));
	json_object_set_new(all, "skipped_members", json_integer((json_int_t)index->n_skipped));
	json_object_set_new(all, "terminated", json_boolean(!index->is_unterminated));
	json_object_set_new(all, "trailing_offset", json_integer((json_int_t)index->trailing_offset));
	json_object_set_new(all, "trailing_bytes", json_integer((json_int_t)index->trailing_bytes));
	if (index->packing != PACKING_NONE)
		json_object_set_new(all, "compressed", packing_json(index));
	json_object_set_new(all, "extensions", extensions_json(index));
	json_object_set_new(all, "list", list);
	r = json_dumpf(all, stdout, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(all);
	return r ? STATUS_FAILED : STATUS_DONE;
}

static int show(void *context, size_t i, const char *path, const struct io_file *file,
		const struct shard_index *index, enum index_source source, struct reason *why)
{
	struct inspection *in = context;
	uint64_t first = in->options->first ? in->options->first : UINT64_MAX;

	if (in->options->is_json)
		in->status = print_json(path, index, first);
	else
		print_text(index, first);
	return 0;
}

int cmd_inspect(int argc, char **argv)
{
	struct inspection in = {.status = STATUS_DONE};
	const struct indexing how = {.io = IO_AUTO, .is_direct = true, .has_progress = true, .context = &in,
				     .on_index = show};
	struct reason why = {{0}};
	struct options options;
	int r, status;

	if (!options_parse(argc, argv, &options, &status))
		return status;
	in.options = &options;
	r = index_shards(&how, options.arguments, 1, &why);
	if (r == 0)
		return in.status;
	fprintf(stderr, "ringfeed: %s\n", *why.text ? why.text : strerror(-r));
	return STATUS_FAILED;
}
