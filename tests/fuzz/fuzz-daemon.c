/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Any bytes as what clients say to the daemon, and workers answer it. The daemon is a real one in this process, with
 * its socket, core and three small feeds, of which two share their passes; the script is up to four clients, both
 * workers, the disk and the clock (played-engine.c), and turns the daemon's loop. At every so manyth turn and at the
 * end the core's invariants hold; when the clients have gone nothing is kept: no session, slot or descriptor. In place of each client's pidfd stands one that the script rings.
 */
#include "base/file.h"
#include "bytes.h"
#include "played-engine.h"
#include "serve/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { CLIENTS = 4, WORKERS = 2, SAMPLES = 24, MOVES_MAX = 300, LEASES_MAX = 16, SETTLE_MAX = 5000, CHECKED = 32,
       DESCRIPTORS_MAX = 512, DOUBLINGS = 13, PAUSE_NS = 20000000 };

enum move { MOVE_CONNECT, MOVE_SAY, MOVE_SAY_BYTES, MOVE_HEAR, MOVE_RELEASE, MOVE_RING, MOVE_HANG_UP, MOVE_EXIT, MOVE_TURN,
	    MOVE_WORK, MOVE_LIE, MOVE_DIE, MOVE_COUNT };

static const char config_text[] =
	"daemon: {memory: 83MiB, workers: 2, io: threads, log: error, sandbox: off}\n"
	"feeds:\n"
	"  own:\n"
	"    source: {format: webdataset, shards: '${TAR}', reads: buffered}\n"
	"    order: {shuffle: full, seed: 42}\n"
	"    limits: {decode_memory: 1MiB}\n"
	"    batch: {size: 3}\n"
	"    slots: 2\n"
	"    fields: {label: {from: cls, decode: integer}}\n"
	"  near:\n"
	"    source: {format: webdataset, shards: '${TAR}', reads: buffered}\n"
	"    order: {shuffle: none}\n"
	"    limits: {decode_memory: 1MiB}\n"
	"    batch: {global: 6, ranks: 2, last: short}\n"
	"    bad_samples: {policy: fail}\n"
	"    slots: 4\n"
	"    share: lockstep\n"
	"    fields: {label: {from: cls, decode: integer}}\n"
	"  apart:\n"
	"    source: {format: webdataset, shards: '${TAR}', reads: buffered}\n"
	"    order: {shuffle: none}\n"
	"    limits: {decode_memory: 1MiB}\n"
	"    batch: {size: 2, last: pad}\n"
	"    slots: 6\n"
	"    share: {window: 3}\n"
	"    fields: {label: {from: cls, decode: integer}}\n";

static struct daemon *d;
static int workers[WORKERS], exits[SESSIONS_MAX]; /* the other ends, or -1 */

/* ---- the part of the clean parent (worker/parent.h), with workers that the script plays ---- */

static int unheard[2];

int parent_start(const struct worker_setup *setup, unsigned n_workers, struct parent *ret)
{
	CHECK(n_workers == WORKERS && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, unheard) == 0);
	*ret = (struct parent){.pid = 0, .fd = unheard[0]};
	return 0;
}

