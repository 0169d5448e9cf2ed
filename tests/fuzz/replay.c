/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Runs a fuzzer's function on files and on all files below folders: the plain form, for corpora and
 * for crashes that libFuzzer found. It also feeds each file cut short and with bytes changed.
 */
#include "fuzz.h"

#include <fts.h>
#include <stdio.h>
#include <stdlib.h>

enum { CHANGES = 40, BYTES_MAX = 1 << 22 };

static uint64_t next(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return *state >> 33;
}

static void run(const uint8_t *bytes, size_t n)
{
	uint64_t state = n;

	for (int i = 0; i <= CHANGES; i++) {
		size_t n_run = i % 4 == 3 ? next(&state) % (n + 1) : n;
		uint8_t *exact = malloc(n_run ? n_run : 1);

		if (!exact)
			exit(1);
		for (size_t k = 0; k < n_run; k++)
			exact[k] = bytes[k];
		for (int k = 0; i > 0 && k < i % 5 && n_run > 0; k++)
			exact[next(&state) % n_run] = (uint8_t)next(&state);
		LLVMFuzzerTestOneInput(exact, n_run);
		free(exact);
	}
}

static void run_file(const char *path)
{
	static uint8_t bytes[BYTES_MAX];
	FILE *file = fopen(path, "rb");
	size_t n;

	if (!file)
		exit(1);
	n = fread(bytes, 1, sizeof(bytes), file);
	fclose(file);
	run(bytes, n);
}

int main(int argc, char **argv)
{
	unsigned n_files = 0;
	FTS *tree;

	if (argc < 2)
		return 2;
	tree = fts_open(argv + 1, FTS_LOGICAL | FTS_NOCHDIR, NULL);
	for (FTSENT *e = tree ? fts_read(tree) : NULL; e; e = fts_read(tree)) {
		if (e->fts_info != FTS_F)
			continue;
		run_file(e->fts_path);
		n_files++;
	}
	fts_close(tree);
	if (n_files == 0) {
		printf("skipped: no files below %s\n", argv[1]);
		return 77;
	}
	printf("%u files\n", n_files);
	return 0;
}
