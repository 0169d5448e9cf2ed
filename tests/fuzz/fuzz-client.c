/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Any bytes as what a daemon says to the client library, and what its trainer calls meanwhile: the library answers each
 * call at once, keeps its place in the conversation, maps nothing that is not there, and leaves neither a descriptor
 * nor a mapping behind. Everything is one thread: the library's calls are given no time to wait, so the next move
 * of the script is the daemon's. Only who asks for the status waits for a second thread that answers.
 */
#include "bytes.h"
#include "client/session.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { SLOT_BYTES = 4096, ROWS = 4, HELD_MAX = 16, MOVES_MAX = 400, DESCRIPTORS_MAX = 128 };

enum move { MOVE_SAY, MOVE_SAY_BYTES, MOVE_HANG_UP, MOVE_NEXT, MOVE_RELEASE, MOVE_RETURN, MOVE_SET_EPOCH, MOVE_SET_BATCH,
	    MOVE_LOAD_TOKEN, MOVE_RECONNECT, MOVE_LOOK, MOVE_STATUS, MOVE_COUNT };

enum descriptor { AS_IT_SHOULD_BE, NONE, UNSEALED, SMALL, PIPE, SOCKET, TWO, DESCRIPTOR_COUNT };

static struct sockaddr_un address = {.sun_family = AF_UNIX};
static int listener;

struct play {
	struct script script;
	struct rf_session *s;
	int daemon; /* its end of the connection, or -1 */
	struct rf_batch *held[HELD_MAX];
	unsigned n_held, n_came; /* came: fields and slots since ATTACHED */
	uint64_t lease;
};

static void open_listener(void)
{
	const char *folder = getenv("TMPDIR");

	listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/fuzz-client-%d", folder ? folder : "/tmp", getpid());
	unlink(address.sun_path);
	CHECK(listener >= 0 && bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0 &&
	      listen(listener, 16) == 0);
}

static void unlink_listener(void)
{
	unlink(address.sun_path);
}

/* ---- the daemon ---- */

static void hang_up(struct play *p)
{
	if (p->daemon >= 0)
		close(p->daemon);
	p->daemon = -1;
}

/* Whoever came last is whom it talks to; what was said to it is thrown away. */
static void meet(struct play *p)
{
	char bytes[2048];
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
		hang_up(p);
		p->daemon = fd;
	}
	while (p->daemon >= 0 && recv(p->daemon, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
}

static int memory_file(size_t n, int seals)
{
	int fd = memfd_create("fuzz-client", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	CHECK(fd >= 0 && ftruncate(fd, (off_t)n) == 0 && fcntl(fd, F_ADD_SEALS, seals) == 0);
	return fd;
}

/* What goes with a message of that type; returns how many. */
static int make_descriptors(uint32_t type, enum descriptor kind, int ret[2])
{
	int pair[2];

	if (kind == NONE || (kind == AS_IT_SHOULD_BE && type != WIRE_SLOT && type != WIRE_ATTACHED))
		return 0;
	if (kind == PIPE || kind == SOCKET) {
		CHECK((kind == PIPE ? pipe2(pair, O_CLOEXEC | O_NONBLOCK)
				    : socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair)) == 0);
		close(pair[0]);
		ret[0] = pair[1];
		return 1;
	}
	if (type == WIRE_ATTACHED && kind != SMALL)
		ret[0] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	else
		ret[0] = memory_file(kind == SMALL ? 100 : SLOT_BYTES, kind == UNSEALED ? 0 : F_SEAL_SHRINK | F_SEAL_GROW);
	CHECK(ret[0] >= 0);
	ret[1] = kind == TWO ? dup(ret[0]) : -1;
	return kind == TWO ? 2 : 1;
}

static void send_packet(int to, const void *bytes, size_t n, const int *fds, int n_fds)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(2 * sizeof(int))];
	} control = {{0}};
	struct iovec from = {.iov_base = (void *)bytes, .iov_len = n};
	struct msghdr h = {.msg_iov = &from, .msg_iovlen = 1};
	struct cmsghdr *c = &control.align;

	if (n_fds) {
		h.msg_control = &control;
		h.msg_controllen = CMSG_SPACE((size_t)n_fds * sizeof(int));
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN((size_t)n_fds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, (size_t)n_fds * sizeof(int));
	}
	sendmsg(to, &h, MSG_NOSIGNAL | MSG_DONTWAIT); /* to whom has gone: to nobody */
	for (int i = 0; i < n_fds; i++)
		close(fds[i]);
}