int parent_spawn(const struct parent *p, unsigned worker, int *ret_channel)
{
	int pair[2];

	CHECK(workers[worker] < 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	*ret_channel = pair[0];
	workers[worker] = pair[1];
	CHECK(send(workers[worker], "up", 2, 0) == 2);
	return 0;
}

int parent_kill(const struct parent *p, unsigned worker)
{
	if (workers[worker] >= 0)
		close(workers[worker]);
	workers[worker] = -1;
	return 0;
}

/* Who may map a slot is never told. */
int parent_look(const struct parent *p, uint32_t number, uint64_t inode)
{
	return 0;
}

int parent_listen(const struct parent *p, struct parent_news *ret)
{
	return -EAGAIN;
}

void parent_end(struct parent *p)
{
	for (unsigned i = 0; i < WORKERS; i++)
		parent_kill(p, i);
	close(unheard[0]);
	close(unheard[1]);
}

/* ---- start ---- */

/* SAMPLES members of a number each, and one that is none of the field's. */
static void write_tar(const char *path)
{
	FILE *f = fopen(path, "wb");
	char block[512];

	CHECK(f);
	for (unsigned i = 0; i < SAMPLES; i++) {
		unsigned sum = 0;

		memset(block, 0, sizeof(block));
		snprintf(block, 100, "%04u.%s", i, i == 7 ? "txt" : "cls");
		memcpy(block + 100, "0000644\0" "0000000\0" "0000000\0" "00000000001\0" "00000000000\0" "        0", 57);
		memcpy(block + 257, "ustar\0" "00", 8);
		for (unsigned k = 0; k < sizeof(block); k++)
			sum += (unsigned char)block[k];
		snprintf(block + 148, 8, "%06o", sum);
		CHECK(fwrite(block, sizeof(block), 1, f) == 1);
		memset(block, 0, sizeof(block));
		block[0] = (char)('0' + i % 10);
		CHECK(fwrite(block, sizeof(block), 1, f) == 1);
	}
	memset(block, 0, sizeof(block));
	CHECK(fwrite(block, sizeof(block), 1, f) == 1 && fwrite(block, sizeof(block), 1, f) == 1);
	CHECK(fclose(f) == 0);
}

static char folder[64], tar_path[96], socket_path[96];

static void leave(void)
{
	char index[128];

	daemon_stop(d);
	free(d);
	snprintf(index, sizeof(index), "%s.rfidx", tar_path);
	unlink(index);
	unlink(tar_path);
	rmdir(folder);
}

static void start(void)
{
	const char *parent = getenv("TMPDIR");
	char variable[128], *environment[] = {variable, NULL};
	const struct config_source source = {.name = "fuzz", .text = config_text, .n_text = sizeof(config_text) - 1,
					     .environment = environment};
	const struct serve_options options = {.socket = socket_path, .ready_fd = -1};
	struct config_faults faults = {NULL, 0};
	static struct config *config; /* the daemon's, for ever */
	struct reason why = {""};

	snprintf(folder, sizeof(folder), "%s/fuzz-XXXXXX", parent && strlen(parent) < 40 ? parent : "/tmp");
	CHECK(mkdtemp(folder));
	snprintf(tar_path, sizeof(tar_path), "%s/a.tar", folder);
	snprintf(socket_path, sizeof(socket_path), "%s/s", folder);
	snprintf(variable, sizeof(variable), "TAR=%s", tar_path);
	write_tar(tar_path);
	if (config_read(&source, &config, &faults) != 0)
		fuzz_broken(__FILE__, __LINE__, faults.n ? faults.list[0].reason.text : "config_read");
	log_set_levels(&config->daemon.log);
	for (unsigned i = 0; i < WORKERS; i++)
		workers[i] = -1;
	for (unsigned i = 0; i < SESSIONS_MAX; i++)
		exits[i] = -1;
	d = calloc(1, sizeof(*d));
	CHECK(d);
	if (daemon_start(d, config, &options, &why) != 0)
		fuzz_broken(__FILE__, __LINE__, why.text);
	daemon_begin(d);
	atexit(leave);
}

/* ---- the script's parts ---- */

struct client {
	int fd, bell; /* or -1 */
	uint64_t leases[LEASES_MAX];
	unsigned n_leases;
	uint32_t serial;
};

struct play {
	struct script script;
	struct client clients[CLIENTS];
};

/* The linker sends the daemon's calls here. In place of the pidfd of this very process, which never ends, it watches a
 * descriptor that the script rings: from the first moment on, since a place may change hands within one turn. */
int __real_daemon_watch(struct daemon *daemon, int fd, uint32_t events, enum watch what, uint32_t number);
int __wrap_daemon_watch(struct daemon *daemon, int fd, uint32_t events, enum watch what, uint32_t number);

int __wrap_daemon_watch(struct daemon *daemon, int fd, uint32_t events, enum watch what, uint32_t number)
{
	if (what == WATCH_EXIT) {
		if (exits[number] >= 0)
			close(exits[number]);
		exits[number] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		CHECK(exits[number] >= 0 && dup3(exits[number], fd, O_CLOEXEC) == fd);
	}
	return __real_daemon_watch(daemon, fd, events, what, number);
}

/* Of those who have ended. */
static void close_exits(void)
{
	for (unsigned i = 0; i < SESSIONS_MAX; i++)
		if (exits[i] >= 0 && d->sessions[i].exit_fd < 0) {
			close(exits[i]);
			exits[i] = -1;
		}
}

/* The check has memory of its own. */
static void check_core(void)
{
	starve_pause();
	core_check(d->core);
	starve_resume();
}

static void turn(void)
{
	static unsigned n_turns;

	CHECK(daemon_turn(d, 0) == 0);
	if (n_turns++ % CHECKED == 0)
		check_core(); /* which looks at every slot there is */
	CHECK(!d->is_ending);
	close_exits();
}

static void hang_up(struct client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	if (c->bell >= 0)
		close(c->bell);
	*c = (struct client){.fd = -1, .bell = -1};
}

static void come(struct client *c)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};

	hang_up(c);
	snprintf(to.sun_path, sizeof(to.sun_path), "%s", socket_path);
	c->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	CHECK(c->fd >= 0 && connect(c->fd, (struct sockaddr *)&to, sizeof(to)) == 0);
	turn();
}

