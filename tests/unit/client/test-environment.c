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
	"RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "LOCAL_RANK", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "SLURM_STEP_ID",
	"SLURM_JOB_ID", "SLURM_NODEID", "SLURM_STEP_TASKS_PER_NODE", "SLURM_NTASKS_PER_NODE",
	"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK",
	"PMIX_NAMESPACE", "PET_NODE_RANK", "PET_NNODES", "PET_NPROC_PER_NODE", "JOB_COMPLETION_INDEX", "RINGFEED_GROUP",
	"RINGFEED_REPLICA", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT",
	"RINGFEED_SOCKET", "XDG_RUNTIME_DIR", "TMPDIR",
};

static void set_environment(const struct variable *v)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		unsetenv(names[i]);
	for (; v->name; v++)
		setenv(v->name, v->value, 1);
}

struct identity_case {
	struct variable set[11];
	struct rf_options options;
	struct identity expected;
	const char *refusal; /* a part of it */
};

static void check_case(const struct identity_case *c)
{
	struct identity id;
	struct reason why = {""};
	int r;

	set_environment(c->set);
	r = environment_identity(&c->options, &id, &why);
	if (c->refusal) {
		assert_int_equal(r, ENVIRONMENT_E_REFUSED);
		assert_non_null(strstr(why.text, c->refusal));
		return;
	}
	if (r)
		fail_msg("refused: %s", why.text);
	assert_int_equal(id.rank, c->expected.rank);
	assert_int_equal(id.world, c->expected.world);
	assert_int_equal(id.local_world, c->expected.local_world);
	assert_int_equal(id.generation, c->expected.generation);
	assert_string_equal(id.group, c->expected.group);
	assert_int_equal(id.replica, c->expected.replica);
	assert_int_equal(id.has_replica, c->expected.has_replica);
}

