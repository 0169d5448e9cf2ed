/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Any bytes as a configuration: the text up to the first zero byte, then strings that are --set values,
 * or variables of the environment where they begin with RINGFEED_. It must be accepted and whole, or
 * refused with faults; never both, never a crash or a leak. What is accepted is not refused for want of memory.
 */
#include "config/config.h"
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

enum { STRINGS_MAX = 16 };

static void check_field(const struct field *f)
{
	CHECK(f->name[0] && f->n_extensions > 0 && f->n_extensions <= EXTENSIONS_MAX);
	CHECK(f->dtype < DTYPE_COUNT);
	CHECK(f->n_dims == (f->decode == DECODE_IMAGE ? 3 : 0));
	for (unsigned i = 0; i < f->n_dims; i++)
		CHECK(f->dims[i] > 0);
	for (unsigned i = 0; i < f->n_steps; i++)
		CHECK(f->steps[i].kind < STEP_COUNT);
}

static void check_input(const struct config_input *input, bool is_mixed)
{
	CHECK(input->n_patterns > 0 && (input->weight > 0) == is_mixed);
	for (size_t i = 0; i < input->n_patterns; i++)
		CHECK(input->patterns[i] && *input->patterns[i]);
}

static void check_config(const struct config *c)
{
	CHECK(c->n_feeds > 0 && c->daemon.memory > 0 && c->daemon.read_timeout_ns > 0);
	for (size_t i = 0; i < c->n_feeds; i++) {
		const struct config_feed *f = &c->feeds[i];

		CHECK(f->n_inputs > 0 && (f->is_mix || f->n_inputs == 1));
		CHECK(f->slots >= 2 && f->pipeline.n_fields > 0);
		for (size_t j = 0; j < f->n_inputs; j++)
			check_input(&f->inputs[j], f->is_mix);
		CHECK((f->batch_size > 0) != (f->batch_global > 0));
		CHECK(!f->batch_global || f->batch_global % f->batch_ranks == 0);
		CHECK((f->window > 0) == (f->shuffle == CONFIG_SHUFFLE_BLOCK) && f->parts > 0);
		for (unsigned j = 0; j < f->pipeline.n_fields; j++)
			check_field(&f->pipeline.fields[j]);
	}
}

/* The text, then zero-ended strings. Returns what config_read() does. */
static int read(char *text, size_t n, struct config **ret, struct config_faults *ret_faults)
{
	static char root[] = "ROOT=/data";
	const char *sets[STRINGS_MAX];
	char *environment[STRINGS_MAX + 2] = {root};
	struct config_source source = {.name = "fuzz", .sets = sets, .environment = environment, .text = text,
				       .n_text = strlen(text)};
	size_t n_variables = 1;

	for (char *at = text + source.n_text + 1; at < text + n; at += strlen(at) + 1) {
		if (strncmp(at, "RINGFEED_", 9) == 0 && n_variables <= STRINGS_MAX)
			environment[n_variables++] = at;
		else if (source.n_sets < STRINGS_MAX)
			sets[source.n_sets++] = at;
	}
	return config_read(&source, ret, ret_faults);
}

/* Returns what was answered. */
static int read_and_check(char *text, size_t n)
{
	struct config_faults faults = {NULL, 0};
	struct config *config = NULL;
	int r = read(text, n, &config, &faults);

	CHECK((r == 0) == (config != NULL));
	CHECK(r == 0 || r == CONFIG_E_FAULTS || starve_explains(r));
	CHECK(r < 0 || (r == CONFIG_E_FAULTS) == (faults.n > 0));
	if (config)
		check_config(config);
	for (size_t i = 0; i < faults.n; i++)
		CHECK(faults.list[i].reason.text[0] != '\0');
	config_free(config);
	config_faults_deinit(&faults);
	return r;
}

void fuzz_one(const uint8_t *bytes, size_t n)
{
	char *text = starve_own(n + 1);
	int r, r_full;

	if (n)
		memcpy(text, bytes, n);
	text[n] = '\0';
	starve_pause();
	r_full = read_and_check(text, n);
	starve_resume();
	r = read_and_check(text, n);
	CHECK(r == r_full || starve_explains(r));
	free(text);
}
