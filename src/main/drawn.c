/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Members are read as the index has them; the size of an image in its header is all that draws depend on. */
#include "main/drawn.h"

#include "order/order.h"
#include "worker/maker.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void drawn_init(struct drawn *d, const struct config_feed *feed, const struct samples *samples)
{
	*d = (struct drawn){.feed = feed, .samples = samples, .fd = -1};
}

void drawn_deinit(struct drawn *d)
{
	if (d->fd >= 0)
		close(d->fd);
	free(d->bytes);
	*d = (struct drawn){.fd = -1};
}

static void open_shard(struct drawn *d, uint32_t shard)
{
	if (d->open_shard == shard && d->fd >= 0)
		return;
	if (d->fd >= 0)
		close(d->fd);
	d->fd = open(d->samples->shards[shard].path, O_RDONLY | O_CLOEXEC);
	d->open_shard = shard;
}

/* The member of an image field; NULL with the cause told on stderr. */
static const char *read_member(struct drawn *d, uint64_t sample, unsigned field, size_t *ret_n)
{
	const struct order_shards shards = {d->samples->starts, d->samples->n_shards};
	const struct sample_place *place = samples_place(d->samples, sample, field);
	uint64_t in_shard;
	const uint32_t number = order_shard_of(&shards, sample, &in_shard);
	const struct sample_shard *shard = &d->samples->shards[number];
	size_t n = shard->header_bytes + place->size;
	struct reason why;
	ssize_t got;

	if (place->header_block >= SAMPLE_REPEATED)
		return NULL; /* a bad sample: it draws nothing */
	open_shard(d, number);
	if (n > d->n_bytes) {
		free(d->bytes);
		d->bytes = malloc(n);
		d->n_bytes = d->bytes ? n : 0;
	}
	got = d->fd < 0 || !d->bytes ? -1 : pread(d->fd, d->bytes, n, (off_t)place->header_block * 512);
	if (got < 0) {
		fprintf(stderr, "ringfeed: %s: %s\n", shard->path, strerror(errno));
		return NULL;
	}
	if (tar_header_read(d->bytes, (size_t)got, &d->header, &why) || d->header.size != place->size ||
	    d->header.payload_at + d->header.size > (uint64_t)got) {
		fprintf(stderr, "ringfeed: %s: the shard is not the one that was indexed\n", shard->path);
		return NULL;
	}
	*ret_n = (size_t)d->header.size;
	return d->bytes + d->header.payload_at;
}

void drawn_text(struct drawn *d, uint64_t epoch, uint64_t position, uint64_t sample, char text[DRAWN_MAX])
{
	const struct pipeline *p = &d->feed->pipeline;
	size_t used = 0;

	*text = 0;
	for (unsigned f = 0; f < p->n_fields; f++) {
		uint32_t width, height;
		const char *payload;
		size_t n;
		int more;

		if (p->fields[f].decode != DECODE_IMAGE)
			continue;
		payload = read_member(d, sample, f, &n);
		if (!payload || maker_image_size(&p->fields[f], payload, n, &width, &height) != CAUSE_none)
			continue;
		if (used && used < DRAWN_MAX - 1)
			text[used++] = '\t';
		more = maker_draws(p, f, d->feed->seed, epoch, position, width, height, text + used,
				   DRAWN_MAX - used);
		used += more > 0 ? (size_t)more : 0;
		if (more == 0 && used)
			text[--used] = 0;
		if (used >= DRAWN_MAX)
			return;
	}
}

json_t *drawn_json(const char *text)
{
	json_t *draws = json_array();
	const char *next;

	for (; *text; text = next) {
		next = strchr(text, '\t');
		next = next ? next : text + strlen(text);
		json_array_append_new(draws, json_stringn(text, (size_t)(next - text)));
		next += *next == '\t';
	}
	return draws;
}
