/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* A family of variables is taken whole or not at all: RANK of one launcher with the world of another
 * would feed two trainers the same samples. Slurm's is taken only inside a step, because a batch script
 * and an interactive allocation show SLURM_NTASKS to a single process. */
#include "client/environment.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The variable's text, or NULL when it is unset or empty. */
static const char *get_text(const char *name)
{
	const char *text = getenv(name);

	return text && *text ? text : NULL;
}

/* Reads decimal digits and nothing else, 0 … INT_MAX. */
static bool parse_number(const char *text, uint32_t *ret)
{
	char *end;
	unsigned long value;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || *end || value > INT_MAX)
		return false;
	*ret = (uint32_t)value;
	return true;
}

/* Leaves *ret alone when the variable is unset. */
static int get_number(const char *name, uint32_t *ret, struct reason *why)
{
	const char *text = get_text(name);

	if (!text || parse_number(text, ret))
		return 0;
	reason_set(why, "%s is '%.40s'; a whole number from 0 is wanted", name, text);
	return ENVIRONMENT_E_REFUSED;
}

/* Rank and world of one launcher, and the local world where it says. */
static int get_family(const char *rank, const char *world, const char *local,
		      struct identity *id, struct reason *why)
{
	int r = get_number(rank, &id->rank, why);

	if (r == 0)
		r = get_number(world, &id->world, why);
	if (r == 0)
		r = get_number(local, &id->local_world, why);
	if (r == 0 && (!get_text(rank) || !get_text(world))) {
		reason_set(why, "%s is set but %s is not; set both, or say rank and world_size",
			   get_text(rank) ? rank : world, get_text(rank) ? world : rank);
		r = ENVIRONMENT_E_REFUSED;
	}
	return r;
}

/* Tasks on this node from Slurm's "4(x2),3": node SLURM_NODEID's entry. */
static int slurm_local_world(struct identity *id, struct reason *why)
{
	const char *text = get_text("SLURM_STEP_TASKS_PER_NODE");
	uint32_t node = 0;

	if (!text)
		return 0;
	if (get_number("SLURM_NODEID", &node, why) != 0)
		return ENVIRONMENT_E_REFUSED;
	for (const char *at = text; at;) {
		unsigned tasks = 0, times = 1;

		if (sscanf(at, "%u(x%u)", &tasks, &times) < 1)
			break;
		if (node < times) {
			id->local_world = tasks;
			return 0;
		}
		node -= times;
		at = strchr(at, ',');
		if (at)
			at++;
	}
	reason_set(why, "SLURM_STEP_TASKS_PER_NODE is '%.80s' and has no node %s", text,
		   get_text("SLURM_NODEID") ? get_text("SLURM_NODEID") : "0");
	return ENVIRONMENT_E_REFUSED;
}

static int launcher_identity(struct identity *id, struct reason *why)
{
	uint32_t world = 1;

	if (get_number("WORLD_SIZE", &world, why) != 0)
		return ENVIRONMENT_E_REFUSED;
	if (get_text("RANK") || world != 1)
		return get_family("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", id, why);
	if (get_text("WORLD_SIZE"))
		return 0; /* a launcher that says: alone */
	if (get_text("SLURM_STEP_ID") && get_text("SLURM_PROCID")) {
		int r = get_family("SLURM_PROCID", "SLURM_NTASKS", "SLURM_NTASKS_PER_NODE", id, why);

		return r != 0 ? r : slurm_local_world(id, why);
	}
	if (get_text("OMPI_COMM_WORLD_RANK"))
		return get_family("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
				  "OMPI_COMM_WORLD_LOCAL_SIZE", id, why);
	return 0;
}

static int check_ranks(struct identity *id, struct reason *why)
{
	if (id->world == 0) {
		reason_set(why, "the world size is 0; 1 or more is wanted");
		return ENVIRONMENT_E_REFUSED;
	}
	if (id->rank >= id->world) {
		reason_set(why, "rank %u of a world of %u; 0 to %u is wanted", id->rank, id->world,
			   id->world - 1);
		return ENVIRONMENT_E_REFUSED;
	}
	if (id->local_world == 0)
		id->local_world = id->world;
	if (id->local_world > id->world) {
		reason_set(why, "local world size %u is more than the world size %u",
			   id->local_world, id->world);
		return ENVIRONMENT_E_REFUSED;
	}
	return 0;
}

