/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* The public functions with nothing to talk to; what they do with a daemon is in tests/python/test_client.py. */
#include <ringfeed/ringfeed.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static const struct rf_options missing = {
	.size = sizeof(missing), .feed = "train", .socket = "/nonexistent/ringfeed.sock",
};

static void wrong_options(void **state)
{
	static const struct {
		const char *text;
		struct rf_options options;
	} cases[] = {
		{"no feed", {.size = sizeof(struct rf_options)}},
		{"no feed", {.size = sizeof(size_t)}}, /* an older program: the rest counts as unset */
		{"credit -1", {.size = sizeof(struct rf_options), .feed = "f", .credit = -1}},
		{"timeout_ms -5", {.size = sizeof(struct rf_options), .feed = "f", .timeout_ms = -5}},
		{"start 2", {.size = sizeof(struct rf_options), .feed = "f", .start = 2}},
		{"start -1", {.size = sizeof(struct rf_options), .feed = "f", .start = -1}},
		{"rank 1 of a world of 1",
		 {.size = sizeof(struct rf_options), .feed = "f", .has_rank = 1, .rank = 1, .world_size = 1}},
		{"feed's name is 64", {.size = sizeof(struct rf_options),
		 .feed = "0123456789012345678901234567890123456789012345678901234567890123"}},
	};
	struct rf_session *s = NULL;
	struct rf_error e;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_int_equal(rf_session_open(&cases[i].options, &s, &e), -EINVAL);
		assert_string_equal(e.name, "BadConfig");
		assert_non_null(strstr(e.text, cases[i].text));
		assert_int_equal(rf_session_open(&cases[i].options, &s, NULL), -EINVAL);
	}
	assert_int_equal(rf_session_open(NULL, &s, &e), -EINVAL);
	assert_int_equal(rf_session_open(&missing, NULL, &e), -EINVAL);
	assert_null(s);
}

static void missing_daemon(void **state)
{
	struct rf_session *s = NULL;
	struct rf_error e;
	char *json = NULL;

	assert_int_equal(rf_session_open(&missing, &s, &e), -ECONNRESET);
	assert_string_equal(e.name, "DaemonGone");
	assert_non_null(strstr(e.text, "/nonexistent/ringfeed.sock"));
	assert_int_equal(rf_status(missing.socket, 100, &json, &e), -ECONNRESET);
	assert_string_equal(e.name, "DaemonGone");
	assert_non_null(strstr(e.text, "/nonexistent/ringfeed.sock"));
	assert_null(s);
	assert_null(json);
}

static void deferred(void **state)
{
	struct rf_options options = missing;
	struct rf_session *s;
	struct rf_batch *b = NULL;
	char token[600];

	options.is_deferred = 1;
	options.token = "t";
	assert_int_equal(rf_session_open(&options, &s, NULL), 0);
	assert_int_equal(rf_session_n_batches(s), -ENODATA);
	assert_int_equal(rf_session_n_fields(s), -ENODATA);
	assert_null(rf_session_field_name(s, 0));
	assert_int_equal(rf_session_token(s, token, 1), -ENOSPC);
	assert_int_equal(rf_session_token(s, token, sizeof(token)), 1);
	assert_int_equal(rf_session_pinned(s, token, sizeof(token)), -ENODATA);
	assert_int_equal(rf_session_pinned(s, NULL, 1), -EINVAL);
	assert_int_equal(rf_session_next(s, -2, &b), -EINVAL);
	assert_int_equal(rf_session_next(s, 0, NULL), -EINVAL);
	assert_int_equal(rf_session_set_epoch(s, (uint64_t)1 << 63, 0), -EINVAL);
	assert_int_equal(rf_session_next(s, 0, &b), -ECONNRESET);
	assert_string_equal(rf_session_error(s)->name, "DaemonGone");
	assert_int_equal(rf_session_reconnect(s, 50), -ECONNRESET);
	assert_null(b);
	assert_null(rf_session_close(s));
}

/* In a child, and in a child of it, every call says so at once. */
static void forked(void **state)
{
	struct rf_options options = missing;
	struct rf_batch *b = NULL;
	struct rf_session *s;
	char token[600];
	int status;

	options.is_deferred = 1;
	assert_int_equal(rf_session_open(&options, &s, NULL), 0);
	if (fork() == 0) {
		const pid_t pid = fork();
		const bool is_told = rf_session_next(s, -1, &b) == -EOWNERDEAD &&
				     rf_session_reconnect(s, -1) == -EOWNERDEAD &&
				     rf_session_token(s, token, sizeof(token)) == -EOWNERDEAD &&
				     strcmp(rf_session_error(s)->name, "Forked") == 0 && !rf_session_close(s) &&
				     rf_session_epoch(s) == -EOWNERDEAD;

		if (pid > 0 && (waitpid(pid, &status, 0) != pid || status != 0))
			_exit(2);
		_exit(pid < 0 || !is_told);
	}
	assert_true(wait(&status) > 0);
	assert_int_equal(status, 0);
	assert_int_equal(rf_session_epoch(s), -ENODATA);
	assert_null(rf_session_close(s));
}

static void nothing_at_all(void **state)
{
	assert_int_equal(rf_session_next(NULL, 0, &(struct rf_batch *){NULL}), -EINVAL);
	assert_int_equal(rf_batch_release(NULL), -EINVAL);
	assert_int_equal(rf_batch_n_rows(NULL), -EINVAL);
	assert_null(rf_batch_index(NULL));
	assert_null(rf_session_close(NULL));
	assert_string_equal(rf_session_error(NULL)->name, "BadConfig");
	assert_int_equal(rf_session_epoch(NULL), -EINVAL);
	assert_int_equal(rf_session_pinned(NULL, NULL, 0), -EINVAL);
	assert_string_equal(rf_version(), "0.1.0");
	rf_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wrong_options),
		cmocka_unit_test(missing_daemon),
		cmocka_unit_test(deferred),
		cmocka_unit_test(forked),
		cmocka_unit_test(nothing_at_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
