/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The parent hands out one sample at a time to each process, over a socket of its own, and gets the result
 * back on it; a process that is gone hangs up there, and is replaced.
 */
#include "pack/shrink.h"

#include "base/fault.h"
#include "pack/shrink-image.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SLOTS_MAX = SHRINK_PROCESSES_MAX * 5 / 2 + 1 };

struct order {
	uint64_t sample;
	uint32_t slot, reserved;
};

enum slot_state { SLOT_FREE, SLOT_ASKED, SLOT_WORKED_ON, SLOT_DONE };

struct slot {
	enum slot_state state;
	size_t sample;
	uint64_t number; /* in order of asking */
	struct shrink_result result;
};

struct process {
	pid_t pid;
	int socket;
	int slot; /* that it works on, or -1 */
	bool has_answered;
};

struct shrink_crew {
	const struct catalog *catalog;
	uint32_t long_side;
	unsigned n_processes, n_slots;
	uint64_t n_asked;
	uint8_t *memory;
	struct process processes[SHRINK_PROCESSES_MAX];
	struct slot slots[SLOTS_MAX];
};

static uint8_t *slot_bytes(const struct shrink_crew *crew, int slot)
{
	return crew->memory + (size_t)slot * SHRINK_SLOT;
}

static void work(const struct shrink_crew *crew, int socket)
{
	const struct catalog *c = crew->catalog;
	struct shrinker *s;
	struct order order;

	if (shrinker_new(crew->long_side, &s) < 0)
		_exit(1);
	while (recv(socket, &order, sizeof(order), 0) == sizeof(order)) {
		const struct catalog_sample *sample = &c->samples[order.sample];
		const struct catalog_file *file = &c->files[c->parts[sample->first_part].file];
		struct shrink_result result;

		shrinker_run(s, catalog_at(c, file->path), file, slot_bytes(crew, (int)order.slot), &result);
		if (send(socket, &result, sizeof(result), MSG_NOSIGNAL) != sizeof(result))
			break;
	}
	_exit(0);
}

static int start(struct shrink_crew *crew, struct process *p)
{
	pid_t self = getpid();
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return fail(-errno);
	p->socket = pair[0];
	p->slot = -1;
	p->has_answered = false;
	p->pid = fork();
	if (p->pid < 0) {
		p->pid = 0;
		close(pair[1]);
		return fail(-errno);
	}
	if (p->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGINT, SIG_IGN); /* the parent decides */
		signal(SIGTERM, SIG_DFL);
		if (getppid() != self)
			_exit(1);
		for (unsigned i = 0; i < crew->n_processes; i++)
			if (crew->processes[i].socket >= 0)
				close(crew->processes[i].socket);
		work(crew, pair[1]);
	}
	close(pair[1]);
	return 0;
}

static void end(struct process *p, int *ret_status)
{
	if (p->socket >= 0)
		close(p->socket);
	p->socket = -1;
	if (p->pid)
		waitpid(p->pid, ret_status, 0);
	p->pid = 0;
}

