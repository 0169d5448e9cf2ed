/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* The rules of proto/protocol.md, "Who a trainer is" and "The socket". */
#include "client/environment.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct variable {
	const char *name, *value;
};

static const char *const names[] = {
	"RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_STEP_ID",
	"SLURM_JOB_ID", "SLURM_NODEID", "SLURM_STEP_TASKS_PER_NODE", "SLURM_NTASKS_PER_NODE",
	"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE", "RINGFEED_GROUP",
	"MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT",
	"RINGFEED_SOCKET", "XDG_RUNTIME_DIR", "TMPDIR",
};

static void set_environment(const struct variable *v)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		unsetenv(names[i]);
	for (; v->name; v++)
		setenv(v->name, v->value, 1);
}

static void identities(void **state)
{
	static const struct {
		struct variable set[10];
		struct rf_options options;
		struct identity expected;
		const char *refusal; /* a part of it */
	} cases[] = {
		{.expected = {0, 1, 1, 0, ""}},
		{.set = {{"WORLD_SIZE", "1"}, {"RINGFEED_GROUP", "g"}}, .expected = {0, 1, 1, 0, ""}},
		{.options = {.group = "mine"}, .expected = {0, 1, 1, 0, "mine"}},
		{.set = {{"RANK", "3"}, {"WORLD_SIZE", "4"}, {"LOCAL_WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"},
			 {"MASTER_PORT", "1"}, {"TORCHELASTIC_RUN_ID", "r"}, {"TORCHELASTIC_RESTART_COUNT", "5"}},
		 .expected = {3, 4, 2, 5, "a:1/r"}},
		{.set = {{"RANK", "3"}, {"WORLD_SIZE", "4"}, {"MASTER_ADDR", "a"}, {"MASTER_PORT", "1"}},
		 .expected = {3, 4, 4, 0, "a:1/"}},
		{.set = {{"RANK", "3"}, {"WORLD_SIZE", "4"}, {"SLURM_JOB_ID", "77"}, {"SLURM_STEP_ID", "0"},
			 {"MASTER_ADDR", "a"}, {"MASTER_PORT", "1"}, {"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "2"}},
		 .expected = {3, 4, 4, 0, "77.0"}},
		{.set = {{"RANK", "3"}, {"WORLD_SIZE", "4"}, {"SLURM_JOB_ID", "77"}, {"SLURM_STEP_ID", "0"},
			 {"RINGFEED_GROUP", "g"}},
		 .expected = {3, 4, 4, 0, "g"}},
		{.set = {{"SLURM_PROCID", "6"}, {"SLURM_NTASKS", "11"}, {"SLURM_JOB_ID", "77"}, {"SLURM_STEP_ID", "2"},
			 {"SLURM_NODEID", "2"}, {"SLURM_STEP_TASKS_PER_NODE", "4(x2),3"}},
		 .expected = {6, 11, 3, 0, "77.2"}},
		/* A batch script: Slurm's numbers are not this process's. */
		{.set = {{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}, {"SLURM_JOB_ID", "77"}},
		 .expected = {0, 1, 1, 0, ""}},
		{.set = {{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "2"},
			 {"OMPI_COMM_WORLD_LOCAL_SIZE", "1"}, {"RINGFEED_GROUP", "g"}},
		 .expected = {1, 2, 1, 0, "g"}},
		{.set = {{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"LOCAL_WORLD_SIZE", "2"}},
		 .options = {.has_rank = 1, .rank = 4, .world_size = 8, .group = "x"},
		 .expected = {4, 8, 2, 0, "x"}},
		{.options = {.has_rank = 1, .rank = 4, .world_size = 8, .local_world_size = 4, .group = "x"},
		 .expected = {4, 8, 4, 0, "x"}},
		{.set = {{"RANK", "1"}}, .refusal = "RANK is set but WORLD_SIZE is not"},
		{.set = {{"WORLD_SIZE", "2"}}, .refusal = "WORLD_SIZE is set but RANK is not"},
		{.set = {{"RANK", "1"}, {"WORLD_SIZE", "2"}}, .refusal = "agree on a group"},
		{.set = {{"RANK", "2"}, {"WORLD_SIZE", "2"}}, .refusal = "rank 2 of a world of 2; 0 to 1"},
		{.set = {{"RANK", "-1"}, {"WORLD_SIZE", "2"}}, .refusal = "RANK is '-1'"},
		{.set = {{"RANK", "1x"}, {"WORLD_SIZE", "2"}}, .refusal = "RANK is '1x'"},
		{.set = {{"RANK", "0"}, {"WORLD_SIZE", "99999999999999999999"}}, .refusal = "WORLD_SIZE is '9999"},
		{.set = {{"RANK", "0"}, {"WORLD_SIZE", "0"}}, .refusal = "world size is 0"},
		{.set = {{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"LOCAL_WORLD_SIZE", "3"}}, .refusal = "local world size 3"},
		{.set = {{"TORCHELASTIC_RESTART_COUNT", "x"}}, .refusal = "TORCHELASTIC_RESTART_COUNT is 'x'"},
		{.set = {{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "4"}, {"SLURM_STEP_ID", "2"}, {"SLURM_NODEID", "3"},
			 {"SLURM_STEP_TASKS_PER_NODE", "2(x2)"}},
		 .refusal = "has no node 3"},
		{.options = {.has_rank = 1, .rank = -1, .world_size = 2}, .refusal = "rank -1"},
		{.options = {.has_rank = 1, .rank = 0, .world_size = 0}, .refusal = "world size is 0"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct identity id;
		struct reason why = {""};
		int r;

		set_environment(cases[i].set);
		r = environment_identity(&cases[i].options, &id, &why);
		if (cases[i].refusal) {
			assert_int_equal(r, ENVIRONMENT_E_REFUSED);
			assert_non_null(strstr(why.text, cases[i].refusal));
			continue;
		}
		assert_int_equal(r, 0);
		assert_int_equal(id.rank, cases[i].expected.rank);
		assert_int_equal(id.world, cases[i].expected.world);
		assert_int_equal(id.local_world, cases[i].expected.local_world);
		assert_int_equal(id.generation, cases[i].expected.generation);
		assert_string_equal(id.group, cases[i].expected.group);
	}
}

static void group_too_long(void **state)
{
	char name[300];
	struct rf_options options = {.group = name};
	struct identity id;
	struct reason why;

	set_environment(&(struct variable){0});
	memset(name, 'g', sizeof(name));
	name[255] = '\0';
	assert_int_equal(environment_identity(&options, &id, &why), 0);
	assert_int_equal(strlen(id.group), 255);
	name[255] = 'g';
	name[256] = '\0';
	assert_int_equal(environment_identity(&options, &id, &why), ENVIRONMENT_E_REFUSED);
}

static void sockets(void **state)
{
	char path[SOCKET_MAX], longest[200];
	struct reason why;

	set_environment((struct variable[]){{"RINGFEED_SOCKET", "/e"}, {"XDG_RUNTIME_DIR", "/x"}, {0}});
	assert_int_equal(environment_socket("/asked", path, &why), 0);
	assert_string_equal(path, "/asked");
	assert_int_equal(environment_socket(NULL, path, &why), 0);
	assert_string_equal(path, "/e");
	unsetenv("RINGFEED_SOCKET");
	assert_int_equal(environment_socket(NULL, path, &why), 0);
	assert_string_equal(path, geteuid() == 0 ? "/run/ringfeed/ringfeed.sock" : "/x/ringfeed.sock");
	memset(longest, 'p', sizeof(longest));
	longest[107] = '\0';
	assert_int_equal(environment_socket(longest, path, &why), 0);
	longest[107] = 'p';
	longest[108] = '\0';
	assert_int_equal(environment_socket(longest, path, &why), ENVIRONMENT_E_REFUSED);
}

/* As a user without a runtime folder: only a folder of his own is trusted. Done by root as a user that
 * nobody is, so that no real user's folder is touched. */
static void temporary_folder(void **state)
{
	const char *folder = "/tmp/ringfeed-64999";
	char path[SOCKET_MAX];
	struct reason why;

	if (geteuid() != 0)
		skip();
	assert_int_equal(seteuid(64999), 0);
	set_environment((struct variable[]){{"TMPDIR", "/elsewhere"}, {0}}); /* launchers change it from job to job */
	assert_int_equal(environment_socket(NULL, path, &why), 0);
	assert_string_equal(path, "/tmp/ringfeed-64999/ringfeed.sock");
	assert_int_equal(mkdir(folder, 0700), 0);
	assert_int_equal(environment_socket(NULL, path, &why), 0);
	assert_int_equal(chmod(folder, 0755), 0);
	assert_int_equal(environment_socket(NULL, path, &why), ENVIRONMENT_E_REFUSED);
	assert_int_equal(rmdir(folder), 0);
	assert_int_equal(symlink("/", folder), 0);
	assert_int_equal(environment_socket(NULL, path, &why), ENVIRONMENT_E_REFUSED);
	assert_int_equal(unlink(folder), 0);
	assert_int_equal(seteuid(0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(identities),
		cmocka_unit_test(group_too_long),
		cmocka_unit_test(sockets),
		cmocka_unit_test(temporary_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
