/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * libmicrohttpd without a thread of its own: its epoll descriptor is watched by ours. It is loaded at run time and
 * only where the key is set, after the clean parent was forked, so that its memory is in one process alone (it
 * brings a TLS library along, which the workers would carry too).
 *
 * A page is made at most ten times a second, whoever asks and however often; those who ask meanwhile get the
 * same one.
 */
#include "watch/web.h"

#include "base/fault.h"
#include "watch/metrics.h"
#include "watch/page.h"
#include "watch/snapshot.h"
#include "watch/status.h"
#include "watch/text.h"

#include <dlfcn.h>
#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FRESH_NS UINT64_C(100000000)
#define LIBRARY "libmicrohttpd.so.12"

/* clang-format off */
#define FUNCTIONS(F) \
	F(start_daemon) F(stop_daemon) F(get_daemon_info) F(run) F(create_response_from_buffer) \
	F(destroy_response) F(add_response_header) F(queue_response)
/* clang-format on */

struct functions {
#define F(name) __typeof__(&MHD_##name) name;
	FUNCTIONS(F)
#undef F
};

enum page { PAGE_STATUS, PAGE_METRICS, PAGE_JSON, PAGE_COUNT };

struct made {
	struct MHD_Response *response; /* counted: whoever is still sending an older one keeps it */
	uint64_t made_ns;
};

struct web {
	struct functions mhd;
	void *library;
	struct MHD_Daemon *server;
	const struct snapshot *(*look)(void *context);
	void *context;
	uint64_t now_ns;
	int fd; /* the listening socket until the server owns it, else -1 */
	struct made pages[PAGE_COUNT];
	char address[160]; /* as it can be opened */
};

/* ---- the address ---- */

/* "127.0.0.1:9464" and "[::1]:9464" in two; the configuration has checked the form. */
static void split(const char *address, char *host, size_t n_host, const char **ret_port)
{
	const char *colon = strrchr(address, ':');
	bool is_bracketed = *address == '[';

	snprintf(host, n_host, "%.*s", (int)(colon - address) - 2 * is_bracketed, address + is_bracketed);
	*ret_port = colon + 1;
}

static int bind_to(const struct addrinfo *at)
{
	const int yes = 1;
	int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), r;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)); /* connections of the last daemon linger */
	if (bind(fd, at->ai_addr, at->ai_addrlen) == 0 && listen(fd, WEB_CONNECTIONS) == 0)
		return fd;
	r = -errno;
	close(fd);
	return r;
}

static unsigned port_of(int fd)
{
	struct sockaddr_storage at;
	socklen_t n = sizeof(at);

	if (getsockname(fd, (struct sockaddr *)&at, &n) < 0)
		return 0;
	return ntohs(at.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&at)->sin6_port
					      : ((struct sockaddr_in *)&at)->sin_port);
}

int web_listen(const char *address, struct web **ret, struct reason *why)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
	struct addrinfo *found;
	const char *port;
	struct web *w;
	char host[128];
	int r, fd;

	split(address, host, sizeof(host), &port);
	r = getaddrinfo(host, port, &hints, &found);
	if (r) {
		reason_set(why, "daemon.metrics: %s: %s", address, gai_strerror(r));
		return WEB_E_REFUSED;
	}
	fd = bind_to(found);
	freeaddrinfo(found);
	if (fd < 0) {
		reason_set(why, "daemon.metrics: %s cannot be listened at: %s%s", address, strerror(-fd),
			   fd == -EADDRINUSE ? "; choose another port, or end who has this one" : "");
		return WEB_E_REFUSED;
	}
	w = calloc(1, sizeof(*w));
	if (!w) {
		close(fd);
		return fail(-ENOMEM);
	}
	w->fd = fd;
	snprintf(w->address, sizeof(w->address), "%.*s:%u", (int)(port - 1 - address), address, port_of(fd));
	*ret = w;
	return 0;
}

/* ---- pages ---- */

static void write_json(const struct snapshot *s, struct text *to)
{
	char *json = status_json(s);

	text_add(to, "%s\n", json ? json : "{}");
	free(json);
}

static void write_page(const struct snapshot *s, struct text *to)
{
	json_t *status = status_tree(s);

	page_write(status, to);
	json_decref(status);
}

static const struct {
	const char *path, *type;
	void (*write)(const struct snapshot *s, struct text *to);
} pages[PAGE_COUNT] = {
	[PAGE_STATUS] = {"/", "text/html; charset=utf-8", write_page},
	[PAGE_METRICS] = {"/metrics", "text/plain; version=0.0.4; charset=utf-8", metrics_write},
	[PAGE_JSON] = {"/status.json", "application/json", write_json},
};