int shrink_new(const struct catalog *c, unsigned n_processes, uint32_t long_side, struct shrink_crew **ret)
{
	struct shrink_crew *crew = calloc(1, sizeof(*crew));
	int r = 0;

	if (!crew)
		return fail(-ENOMEM);
	crew->catalog = c;
	crew->long_side = long_side;
	crew->n_processes = n_processes < SHRINK_PROCESSES_MAX ? n_processes : SHRINK_PROCESSES_MAX;
	crew->n_slots = crew->n_processes * 5 / 2 + 1;
	for (unsigned i = 0; i < crew->n_processes; i++)
		crew->processes[i].socket = -1;
	crew->memory = mmap(NULL, (size_t)crew->n_slots * SHRINK_SLOT, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (crew->memory == MAP_FAILED) {
		crew->memory = NULL;
		r = fail(-errno);
	}
	for (unsigned i = 0; r == 0 && i < crew->n_processes; i++)
		r = start(crew, &crew->processes[i]);
	if (r < 0) {
		shrink_free(crew);
		return pass(r);
	}
	*ret = crew;
	return 0;
}

struct shrink_crew *shrink_free(struct shrink_crew *crew)
{
	for (unsigned i = 0; crew && i < crew->n_processes; i++) {
		int status;

		if (crew->processes[i].pid)
			kill(crew->processes[i].pid, SIGKILL);
		end(&crew->processes[i], &status);
	}
	if (crew && crew->memory)
		munmap(crew->memory, (size_t)crew->n_slots * SHRINK_SLOT);
	free(crew);
	return NULL;
}

/* Gives idle processes what was asked for first. */
static void hand_out(struct shrink_crew *crew)
{
	for (unsigned i = 0; i < crew->n_processes; i++) {
		struct process *p = &crew->processes[i];
		struct slot *first = NULL;
		struct order order = {0};

		if (p->slot >= 0)
			continue;
		for (unsigned k = 0; k < crew->n_slots; k++)
			if (crew->slots[k].state == SLOT_ASKED && (!first || crew->slots[k].number < first->number))
				first = &crew->slots[k];
		if (!first)
			return;
		p->slot = (int)(first - crew->slots);
		first->state = SLOT_WORKED_ON;
		order.sample = first->sample;
		order.slot = (uint32_t)p->slot;
		send(p->socket, &order, sizeof(order), MSG_NOSIGNAL); /* if it is gone, it hangs up */
	}
}

int shrink_ask(struct shrink_crew *crew, size_t sample)
{
	for (unsigned i = 0; i < crew->n_slots; i++) {
		if (crew->slots[i].state != SLOT_FREE)
			continue;
		crew->slots[i] = (struct slot){.state = SLOT_ASKED, .sample = sample, .number = crew->n_asked++};
		hand_out(crew);
		return (int)i;
	}
	return -1;
}

/* Its process is gone: the image is at fault, and another process takes the place. */
static int take_death(struct shrink_crew *crew, struct process *p)
{
	struct slot *s = p->slot >= 0 ? &crew->slots[p->slot] : NULL;
	int status = 0;

	end(p, &status);
	if (!s) /* somebody else's doing, unless it could not even begin */
		return p->has_answered ? start(crew, p) : fail(-ECHILD);
	s->state = SLOT_DONE;
	s->result = (struct shrink_result){.is_done = true};
	snprintf(s->result.fault, sizeof(s->result.fault), "the process that decoded it died (%s)",
		 WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "out of memory perhaps");
	return start(crew, p);
}

static int take_answer(struct shrink_crew *crew, struct process *p)
{
	struct shrink_result result;
	ssize_t got = recv(p->socket, &result, sizeof(result), MSG_DONTWAIT);

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (got != sizeof(result))
		return take_death(crew, p);
	if (p->slot < 0 || result.n_bytes > SHRINK_SLOT)
		return fail(-EPROTO);
	result.fault[sizeof(result.fault) - 1] = '\0';
	result.is_done = true;
	crew->slots[p->slot].result = result;
	crew->slots[p->slot].state = SLOT_DONE;
	p->slot = -1;
	p->has_answered = true;
	return 0;
}

int shrink_wait(struct shrink_crew *crew, int timeout_ms)
{
	struct pollfd polls[SHRINK_PROCESSES_MAX];
	int n, r = 0;

	for (unsigned i = 0; i < crew->n_processes; i++)
		polls[i] = (struct pollfd){.fd = crew->processes[i].socket, .events = POLLIN};
	n = poll(polls, crew->n_processes, timeout_ms);
	if (n < 0 && errno != EINTR)
		return fail(-errno);
	for (unsigned i = 0; n > 0 && r == 0 && i < crew->n_processes; i++)
		if (polls[i].revents)
			r = take_answer(crew, &crew->processes[i]);
	if (r == 0)
		hand_out(crew);
	return r < 0 ? pass(r) : 0;
}

const struct shrink_result *shrink_look(const struct shrink_crew *crew, int slot, const uint8_t **ret_bytes)
{
	*ret_bytes = slot_bytes(crew, slot);
	return &crew->slots[slot].result;
}

void shrink_put_back(struct shrink_crew *crew, int slot)
{
	crew->slots[slot].state = SLOT_FREE;
}