static void make_attached(struct play *p, struct wire_ATTACHED *m)
{
	*m = (struct wire_ATTACHED){.n_fields = 2, .n_slots = 2, .n_rows = ROWS, .slot_bytes = SLOT_BYTES, .index_at = 0,
				    .position_at = 64, .valid_at = 128, .n_samples = 40, .n_batches = 5};
	memset(m->fingerprint, 'a', 32);
	p->n_came = 0;
}

/* Arrays one behind the other, the second one of rows that differ in length. */
static void make_field(struct play *p, struct wire_FIELD *m)
{
	*m = (struct wire_FIELD){.dtype = DTYPE_uint8, .n_dims = 1, .dim0 = 8, .at = 192 + 64 * (p->n_came % 16),
				 .row_bytes = 8};
	if (p->n_came == 1) {
		m->kind = WIRE_BYTES;
		m->lengths_at = 2048;
	}
	m->name[0] = (char)('a' + p->n_came++ % 26);
}

static void make_message(struct play *p, uint32_t type, void *message)
{
	struct rf_session *s = p->s;

	if (type == WIRE_WELCOME) {
		*(struct wire_WELCOME *)message = (struct wire_WELCOME){.version = WIRE_VERSION, .pid = 1, .release = "0"};
	} else if (type == WIRE_FAILED) {
		*(struct wire_FAILED *)message = (struct wire_FAILED){.error = EBUSY, .name = "Refused", .text = "no"};
	} else if (type == WIRE_ATTACHED) {
		make_attached(p, message);
	} else if (type == WIRE_FIELD) {
		make_field(p, message);
	} else if (type == WIRE_SLOT) {
		*(struct wire_SLOT *)message = (struct wire_SLOT){.slot = p->n_came++ - 2, .n_bytes = SLOT_BYTES};
	} else if (type == WIRE_BATCH) {
		*(struct wire_BATCH *)message = (struct wire_BATCH){.slot = p->lease % 2, .n_rows = ROWS, .serial = s->serial,
			.lease = ++p->lease, .epoch = s->shared.epoch, .epoch_after = s->shared.epoch, .position_after = 4};
	} else if (type == WIRE_EPOCH_END) {
		*(struct wire_EPOCH_END *)message = (struct wire_EPOCH_END){.serial = s->serial, .epoch = s->shared.epoch,
									      .n_batches = 5};
	} else if (type == WIRE_SOUGHT) {
		*(struct wire_SOUGHT *)message = (struct wire_SOUGHT){.serial = s->serial, .epoch = s->seek_epoch,
									.n_batches = 5};
	}
}

static void say(struct play *p)
{
	static const uint32_t types[] = {WIRE_WELCOME, WIRE_ATTACHED, WIRE_FIELD, WIRE_SLOT, WIRE_BATCH, WIRE_EPOCH_END,
					 WIRE_SOUGHT, WIRE_FAILED, WIRE_PEER_GONE, WIRE_STATUS_TEXT, WIRE_TRACE_TEXT,
					 WIRE_HELLO};
	const uint32_t type = types[script_byte(&p->script) % (sizeof(types) / sizeof(*types))];
	const uint32_t n_bytes = wire_bytes(type);
	union answer *message = starve_own(sizeof(*message));
	int fds[2], n_fds = make_descriptors(type, script_byte(&p->script) % DESCRIPTOR_COUNT, fds);

	memset(message, 0, sizeof(*message));
	make_message(p, type, message);
	message->head = (struct wire_head){type, n_bytes};
	script_change(&p->script, message, n_bytes);
	send_packet(p->daemon, message, n_bytes, fds, n_fds);
	free(message);
}

