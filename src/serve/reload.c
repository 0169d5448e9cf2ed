/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Checked first, then applied: nothing that is applied can fail. The structs of the start stay, since feeds,
 * workers and core point into them; values that change live in the core, the log and n_wanted.
 */
#include "serve/reload.h"

#include "base/log.h"
#include "config/compare.h"
#include "serve/daemon.h"

#include <stdio.h>
#include <string.h>

#define MIB (UINT64_C(1) << 20)

/* The keys that differ, by what can be done about them. */
struct changes {
	char live[300], fixed[300]; /* with commas between */
	unsigned n_live, n_fixed;
	bool has_workers;
};

static void list(char *to, size_t n_to, unsigned n_before, const char *path)
{
	size_t n = strlen(to);

	snprintf(to + n, n_to - n, "%s%s", n_before ? ", " : "", path);
}

static void note(void *context, const char *path, bool is_live)
{
	struct changes *c = context;

	if (!is_live)
		list(c->fixed, sizeof(c->fixed), c->n_fixed++, path);
	else
		list(c->live, sizeof(c->live), c->n_live++, path);
	if (strcmp(path, "daemon.workers") == 0)
		c->has_workers = true;
}

/* How many workers that means: as many as were planned for at the start, or fewer. */
static int check_workers(struct daemon *d, const struct config *config, unsigned *ret_n, struct reason *why)
{
	struct planning p;
	struct reason small;
	int r = planning_make(config, d->datasets, &p, &small);

	*ret_n = p.n_workers;
	if (r < 0) {
		reason_set(why, "daemon.workers: %s", strerror(-r));
	} else if (p.n_workers > d->n_workers) {
		r = 1;
		reason_set(why, "daemon.workers: %u workers are more than the %u that memory was laid out for at the start; "
			   "started again with daemon.memory of at least %lluMiB, the daemon can have them", p.n_workers,
			   d->n_workers, (unsigned long long)(p.plan.needed / MIB));
	} else {
		r = 0; /* what does not fit is the start's line of workers, which is there already */
	}
	planning_deinit(&p);
	return r;
}

static int check(struct daemon *d, const struct config *config, struct changes *c, unsigned *ret_workers,
		 struct reason *why)
{
	config_compare(d->reload.current ? d->reload.current : d->config, config, note, c);
	*ret_workers = d->n_wanted;
	if (c->n_fixed) {
		reason_set(why, "%s cannot change while the daemon runs: start it again", c->fixed);
		return 1;
	}
	return c->has_workers ? check_workers(d, config, ret_workers, why) : 0;
}

static void apply(struct daemon *d, const struct config *config, unsigned n_workers)
{
	log_set_levels(&config->daemon.log);
	core_set_read_timeout(d->core, config->daemon.read_timeout_ns);
	for (unsigned i = 0; i < d->n_feeds; i++) {
		const struct config_feed *f = config_feed(config, d->feeds[i].config->name);

		core_set_bad(d->core, i, f->bad_limit, f->transient == CONFIG_TRANSIENT_AS_BAD);
	}
	workers_set(d, n_workers);
}

static void refused(struct daemon *d)
{
	d->reload.n_refused++;
	d->reload.was_refused = true;
	log_warn("serve", "SIGHUP: nothing is changed: %s", d->reload.said.text);
}

void reload_take(struct daemon *d)
{
	struct reload *r = &d->reload;
	struct changes changes = {.n_live = 0};
	struct config *config;
	unsigned n_workers;

	r->at_ns = d->now_ns;
	r->was_refused = false;
	if (!d->reread || d->reread(d->reread_context, &config, &r->said)) {
		if (!d->reread)
			reason_set(&r->said, "this daemon was given its configuration once and for all");
		refused(d);
		return;
	}
	if (check(d, config, &changes, &n_workers, &r->said)) {
		config_free(config);
		refused(d);
		return;
	}
	apply(d, config, n_workers);
	config_free(r->current);
	r->current = config;
	r->n_applied++;
	reason_set(&r->said, "%s%s", changes.n_live ? "changed: " : "no key has changed", changes.live);
	log_info("serve", "SIGHUP: %s", r->said.text);
}

void reload_deinit(struct reload *r)
{
	r->current = config_free(r->current);
}
