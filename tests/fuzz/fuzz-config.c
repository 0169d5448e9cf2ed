/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Any bytes as a configuration: the text up to the first zero byte, then strings that are --set values,
 * or variables of the environment where they begin with RINGFEED_. It must be accepted and whole, or
 * refused with faults; never both, never a crash or a leak.
 *
 * Plain form: main replays the files it is given; the build runs it over tests/fuzz/config. Fuzzing:
 *   clang -g -O1 -fsanitize=fuzzer,address,undefined -DFUZZ -D_GNU_SOURCE -Isrc \
 *     tests/fuzz/fuzz-config.c src/config/?*.c src/base/{fault,pipeline,reason}.c -lyaml -lm -o fuzz-config
 *   ./fuzz-config -max_len=4096 CORPUS tests/fuzz/config
 */
#include "config/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STRINGS_MAX = 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(int is_true, const char *what)
{
	if (is_true)
		return;
	fprintf(stderr, "broken: %s\n", what);
	abort();
}

static void check_field(const struct field *f)
{
	must(f->name[0] && f->n_extensions > 0 && f->n_extensions <= EXTENSIONS_MAX, "a field has a name and a member");
	must(f->dtype < DTYPE_COUNT, "a field has a dtype");
	must(f->n_dims == (f->decode == DECODE_IMAGE ? 3 : 0), "an image has three dimensions, an integer none");
	for (unsigned i = 0; i < f->n_dims; i++)
		must(f->dims[i] > 0, "a dimension is not empty");
	for (unsigned i = 0; i < f->n_steps; i++)
		must(f->steps[i].kind < STEP_COUNT, "a step is known");
}

static void check_input(const struct config_input *input, bool is_mixed)
{
	must(input->n_patterns > 0 && (input->weight > 0) == is_mixed, "a source is whole");
	for (size_t i = 0; i < input->n_patterns; i++)
		must(input->patterns[i] && *input->patterns[i], "a pattern is a text");
}

static void check_config(const struct config *c)
{
	must(c->n_feeds > 0 && c->daemon.memory > 0 && c->daemon.read_timeout_ns > 0, "the daemon is set up");
	for (size_t i = 0; i < c->n_feeds; i++) {
		const struct config_feed *f = &c->feeds[i];

		must(f->n_inputs > 0 && (f->is_mix || f->n_inputs == 1), "a feed has its sources");
		must(f->slots >= 2 && f->pipeline.n_fields > 0, "a feed is whole");
		for (size_t j = 0; j < f->n_inputs; j++)
			check_input(&f->inputs[j], f->is_mix);
		must((f->batch_size > 0) != (f->batch_global > 0), "one size of batches");
		must(!f->batch_global || f->batch_global % f->batch_ranks == 0, "ranks divide the batch");
		must((f->window > 0) == (f->shuffle == CONFIG_SHUFFLE_BLOCK) && f->parts > 0, "block has a window");
		for (unsigned j = 0; j < f->pipeline.n_fields; j++)
			check_field(&f->pipeline.fields[j]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static char root[] = "ROOT=/data";
	const char *sets[STRINGS_MAX];
	char *environment[STRINGS_MAX + 2] = {root};
	char *text = malloc(n + 1), *at;
	struct config_source source = {.name = "fuzz", .sets = sets, .environment = environment};
	struct config_faults faults = {NULL, 0};
	struct config *config = NULL;
	size_t n_variables = 1;
	int r;

	must(text != NULL, "memory");
	memcpy(text, data, n);
	text[n] = '\0';
	source.text = text;
	source.n_text = strlen(text);
	for (at = text + source.n_text + 1; at < text + n; at += strlen(at) + 1) {
		if (strncmp(at, "RINGFEED_", 9) == 0 && n_variables <= STRINGS_MAX)
			environment[n_variables++] = at;
		else if (source.n_sets < STRINGS_MAX)
			sets[source.n_sets++] = at;
	}
	r = config_read(&source, &config, &faults);
	must((r == 0) == (config != NULL), "a configuration comes out when it is accepted");
	must((r == CONFIG_E_FAULTS) == (faults.n > 0), "faults come out when it is refused");
	if (config)
		check_config(config);
	for (size_t i = 0; i < faults.n; i++)
		must(faults.list[i].reason.text[0] != '\0', "a fault says something");
	config_free(config);
	config_faults_deinit(&faults);
	free(text);
	return 0;
}

#ifndef FUZZ
int main(int argc, char **argv)
{
	static uint8_t bytes[1 << 20];

	for (int i = 1; i < argc; i++) {
		FILE *file = fopen(argv[i], "rb");

		must(file != NULL, argv[i]);
		LLVMFuzzerTestOneInput(bytes, fread(bytes, 1, sizeof(bytes), file));
		fclose(file);
	}
	printf("%d files replayed\n", argc - 1);
	return argc > 1 ? 0 : 1;
}
#endif
