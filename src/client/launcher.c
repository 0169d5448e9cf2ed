/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * A family of variables is taken whole or not at all: RANK of one launcher with the world of another
 * would feed two trainers the same samples. Slurm's is taken only inside a step, because a batch script
 * and an interactive allocation show SLURM_NTASKS to a single process. PET_… and JOB_COMPLETION_INDEX
 * count machines: a rank follows from them only together with the trainers that each machine has.
 */
#include "client/launcher.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct family {
	const char *rank, *world, *local_world, *local_rank;
};

/* Variables that count machines, and how they are called. */
struct machines {
	const char *index, *n, *each;
};

const char *launcher_text(const char *name)
{
	const char *text = getenv(name);

	return text && *text ? text : NULL;
}

/* Digits up to what is no digit, 0 … INT_MAX. NULL: there are none, or too many. */
static const char *scan_number(const char *text, uint32_t *ret)
{
	char *end;
	unsigned long value;

	if (*text < '0' || *text > '9')
		return NULL;
	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || value > INT_MAX)
		return NULL;
	*ret = (uint32_t)value;
	return end;
}

int launcher_number(const char *name, uint32_t *ret, struct reason *why)
{
	const char *text = launcher_text(name), *end;
	uint32_t value;

	if (!text)
		return 0;
	end = scan_number(text, &value);
	if (end && !*end) {
		*ret = value;
		return 0;
	}
	reason_set(why, "%s is '%.40s'; a whole number from 0 is wanted", name, text);
	return LAUNCHER_E_REFUSED;
}

/* The process's place on its machine contradicts nothing, where the launcher tells it. */
static int check_local_rank(const char *name, const struct launched *l, struct reason *why)
{
	uint32_t local_rank = 0;

	if (launcher_number(name, &local_rank, why) != 0)
		return LAUNCHER_E_REFUSED;
	if (l->local_world && local_rank >= l->local_world) {
		reason_set(why, "%s is %u where %s says %u on this machine; 0 to %u is wanted", name, local_rank,
			   l->local_from, l->local_world, l->local_world - 1);
		return LAUNCHER_E_REFUSED;
	}
	if (local_rank > l->rank) {
		reason_set(why, "%s is %u but %s is %u; a rank is never less than its number on the machine", name,
			   local_rank, l->rank_from, l->rank);
		return LAUNCHER_E_REFUSED;
	}
	return 0;
}

/* Rank and world of one launcher, and the local world where it says. */
static int read_family(const struct family *f, struct launched *l, struct reason *why)
{
	const bool has_rank = launcher_text(f->rank), has_world = launcher_text(f->world);

	*l = (struct launched){.rank_from = f->rank, .world_from = f->world, .local_from = f->local_world};
	if (launcher_number(f->rank, &l->rank, why) != 0 || launcher_number(f->world, &l->world, why) != 0 ||
	    launcher_number(f->local_world, &l->local_world, why) != 0)
		return LAUNCHER_E_REFUSED;
	if (has_rank && has_world)
		return 0;
	reason_set(why, "%s is set but %s is not; set both, or say rank and world_size",
		   has_rank ? f->rank : f->world, has_rank ? f->world : f->rank);
	return LAUNCHER_E_REFUSED;
}

static int read_whole_family(const struct family *f, struct launched *l, struct reason *why)
{
	int r = read_family(f, l, why);

	return r != 0 ? r : check_local_rank(f->local_rank, l, why);
}

/* ---- Slurm ---- */

/* One entry, "2" or "2(x3)", and the comma behind it. NULL: it is none. */
static const char *scan_tasks(const char *text, uint32_t *ret_tasks, uint32_t *ret_times)
{
	const char *at = scan_number(text, ret_tasks);

	*ret_times = 1;
	if (at && strncmp(at, "(x", 2) == 0) {
		at = scan_number(at + 2, ret_times);
		at = at && *at == ')' ? at + 1 : NULL;
	}
	if (at && *at == ',')
		return at[1] ? at + 1 : NULL;
	return at && !*at ? at : NULL;
}

