/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Memory that there is not: whichever allocation of a new core fails, it says so and keeps nothing. What it takes, the orders
 * of all epochs that it keeps included, is what core_bytes() planned for. An order that finds none later on is a broken
 * promise, and the end.
 */
#include "apart.h"
#include "counted.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { SAMPLES = 1000, KEPT = 8 /* orders of a feed */ };

static int set_up(void **state)
{
	static struct apart laid;

	apart_init(&laid, SAMPLES);
	laid.feed.batch_size = laid.feed.n_rows = 8;
	laid.feed.n_slots = 4;
	laid.feed.slots_per_rank = 2;
	laid.feed.slot_bytes = 1 << 20;
	laid.feed.order.shuffle = SHUFFLE_BLOCK;
	laid.feed.order.window = 64;
	laid.spec.n_streams = 2;
	laid.spec.n_ahead = 8;
	laid.spec.read_timeout_ns = laid.spec.task_timeout_ns = 1000000000;
	*state = &laid;
	return 0;
}

static void drain(struct core *c)
{
	struct core_action a;

	while (core_next(c, &a))
		;
}

/* And away again. */
static void attach(struct core *c, uint64_t epoch)
{
	struct core_attach a = {.group = "", .world = 1, .local_world = 1, .credit = 2, .has_place = true, .epoch = epoch};
	struct reason why;
	uint32_t stream;

	assert_int_equal(core_on_attach(c, 1, &a, &stream, &why), 0);
	drain(c);
	core_on_detach(c, 2, stream);
	drain(c);
	core_on_hangup(c, 2, stream);
	drain(c);
	core_on_exit(c, 2, stream);
	drain(c);
}

static void test_each_fails(void **state)
{
	const struct apart *laid = *state;
	unsigned which = 0;
	struct core *core;
	int r;

	do {
		core = NULL;
		counted_begin(++which);
		r = core_new(&laid->spec, &core);
		if (r < 0) {
			assert_int_equal(r, -ENOMEM);
			assert_null(core);
			assert_int_equal(counted.n_live, 0);
		}
	} while (r < 0);
	assert_int_equal(counted.n_callocs, which - 1); /* the first that none was there to fail */
	assert_true(which > 10);
	core_free(core);
	assert_int_equal(counted.n_live, 0);
}

static void test_as_planned(void **state)
{
	const struct apart *laid = *state;
	const size_t one_order = order_bytes(&laid->feed.order, &(struct order_shards){laid->starts, 1});
	struct core *core;
	size_t at_first;
	int n_live;

	counted_begin(0);
	assert_int_equal(core_new(&laid->spec, &core), 0);
	at_first = counted.n_bytes;
	assert_true(one_order > 0);
	n_live = counted.n_live;
	for (unsigned epoch = 0; epoch < KEPT + 3; epoch++) {
		attach(core, epoch);
		attach(core, epoch); /* kept */
		/* Its two tables; of the ninth they lie where the oldest ones were. */
		assert_int_equal(counted.n_live, n_live + 2 * (int)(epoch < KEPT ? epoch + 1 : KEPT));
		assert_int_equal(counted.n_bytes, at_first + (epoch + 1) * one_order);
	}
	assert_int_equal(core_bytes(&laid->spec), at_first + KEPT * one_order);
	/* Epochs 3 to 10 are there. Who is wanted again stays, and the one goes that was not wanted for longest. */
	attach(core, 3);
	attach(core, 20);
	attach(core, 3);
	assert_int_equal(counted.n_bytes, at_first + (KEPT + 4) * one_order);
	attach(core, 4);
	assert_int_equal(counted.n_bytes, at_first + (KEPT + 5) * one_order);
	core_free(core);
	assert_int_equal(counted.n_live, 0);
	assert_null(core_free(NULL));
}

static void test_broken_promise(void **state)
{
	const struct apart *laid = *state;
	struct core *core;
	int status;
	pid_t pid;

	counted_begin(0);
	assert_int_equal(core_new(&laid->spec, &core), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		const struct rlimit none = {0, 0};

		setrlimit(RLIMIT_CORE, &none);
		signal(SIGABRT, SIG_DFL); /* cmocka's own handler would end it with an exit code */
		counted_begin(1);
		attach(core, 0);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	core_free(core);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_each_fails, set_up),
		cmocka_unit_test_setup(test_as_planned, set_up),
		cmocka_unit_test_setup(test_broken_promise, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