/* Whom the script means by a byte: feed, group, rank and so on, mostly as they can be. */
static void make_attach(struct play *p, struct wire_ATTACH *m)
{
	static const char *const feeds[] = {"own", "near", "apart", "none"};
	static const char *const groups[] = {"", "g", "h", "g"};
	const uint8_t who = script_byte(&p->script), where = script_byte(&p->script);
	struct token t;

	*m = (struct wire_ATTACH){.world = 1 + (who >> 2 & 1), .local_world = 1 + (who >> 2 & 1), .rank = who >> 3 & 1,
				  .replica = who >> 4 & 3, .credit = where >> 5 & 3, .start = where >> 7};
	strcpy(m->feed, feeds[who & 3]);
	strcpy(m->group, groups[who >> 6]);
	if ((where & 31) == 0 || (who & 3) == 3)
		return;
	t = d->feeds[who & 3].token;
	t.position = (where & 31) - 1;
	t.epoch = where >> 7;
	token_format(&t, m->token);
}

static void make_message(struct play *p, struct client *c, uint32_t type, void *message)
{
	if (type == WIRE_HELLO) {
		*(struct wire_HELLO *)message = (struct wire_HELLO){.magic = WIRE_MAGIC, .version = WIRE_VERSION};
	} else if (type == WIRE_ATTACH) {
		make_attach(p, message);
	} else if (type == WIRE_RELEASE) {
		*(struct wire_RELEASE *)message = (struct wire_RELEASE){.lease = script_byte(&p->script)};
	} else if (type == WIRE_SEEK) {
		*(struct wire_SEEK *)message = (struct wire_SEEK){.serial = ++c->serial, .batch = script_byte(&p->script) & 3,
								    .epoch = script_byte(&p->script) & 3};
	} else if (type == WIRE_DETACH) {
		*(struct wire_DETACH *)message =
			(struct wire_DETACH){.last_lease = c->n_leases ? c->leases[c->n_leases - 1] : 0};
	}
}

static void say(struct play *p, struct client *c)
{
	static const uint32_t types[] = {WIRE_HELLO, WIRE_ATTACH, WIRE_RELEASE, WIRE_SEEK, WIRE_STATUS, WIRE_DETACH, WIRE_TRACE,
					 WIRE_BATCH};
	const uint32_t type = types[script_byte(&p->script) % (sizeof(types) / sizeof(*types))];
	union {
		struct wire_head head;
		struct wire_ATTACH attach;
	} message = {.head = {0, 0}};

	memset(&message, 0, sizeof(message));
	make_message(p, c, type, &message);
	message.head = (struct wire_head){type, wire_bytes(type)};
	script_change(&p->script, &message, message.head.n_bytes < sizeof(message) ? wire_bytes(type) : sizeof(message));
	send(c->fd, &message, wire_bytes(type), MSG_NOSIGNAL | MSG_DONTWAIT);
	turn();
}

