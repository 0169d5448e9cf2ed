/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* A piece with all that stands around it in the tar is one system call. */
#include "pack/writer.h"

#include "base/fault.h"
#include "pack/shards.h"

#include <stdio.h>
#include <string.h>

void writer_init(struct writer *w, const struct fill_job *job, struct pack_result *ret,
		 struct pack_progress *progress)
{
	*w = (struct writer){.job = job, .result = ret, .output = {.fd = -1}};
	for (size_t i = 0; i < job->plans->n; i++) {
		const struct shard_plan *p = &job->plans->list[i];

		if (p->is_there) {
			ret->n_shards_there++;
			ret->n_samples_there += p->n_samples;
		} else {
			progress->n_samples_all += p->n_samples;
			progress->n_bytes_all += p->n_payload;
		}
	}
}

int writer_deinit(struct writer *w, int r, struct reason *why)
{
	if (r < 0 && w->output.fd >= 0) {
		reason_set(why, "%s/%s: %s", w->job->how->folder, w->output.part_name, strerror(-r));
		r = PACK_E_REFUSED;
	}
	output_abandon(&w->output);
	return r;
}

static int begin_shard(struct writer *w)
{
	const struct fill_job *job = w->job;
	const struct output_place place = {.folder = job->how->folder, .name = job->how->name, .number = w->shard,
					   .folder_fd = job->folder_fd, .is_squeezed = job->how->is_squeezed};

	w->n_left_out = w->n_written = 0;
	return output_begin(&w->output, &place);
}

int writer_begin_sample(struct writer *w, size_t shard, size_t sample)
{
	const struct catalog *c = w->job->catalog;
	const struct catalog_sample *s = &c->samples[sample];
	uint64_t n = s->has_label ? 2 * USTAR_BLOCK : 0;
	int r = 0;

	w->shard = shard;
	w->sample = sample;
	w->fault[0] = '\0';
	if (w->output.fd < 0)
		r = begin_shard(w);
	for (uint32_t i = 0; i < s->n_parts; i++)
		n += ustar_member_bytes(c->parts[s->first_part + i].size);
	if (r == 0)
		r = output_begin_sample(&w->output, n);
	return r < 0 ? pass(r) : 0;
}

static int put(struct writer *w, const struct writer_piece *p)
{
	static uint8_t zeros[USTAR_BLOCK];
	const struct catalog *c = w->job->catalog;
	const struct catalog_sample *s = &c->samples[w->sample];
	uint8_t header[USTAR_BLOCK], label_header[USTAR_BLOCK], label[USTAR_BLOCK] = {0};
	char name[USTAR_NAME_BYTES];
	struct iovec pieces[5];
	int n = 0, r = 0;

	if (p->at == 0) {
		snprintf(name, sizeof(name), "%s.%s", catalog_at(c, s->key), p->extension);
		r = output_member(&w->output, name, p->size, header);
		pieces[n++] = (struct iovec){header, USTAR_BLOCK};
	}
	pieces[n++] = (struct iovec){(void *)(uintptr_t)p->bytes, p->n};
	if (p->at + p->n == p->size && p->size % USTAR_BLOCK)
		pieces[n++] = (struct iovec){zeros, USTAR_BLOCK - p->size % USTAR_BLOCK};
	if (r == 0 && p->is_sample_end && s->has_label) {
		snprintf(name, sizeof(name), "%s.cls", catalog_at(c, s->key));
		r = output_member(&w->output, name, (uint64_t)shard_label(s, (char *)label), label_header);
		pieces[n++] = (struct iovec){label_header, USTAR_BLOCK};
		pieces[n++] = (struct iovec){label, USTAR_BLOCK};
	}
	if (r == 0)
		r = output_put(&w->output, pieces, n);
	return r < 0 ? pass(r) : 0;
}

static int finish_shard(struct writer *w)
{
	struct manifest_shard done = {.number = w->shard, .n_samples = w->n_written, .n_left_out = w->n_left_out,
				      .content = w->job->plans->list[w->shard].content};
	int r = output_finish(&w->output, &done.n_bytes, &done.bytes_hash);

	if (r == 0)
		r = manifest_add(w->job->manifest, &done);
	if (r < 0)
		return pass(r);
	w->result->n_samples += w->n_written;
	w->result->n_bytes += done.n_bytes;
	w->result->n_shards++;
	return 0;
}

static int leave_out(struct writer *w)
{
	const struct catalog *c = w->job->catalog;
	const struct catalog_sample *s = &c->samples[w->sample];
	const char *path = catalog_at(c, c->files[c->parts[s->first_part].file].path);
	const struct pack_options *how = w->job->how;
	char why[600];

	if (c->is_checked)
		snprintf(why, sizeof(why), "%s", w->fault);
	else
		snprintf(why, sizeof(why), "sample %.256s: %s", catalog_at(c, s->key), w->fault);
	how->on_left_out(how->context, path, true, why);
	w->n_left_out++;
	return output_drop_sample(&w->output);
}

static int end_sample(struct writer *w)
{
	const struct shard_plan *plan = &w->job->plans->list[w->shard];
	int r;

	if (*w->fault) {
		r = leave_out(w);
	} else {
		w->n_written++;
		r = output_end_sample(&w->output);
	}
	if (r == 0 && w->sample + 1 == plan->first + plan->n_samples)
		r = finish_shard(w);
	return r < 0 ? pass(r) : 0;
}

int writer_put(struct writer *w, const struct writer_piece *p, const char *fault)
{
	int r = 0;

	if (fault && !*w->fault)
		snprintf(w->fault, sizeof(w->fault), "%s", fault);
	if (!*w->fault)
		r = put(w, p);
	if (r == 0 && p->is_sample_end)
		r = end_sample(w);
	return r < 0 ? pass(r) : 0;
}
