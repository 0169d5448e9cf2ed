/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * libringfeed: borrow finished batches from a ringfeed daemon.
 *
 * A session is one trainer's place (its rank) in one pass over one feed. Batches lie in shared memory
 * and are lent, not copied: rf_session_next() borrows one, rf_batch_release() gives it back.
 *
 * The library has no global state, starts no threads, installs no signal handlers, never prints,
 * aborts or exits, and needs libc alone. Every wait has a deadline. Functions return 0 (or a count)
 * or -errno; rf_session_error() and struct rf_error say in a sentence what was wrong.
 */
#ifndef RINGFEED_RINGFEED_H
#define RINGFEED_RINGFEED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RF_API __attribute__((visibility("default")))

struct rf_session;
struct rf_batch;

/* What went wrong, for people; name is the exception's name in Python ("DaemonGone"). */
struct rf_error {
	char name[32];
	char text[600];
};

/* Set size to sizeof(struct rf_options) and the rest to zero; then what differs. Texts are copied. */
struct rf_options {
	size_t size;
	const char *feed;   /* required */
	const char *socket; /* NULL: RINGFEED_SOCKET, else the default path */
	const char *group;  /* NULL: RINGFEED_GROUP, else the launcher's (see DESIGN), else a group of its own */
	const char *token;  /* NULL: the start of epoch 0; else what rf_session_token() gave */
	int has_rank;	    /* 0: rank, world_size and local_world_size come from the environment */
	int rank, world_size, local_world_size;
	int credit;	    /* most batches sent ahead; 0: as many as there are slots */
	int timeout_ms;	    /* longest wait of one call; 0: 60 s */
	int reconnect_ms;   /* how long rf_session_next tries to reach a lost daemon again; 0: not at all */
};

/* One field of a batch: a C-contiguous array in the slot. */
struct rf_array {
	void *data;	   /* inside the slot; valid until the batch is released */
	const char *dtype; /* NumPy's name: "uint8", "int64", "float16", "bfloat16", "float32", "bool" */
	size_t n_bytes;	   /* of the whole array */
	int n_dims;	   /* shape[0] is the number of samples */
	int64_t shape[8];
};

RF_API int rf_session_open(const struct rf_options *options, struct rf_session **ret_session,
			   struct rf_error *ret_error);
RF_API int rf_session_next(struct rf_session *s, int timeout_ms, struct rf_batch **ret_batch);
RF_API int rf_session_set_epoch(struct rf_session *s, uint64_t epoch);
RF_API int rf_session_load_token(struct rf_session *s, const char *token);
RF_API int rf_session_token(const struct rf_session *s, char *text, size_t n_text);
RF_API int rf_session_reconnect(struct rf_session *s, int timeout_ms);
RF_API const struct rf_error *rf_session_error(const struct rf_session *s);
RF_API struct rf_session *rf_session_close(struct rf_session *s);

#ifdef __cplusplus
}
#endif
#endif
