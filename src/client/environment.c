/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* What the caller says goes first; what a launcher left is launcher.c's to read. Here both become one identity,
 * whose numbers must agree, and the group's name is chosen. */
#include "client/environment.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/launcher.h"

/* " (RANK, WORLD_SIZE)": where the two numbers come from; nothing where the caller gave them. */
static void name_variables(const struct launched *l, char *text, size_t n_text)
{
	*text = 0;
	if (l->rank_from)
		snprintf(text, n_text, " (%s, %s)", l->rank_from, l->world_from);
}

static int check_ranks(const struct launched *l, struct reason *why)
{
	char from[100];

	name_variables(l, from, sizeof(from));
	if (l->world == 0) {
		reason_set(why, "the world size is 0%s; 1 or more is wanted", from);
		return ENVIRONMENT_E_REFUSED;
	}
	if (l->rank >= l->world) {
		reason_set(why, "rank %u of a world of %u%s; 0 to %u is wanted", l->rank, l->world, from,
			   l->world - 1);
		return ENVIRONMENT_E_REFUSED;
	}
	if (l->local_world > l->world) {
		reason_set(why, "local world size %u%s%s%s is more than the world size %u%s", l->local_world,
			   l->local_from ? " (" : "", l->local_from ? l->local_from : "",
			   l->local_from ? ")" : "", l->world, from);
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
	const char *job = launcher_text("SLURM_JOB_ID"), *step = launcher_text("SLURM_STEP_ID");
	const char *address = launcher_text("MASTER_ADDR"), *port = launcher_text("MASTER_PORT");
	const char *run = launcher_text("TORCHELASTIC_RUN_ID"), *space = launcher_text("PMIX_NAMESPACE");

	if (asked && *asked)
		return set_group(id, why, asked);
	if (id->world == 1 && !id->has_replica)
		return set_group(id, why, "");
	if (launcher_text("RINGFEED_GROUP"))
		return set_group(id, why, launcher_text("RINGFEED_GROUP"));
	if (job && step)
		snprintf(text, sizeof(text), "%s.%s", job, step);
	else if (address && port)
		snprintf(text, sizeof(text), "%s:%s/%s", address, port, run ? run : "");
	else if (space)
		return set_group(id, why, space);
	else {
		char many[32] = "the replicas of a rank";

		if (id->world > 1)
			snprintf(many, sizeof(many), "%u trainers", id->world);
		reason_set(why, "%s must agree on a group: set RINGFEED_GROUP, or MASTER_ADDR and "
				"MASTER_PORT, or say group", many);
		return ENVIRONMENT_E_REFUSED;
	}
	return set_group(id, why, text);
}

enum { REPLICA_LAST = 65535 };

static int choose_replica(const struct rf_options *options, struct identity *id, struct reason *why)
{
	int r = 0;

	id->has_replica = options->has_replica || launcher_text("RINGFEED_REPLICA");
	id->replica = options->replica;
	if (!options->has_replica)
		r = launcher_number("RINGFEED_REPLICA", &id->replica, why);
	if (r == 0 && id->replica > REPLICA_LAST) {
		reason_set(why, "replica %u is impossible; replicas of a rank go from 0 to %u", id->replica, REPLICA_LAST);
		return ENVIRONMENT_E_REFUSED;
	}
	return r;
}

/* The caller's rank and world; how many are on this machine is the launcher's, as far as it fits. */
static int read_asked(const struct rf_options *options, struct launched *l, struct reason *why)
{
	*l = (struct launched){.rank = (uint32_t)options->rank, .world = (uint32_t)options->world_size};
	if (options->local_world_size > 0)
		return 0;
	if (launcher_read_local(&l->local_world, why) != 0)
		return ENVIRONMENT_E_REFUSED;
	if (l->local_world > l->world)
		l->local_world = l->world; /* a part of what the launcher started */
	return 0;
}

int environment_identity(const struct rf_options *options, struct identity *ret,
			 struct reason *why)
{
	struct identity id = {0};
	struct launched l;
	int r;

	if (options->rank < 0 || options->world_size < 0 || options->local_world_size < 0) {
		reason_set(why, "rank %d, world_size %d, local_world_size %d: 0 or more is wanted",
			   options->rank, options->world_size, options->local_world_size);
		return ENVIRONMENT_E_REFUSED;
	}
	r = options->has_rank ? read_asked(options, &l, why) : launcher_read(&l, why);
	if (r == 0 && options->local_world_size > 0) {
		l.local_world = (uint32_t)options->local_world_size;
		l.local_from = NULL;
	}
	if (r == 0)
		r = check_ranks(&l, why);
	if (r != 0)
		return ENVIRONMENT_E_REFUSED;
	id.rank = l.rank;
	id.world = l.world;
	id.local_world = l.local_world ? l.local_world : l.world;
	r = choose_replica(options, &id, why);
	if (r == 0)
		r = choose_group(options->group, &id, why);
	if (r == 0)
		r = launcher_number("TORCHELASTIC_RESTART_COUNT", &id.generation, why);
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
	const char *runtime = launcher_text("XDG_RUNTIME_DIR");
	char path[PATH_MAX], folder[PATH_MAX - 32];

	if (!asked || !*asked)
		asked = launcher_text("RINGFEED_SOCKET");
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
