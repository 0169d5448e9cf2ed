/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Tried out while the daemon is small: a dozen forks of it then cost a few milliseconds. The core gives up files
 * before the reading threads start, which inherit that, and calls when all is open.
 */
#include "serve/daemon.h"

#include "base/fault.h"
#include "base/log.h"

#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

/* The socket is removed at the end, the ledger opened later on. */
struct folders {
	char socket[PATH_MAX];
	const char *list[2];
};

static struct sandbox_own own_of(const struct daemon *d, struct folders *f)
{
	char *slash;

	snprintf(f->socket, sizeof(f->socket), "%s", d->socket_path);
	slash = strrchr(f->socket, '/');
	if (slash)
		slash[slash == f->socket] = 0;
	else
		snprintf(f->socket, sizeof(f->socket), ".");
	f->list[0] = f->socket;
	f->list[1] = d->config->daemon.ledger;
	return (struct sandbox_own){.child = d->parent.pid, .writable = f->list, .n_writable = 2};
}

static void say(const struct sandbox_report *r)
{
	unsigned n_tried = 0, n_refused = 0;
	char landlock[24] = "no";

	for (unsigned i = 0; i < SANDBOX_ROLES; i++) {
		n_tried += r->roles[i].n_tried;
		n_refused += r->roles[i].n_refused;
	}
	if (*r->missing.text)
		log_warn("serve", "the sandbox is not whole: %s", r->missing.text);
	if (r->means.landlock)
		snprintf(landlock, sizeof(landlock), "ABI %d", r->means.landlock);
	log_info("serve", "sandbox: seccomp %s, Landlock %s; %u of %u forbidden things refused (%.1f ms)",
		 r->means.has_filter ? "yes" : "no", landlock, n_refused, n_tried, (double)r->took_ns / 1e6);
}

int confining_plan(struct daemon *d, struct reason *why)
{
	struct folders folders;
	struct sandbox_own own = own_of(d, &folders);
	int r;

	json_object_seed(0); /* else the first object that a worker makes reads /dev/urandom for it */
	if (d->config->daemon.sandbox == CONFIG_SANDBOX_OFF) {
		sandbox_leave_off("daemon.sandbox is off", &d->sandbox);
		log_info("serve", "sandbox: off, as configured");
		return 0;
	}
	r = sandbox_try(&own, &d->sandbox);
	if (r < 0)
		return r;
	if (d->config->daemon.sandbox == CONFIG_SANDBOX_REQUIRED && *d->sandbox.missing.text) {
		reason_set(why, "daemon.sandbox is required, but %s", d->sandbox.missing.text);
		return SERVE_E_REFUSED;
	}
	say(&d->sandbox);
	return 0;
}

int confining_files(struct daemon *d)
{
	struct folders folders;
	const struct sandbox_own own = own_of(d, &folders);

	return sandbox_files(&d->sandbox.means, SANDBOX_CORE, &own);
}

int confining_calls(struct daemon *d)
{
	struct folders folders;
	const struct sandbox_own own = own_of(d, &folders);

	return sandbox_calls(&d->sandbox.means, SANDBOX_CORE, &own);
}