static void say_bytes(struct play *p, const struct client *c)
{
	const size_t n_wanted = script_byte(&p->script);
	const uint8_t *bytes;
	size_t n = script_take(&p->script, n_wanted, &bytes);

	send(c->fd, n ? bytes : (const uint8_t *)"", n, MSG_NOSIGNAL | MSG_DONTWAIT);
	turn();
}

/* Everything that was said to it. A slot's memory is not looked at; a bell is kept. */
static void hear(struct client *c)
{
	static union {
		struct wire_head head;
		struct wire_BATCH batch;
		char bytes[17000];
	} in;
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec to = {.iov_base = &in, .iov_len = sizeof(in)};
	struct msghdr h = {.msg_iov = &to, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	ssize_t n;

	while (c->fd >= 0 && (n = recvmsg(c->fd, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC)) > 0) {
		struct cmsghdr *sent = CMSG_FIRSTHDR(&h);
		int fd = -1;

		CHECK((size_t)n >= sizeof(in.head) && in.head.n_bytes == (size_t)n && wire_bytes(in.head.type) == (size_t)n);
		if (sent)
			memcpy(&fd, CMSG_DATA(sent), sizeof(fd));
		if (in.head.type == WIRE_ATTACHED && fd >= 0 && c->bell < 0)
			c->bell = fd;
		else if (fd >= 0)
			close(fd);
		if (in.head.type == WIRE_BATCH && c->n_leases < LEASES_MAX)
			c->leases[c->n_leases++] = in.batch.lease;
		h.msg_controllen = sizeof(control);
	}
}

static void release(struct client *c, unsigned i)
{
	struct wire_RELEASE m = {.head = {WIRE_RELEASE, sizeof(m)}};

	if (c->n_leases == 0)
		return;
	i %= c->n_leases;
	m.lease = c->leases[i];
	c->leases[i] = c->leases[--c->n_leases];
	send(c->fd, &m, sizeof(m), MSG_NOSIGNAL | MSG_DONTWAIT);
	turn();
}

static void ring(struct play *p, const struct client *c)
{
	const uint64_t bits = (uint64_t)script_byte(&p->script) << script_byte(&p->script) % 56;

	if (c->bell >= 0 && bits && write(c->bell, &bits, sizeof(bits)) == sizeof(bits))
		turn();
}

static void end_one(unsigned i)
{
	const uint64_t one = 1;

	for (unsigned k = 0; k < SESSIONS_MAX; k++)
		if (exits[(i + k) % SESSIONS_MAX] >= 0) {
			CHECK(write(exits[(i + k) % SESSIONS_MAX], &one, sizeof(one)) == sizeof(one));
			break;
		}
	turn();
}

/* Takes a task and answers it: that all went well, or what the script makes of that. False: there was none. */
static bool work(unsigned worker, struct script *lies)
{
	_Alignas(8) static char bytes[WORKER_PACKET_MAX];
	static struct {
		struct answer head;
		struct answer_sample samples[TASK_SAMPLES_MAX];
	} m;
	const struct task *t = (const struct task *)bytes;
	size_t n;

	if (workers[worker] < 0 || recv(workers[worker], bytes, sizeof(bytes), MSG_DONTWAIT) <= 0)
		return false;
	memset(&m, 0, sizeof(m));
	m.head = (struct answer){.id = t->id, .cpu_ns = 1000, .n_samples = t->n_samples};
	CHECK(t->n_samples > 0 && t->n_samples <= TASK_SAMPLES_MAX);
	n = sizeof(m.head) + t->n_samples * sizeof(*m.samples);
	if (lies)
		script_change(lies, &m, n);
	send(workers[worker], &m, n, MSG_NOSIGNAL | MSG_DONTWAIT);
	turn();
	return true;
}

/* Some time, or reads that do not come or fail. */
static void let_pass(unsigned what)
{
	if (what < DOUBLINGS)
		played_pass(UINT64_C(1000000) << what);
	else if (what <= DOUBLINGS + 1)
		played_hold(what == DOUBLINGS);
	else
		played_spoil_next(what % 2 ? PLAYED_ERROR : PLAYED_SHORT);
	turn();
}

/* ---- the play ---- */

static void make_move(struct play *p)
{
	const uint8_t which = script_byte(&p->script);
	struct client *c = &p->clients[which / MOVE_COUNT % CLIENTS];
	const enum move move = which % MOVE_COUNT;

	if (c->fd < 0 && move <= MOVE_RING)
		come(c);
	switch (move) {
	case MOVE_CONNECT:
		come(c);
		break;
	case MOVE_SAY:
		say(p, c);
		break;
	case MOVE_SAY_BYTES:
		say_bytes(p, c);
		break;
	case MOVE_HEAR:
		hear(c);
		break;
	case MOVE_RELEASE:
		release(c, script_byte(&p->script));
		break;
	case MOVE_RING:
		ring(p, c);
		break;
	case MOVE_HANG_UP:
		hang_up(c);
		turn();
		break;
	case MOVE_EXIT:
		end_one(script_byte(&p->script));
		break;
	case MOVE_TURN:
		let_pass(which / MOVE_COUNT);
		break;
	case MOVE_WORK:
		work(which / MOVE_COUNT % WORKERS, NULL);
		break;
	case MOVE_LIE:
		work(which / MOVE_COUNT % WORKERS, &p->script);
		break;
	case MOVE_DIE:
		if (d->helpers[which / MOVE_COUNT % WORKERS].is_up) /* workers that die before that end the daemon */
			parent_kill(&d->parent, which / MOVE_COUNT % WORKERS);
		turn();
		break;
	case MOVE_COUNT:
		break;
	}
}

static bool is_settled(void)
{
	struct core_feed_view v;

	for (unsigned i = 0; i < SESSIONS_MAX; i++)
		if (d->sessions[i].state != SESSION_NONE)
			return false;
	for (unsigned i = 0; i < WORKERS; i++)
		if (!d->helpers[i].is_up || !core_worker_is_idle(d->core, i))
			return false;
	for (unsigned i = 0; i < d->n_feeds; i++) {
		core_view_feed(d->core, i, &v);
		if (v.slots.free != v.slots.all)
			return false;
	}
	return d->n_flying == 0;
}

/* All clients have gone, and their processes with them: soon nothing is left of them. */
static void settle(void)
{
	const uint64_t one = 1;

	played_hold(false);
	played_spoil_next(PLAYED_WELL);
	for (unsigned n = 0; !is_settled(); n++) {
		bool has_worked = false;

		CHECK(n < SETTLE_MAX);
		for (unsigned i = 0; i < SESSIONS_MAX; i++)
			if (exits[i] >= 0)
				CHECK(write(exits[i], &one, sizeof(one)) == sizeof(one));
		for (unsigned i = 0; i < WORKERS; i++)
			has_worked = work(i, NULL) || has_worked;
		if (!has_worked)
			played_pass(PAUSE_NS);
		turn();
	}
	check_core();
}

static unsigned count_descriptors(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < DESCRIPTORS_MAX; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

void fuzz_one(const uint8_t *bytes, size_t n)
{
	static unsigned n_grown;
	struct play p = {.script = {bytes, bytes + n}};
	unsigned n_before;

	if (!d) {
		start();
		settle();
	}
	n_before = count_descriptors(); /* between two inputs others may open some: the sanitizer's own helpers do */
	for (unsigned i = 0; i < CLIENTS; i++)
		p.clients[i].fd = p.clients[i].bell = -1;
	for (unsigned i = 0; i < MOVES_MAX && !script_is_over(&p.script); i++)
		make_move(&p);
	for (unsigned i = 0; i < CLIENTS; i++)
		hang_up(&p.clients[i]);
	starve_pause();
	settle();
	starve_resume();
	n_grown += count_descriptors() - n_before;
	CHECK(n_grown <= d->n_feeds); /* shards that stay open */
}