/* Tasks on that node of Slurm's "4(x2),3", and on all of them. */
static int read_tasks(const char *name, uint32_t node, struct launched *l, uint64_t *ret_all, struct reason *why)
{
	const char *text = launcher_text(name), *at = text;
	uint64_t n_nodes = 0;
	uint32_t tasks, times;

	*ret_all = 0;
	do {
		at = scan_tasks(at, &tasks, &times);
		if (!at) {
			reason_set(why, "%s is '%.80s'; tasks of each node are wanted, like 2(x3),1", name, text);
			return LAUNCHER_E_REFUSED;
		}
		if (node >= n_nodes && node - n_nodes < times)
			l->local_world = tasks;
		n_nodes += times;
		*ret_all += (uint64_t)tasks * times;
	} while (*at);
	l->local_from = name;
	if (node < n_nodes)
		return 0;
	reason_set(why, "%s is '%.80s' and has no node %u (SLURM_NODEID)", name, text, node);
	return LAUNCHER_E_REFUSED;
}

/* Tasks on this node: of the step where it says, else what was asked for each node. */
static int read_slurm_local(struct launched *l, struct reason *why)
{
	static const char name[] = "SLURM_STEP_TASKS_PER_NODE";
	uint64_t n_all;
	uint32_t node = 0;

	if (!launcher_text(name)) {
		if (l->local_world > l->world)
			l->local_world = l->world; /* asked for the job; the step has fewer */
		return 0;
	}
	if (launcher_number("SLURM_NODEID", &node, why) != 0 || read_tasks(name, node, l, &n_all, why) != 0)
		return LAUNCHER_E_REFUSED;
	if (n_all == l->world)
		return 0;
	reason_set(why, "%s is '%.80s', %llu tasks together, but %s is %u", name, launcher_text(name),
		   (unsigned long long)n_all, l->world_from, l->world);
	return LAUNCHER_E_REFUSED;
}

static int read_slurm(struct launched *l, struct reason *why)
{
	/* An interactive step keeps the allocation's SLURM_NTASKS, with one task of its own. */
	const bool has_step = launcher_text("SLURM_STEP_NUM_TASKS");
	const struct family f = {"SLURM_PROCID", has_step ? "SLURM_STEP_NUM_TASKS" : "SLURM_NTASKS",
				 "SLURM_NTASKS_PER_NODE", "SLURM_LOCALID"};
	int r = read_family(&f, l, why);

	if (r == 0)
		r = read_slurm_local(l, why);
	return r != 0 ? r : check_local_rank(f.local_rank, l, why);
}

static bool is_slurm_step(void)
{
	return launcher_text("SLURM_STEP_ID") && launcher_text("SLURM_PROCID");
}

/* ---- machines ---- */

/* The rank of a process whose machine is known: `each` trainers a machine, this one by LOCAL_RANK. */
static int rank_on(const struct machines *m, uint32_t index, uint32_t each, struct launched *l,
		   struct reason *why)
{
	uint32_t local_rank = 0;

	*l = (struct launched){.world = l->world, .local_world = each, .rank_from = m->index, .world_from = m->n,
			       .local_from = m->each};
	if (each == 0 || l->world % each) {
		reason_set(why, "%s is %u, which does not divide a world of %u (%s)", m->each, each, l->world, m->n);
		return LAUNCHER_E_REFUSED;
	}
	if (index >= l->world / each) {
		reason_set(why, "%s is %u, but with %u trainers each (%s) a world of %u (%s) has %u machines",
			   m->index, index, each, m->each, l->world, m->n, l->world / each);
		return LAUNCHER_E_REFUSED;
	}
	if (each > 1 && !launcher_text("LOCAL_RANK")) {
		reason_set(why, "%s names a machine, not a rank, and %s is %u; start the trainers with torchrun, "
				"or set LOCAL_RANK, or say rank and world_size", m->index, m->each, each);
		return LAUNCHER_E_REFUSED;
	}
	if (launcher_number("LOCAL_RANK", &local_rank, why) != 0)
		return LAUNCHER_E_REFUSED;
	l->rank = index * each + local_rank;
	return check_local_rank("LOCAL_RANK", l, why);
}

/* A number of torchrun's that may also be a range or a word. */
static int fixed_number(const char *name, uint32_t *ret, struct reason *why)
{
	struct reason ignored;

	if (launcher_number(name, ret, &ignored) == 0)
		return 0;
	reason_set(why, "%s is '%.40s', which only torchrun can make a number of; start the trainers with it, "
			"or say rank and world_size", name, launcher_text(name));
	return LAUNCHER_E_REFUSED;
}

