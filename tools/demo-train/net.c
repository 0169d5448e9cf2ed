/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The layers. Inside, a picture lies pixel by pixel with its channels together, so that a window of a
 * convolution is three runs of memory and a whole layer one product of matrices:
 *
 *     windows (pixels × 9·in)  ·  weights (9·in × out)  +  bias  =  out (pixels × out)
 *
 * Weights of a convolution: row, column, in, out; then its bias. Those of the linear layer: in, class
 * (padded to 16 columns, of which only ten are used), then its bias. Each part of a batch works
 * in a bench of its own, one picture after the other.
 */
#include "net.h"

#include "crew.h"
#include "gemm.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
	CONVS = 4,
	PARTS = 4,	     /* of a batch; fixed, see net.h */
	LAST_SIDE = 6,	     /* of what the last convolution sees */
	LAST_CHANNELS = 64,
	LAST_PIXELS = LAST_SIDE * LAST_SIDE,
	FEATURES = 2 * LAST_CHANNELS,
	COLUMNS = GEMM_COLUMNS, /* of the linear layer */
	NOWHERE = 4,	     /* a pooled value that ReLU made zero */
	MAPS_MAX = NET_SIDE * NET_SIDE * 16, /* the largest layer, in floats */
	WINDOWS_MAX = 24 * 24 * 9 * 16,	     /* the largest matrix of windows */
};

struct conv {
	size_t side, n_in, n_out;
	bool is_pooled;
};

static const struct conv convs[CONVS] = {
	{48, 3, 16, true},
	{24, 16, 32, true},
	{12, 32, 64, true},
	{6, 64, LAST_CHANNELS, false},
};

struct bench {
	struct net_score score;
	float *gradient;
	float *input[CONVS + 1]; /* what each convolution sees; the last: what the linear layer's pooling sees */
	uint8_t *choice[CONVS];	 /* which of four pixels won, or whether ReLU let it pass */
	float *windows, *maps, *below; /* scratch of one layer */
	float features[FEATURES], scores[COLUMNS];
	uint8_t winner[LAST_CHANNELS];
};

struct net {
	size_t n_weights, conv_at[CONVS], linear_at;
	float *weights, *gradient, *mean, *square;
	float *turned[CONVS]; /* each convolution's weights, transposed */
	uint64_t n_updates;
	struct bench benches[PARTS];
	struct crew *crew;
	/* the batch in work */
	const float *pictures;
	const int64_t *labels;
	size_t n;
	bool is_training;
};

static size_t window_floats(const struct conv *c)
{
	return 9 * c->n_in;
}

static size_t pixels(const struct conv *c)
{
	return c->side * c->side;
}

/* Life */

