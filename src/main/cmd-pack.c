/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* pack: images and labels, or other tars, into shards. */
#include "main/command.h"
#include "main/progress.h"

#include "base/fault.h"
#include "batch/machine.h"
#include "config/number.h"
#include "pack/pack.h"

#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_BYTES = 200 };

struct packing {
	struct progress progress;
	uint64_t n_left_out, n_samples_left_out;
};

static void tell_left_out(void *context, const char *path, bool is_sample, const char *why)
{
	struct packing *p = context;
	struct reason text;

	p->n_left_out++;
	p->n_samples_left_out += is_sample;
	progress_clear(&p->progress);
	reason_set(&text, "left out: %s: %s", path, why);
	fprintf(stderr, "%s\n", text.text);
}

static void tell_progress(void *context, const struct pack_progress *now)
{
	struct packing *p = context;

	progress_tell(&p->progress, now->n_samples, now->n_samples_all, now->n_bytes, now->n_bytes_all);
}

static bool is_stopped(void *context)
{
	return progress_signal() != 0;
}

/* The last part of DEST, or NULL: it has none that would do. */
static char *default_name(const char *folder)
{
	size_t n = strlen(folder);
	const char *from;

	while (n > 1 && folder[n - 1] == '/')
		n--;
	from = memrchr(folder, '/', n);
	from = from ? from + 1 : folder;
	return strndup(from, (size_t)(folder + n - from));
}

static bool is_good_name(const char *name)
{
	return *name && *name != '.' && *name != '-' && strlen(name) <= NAME_MAX_BYTES &&
	       strcspn(name, "/\\{}*?[]:\n\t ") == strlen(name);
}

static const char *plural(uint64_t n, const char *one, const char *many)
{
	return n == 1 ? one : many;
}

static void tell_summary(const struct packing *p, const struct options *o, const char *name,
			 const struct pack_result *result)
{
	uint64_t n_samples = result->n_samples + result->n_samples_there;
	uint64_t n_shards = result->n_shards + result->n_shards_there;
	uint64_t n_others = p->n_left_out - p->n_samples_left_out;

	fprintf(stderr, "%s/%s: %llu sample%s, %llu shard%s, ", o->arguments[1], name, (unsigned long long)n_samples,
		plural(n_samples, "", "s"), (unsigned long long)n_shards, plural(n_shards, "", "s"));
	if (!result->has_labels)
		fputs("no labels", stderr);
	else if (result->n_classes)
		fprintf(stderr, "%llu %s", (unsigned long long)result->n_classes,
			plural(result->n_classes, "class", "classes"));
	else
		fputs("labels are numbers", stderr);
	if (result->n_shards_there)
		fprintf(stderr, "; %llu of the shards %s there already", (unsigned long long)result->n_shards_there,
			plural(result->n_shards_there, "was", "were"));
	if (result->n_shards)
		fprintf(stderr, "; wrote %.1f MiB in %.1f s", (double)result->n_bytes / 1048576,
			progress_seconds(&p->progress));
	fprintf(stderr, "; left out: %llu image%s, %llu other file%s\n", (unsigned long long)p->n_samples_left_out,
		plural(p->n_samples_left_out, "", "s"), (unsigned long long)n_others, plural(n_others, "", "s"));
}

static int tell_stopped(const struct pack_result *result)
{
	fprintf(stderr, "ringfeed pack: stopped; %llu of %llu shards are finished, the same command goes on from there\n",
		(unsigned long long)(result->n_shards + result->n_shards_there),
		(unsigned long long)result->n_shards_all);
	return 128 + progress_signal();
}

static int run(const struct options *o, const struct pack_options *how, struct packing *p)
{
	struct reason why = {{0}};
	struct pack_result result;
	int r;

	progress_begin(&p->progress);
	progress_catch_signals();
	r = pack_run(how, &result, &why);
	progress_clear(&p->progress);
	if (r == PACK_E_STOPPED)
		return tell_stopped(&result);
	if (r != 0) {
		if (r == PACK_E_REFUSED)
			fprintf(stderr, "ringfeed pack: %s\n", why.text);
		else
			fprintf(stderr, "ringfeed pack: %s (%s)\n", strerror(-r), fault_trail());
		return STATUS_FAILED;
	}
	tell_summary(p, o, how->name, &result);
	return p->n_samples_left_out && !o->may_skip ? STATUS_FAILED : STATUS_DONE;
}

int cmd_pack(int argc, char **argv)
{
	struct packing p = {.n_left_out = 0};
	struct pack_options how = {.shard_bytes = (uint64_t)256 << 20, .context = &p, .on_left_out = tell_left_out,
				   .on_progress = tell_progress, .is_stopped = is_stopped};
	struct machine_limit cpus;
	struct options options;
	char *name;
	int status;

	if (!options_parse(argc, argv, &options, &status))
		return status;
	if (options.shard_size && (!number_size(options.shard_size, &how.shard_bytes) || how.shard_bytes < 1 << 20)) {
		fprintf(stderr, "ringfeed pack: --shard-size cannot be '%s'; accepted: a size of 1MiB or more, as 256MiB\n",
			options.shard_size);
		return STATUS_USAGE;
	}
	name = options.name ? strdup(options.name) : default_name(options.arguments[1]);
	if (!name || !is_good_name(name)) {
		fprintf(stderr, "ringfeed pack: shards cannot be called '%s'; --name gives a name without spaces, slashes, "
			"or characters of patterns\n", name ? name : "");
		free(name);
		return STATUS_USAGE;
	}
	how.source = options.arguments[0];
	how.folder = options.arguments[1];
	how.name = name;
	how.classes = options.classes;
	how.samples_per_shard = options.samples;
	how.shuffle = options.shuffle;
	machine_cpus("", machine_affinity(NULL, 0), &cpus);
	how.n_processes = cpus.n > 1024 ? 1024 : (unsigned)cpus.n;
	how.long_side = (uint32_t)options.long_side;
	how.is_squeezed = options.is_squeezed;
	how.is_forced = options.is_forced;
	status = run(&options, &how, &p);
	free(name);
	return status;
}
