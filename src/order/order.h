/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Position -> sample (proto/order.md). A struct order is one epoch of one feed; it answers any
 * position at once, without the ones before it.
 *
 * Threads: any, as long as nobody inits or deinits meanwhile; of a mix one at a time, since it lays out
 * passes as they are asked for. Allocates in order_init only: block O(shards), a mix O(sources) and, with block,
 * up to ORDER_PASSES_KEPT times O(shards).
 */
#ifndef ORDER_ORDER_H
#define ORDER_ORDER_H

#include "base/reason.h"
#include "base/shards.h"
#include "base/shares.h"

#include <stddef.h>
#include <stdint.h>

enum {
	ORDER_ATTEMPTS = 8,    /* substitutes tried for one position */
	ORDER_PASSES_KEPT = 4, /* of a source that goes round more than once in an epoch */
};

enum {
	ORDER_E_REFUSED = 1, /* no such order or pass; the reason names what is wrong */
};

enum shuffle { SHUFFLE_NONE, SHUFFLE_BLOCK, SHUFFLE_FULL };
enum last { LAST_DROP, LAST_PAD, LAST_SHORT };
enum until { UNTIL_FIRST, UNTIL_ALL };

/* Several sources in one feed: source x has the shards from first_shards[x] up to first_shards[x + 1], and
 * shares[x] of every SHARES_ALL positions of a part. */
struct order_mix {
	enum until until;
	size_t n_sources;
	const uint32_t *shares;	    /* by shares_make */
	const size_t *first_shards; /* n_sources + 1, the last one all shards */
};

struct order_spec {
	enum shuffle shuffle;
	uint64_t seed;
	uint64_t window, parts; /* block only; else 0 and 1 */
	const struct order_mix *mix; /* NULL: all shards are one source; else borrowed as the shards are */
};

struct order_mixed;

/* Of a feed, or of one source of a mix by itself: its shards, with a pass for the epoch. */
struct order {
	struct order_spec spec;
	struct order_shards shards;
	uint64_t epoch, n_samples; /* N: positions */
	uint64_t stream;       /* on top of the streams of its keys: 16 x of source x */
	struct order_mixed *mixed; /* of a mix; all below is then unused */
	uint64_t key;	       /* full: key(SAMPLES) */
	uint64_t *place_start; /* block: samples before each place, n_shards + 1 */
	uint32_t *place_shard; /* block: the shard at each place */
};

/* Can these sources be mixed so? 0, or ORDER_E_REFUSED with the reason: a source with too few samples, or
 * without a share. Everything else wants a mix that passed. */
int order_check_mix(const struct order_spec *spec, const struct order_shards *shards, struct reason *why);
/* N: the positions of an epoch; the samples of the shards, but in a mix. */
uint64_t order_length(const struct order_spec *spec, const struct order_shards *shards);

/* The spec must have passed order_check. 0 or -errno. */
int order_init(struct order *o, const struct order_spec *spec, const struct order_shards *shards,
	       uint64_t epoch);
/* The own order of one source of the spec's mix, in one pass: positions are those of the source. */
int order_init_source(struct order *o, const struct order_spec *spec, const struct order_shards *shards,
		      size_t source, uint64_t pass);
void order_deinit(struct order *o);
/* Bytes one struct order of this spec allocates; for the memory plan. */
size_t order_bytes(const struct order_spec *spec, const struct order_shards *shards);

/* The sample (its number, shards in listed order) at position t; t >= N is pad's. */
uint64_t order_sample(const struct order *o, uint64_t t);
/* Substitute for position t, attempt 1 … ORDER_ATTEMPTS. */
uint64_t order_substitute(const struct order *o, uint64_t t, unsigned attempt);
/* Which shard holds that sample, and its number there. */
uint32_t order_shard_of(const struct order_shards *shards, uint64_t sample, uint64_t *ret_in_shard);

/* One source of a mix, as an epoch takes it. */
struct order_source {
	uint64_t n_samples, share; /* the samples it has; of SHARES_ALL positions */
	uint64_t n_taken;	   /* positions of an epoch that are its own */
	uint64_t n_epochs;	   /* that share one pass over it; 1 when an epoch takes more than one pass */
	uint64_t n_passes;	   /* begun in an epoch, or in those that share one */
	uint64_t n_skipped;	   /* samples that the last of these passes leaves out */
};
void order_source(const struct order_spec *spec, const struct order_shards *shards, size_t source,
		  struct order_source *ret);

/* How far a source has come before position t <= N: of which of its passes how much is behind, in whole blocks and
 * elements of the smallest part. */
struct order_progress {
	uint64_t pass, n_behind, n_all;
};
void order_progress(const struct order_spec *spec, const struct order_shards *shards, size_t source,
		    uint64_t epoch, uint64_t t, struct order_progress *ret);

/* The bijection, for golden tests. */
uint64_t order_perm(uint64_t n, uint64_t key, uint64_t x);

/* A pass of a group: N samples from position start, `batch` positions a rank and step, `world` ranks. */
struct pass {
	uint64_t n_samples, start, batch, world;
	enum last last;
};

/* May a group with this pass read a feed of this order? 0, or ORDER_E_REFUSED with the reason. An
 * empty pass (nothing left from start on) is fine. Everything below wants a pass that was checked. */
int order_check(const struct order_spec *spec, const struct pass *p, struct reason *why);

/* Batches per rank; every rank has as many. */
uint64_t pass_n_batches(const struct pass *p);
/* How many samples batch j gives rank r (short: maybe fewer, maybe 0; past the last batch: 0). */
uint64_t pass_batch_length(const struct pass *p, uint64_t j, uint64_t rank);
/* The position of element i of that batch; >= N when padded (valid = false). */
uint64_t pass_position(const struct pass *p, uint64_t j, uint64_t rank, uint64_t i);
/* (epoch, position) of the token after batch j was returned: after the last batch (epoch + 1, 0). */
void pass_after(const struct pass *p, uint64_t epoch, uint64_t j, uint64_t *ret_epoch,
		uint64_t *ret_position);

#endif