static void say_bytes(struct play *p)
{
	const size_t n_wanted = script_byte(&p->script);
	const uint8_t *bytes;
	size_t n = script_take(&p->script, n_wanted, &bytes);

	send_packet(p->daemon, bytes, n, NULL, 0);
}

/* ---- the trainer ---- */

static int is_touched; /* so that the reads below are made */

/* The first and the last byte of every array of every batch, through every accessor. */
static void look(struct play *p)
{
	struct rf_column column, lengths;
	struct rf_array array;
	struct rf_view view;
	char token[TOKEN_BYTES + 1];
	int n = rf_session_n_fields(p->s);

	rf_session_token(p->s, token, sizeof(token));
	CHECK(n < 0 || (n > 0 && n <= FIELDS_MAX));
	for (int i = 0; i < n; i++) {
		CHECK(rf_session_column(p->s, i, &column) == 0 && rf_session_lengths(p->s, i, &lengths) >= 0);
		for (unsigned b = 0; b < p->n_held; b++) {
			CHECK(rf_batch_view(p->held[b], &view) == 0);
			CHECK(rf_batch_array(p->held[b], column.name, &array) == 0);
			CHECK((char *)array.data >= (char *)view.base &&
			      (char *)array.data + array.n_bytes <= (char *)view.base + view.n_bytes);
			if (array.n_bytes)
				is_touched += ((volatile char *)array.data)[0] +
					      ((volatile char *)array.data)[array.n_bytes - 1];
			is_touched += rf_batch_n_rows(p->held[b]) ? (int)rf_batch_index(p->held[b])[0] +
				      rf_batch_valid(p->held[b])[rf_batch_n_rows(p->held[b]) - 1] : 0;
		}
	}
	CHECK(rf_session_error(p->s));
}

static void next(struct play *p)
{
	struct rf_batch *b = NULL;
	int r;

	if (p->n_held == HELD_MAX)
		return;
	r = rf_session_next(p->s, 0, &b);
	CHECK((r == 0) == (b != NULL) && r <= 0);
	if (b)
		p->held[p->n_held++] = b;
	else
		CHECK(r == -ENODATA || rf_session_error(p->s)->name[0]);
}

static void release(struct play *p, unsigned i)
{
	if (p->n_held == 0)
		return;
	CHECK(rf_batch_release(p->held[i % p->n_held]) == 0);
	p->held[i % p->n_held] = p->held[p->n_held - 1];
	p->n_held--;
}

static void load_token(struct play *p)
{
	char token[TOKEN_BYTES + 1] = "";
	const uint8_t *bytes;
	size_t n;

	if (script_byte(&p->script) % 2) {
		n = script_byte(&p->script);
		n = script_take(&p->script, n, &bytes);
		memcpy(token, bytes, n);
	} else {
		rf_session_token(p->s, token, sizeof(token));
	}
	rf_session_load_token(p->s, token, 0);
}

/* ---- who asks for the status ---- */

/* It falls silent, and does not hang up: who does that before it read the question takes back what it said. */
static void *answer(void *play)
{
	struct pollfd wait = {.fd = listener, .events = POLLIN};
	struct play *p = play;

	if (poll(&wait, 1, 1000) > 0)
		p->daemon = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	for (unsigned n = 1 + script_byte(&p->script) % 6; n > 0; n--)
		if (p->daemon >= 0)
			say(p);
	shutdown(p->daemon, SHUT_WR);
	return NULL;
}

