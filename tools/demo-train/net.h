/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * A small convolutional classifier: pictures of 48 × 48, ten classes.
 *
 *     3 → 16 → 32 → 64 → 64 channels by 3 × 3 convolutions with ReLU, the first three followed by 2 × 2
 *     max-pooling; the mean and the maximum of each channel over the 6 × 6 that are left; one linear layer.
 *
 * Trained by Adam on the cross-entropy. A batch is cut into a fixed number of parts whose gradients
 * are summed in order, so the result does not depend on the number of threads.
 *
 * Threads: one caller at a time; the net keeps helpers of its own. Allocates in net_new() only.
 */
#ifndef DEMO_TRAIN_NET_H
#define DEMO_TRAIN_NET_H

#include <stddef.h>
#include <stdint.h>

enum {
	NET_SIDE = 48,
	NET_CHANNELS = 3,
	NET_CLASSES = 10,
	NET_PICTURE = NET_CHANNELS * NET_SIDE * NET_SIDE, /* floats, channel by channel */
};

struct net;

/* What a batch came to: sums over its pictures. */
struct net_score {
	double loss;
	size_t n_right;
};

/* n_threads: at least 1, the caller's included. 0 or -errno. */
int net_new(uint64_t seed, int n_threads, struct net **ret);
struct net *net_free(struct net *net);

/* Labels are in [0, NET_CLASSES). Only reads the pictures, which may lie in a lent slot. */
void net_score(struct net *net, const float *pictures, const int64_t *labels, size_t n,
	       struct net_score *ret);
/* The gradient of the mean loss is left in the net … */
void net_gradient(struct net *net, const float *pictures, const int64_t *labels, size_t n,
		  struct net_score *ret);
/* … for a step of Adam with this learning rate. */
void net_update(struct net *net, double rate);

/* All weights, layer by layer as net.c says, and the last gradient alike. Owned by the net. */
float *net_weights(struct net *net, size_t *ret_n);
const float *net_last_gradient(const struct net *net);

#endif
