/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* verify: every checksum, every sample decoded; a line for each fault. */
#include "main/command.h"
#include "main/progress.h"

#include "base/fault.h"
#include "batch/machine.h"
#include "config/keys.h"
#include "config/number.h"
#include "pack/verify.h"
#include "shard/list.h"

#include <assert.h>
#include <jansson.h>
#include <string.h>

static void tell_progress(void *context, const struct verify_progress *now)
{
	progress_tell(context, now->n_samples, now->n_samples_all, now->n_bytes, now->n_bytes_all);
}

static bool is_stopped(void *context)
{
	return progress_signal() != 0;
}

/* What a feed has that does not say otherwise. */
static struct limits default_limits(void)
{
	struct limits limits = {0};
	uint64_t n_scans = 0;
	bool is_read = number_count(key_find(SCOPE_FEED, "limits.max_pixels")->fallback, &limits.max_pixels) &&
		       number_count(key_find(SCOPE_FEED, "limits.max_scans")->fallback, &n_scans) &&
		       number_size(key_find(SCOPE_FEED, "limits.decode_memory")->fallback, &limits.decode_memory);

	assert(is_read);
	limits.max_scans = (uint32_t)n_scans;
	return limits;
}

static void print_text(const struct verify_result *result, char *const *paths, double seconds)
{
	for (size_t i = 0; i < result->n_faults; i++) {
		const struct verify_fault *f = &result->faults[i];

		printf("%s\t%s%s%s\t%llu\t%s: %s\n", paths[f->shard], f->sample == VERIFY_SHARD ? "-" : f->key,
		       *f->extension ? "." : "", f->extension, (unsigned long long)f->offset, f->cause, f->detail);
	}
	fprintf(stderr, "%llu shards, %llu samples, %llu members, %.1f MiB in %.1f s; %llu shards by their hash too\n",
		(unsigned long long)result->n_shards, (unsigned long long)result->n_samples,
		(unsigned long long)result->n_members, (double)result->n_bytes / 1048576, seconds,
		(unsigned long long)result->n_hashed);
	fprintf(stderr, "bad: %llu samples; %llu shards have something bad; %llu warnings\n",
		(unsigned long long)result->n_bad_samples, (unsigned long long)result->n_bad_shards,
		(unsigned long long)result->n_warned);
}

static json_t *text_json(const char *text)
{
	json_t *j = json_string(text);

	return j ? j : json_string("(not UTF-8)");
}

static void print_json(const struct verify_result *result, char *const *paths, bool is_complete)
{
	json_t *list = json_array(), *all;

	for (size_t i = 0; i < result->n_faults; i++) {
		const struct verify_fault *f = &result->faults[i];

		json_array_append_new(
			list, json_pack("{s:o, s:o, s:o, s:I, s:s, s:o, s:b}", "shard", text_json(paths[f->shard]), "key",
					f->sample == VERIFY_SHARD ? json_null() : text_json(f->key), "extension",
					*f->extension ? text_json(f->extension) : json_null(), "offset",
					(json_int_t)f->offset, "cause", f->cause, "detail", text_json(f->detail),
					"is_warning", f->is_warning));
	}
	all = json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "complete", is_complete, "shards",
			(json_int_t)result->n_shards, "samples", (json_int_t)result->n_samples, "members",
			(json_int_t)result->n_members, "bytes", (json_int_t)result->n_bytes, "hashed_shards",
			(json_int_t)result->n_hashed, "bad_shards", (json_int_t)result->n_bad_shards, "bad_samples",
			(json_int_t)result->n_bad_samples, "warnings", (json_int_t)result->n_warned, "list", list);
	json_dumpf(all, stdout, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(all);
}

static int verify(const struct options *options, const struct shard_list *list)
{
	struct verify_options how = {.paths = list->paths, .n_paths = list->n_paths, .limits = default_limits(),
				     .on_progress = tell_progress, .is_stopped = is_stopped};
	struct progress progress;
	struct verify_result result;
	struct machine_limit cpus;
	int r, status;

	machine_cpus("", machine_affinity(NULL, 0), &cpus);
	how.n_processes = cpus.n > 1024 ? 1024 : (unsigned)cpus.n;
	how.context = &progress;
	progress_begin(&progress);
	progress_catch_signals();
	r = verify_run(&how, &result);
	progress_clear(&progress);
	if (r < 0) {
		fprintf(stderr, "ringfeed verify: %s (%s)\n", strerror(-r), fault_trail());
		status = STATUS_FAILED;
	} else {
		if (options->is_json)
			print_json(&result, list->paths, r == 0);
		else
			print_text(&result, list->paths, progress_seconds(&progress));
		status = result.n_bad_shards ? STATUS_FAILED : STATUS_DONE;
	}
	if (r == PACK_E_STOPPED) {
		fputs("ringfeed verify: stopped before the end\n", stderr);
		status = 128 + progress_signal();
	}
	verify_result_deinit(&result);
	return status;
}

int cmd_verify(int argc, char **argv)
{
	struct shard_list list;
	struct options options;
	int status;

	if (!options_parse(argc, argv, &options, &status) || !options_shards(&options, &list, &status))
		return status;
	status = verify(&options, &list);
	shard_list_deinit(&list);
	return status;
}