static struct MHD_Response *respond(const struct web *w, void *bytes, size_t n, enum MHD_ResponseMemoryMode mode,
				    const char *type)
{
	struct MHD_Response *r = w->mhd.create_response_from_buffer(n, bytes, mode);

	if (!r)
		return NULL;
	w->mhd.add_response_header(r, "Content-Type", type);
	w->mhd.add_response_header(r, "Connection", "close");
	w->mhd.add_response_header(r, "Cache-Control", "no-store");
	w->mhd.add_response_header(r, "X-Content-Type-Options", "nosniff");
	w->mhd.add_response_header(r, "Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'");
	return r;
}

/* The page as it is now, or was a moment ago; NULL without memory. */
static struct MHD_Response *page_now(struct web *w, enum page page)
{
	struct made *m = &w->pages[page];
	struct text text = {.most = WEB_PAGE_MAX};
	struct MHD_Response *r;

	if (m->response && w->now_ns - m->made_ns < FRESH_NS)
		return m->response;
	pages[page].write(w->look(w->context), &text);
	if (text.is_cut || !text.bytes) {
		free(text.bytes);
		return NULL;
	}
	r = respond(w, text.bytes, text.n, MHD_RESPMEM_MUST_FREE, pages[page].type);
	if (!r) {
		free(text.bytes);
		return NULL;
	}
	if (m->response)
		w->mhd.destroy_response(m->response);
	m->response = r;
	m->made_ns = w->now_ns;
	return r;
}

static enum MHD_Result say(const struct web *w, struct MHD_Connection *c, unsigned code, const char *sentence)
{
	struct MHD_Response *r = respond(w, (void *)(uintptr_t)sentence, strlen(sentence), MHD_RESPMEM_PERSISTENT,
					 "text/plain; charset=utf-8");
	enum MHD_Result done;

	if (!r)
		return MHD_NO;
	if (code == MHD_HTTP_METHOD_NOT_ALLOWED)
		w->mhd.add_response_header(r, "Allow", "GET, HEAD");
	done = w->mhd.queue_response(c, code, r);
	w->mhd.destroy_response(r);
	return done;
}

static enum MHD_Result answer(void *web, struct MHD_Connection *c, const char *url, const char *method,
			      const char *version, const char *upload, size_t *n_upload, void **state)
{
	struct web *w = web;
	struct MHD_Response *r;

	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
		return say(w, c, MHD_HTTP_METHOD_NOT_ALLOWED, "Only GET and HEAD.\n");
	for (unsigned i = 0; i < PAGE_COUNT; i++) {
		if (strcmp(url, pages[i].path) != 0)
			continue;
		r = page_now(w, (enum page)i);
		return r ? w->mhd.queue_response(c, MHD_HTTP_OK, r)
			 : say(w, c, MHD_HTTP_INTERNAL_SERVER_ERROR, "The page is too long.\n");
	}
	return say(w, c, MHD_HTTP_NOT_FOUND, "There is /, /metrics and /status.json.\n");
}

/* ---- life ---- */

static int load(struct web *w, struct reason *why)
{
	w->library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
#define F(name) \
	*(void **)&w->mhd.name = w->library ? dlsym(w->library, "MHD_" #name) : NULL;
	FUNCTIONS(F)
#undef F
#define F(name) && w->mhd.name
	if (w->library FUNCTIONS(F))
		return 0;
#undef F
	reason_set(why, "daemon.metrics needs %s, which cannot be loaded (%s): install libmicrohttpd12, or leave the key "
		   "out", LIBRARY, dlerror());
	return WEB_E_REFUSED;
}

int web_start(struct web *w, const struct snapshot *(*look)(void *context), void *context, int *ret_fd,
	      struct reason *why)
{
	const union MHD_DaemonInfo *info;
	int r = load(w, why);

	if (r)
		return r;
	w->look = look;
	w->context = context;
	w->server = w->mhd.start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, answer, w, MHD_OPTION_LISTEN_SOCKET, w->fd,
					MHD_OPTION_CONNECTION_LIMIT, (unsigned)WEB_CONNECTIONS,
					MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)WEB_CONNECTION_MAX,
					MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)WEB_SILENCE_S, MHD_OPTION_END);
	if (!w->server)
		return fail(-ENOMEM);
	w->fd = -1;
	info = w->mhd.get_daemon_info(w->server, MHD_DAEMON_INFO_EPOLL_FD);
	if (!info)
		return fail(-EINVAL);
	*ret_fd = info->epoll_fd;
	return 0;
}

const char *web_address(const struct web *w)
{
	return w->address;
}

void web_run(struct web *w, uint64_t now_ns)
{
	if (!w || !w->server)
		return;
	w->now_ns = now_ns;
	w->mhd.run(w->server);
}

struct web *web_free(struct web *w)
{
	if (!w)
		return NULL;
	if (w->server)
		w->mhd.stop_daemon(w->server);
	for (unsigned i = 0; i < PAGE_COUNT; i++)
		if (w->pages[i].response)
			w->mhd.destroy_response(w->pages[i].response);
	if (w->fd >= 0)
		close(w->fd);
	if (w->library)
		dlclose(w->library);
	free(w);
	return NULL;
}
