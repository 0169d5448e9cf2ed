/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
#include "turn.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

void turn_die(const char *what)
{
	fprintf(stderr, "bench: %s\n", what);
	exit(1);
}

void *turn_array(void *old, size_t n, size_t size)
{
	void *p = reallocarray(old, n ? n : 1, size);

	if (!p)
		turn_die("out of memory");
	return p;
}

static void load(const char *path, struct photo *ret)
{
	FILE *f = fopen(path, "rb");
	long n;

	if (!f || fseek(f, 0, SEEK_END) < 0 || (n = ftell(f)) < 0)
		turn_die(path);
	rewind(f);
	ret->bytes = turn_array(NULL, (size_t)n, 1);
	ret->n_bytes = (size_t)n;
	if (fread(ret->bytes, 1, ret->n_bytes, f) != ret->n_bytes)
		turn_die(path);
	fclose(f);
}

struct photo *photos_load(char *const *paths, unsigned n)
{
	struct photo *photos = turn_array(NULL, n, sizeof(*photos));

	for (unsigned i = 0; i < n; i++)
		load(paths[i], &photos[i]);
	return photos;
}

char *turn_line(void)
{
	static char *line;
	static size_t n_line;
	ssize_t n;

	fflush(stdout);
	n = getline(&line, &n_line, stdin);
	if (n < 0)
		return NULL;
	if (n > 0 && line[n - 1] == '\n')
		line[n - 1] = '\0';
	return line;
}

double turn_cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

uint64_t turn_hash(uint64_t h, const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		h = (h ^ bytes[i]) * 0x100000001b3u;
	return h;
}