static int set_group(struct identity *id, struct reason *why, const char *text)
{
	if (strlen(text) >= sizeof(id->group)) {
		reason_set(why, "the group's name '%.40s…' is longer than %zu bytes", text,
			   sizeof(id->group) - 1);
		return ENVIRONMENT_E_REFUSED;
	}
	memset(id->group, 0, sizeof(id->group));
	strcpy(id->group, text);
	return 0;
}

static int choose_group(const char *asked, struct identity *id, struct reason *why)
{
	char text[2 * sizeof(id->group)];
	const char *job = get_text("SLURM_JOB_ID"), *step = get_text("SLURM_STEP_ID");
	const char *address = get_text("MASTER_ADDR"), *port = get_text("MASTER_PORT");
	const char *run = get_text("TORCHELASTIC_RUN_ID");

	if (asked && *asked)
		return set_group(id, why, asked);
	if (id->world == 1)
		return set_group(id, why, "");
	if (get_text("RINGFEED_GROUP"))
		return set_group(id, why, get_text("RINGFEED_GROUP"));
	if (job && step)
		snprintf(text, sizeof(text), "%s.%s", job, step);
	else if (address && port)
		snprintf(text, sizeof(text), "%s:%s/%s", address, port, run ? run : "");
	else {
		reason_set(why, "%u trainers must agree on a group: set RINGFEED_GROUP, or MASTER_ADDR and "
				"MASTER_PORT, or say group", id->world);
		return ENVIRONMENT_E_REFUSED;
	}
	return set_group(id, why, text);
}

int environment_identity(const struct rf_options *options, struct identity *ret,
			 struct reason *why)
{
	struct identity id = {.world = 1};
	int r = 0;

	if (options->rank < 0 || options->world_size < 0 || options->local_world_size < 0) {
		reason_set(why, "rank %d, world_size %d, local_world_size %d: 0 or more is wanted",
			   options->rank, options->world_size, options->local_world_size);
		return ENVIRONMENT_E_REFUSED;
	}
	if (options->has_rank) {
		id.rank = (uint32_t)options->rank;
		id.world = (uint32_t)options->world_size;
		r = get_number("LOCAL_WORLD_SIZE", &id.local_world, why);
	} else {
		r = launcher_identity(&id, why);
	}
	if (r == 0 && options->local_world_size > 0)
		id.local_world = (uint32_t)options->local_world_size;
	if (r == 0)
		r = check_ranks(&id, why);
	if (r == 0)
		r = choose_group(options->group, &id, why);
	if (r == 0)
		r = get_number("TORCHELASTIC_RESTART_COUNT", &id.generation, why);
	if (r == 0)
		*ret = id;
	return r;
}

/* A folder in a place where anyone may make one is trusted only when it is the user's alone. */
static int check_folder(const char *folder, struct reason *why)
{
	struct stat st;

	if (lstat(folder, &st) < 0)
		return 0; /* nothing there: the connection will say so */
	if (S_ISDIR(st.st_mode) && st.st_uid == geteuid() && (st.st_mode & 077) == 0)
		return 0;
	reason_set(why, "%s is not a folder of user %u alone (mode 0700); remove it, or set RINGFEED_SOCKET",
		   folder, geteuid());
	return ENVIRONMENT_E_REFUSED;
}

int environment_socket(const char *asked, char ret_path[SOCKET_MAX], struct reason *why)
{
	const char *runtime = get_text("XDG_RUNTIME_DIR");
	char path[PATH_MAX], folder[PATH_MAX - 32];

	if (!asked || !*asked)
		asked = get_text("RINGFEED_SOCKET");
	if (asked) {
		snprintf(path, sizeof(path), "%s", asked);
	} else if (geteuid() == 0) {
		strcpy(path, "/run/ringfeed/ringfeed.sock");
	} else if (runtime) {
		snprintf(path, sizeof(path), "%s/ringfeed.sock", runtime);
	} else {
		snprintf(folder, sizeof(folder), "/tmp/ringfeed-%u", geteuid());
		if (check_folder(folder, why) != 0)
			return ENVIRONMENT_E_REFUSED;
		snprintf(path, sizeof(path), "%s/ringfeed.sock", folder);
	}
	if (strlen(path) >= SOCKET_MAX) {
		reason_set(why, "the socket's path %.200s is longer than the %d bytes that Linux allows", path,
			   SOCKET_MAX - 1);
		return ENVIRONMENT_E_REFUSED;
	}
	strcpy(ret_path, path);
	return 0;
}
