/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The plain form: runs a target on files and on all files below folders, whole, cut short and with bytes changed, and
 * then with failing allocations: each in turn, up to a number, once and for good. Nothing may be left allocated.
 */
#include "fuzz.h"

#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BYTES_MAX = 1 << 22 };

static unsigned n_changes = 40, n_starved = 20;
static bool is_verbose;

static uint64_t next(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return *state >> 33;
}

/* One run, of which nothing stays but what a target keeps. Returns how many allocations it made. */
static uint64_t run(const uint8_t *bytes, size_t n, uint64_t nth, bool is_for_good)
{
	uint8_t *exact = starve_own_copy(bytes, n);
	uint64_t n_asked;
	int64_t n_leaked;

	starve_begin(nth, is_for_good);
	fuzz_one(exact, n);
	n_leaked = starve_leaked();
	n_asked = starve_end();
	free(exact);
	if (n_leaked > 0) {
		/* What a library makes once in a process is no leak: it does not come again. */
		exact = starve_own_copy(bytes, n);
		starve_begin(nth, is_for_good);
		fuzz_one(exact, n);
		CHECK(starve_leaked() <= 0);
		starve_end();
		free(exact);
	}
	return n_asked;
}

static void change(const uint8_t *bytes, size_t n)
{
	uint64_t state = n;

	for (unsigned i = 1; i <= n_changes; i++) {
		size_t n_run = i % 4 == 3 ? next(&state) % (n + 1) : n;
		uint8_t *changed = starve_own_copy(bytes, n_run);

		for (unsigned k = 0; k < i % 5 && n_run > 0; k++)
			changed[next(&state) % n_run] = (uint8_t)next(&state);
		run(changed, n_run, 0, false);
		free(changed);
	}
}

static void run_file(const char *path)
{
	static uint8_t bytes[BYTES_MAX];
	FILE *file = fopen(path, "rb");
	uint64_t n_asked, n_runs;
	size_t n;

	if (!file) {
		perror(path);
		exit(1);
	}
	n = fread(bytes, 1, sizeof(bytes), file);
	fclose(file);
	if (is_verbose)
		fprintf(stderr, "%s\n", path);
	n_asked = run(bytes, n, 0, false);
	change(bytes, n);
	n_runs = n_asked < n_starved ? n_asked : n_starved;
	for (uint64_t i = 0; i < n_runs; i++) {
		run(bytes, n, 1 + i * n_asked / n_runs, false);
		run(bytes, n, 1 + i * n_asked / n_runs, true);
	}
}

static unsigned run_below(char *const *paths)
{
	FTS *tree = fts_open(paths, FTS_LOGICAL | FTS_NOCHDIR, NULL);
	unsigned n_files = 0;

	for (FTSENT *e = tree ? fts_read(tree) : NULL; e; e = fts_read(tree)) {
		if (e->fts_info != FTS_F)
			continue;
		run_file(e->fts_path);
		n_files++;
	}
	if (tree)
		fts_close(tree);
	return n_files;
}

int main(int argc, char **argv)
{
	unsigned n_files;
	int at = 1;

	for (; at < argc && strncmp(argv[at], "--", 2) == 0; at++)
		if (sscanf(argv[at], "--changes=%u", &n_changes) != 1 && sscanf(argv[at], "--starved=%u", &n_starved) != 1 &&
		    !(is_verbose = strcmp(argv[at], "--verbose") == 0))
			break;
	if (at >= argc || argv[at][0] == '-') {
		fprintf(stderr, "usage: %s [--changes=N] [--starved=N] [--verbose] FILE|FOLDER…\n", argv[0]);
		return 2;
	}
	fuzz_one((const uint8_t *)"", 0);
	n_files = run_below(argv + at);
	if (n_files == 0) {
		printf("skipped: no files below %s\n", argv[at]);
		return 77;
	}
	printf("%u files\n", n_files);
	return 0;
}
