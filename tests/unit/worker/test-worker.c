/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * A real worker on a channel: samples that go into rows of several batches, of their feed and of a view of it. The
 * members are made by tar's rules here; what must lie in the slots is written out.
 */
#include "batch/slots.h"
#include "core/task.h"
#include "pack/ustar.h"
#include "worker/worker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { TRAIN, SMALL, N_FEEDS, LABEL = 0, TEXT, N_FIELDS, N_ROWS = 4, N_SLOTS = 3, MEMBER = 1024, TEXT_MAX = 8 };

#define LARGE ((size_t)1 << 30)

struct scene {
	struct pipeline pipelines[N_FEEDS];
	struct worker_feed feeds[N_FEEDS];
	struct slots pools[N_FEEDS];
	struct samples samples;
	struct memory area;
	struct worker_setup setup;
	size_t n_area;
	int channel;
	pid_t pid;
};

static struct pipeline pipeline_of(enum dtype label)
{
	return (struct pipeline){
		.n_fields = N_FIELDS,
		.limits = {.max_pixels = 1000, .max_scans = 1, .decode_memory = 1 << 20},
		.fields = {
			{.name = "label", .extensions = {"cls"}, .n_extensions = 1, .decode = DECODE_INTEGER, .dtype = label},
			{.name = "text", .extensions = {"txt"}, .n_extensions = 1, .decode = DECODE_TEXT,
			 .dtype = DTYPE_uint8, .max_bytes = TEXT_MAX, .n_dims = 1, .dims = {TEXT_MAX}},
		},
	};
}

static int set_up(void **state)
{
	static const enum dtype labels[N_FEEDS] = {DTYPE_int64, DTYPE_int16};
	static const char *const names[N_FEEDS] = {"train", "train/small"};
	struct scene *s = calloc(1, sizeof(*s));
	int ends[2];

	assert_non_null(s);
	for (unsigned i = 0; i < N_FEEDS; i++) {
		s->pipelines[i] = pipeline_of(labels[i]);
		s->feeds[i] = (struct worker_feed){.name = names[i], .base = TRAIN, .pipeline = &s->pipelines[i],
						   .samples = &s->samples, .n_slots = N_SLOTS};
		slot_layout_make(&s->pipelines[i], N_ROWS, &s->feeds[i].layout);
		assert_int_equal(slots_init(N_SLOTS, s->feeds[i].layout.n_bytes, &s->pools[i]), 0);
		s->feeds[i].slots = s->pools[i].list;
		for (unsigned k = 0; k < N_SLOTS; k++)
			memset(s->pools[i].list[k].base, 0xee, s->feeds[i].layout.n_bytes);
	}
	assert_int_equal(memory_new("test-area", 1 << 20, &s->area), 0);
	s->setup = (struct worker_setup){.feeds = s->feeds, .n_feeds = N_FEEDS, .area = s->area,
					 .read_bytes = s->area.n_bytes, .scratch_bytes = 1 << 16};
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	s->pid = fork();
	if (s->pid == 0) {
		close(ends[0]);
		worker_main(&s->setup, 0, ends[1]);
	}
	close(ends[1]);
	s->channel = ends[0];
	*state = s;
	return 0;
}

/* The index of the daemon is memory that its workers inherit and do not use. */
static int set_up_large(void **state)
{
	void *index = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int r;

	assert_ptr_not_equal(index, MAP_FAILED);
	r = set_up(state);
	munmap(index, LARGE);
	return r;
}

static int tear_down(void **state)
{
	struct scene *s = *state;
	int status;

	close(s->channel);
	assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
	assert_int_equal(status, 0);
	for (unsigned i = 0; i < N_FEEDS; i++)
		slots_deinit(&s->pools[i]);
	memory_deinit(&s->area);
	free(s);
	return 0;
}

static struct task_extent member(struct scene *s, const char *name, const char *text)
{
	uint8_t *at = (uint8_t *)s->area.base + s->n_area;
	const struct task_extent x = {.at = s->n_area, .n_bytes = MEMBER, .size = (uint32_t)strlen(text)};

	ustar_header(name, x.size, at);
	memcpy(at + USTAR_BLOCK, text, x.size);
	s->n_area += MEMBER;
	return x;
}

struct packet {
	struct task task;
	struct task_sample samples[3];
	struct task_extent extents[3][N_FIELDS];
	struct task_target targets[4];
};