static void ask_status(struct play *p)
{
	struct rf_error e;
	pthread_t thread;
	char *json = NULL;
	int r;

	meet(p);
	hang_up(p);
	starve_pause();
	CHECK(pthread_create(&thread, NULL, answer, p) == 0);
	starve_resume();
	r = p->lease % 2 ? rf_trace(address.sun_path, 2000, &json, &e) : rf_status(address.sun_path, 2000, &json, &e);
	CHECK((r == 0) == (json != NULL) && (r == 0 || e.name[0]));
	rf_free(json);
	pthread_join(thread, NULL);
	hang_up(p);
}

/* ---- the play ---- */

static void make_move(struct play *p)
{
	const enum move move = script_byte(&p->script) % MOVE_COUNT;

	if (move <= MOVE_HANG_UP)
		meet(p);
	switch (move) {
	case MOVE_SAY:
		say(p);
		break;
	case MOVE_SAY_BYTES:
		say_bytes(p);
		break;
	case MOVE_HANG_UP:
		hang_up(p);
		break;
	case MOVE_NEXT:
		next(p);
		break;
	case MOVE_RELEASE:
		release(p, script_byte(&p->script));
		break;
	case MOVE_RETURN:
		if (p->n_held)
			rf_batch_return(p->held[script_byte(&p->script) % p->n_held]);
		break;
	case MOVE_SET_EPOCH:
		rf_session_set_epoch(p->s, script_byte(&p->script), 0);
		break;
	case MOVE_SET_BATCH:
		rf_session_set_batch_size(p->s, script_byte(&p->script), 0);
		break;
	case MOVE_LOAD_TOKEN:
		load_token(p);
		break;
	case MOVE_RECONNECT:
		rf_session_reconnect(p->s, 0);
		break;
	case MOVE_LOOK:
		look(p);
		break;
	case MOVE_STATUS:
		ask_status(p);
		break;
	case MOVE_COUNT:
		break;
	}
}

static unsigned count_descriptors(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < DESCRIPTORS_MAX; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* Does the process still map a slot? */
static bool is_mapped(void)
{
	static char text[1 << 20];
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	size_t n = 0;
	ssize_t some;

	CHECK(fd >= 0);
	while (n < sizeof(text) && (some = read(fd, text + n, sizeof(text) - n)) > 0)
		n += (size_t)some;
	close(fd);
	return memmem(text, n, "memfd:fuzz-client", 17) != NULL;
}

static void play(struct play *p)
{
	const uint8_t how = script_byte(&p->script);
	struct rf_options o = {.size = sizeof(o), .feed = "train", .socket = address.sun_path, .is_deferred = 1,
			       .has_rank = 1, .world_size = 1 + (how & 1), .local_world_size = 1 + (how & 1), .group = "g",
			       .reconnect_ms = how & 2 ? 1000 : 0, .credit = how >> 2 & 3, .has_replica = how >> 4 & 1,
			       .start = how >> 5 & 1, .token = how >> 6 & 1 ? "token" : NULL};
	struct rf_error e;
	int r = rf_session_open(&o, &p->s, &e);

	CHECK(r == 0 || starve_explains(r));
	if (r < 0)
		return;
	for (unsigned i = 0; i < MOVES_MAX && !script_is_over(&p->script); i++)
		make_move(p);
	look(p);
	if (how >> 7)
		while (p->n_held)
			release(p, 0);
	CHECK(!rf_session_close(p->s));
	while (p->n_held)
		release(p, 0);
}

void fuzz_one(const uint8_t *bytes, size_t n)
{
	struct play p = {.script = {bytes, bytes + n}, .daemon = -1};
	unsigned n_descriptors;

	if (!address.sun_path[0]) {
		open_listener();
		atexit(unlink_listener);
	}
	n_descriptors = count_descriptors();
	play(&p);
	meet(&p);
	hang_up(&p);
	CHECK(count_descriptors() == n_descriptors);
	CHECK(!is_mapped());
}