static void identities(void **state)
{
	static const struct identity_case cases[] = {
		{.expected = {0, 1, 1, 0, ""}},
		{.set = {{"WORLD_SIZE", "1"}, {"RINGFEED_GROUP", "g"}}, .expected = {0, 1, 1, 0, ""}},
		{.options = {.group = "mine"}, .expected = {0, 1, 1, 0, "mine"}},
		{.options = {.group = "mine", .has_replica = 1, .replica = 3}, .expected = {0, 1, 1, 0, "mine", 3, true}},
		{.options = {.group = "mine", .has_replica = 1}, .set = {{"RINGFEED_REPLICA", "x"}},
		 .expected = {0, 1, 1, 0, "mine", 0, true}},
		{.set = {{"RINGFEED_REPLICA", "2"}, {"RINGFEED_GROUP", "g"}}, .expected = {0, 1, 1, 0, "g", 2, true}},
		{.set = {{"RINGFEED_REPLICA", "0"}, {"RANK", "1"}, {"WORLD_SIZE", "2"}, {"RINGFEED_GROUP", "g"}},
		 .expected = {1, 2, 2, 0, "g", 0, true}},
		{.set = {{"RINGFEED_REPLICA", "2"}}, .refusal = "the replicas of a rank must agree on a group"},
		{.set = {{"RINGFEED_REPLICA", "-1"}, {"RINGFEED_GROUP", "g"}}, .refusal = "RINGFEED_REPLICA is '-1'"},
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
		{.set = {{"RANK", "2"}, {"WORLD_SIZE", "2"}}, .refusal = "rank 2 of a world of 2 (RANK, WORLD_SIZE); 0 to 1"},
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

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		check_case(&cases[i]);
}

/* Every word of a refusal that names several variables. */
static void assert_names(const char *text, const char *words)
{
	char copy[200], *rest = copy;

	assert_true(strlen(words) < sizeof(copy));
	strcpy(copy, words);
	for (const char *word; (word = strsep(&rest, " "));)
		if (!strstr(text, word))
			fail_msg("'%s' does not name %s", text, word);
}

/* Whole launchers, as they set it all. */
static void launchers(void **state)
{
	static const struct identity_case cases[] = {
		/* sbatch -N 4, srun torchrun: torchrun's, not Slurm's, whose tasks are the torchruns. */
		{.set = {{"RANK", "5"}, {"WORLD_SIZE", "8"}, {"LOCAL_WORLD_SIZE", "2"}, {"LOCAL_RANK", "1"},
			 {"SLURM_PROCID", "2"}, {"SLURM_NTASKS", "4"}, {"SLURM_STEP_ID", "0"}, {"SLURM_LOCALID", "0"},
			 {"SLURM_JOB_ID", "9"}},
		 .expected = {5, 8, 2, 0, "9.0"}},
		/* srun, uneven nodes. */
		{.set = {{"SLURM_PROCID", "6"}, {"SLURM_NTASKS", "7"}, {"SLURM_STEP_NUM_TASKS", "7"}, {"SLURM_STEP_ID", "1"},
			 {"SLURM_LOCALID", "0"}, {"SLURM_NODEID", "3"}, {"SLURM_STEP_TASKS_PER_NODE", "2(x3),1"},
			 {"SLURM_JOB_ID", "9"}},
		 .expected = {6, 7, 1, 0, "9.1"}},
		{.set = {{"SLURM_PROCID", "3"}, {"SLURM_NTASKS", "8"}, {"SLURM_STEP_ID", "0"}, {"SLURM_LOCALID", "3"},
			 {"SLURM_NTASKS_PER_NODE", "4"}, {"SLURM_JOB_ID", "9"}},
		 .expected = {3, 8, 4, 0, "9.0"}},
		/* One task of a job that asked for four on each node. */
		{.set = {{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "1"}, {"SLURM_STEP_ID", "0"}, {"SLURM_LOCALID", "0"},
			 {"SLURM_NTASKS_PER_NODE", "4"}, {"SLURM_JOB_ID", "9"}},
		 .expected = {0, 1, 1, 0, ""}},
		/* The shell of an interactive step: the allocation's tasks are not this one's. */
		{.set = {{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}, {"SLURM_STEP_NUM_TASKS", "1"},
			 {"SLURM_STEP_ID", "4294967290"}, {"SLURM_JOB_ID", "9"}, {"SLURM_STEP_TASKS_PER_NODE", "1"}},
		 .expected = {0, 1, 1, 0, ""}},
		/* mpirun. */
		{.set = {{"OMPI_COMM_WORLD_RANK", "3"}, {"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
			 {"OMPI_COMM_WORLD_LOCAL_RANK", "1"}, {"PMIX_NAMESPACE", "prterun-a-7@1"}},
		 .expected = {3, 4, 2, 0, "prterun-a-7@1"}},
		{.set = {{"OMPI_COMM_WORLD_RANK", "3"}, {"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
			 {"PMIX_NAMESPACE", "n"}, {"MASTER_ADDR", "a"}, {"MASTER_PORT", "1"}},
		 .expected = {3, 4, 2, 0, "a:1/"}},
		/* torchrun's own options in a pod that starts its trainer without torchrun. */
		{.set = {{"PET_NODE_RANK", "2"}, {"PET_NNODES", "4"}, {"PET_NPROC_PER_NODE", "1"}, {"RINGFEED_GROUP", "g"}},
		 .expected = {2, 4, 1, 0, "g"}},
		{.set = {{"JOB_COMPLETION_INDEX", "3"}, {"PET_NNODES", "4"}, {"RINGFEED_GROUP", "g"}},
		 .expected = {3, 4, 1, 0, "g"}},
		{.set = {{"PET_NODE_RANK", "1"}, {"PET_NNODES", "2"}, {"PET_NPROC_PER_NODE", "4"}, {"LOCAL_RANK", "2"},
			 {"RINGFEED_GROUP", "g"}},
		 .expected = {6, 8, 4, 0, "g"}},
		{.set = {{"PET_NNODES", "1"}}, .expected = {0, 1, 1, 0, ""}},
		/* torchrun in it: its options mean nothing any more. */
		{.set = {{"PET_NODE_RANK", "1"}, {"PET_NNODES", "1:4"}, {"PET_NPROC_PER_NODE", "gpu"}, {"RANK", "1"},
			 {"WORLD_SIZE", "2"}, {"LOCAL_WORLD_SIZE", "1"}, {"RINGFEED_GROUP", "g"}},
		 .expected = {1, 2, 1, 0, "g"}},
		/* Indexed Jobs. */
		{.set = {{"JOB_COMPLETION_INDEX", "3"}, {"WORLD_SIZE", "4"}, {"RINGFEED_GROUP", "g"}},
		 .expected = {3, 4, 1, 0, "g"}},
		{.set = {{"JOB_COMPLETION_INDEX", "1"}, {"WORLD_SIZE", "4"}, {"LOCAL_WORLD_SIZE", "2"}, {"LOCAL_RANK", "1"},
			 {"RINGFEED_GROUP", "g"}},
		 .expected = {3, 4, 2, 0, "g"}},
		{.set = {{"JOB_COMPLETION_INDEX", "3"}, {"WORLD_SIZE", "1"}}, .expected = {0, 1, 1, 0, ""}},
		/* The caller's word, with what the launcher knows of this machine. */
		{.set = {{"SLURM_PROCID", "6"}, {"SLURM_NTASKS", "8"}, {"SLURM_STEP_ID", "1"}, {"SLURM_NODEID", "1"},
			 {"SLURM_STEP_TASKS_PER_NODE", "4(x2)"}, {"SLURM_JOB_ID", "9"}},
		 .options = {.has_rank = 1, .rank = 3, .world_size = 16}, .expected = {3, 16, 4, 0, "9.1"}},
		{.set = {{"OMPI_COMM_WORLD_LOCAL_SIZE", "4"}},
		 .options = {.has_rank = 1, .rank = 3, .world_size = 16, .group = "g"}, .expected = {3, 16, 4, 0, "g"}},
		{.set = {{"LOCAL_WORLD_SIZE", "8"}},
		 .options = {.has_rank = 1, .rank = 0, .world_size = 1}, .expected = {0, 1, 1, 0, ""}},
		{.set = {{"SLURM_PROCID", "6"}, {"SLURM_STEP_ID", "1"}},
		 .options = {.has_rank = 1, .rank = 0, .world_size = 2, .group = "g"}, .expected = {0, 2, 2, 0, "g"}},
		{.set = {{"JOB_COMPLETION_INDEX", "1"}},
		 .options = {.has_rank = 1, .rank = 0, .world_size = 1}, .expected = {0, 1, 1, 0, ""}},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		check_case(&cases[i]);
}

/* Half-set and contradictory: one sentence with the names of all that do not fit. */
static void contradictions(void **state)
{
	static const struct {
		struct variable set[10];
		const char *named;
	} cases[] = {
		{{{"WORLD_SIZE", "4"}, {"SLURM_PROCID", "1"}, {"SLURM_STEP_ID", "0"}, {"SLURM_NTASKS", "4"}}, "WORLD_SIZE RANK"},
		{{{"RANK", "1"}, {"WORLD_SIZE", "4"}, {"LOCAL_RANK", "2"}, {"LOCAL_WORLD_SIZE", "2"}},
		 "LOCAL_RANK LOCAL_WORLD_SIZE"},
		{{{"RANK", "1"}, {"WORLD_SIZE", "4"}, {"LOCAL_RANK", "2"}}, "LOCAL_RANK RANK"},
		{{{"RANK", "4"}, {"WORLD_SIZE", "4"}}, "RANK WORLD_SIZE"},
		{{{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"LOCAL_WORLD_SIZE", "4"}}, "LOCAL_WORLD_SIZE WORLD_SIZE"},
		{{{"SLURM_STEP_ID", "0"}, {"SLURM_PROCID", "1"}}, "SLURM_PROCID SLURM_NTASKS"},
		{{{"SLURM_STEP_ID", "0"}, {"SLURM_PROCID", "4"}, {"SLURM_NTASKS", "4"}}, "SLURM_PROCID SLURM_NTASKS"},
		{{{"SLURM_STEP_ID", "0"}, {"SLURM_PROCID", "1"}, {"SLURM_NTASKS", "4"}, {"SLURM_NODEID", "0"},
		  {"SLURM_STEP_TASKS_PER_NODE", "2(x3),1"}}, "SLURM_STEP_TASKS_PER_NODE 2(x3),1 SLURM_NTASKS 7 4"},
		{{{"SLURM_STEP_ID", "0"}, {"SLURM_PROCID", "3"}, {"SLURM_NTASKS", "4"}, {"SLURM_NODEID", "1"},
		  {"SLURM_LOCALID", "2"}, {"SLURM_STEP_TASKS_PER_NODE", "2(x2)"}}, "SLURM_LOCALID SLURM_STEP_TASKS_PER_NODE"},
		{{{"SLURM_STEP_ID", "0"}, {"SLURM_PROCID", "3"}, {"SLURM_NTASKS", "4"}, {"SLURM_NODEID", "2"},
		  {"SLURM_STEP_TASKS_PER_NODE", "2(x2)"}}, "SLURM_NODEID SLURM_STEP_TASKS_PER_NODE"},
		{{{"OMPI_COMM_WORLD_SIZE", "2"}}, "OMPI_COMM_WORLD_SIZE OMPI_COMM_WORLD_RANK"},
		{{{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "2"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "1"},
		  {"OMPI_COMM_WORLD_LOCAL_RANK", "1"}}, "OMPI_COMM_WORLD_LOCAL_RANK OMPI_COMM_WORLD_LOCAL_SIZE"},
		{{{"PET_NODE_RANK", "1"}}, "PET_NODE_RANK PET_NNODES"},
		{{{"PET_NPROC_PER_NODE", "1"}}, "PET_NPROC_PER_NODE PET_NNODES"},
		{{{"PET_NNODES", "2"}}, "PET_NNODES PET_NODE_RANK JOB_COMPLETION_INDEX"},
		{{{"PET_NNODES", "1:4"}, {"PET_NODE_RANK", "0"}}, "PET_NNODES 1:4 torchrun"},
		{{{"PET_NNODES", "2"}, {"PET_NODE_RANK", "0"}, {"PET_NPROC_PER_NODE", "gpu"}}, "PET_NPROC_PER_NODE gpu torchrun"},
		{{{"PET_NNODES", "2"}, {"PET_NODE_RANK", "0"}, {"PET_NPROC_PER_NODE", "2"}},
		 "PET_NODE_RANK PET_NPROC_PER_NODE torchrun LOCAL_RANK"},
		{{{"PET_NNODES", "2"}, {"PET_NODE_RANK", "0"}, {"PET_NPROC_PER_NODE", "2"}, {"LOCAL_RANK", "2"}},
		 "LOCAL_RANK PET_NPROC_PER_NODE"},
		{{{"PET_NNODES", "2"}, {"PET_NODE_RANK", "2"}}, "PET_NODE_RANK PET_NNODES"},
		{{{"PET_NNODES", "0"}, {"PET_NODE_RANK", "0"}}, "PET_NODE_RANK PET_NNODES"},
		{{{"PET_NNODES", "2"}, {"PET_NODE_RANK", "0"}, {"PET_NPROC_PER_NODE", "0"}}, "PET_NPROC_PER_NODE PET_NNODES"},
		{{{"PET_NNODES", "65536"}, {"PET_NODE_RANK", "0"}, {"PET_NPROC_PER_NODE", "65536"}, {"LOCAL_RANK", "0"}},
		 "PET_NNODES PET_NPROC_PER_NODE"},
		{{{"JOB_COMPLETION_INDEX", "0"}}, "JOB_COMPLETION_INDEX WORLD_SIZE PET_NNODES"},
		{{{"JOB_COMPLETION_INDEX", "4"}, {"WORLD_SIZE", "4"}}, "JOB_COMPLETION_INDEX WORLD_SIZE"},
		{{{"JOB_COMPLETION_INDEX", "1"}, {"WORLD_SIZE", "4"}, {"LOCAL_WORLD_SIZE", "2"}},
		 "JOB_COMPLETION_INDEX LOCAL_WORLD_SIZE LOCAL_RANK"},
		{{{"JOB_COMPLETION_INDEX", "1"}, {"WORLD_SIZE", "5"}, {"LOCAL_WORLD_SIZE", "2"}}, "LOCAL_WORLD_SIZE WORLD_SIZE"},
		{{{"JOB_COMPLETION_INDEX", "first"}, {"WORLD_SIZE", "5"}}, "JOB_COMPLETION_INDEX first"},
	};
	static const char *const no_tasks[] = {"2(x3", "2(x)", "(x3)", "2(3)", "2,,1", "2,", ",2", "two", "2(x3)1", "-2",
					       "2 (x3)", "99999999999"};
	struct rf_options options = {0};
	struct identity id;
	struct reason why;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		set_environment(cases[i].set);
		why.text[0] = 0;
		assert_int_equal(environment_identity(&options, &id, &why), ENVIRONMENT_E_REFUSED);
		assert_names(why.text, cases[i].named);
	}
	for (size_t i = 0; i < sizeof(no_tasks) / sizeof(*no_tasks); i++) {
		set_environment((struct variable[]){{"SLURM_STEP_ID", "0"}, {"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "2"},
						    {"SLURM_STEP_TASKS_PER_NODE", no_tasks[i]}, {0}});
		assert_int_equal(environment_identity(&options, &id, &why), ENVIRONMENT_E_REFUSED);
		assert_names(why.text, "SLURM_STEP_TASKS_PER_NODE wanted,");
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
		cmocka_unit_test(launchers),
		cmocka_unit_test(contradictions),
		cmocka_unit_test(group_too_long),
		cmocka_unit_test(sockets),
		cmocka_unit_test(temporary_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