static int read_pet(struct launched *l, struct reason *why)
{
	const struct machines m = {launcher_text("PET_NODE_RANK") ? "PET_NODE_RANK" : "JOB_COMPLETION_INDEX",
				   "PET_NNODES", "PET_NPROC_PER_NODE"};
	uint32_t index = 0, n = 0, each = 1;

	if (!launcher_text(m.n)) {
		reason_set(why, "%s is set but %s is not; set both, or say rank and world_size",
			   launcher_text(m.each) ? m.each : m.index, m.n);
		return LAUNCHER_E_REFUSED;
	}
	if (fixed_number(m.n, &n, why) != 0 || fixed_number(m.each, &each, why) != 0 ||
	    launcher_number(m.index, &index, why) != 0)
		return LAUNCHER_E_REFUSED;
	if (n > 1 && !launcher_text(m.index)) {
		reason_set(why, "%s is %u but neither PET_NODE_RANK nor JOB_COMPLETION_INDEX says which of them "
				"this is", m.n, n);
		return LAUNCHER_E_REFUSED;
	}
	if ((uint64_t)n * each > INT_MAX) {
		reason_set(why, "%s is %u and %s is %u: no world is that large", m.n, n, m.each, each);
		return LAUNCHER_E_REFUSED;
	}
	l->world = n * each;
	return rank_on(&m, index, each, l, why);
}

/* A pod of a Kubernetes Job knows its number by itself, but how many there are only by WORLD_SIZE. */
static int read_job(struct launched *l, struct reason *why)
{
	const struct machines m = {"JOB_COMPLETION_INDEX", "WORLD_SIZE", "LOCAL_WORLD_SIZE"};
	uint32_t index = 0, each = 1;

	if (!launcher_text(m.n)) {
		reason_set(why, "%s is %.20s but nothing says how many trainers the Job has; set WORLD_SIZE "
				"(1: each pod is alone), or PET_NNODES, or say rank and world_size", m.index,
			   launcher_text(m.index));
		return LAUNCHER_E_REFUSED;
	}
	if (launcher_number(m.index, &index, why) != 0 || launcher_number(m.n, &l->world, why) != 0 ||
	    launcher_number(m.each, &each, why) != 0)
		return LAUNCHER_E_REFUSED;
	return rank_on(&m, index, each, l, why);
}

/* ---- which of them ---- */

static const struct family torchrun = {"RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "LOCAL_RANK"};
static const struct family open_mpi = {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE",
				       "OMPI_COMM_WORLD_LOCAL_RANK"};

int launcher_read(struct launched *ret, struct reason *why)
{
	uint32_t world = 0;

	*ret = (struct launched){.world = 1};
	if (launcher_text("RANK"))
		return read_whole_family(&torchrun, ret, why);
	if (launcher_number("WORLD_SIZE", &world, why) != 0)
		return LAUNCHER_E_REFUSED;
	if (world == 1)
		return 0; /* a launcher that says: alone */
	if (launcher_text("WORLD_SIZE"))
		return launcher_text("JOB_COMPLETION_INDEX") ? read_job(ret, why)
							     : read_whole_family(&torchrun, ret, why);
	if (is_slurm_step())
		return read_slurm(ret, why);
	if (launcher_text(open_mpi.rank) || launcher_text(open_mpi.world))
		return read_whole_family(&open_mpi, ret, why);
	if (launcher_text("PET_NNODES") || launcher_text("PET_NODE_RANK") || launcher_text("PET_NPROC_PER_NODE"))
		return read_pet(ret, why);
	if (launcher_text("JOB_COMPLETION_INDEX"))
		return read_job(ret, why);
	return 0;
}

int launcher_read_local(uint32_t *ret, struct reason *why)
{
	struct launched l = {0};
	struct reason ignored;
	int r = launcher_number(torchrun.local_world, &l.local_world, why);

	if (r == 0 && l.local_world == 0 && is_slurm_step() && read_slurm(&l, &ignored) != 0)
		l.local_world = 0; /* what is wrong there is not asked for */
	if (r == 0 && l.local_world == 0)
		r = launcher_number(open_mpi.local_world, &l.local_world, why);
	if (r == 0)
		*ret = l.local_world;
	return r;
}
