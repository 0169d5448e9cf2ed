/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* The line is written over itself; what is longer than the terminal is wide is the terminal's business. */
#include "main/progress.h"

#include "base/clock.h"

#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#define PAUSE_S 0.2

static volatile sig_atomic_t caught;

void progress_begin(struct progress *p)
{
	*p = (struct progress){.began = clock_s(), .is_terminal = isatty(STDERR_FILENO)};
	p->told = p->began;
}

double progress_seconds(const struct progress *p)
{
	return clock_s() - p->began;
}

void progress_tell(struct progress *p, uint64_t n_samples, uint64_t n_samples_all, uint64_t n_bytes,
		   uint64_t n_bytes_all)
{
	double t, left;
	unsigned s;

	if (!p->is_terminal)
		return;
	t = clock_s();
	if (t - p->told < PAUSE_S)
		return;
	p->told = t;
	left = n_bytes ? (t - p->began) * (double)(n_bytes_all - n_bytes) / (double)n_bytes : 0;
	s = left < 1e6 ? (unsigned)left : 1000000;
	fprintf(stderr, "\r\033[K%llu of %llu samples, %.0f %%, %.0f samples/s, %.1f MiB/s, %u:%02u:%02u left",
		(unsigned long long)n_samples, (unsigned long long)n_samples_all,
		n_bytes_all ? 100.0 * (double)n_bytes / (double)n_bytes_all : 100.0,
		(double)n_samples / (t - p->began), (double)n_bytes / (t - p->began) / 1048576, s / 3600,
		s / 60 % 60, s % 60);
	fflush(stderr);
	p->is_shown = true;
}

void progress_clear(struct progress *p)
{
	if (p->is_shown)
		fputs("\r\033[K", stderr);
	p->is_shown = false;
}

static void catch(int number)
{
	caught = number;
}

void progress_catch_signals(void)
{
	static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
	const struct sigaction on_signal = {.sa_handler = catch, .sa_flags = SA_RESTART};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
		struct sigaction before;

		if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN) /* as under nohup */
			sigaction(numbers[i], &on_signal, NULL);
	}
}

int progress_signal(void)
{
	return caught;
}
