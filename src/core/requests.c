/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Requests as such: bytes of a shard in memory, who uses them, and the lists they stand in. */
#include "core/state.h"

#include <assert.h>

/* What is read ahead stays until its trainer goes on: it leaves some for rows that others wait for. */
static uint32_t count_kept(const struct core *c, bool is_due)
{
	return is_due ? 0 : c->n_requests / 4;
}

/* Planned reads that nobody wants any more, which launch() would come to when others have ended. */
static bool drop_unused(struct core *c)
{
	struct list kept = list_empty();
	bool is_any = false;

	while (c->queue.head != NONE) {
		uint32_t request = request_pop(c, &c->queue);

		if (c->requests[request].n_users > 0) {
			request_push(c, &kept, request);
			continue;
		}
		request_free(c, request);
		is_any = true;
	}
	c->queue = kept;
	return is_any;
}

/* A request of no kind yet, or NONE. Units that nobody uses give theirs up. */
uint32_t request_get(struct core *c, bool is_due)
{
	uint32_t request;

	while (c->n_free_requests <= count_kept(c, is_due))
		if (!drop_unused(c) && !units_evict(c))
			return NONE;
	request = c->free_request;
	c->free_request = c->requests[request].next;
	c->n_free_requests--;
	c->requests[request] = (struct request){.first_extent = NONE, .unit = NONE, .fill = NONE, .next = NONE,
						.newer = NONE, .older = NONE};
	return request;
}

static struct pages *zone_of(struct core *c, const struct request *r)
{
	if (r->unit != NONE)
		return &c->feeds[r->feed].inflated;
	if (c->pieces.n_pages && r->page >= c->pieces.first)
		return &c->pieces;
	return r->page >= c->ahead.first ? &c->ahead : &c->must;
}

static void free_pages(struct core *c, struct request *r)
{
	pages_put(zone_of(c, r), r->page, r->n_pages);
	r->n_pages = 0;
}

void request_free(struct core *c, uint32_t request)
{
	struct request *r = &c->requests[request];

	free_pages(c, r);
	r->state = REQUEST_FREE;
	r->next = c->free_request;
	c->free_request = request;
	c->n_free_requests++;
}

/* A read in flight lives on until it ends: the kernel may still write. */
void request_put(struct core *c, uint32_t request)
{
	struct request *r = &c->requests[request];

	assert(r->n_users > 0);
	if (--r->n_users > 0)
		return;
	if (r->unit != NONE)
		unit_idle(c, request);
	else if (r->state == REQUEST_LANDED)
		request_free(c, request);
	else if (r->state == REQUEST_QUEUED) /* launch() drops it; its pages are wanted before */
		free_pages(c, r);
}

void request_attach(struct core *c, uint32_t request, uint32_t extent)
{
	struct request *r = &c->requests[request];
	struct extent *x = &c->extents[extent];

	x->request = request;
	x->prev = NONE;
	x->next = r->first_extent;
	if (x->next != NONE)
		c->extents[x->next].prev = extent;
	r->first_extent = extent;
	r->n_users++;
}

/* ---- lists by next ---- */

void request_push(struct core *c, struct list *l, uint32_t request)
{
	c->requests[request].next = NONE;
	if (l->tail == NONE)
		l->head = request;
	else
		c->requests[l->tail].next = request;
	l->tail = request;
}

uint32_t request_pop(struct core *c, struct list *l)
{
	uint32_t request = l->head;

	l->head = c->requests[request].next;
	if (l->head == NONE)
		l->tail = NONE;
	return request;
}

/* It is somewhere in the list. */
void request_remove(struct core *c, struct list *l, uint32_t request)
{
	uint32_t before = NONE;

	for (uint32_t i = l->head; i != request; i = c->requests[i].next)
		before = i;
	if (before == NONE)
		l->head = c->requests[request].next;
	else
		c->requests[before].next = c->requests[request].next;
	if (l->tail == request)
		l->tail = before;
}