/* Sample 10: three rows of train, one of the view; 11: bad; 12: one row, masked, and one of the view. */
static struct packet make_packet(struct scene *s)
{
	struct packet p = {
		.task = {.id = 7, .kind = TASK_ROWS, .feed = TRAIN, .slot = 1, .n_samples = 3},
		.samples = {{.position = 100, .sample = 10, .row = 3, .flags = TASK_SAMPLE_VALID, .n_more = 3},
			    {.position = 101, .sample = 11, .row = 1, .flags = TASK_SAMPLE_VALID},
			    {.position = 102, .sample = 12, .row = 2, .flags = TASK_SAMPLE_MASK, .n_more = 1}},
		.targets = {{.feed = TRAIN, .slot = 0, .row = 2}, {.feed = SMALL, .slot = 2, .row = 0},
			    {.feed = TRAIN, .slot = 2, .row = 0}, {.feed = SMALL, .slot = 0, .row = 3}},
	};

	p.extents[0][LABEL] = member(s, "a.cls", "-300");
	p.extents[0][TEXT] = member(s, "a.txt", "hello");
	p.extents[1][LABEL] = member(s, "b.cls", "40000"); /* which the view's int16 does not hold */
	p.extents[1][TEXT] = member(s, "b.txt", "x");
	return p;
}

static void check_row(const struct scene *s, unsigned feed, unsigned slot, unsigned row, int64_t sample, int64_t position,
		      bool is_valid, int64_t label, const char *text)
{
	const struct slot_layout *l = &s->feeds[feed].layout;
	const char *base = s->pools[feed].list[slot].base;
	char padded[TEXT_MAX] = "";
	int16_t small;
	int64_t got;

	memcpy(padded, text, strlen(text));
	assert_int_equal(((const int64_t *)(base + l->index_at))[row], sample);
	assert_int_equal(((const int64_t *)(base + l->position_at))[row], position);
	assert_int_equal(base[l->valid_at + row], is_valid);
	memcpy(&got, base + l->field_at[LABEL] + row * l->row_bytes[LABEL], l->row_bytes[LABEL]);
	memcpy(&small, &got, sizeof(small));
	assert_int_equal(feed == SMALL ? small : got, label);
	assert_memory_equal(base + l->field_at[TEXT] + row * l->row_bytes[TEXT], padded, TEXT_MAX);
	assert_int_equal(((const int64_t *)(base + l->lengths_at[TEXT]))[row], strlen(text));
}

/* Nobody's rows: valid is as it was filled. */
static unsigned count_written(const struct scene *s)
{
	unsigned n = 0;

	for (unsigned i = 0; i < N_FEEDS; i++)
		for (unsigned k = 0; k < N_SLOTS; k++)
			for (unsigned row = 0; row < N_ROWS; row++)
				n += ((uint8_t *)s->pools[i].list[k].base)[s->feeds[i].layout.valid_at + row] != 0xee;
	return n;
}

static void many_rows(void **state)
{
	struct scene *s = *state;
	const struct packet p = make_packet(s);
	struct {
		struct answer head;
		struct answer_sample samples[TASK_SAMPLES_MAX];
	} answer;

	assert_int_equal(recv(s->channel, &answer, sizeof(answer), 0), sizeof(answer.head)); /* it is up */
	assert_int_equal(send(s->channel, &p, sizeof(p), 0), sizeof(p));
	assert_int_equal(recv(s->channel, &answer, sizeof(answer), 0),
			 sizeof(answer.head) + 3 * sizeof(answer.samples[0]));
	assert_int_equal(answer.head.id, 7);
	assert_int_equal(answer.samples[0].code, ANSWER_DONE);
	assert_int_equal(answer.samples[1].code, ANSWER_BAD);
	assert_int_equal(answer.samples[2].code, ANSWER_DONE);
	check_row(s, TRAIN, 1, 3, 10, 100, true, -300, "hello");
	check_row(s, TRAIN, 0, 2, 10, 100, true, -300, "hello");
	check_row(s, SMALL, 2, 0, 10, 100, true, -300, "hello");
	check_row(s, TRAIN, 2, 0, 10, 100, true, -300, "hello");
	check_row(s, TRAIN, 1, 2, 12, 102, false, 0, "");
	check_row(s, SMALL, 0, 3, 12, 102, false, 0, "");
	assert_int_equal(count_written(s), 7); /* the bad one's row, too */
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(many_rows, set_up, tear_down),
					  cmocka_unit_test_setup_teardown(many_rows, set_up_large, tear_down)};

	return cmocka_run_group_tests_name("worker", tests, NULL, NULL);
}