static uint64_t mix(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* Uniform with the variance that keeps a signal's size through ReLU layers (He et al.). */
static void draw_weights(float *weights, size_t n, size_t n_in, uint64_t *state)
{
	double reach = sqrt(6. / (double)n_in);

	for (size_t i = 0; i < n; i++)
		weights[i] = (float)(reach * (2 * ((double)(mix(state) >> 11) * 0x1p-53) - 1));
}

static void lay_out(struct net *net)
{
	for (int l = 0; l < CONVS; l++) {
		net->conv_at[l] = net->n_weights;
		net->n_weights += (window_floats(&convs[l]) + 1) * convs[l].n_out;
	}
	net->linear_at = net->n_weights;
	net->n_weights += (FEATURES + 1) * COLUMNS;
}

static float *floats(size_t n)
{
	return calloc(n, sizeof(float));
}

static int bench_init(struct bench *b, size_t n_weights)
{
	bool is_whole;

	b->gradient = floats(n_weights);
	b->windows = floats(WINDOWS_MAX);
	b->maps = floats(MAPS_MAX);
	b->below = floats(WINDOWS_MAX);
	is_whole = b->gradient && b->windows && b->maps && b->below;
	for (int l = 0; l < CONVS; l++) {
		b->input[l] = floats(pixels(&convs[l]) * convs[l].n_in);
		b->choice[l] = calloc(pixels(&convs[l]) * convs[l].n_out, 1);
		is_whole = is_whole && b->input[l] && b->choice[l];
	}
	b->input[CONVS] = floats(LAST_PIXELS * LAST_CHANNELS);
	return is_whole && b->input[CONVS] ? 0 : -ENOMEM;
}

static void bench_deinit(struct bench *b)
{
	free(b->gradient);
	free(b->windows);
	free(b->maps);
	free(b->below);
	for (int l = 0; l < CONVS; l++) {
		free(b->input[l]);
		free(b->choice[l]);
	}
	free(b->input[CONVS]);
	memset(b, 0, sizeof(*b));
}

int net_new(uint64_t seed, int n_threads, struct net **ret)
{
	struct net *net = calloc(1, sizeof(*net));
	int r = -ENOMEM;

	if (!net)
		return r;
	lay_out(net);
	net->weights = floats(net->n_weights);
	net->gradient = floats(net->n_weights);
	net->mean = floats(net->n_weights);
	net->square = floats(net->n_weights);
	if (!net->weights || !net->gradient || !net->mean || !net->square)
		goto out;
	for (int l = 0; l < CONVS; l++) {
		size_t n = window_floats(&convs[l]) * convs[l].n_out;

		net->turned[l] = floats(n);
		if (!net->turned[l])
			goto out;
		draw_weights(net->weights + net->conv_at[l], n, window_floats(&convs[l]), &seed);
	}
	draw_weights(net->weights + net->linear_at, FEATURES * COLUMNS, 4 * FEATURES, &seed);
	for (int i = 0; i < PARTS; i++)
		if (bench_init(&net->benches[i], net->n_weights) < 0)
			goto out;
	r = crew_new(n_threads < PARTS ? n_threads : PARTS, &net->crew);
	if (r < 0)
		goto out;
	*ret = net;
	return 0;
out:
	net_free(net);
	return r;
}

struct net *net_free(struct net *net)
{
	if (!net)
		return NULL;
	crew_free(net->crew);
	for (int i = 0; i < PARTS; i++)
		bench_deinit(&net->benches[i]);
	for (int l = 0; l < CONVS; l++)
		free(net->turned[l]);
	free(net->weights);
	free(net->gradient);
	free(net->mean);
	free(net->square);
	free(net);
	return NULL;
}

/* Forwards */

/* Row p of the windows: the 3 × 3 pixels around pixel p, zero outside. */
static void gather_windows(const struct conv *c, const float *in, float *windows)
{
	size_t side = c->side, n_run = 3 * c->n_in;

	for (size_t y = 0; y < side; y++) {
		for (size_t x = 0; x < side; x++) {
			bool is_left = x == 0, is_right = x == side - 1;
			size_t n = n_run - (is_left + is_right) * c->n_in;

			for (size_t dy = 0; dy < 3; dy++, windows += n_run) {
				if (is_left || is_right || y + dy == 0 || y + dy > side)
					memset(windows, 0, n_run * sizeof(float));
				if (y + dy == 0 || y + dy > side)
					continue;
				memcpy(windows + is_left * c->n_in,
				       in + ((y + dy - 1) * side + x + is_left - 1) * c->n_in, n * sizeof(float));
			}
		}
	}
}

static void convolve(const struct conv *c, const float *weights, struct bench *b, const float *in)
{
	const struct gemm_shape shape = {pixels(c), c->n_out, window_floats(c), window_floats(c), 1};
	const float *bias = weights + window_floats(c) * c->n_out;

	gather_windows(c, in, b->windows);
	for (size_t p = 0; p < pixels(c); p++)
		memcpy(b->maps + p * c->n_out, bias, c->n_out * sizeof(float));
	gemm(&shape, b->windows, weights, b->maps);
}

/* ReLU and the largest of each 2 × 2, in one pass. */
static void pool(const struct conv *c, const float *maps, float *out, uint8_t *choice)
{
	size_t half = c->side / 2, row = c->side * c->n_out;

	for (size_t y = 0; y < half; y++) {
		for (size_t x = 0; x < half; x++, out += c->n_out, choice += c->n_out) {
			const float *at = maps + 2 * y * row + 2 * x * c->n_out;

			for (size_t k = 0; k < c->n_out; k++) {
				float v[4] = {at[k], at[k + c->n_out], at[k + row], at[k + row + c->n_out]};
				float best = 0;
				uint8_t who = NOWHERE;

				for (uint8_t i = 0; i < 4; i++) {
					who = v[i] > best ? i : who;
					best = v[i] > best ? v[i] : best;
				}
				out[k] = best;
				choice[k] = who;
			}
		}
	}
}

static void rectify(const float *maps, size_t n, float *out, uint8_t *choice)
{
	for (size_t i = 0; i < n; i++) {
		choice[i] = maps[i] > 0 ? 0 : NOWHERE;
		out[i] = maps[i] > 0 ? maps[i] : 0;
	}
}

/* Mean and maximum of each channel, then the linear layer. */
static void classify(const struct net *net, struct bench *b)
{
	const struct gemm_shape shape = {1, COLUMNS, FEATURES, FEATURES, 1};
	const float *weights = net->weights + net->linear_at, *last = b->input[CONVS];

	for (size_t k = 0; k < LAST_CHANNELS; k++) {
		float sum = 0, best = -1;

		for (size_t p = 0; p < LAST_PIXELS; p++) {
			float v = last[p * LAST_CHANNELS + k];

			sum += v;
			if (v > best) {
				best = v;
				b->winner[k] = (uint8_t)p;
			}
		}
		b->features[k] = sum / LAST_PIXELS;
		b->features[LAST_CHANNELS + k] = best;
	}
	memcpy(b->scores, weights + FEATURES * COLUMNS, sizeof(b->scores));
	gemm(&shape, b->features, weights, b->scores);
}

/* Turns the scores into the loss's gradient by them. */
static void judge(struct bench *b, int64_t label)
{
	float top = b->scores[0];
	double sum = 0;
	int best = 0;

	for (int k = 1; k < NET_CLASSES; k++) {
		best = b->scores[k] > top ? k : best;
		top = b->scores[best];
	}
	for (int k = 0; k < NET_CLASSES; k++)
		sum += exp(b->scores[k] - top);
	b->score.loss += log(sum) - (b->scores[label] - top);
	b->score.n_right += best == label;
	for (int k = 0; k < NET_CLASSES; k++)
		b->scores[k] = (float)(exp(b->scores[k] - top) / sum) - (k == label);
	for (int k = NET_CLASSES; k < COLUMNS; k++)
		b->scores[k] = 0;
}

static void forwards(const struct net *net, struct bench *b, const float *picture, int64_t label)
{
	for (size_t p = 0; p < NET_SIDE * NET_SIDE; p++)
		for (size_t k = 0; k < NET_CHANNELS; k++)
			b->input[0][p * NET_CHANNELS + k] = picture[k * NET_SIDE * NET_SIDE + p];
	for (int l = 0; l < CONVS; l++) {
		const struct conv *c = &convs[l];

		convolve(c, net->weights + net->conv_at[l], b, b->input[l]);
		if (c->is_pooled)
			pool(c, b->maps, b->input[l + 1], b->choice[l]);
		else
			rectify(b->maps, pixels(c) * c->n_out, b->input[l + 1], b->choice[l]);
	}
	classify(net, b);
	judge(b, label);
}

/* Backwards */

/* From the scores to what the pooling saw: into below. */
static void unclassify(const struct net *net, struct bench *b)
{
	const struct gemm_shape outer = {FEATURES, COLUMNS, 1, 1, FEATURES};
	const float *weights = net->weights + net->linear_at;
	float *gradient = b->gradient + net->linear_at;

	gemm(&outer, b->features, b->scores, gradient);
	for (size_t k = 0; k < COLUMNS; k++)
		gradient[FEATURES * COLUMNS + k] += b->scores[k];
	for (size_t f = 0; f < FEATURES; f++) {
		size_t k = f % LAST_CHANNELS;
		float slope = 0;

		for (size_t i = 0; i < COLUMNS; i++)
			slope += weights[f * COLUMNS + i] * b->scores[i];
		if (f >= LAST_CHANNELS)
			b->below[b->winner[k] * LAST_CHANNELS + k] += slope;
		else
			for (size_t p = 0; p < LAST_PIXELS; p++)
				b->below[p * LAST_CHANNELS + k] = slope / LAST_PIXELS;
	}
}

/* From the slopes after pooling, in below, to those before, in maps. */
static void unpool(const struct conv *c, const float *slopes, const uint8_t *choice, float *maps)
{
	size_t half = c->side / 2, row = c->side * c->n_out;

	for (size_t y = 0; y < half; y++) {
		for (size_t x = 0; x < half; x++, slopes += c->n_out, choice += c->n_out) {
			float *at = maps + 2 * y * row + 2 * x * c->n_out;

			for (size_t k = 0; k < c->n_out; k++) {
				at[k] = choice[k] == 0 ? slopes[k] : 0;
				at[k + c->n_out] = choice[k] == 1 ? slopes[k] : 0;
				at[k + row] = choice[k] == 2 ? slopes[k] : 0;
				at[k + row + c->n_out] = choice[k] == 3 ? slopes[k] : 0;
			}
		}
	}
}

static void unrectify(const float *slopes, const uint8_t *choice, size_t n, float *maps)
{
	for (size_t i = 0; i < n; i++)
		maps[i] = choice[i] == 0 ? slopes[i] : 0;
}

static void scatter_windows(const struct conv *c, const float *windows, float *in)
{
	size_t side = c->side, n_run = 3 * c->n_in;

	memset(in, 0, pixels(c) * c->n_in * sizeof(float));
	for (size_t y = 0; y < side; y++) {
		for (size_t x = 0; x < side; x++) {
			bool is_left = x == 0, is_right = x == side - 1;
			size_t n = n_run - (is_left + is_right) * c->n_in;

			for (size_t dy = 0; dy < 3; dy++, windows += n_run) {
				const float *from = windows + is_left * c->n_in;
				float *to;

				if (y + dy == 0 || y + dy > side)
					continue;
				to = in + ((y + dy - 1) * side + x + is_left - 1) * c->n_in;
				for (size_t i = 0; i < n; i++)
					to[i] += from[i];
			}
		}
	}
}

/* From the slopes in maps: adds to the gradient and leaves the slopes by the layer's input in below. */
static void unconvolve(const struct net *net, int l, struct bench *b)
{
	const struct conv *c = &convs[l];
	size_t n_window = window_floats(c);
	const struct gemm_shape by_weights = {n_window, c->n_out, pixels(c), 1, n_window};
	const struct gemm_shape by_input = {pixels(c), n_window, c->n_out, c->n_out, 1};
	float *gradient = b->gradient + net->conv_at[l], *bias = gradient + n_window * c->n_out;

	gather_windows(c, b->input[l], b->windows);
	gemm(&by_weights, b->windows, b->maps, gradient);
	for (size_t p = 0; p < pixels(c); p++)
		for (size_t k = 0; k < c->n_out; k++)
			bias[k] += b->maps[p * c->n_out + k];
	if (l == 0)
		return;
	memset(b->windows, 0, pixels(c) * n_window * sizeof(float));
	gemm(&by_input, b->maps, net->turned[l], b->windows);
	scatter_windows(c, b->windows, b->below);
}

static void backwards(const struct net *net, struct bench *b)
{
	unclassify(net, b);
	for (int l = CONVS - 1; l >= 0; l--) {
		const struct conv *c = &convs[l];

		if (c->is_pooled)
			unpool(c, b->below, b->choice[l], b->maps);
		else
			unrectify(b->below, b->choice[l], pixels(c) * c->n_out, b->maps);
		unconvolve(net, l, b);
	}
}

/* Batches */

static void work_part(void *data, int part)
{
	struct net *net = data;
	struct bench *b = &net->benches[part];
	size_t from = net->n * (size_t)part / PARTS, to = net->n * (size_t)(part + 1) / PARTS;

	b->score = (struct net_score){0};
	if (net->is_training)
		memset(b->gradient, 0, net->n_weights * sizeof(float));
	for (size_t i = from; i < to; i++) {
		forwards(net, b, net->pictures + i * NET_PICTURE, net->labels[i]);
		if (net->is_training)
			backwards(net, b);
	}
}

static void work_batch(struct net *net, const float *pictures, const int64_t *labels, size_t n,
		       struct net_score *ret)
{
	net->pictures = pictures;
	net->labels = labels;
	net->n = n;
	crew_run(net->crew, work_part, net, PARTS);
	*ret = (struct net_score){0};
	for (int i = 0; i < PARTS; i++) {
		ret->loss += net->benches[i].score.loss;
		ret->n_right += net->benches[i].score.n_right;
	}
}

void net_score(struct net *net, const float *pictures, const int64_t *labels, size_t n,
	       struct net_score *ret)
{
	net->is_training = false;
	work_batch(net, pictures, labels, n, ret);
}

void net_gradient(struct net *net, const float *pictures, const int64_t *labels, size_t n,
		  struct net_score *ret)
{
	for (int l = 1; l < CONVS; l++) {
		size_t n_window = window_floats(&convs[l]), n_out = convs[l].n_out;

		for (size_t i = 0; i < n_window; i++)
			for (size_t k = 0; k < n_out; k++)
				net->turned[l][k * n_window + i] = net->weights[net->conv_at[l] + i * n_out + k];
	}
	net->is_training = true;
	work_batch(net, pictures, labels, n, ret);
	for (size_t i = 0; i < net->n_weights; i++) {
		float sum = 0;

		for (int part = 0; part < PARTS; part++)
			sum += net->benches[part].gradient[i];
		net->gradient[i] = n > 0 ? sum / (float)n : 0;
	}
}

void net_update(struct net *net, double rate)
{
	const float keep = .9f, keep_square = .99f;
	double unbias, unbias_square;

	net->n_updates++;
	unbias = 1 - pow(keep, (double)net->n_updates);
	unbias_square = 1 - pow(keep_square, (double)net->n_updates);
	for (size_t i = 0; i < net->n_weights; i++) {
		float g = net->gradient[i];

		net->mean[i] = keep * net->mean[i] + (1 - keep) * g;
		net->square[i] = keep_square * net->square[i] + (1 - keep_square) * g * g;
		net->weights[i] -= (float)(rate / unbias) * net->mean[i] /
				   (sqrtf(net->square[i] / (float)unbias_square) + 1e-8f);
	}
}

float *net_weights(struct net *net, size_t *ret_n)
{
	*ret_n = net->n_weights;
	return net->weights;
}

const float *net_last_gradient(const struct net *net)
{
	return net->gradient;
}
