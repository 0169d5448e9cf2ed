/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The demo's net against a second one, written the plain way in doubles: same loss, and the gradient
 * is the slope of that second loss. Both kernels of the matrix product against three loops.
 */
#include "gemm.h"
#include "net.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PICTURES = 5, SIDE_MAX = 48, CHANNELS_MAX = 64 };

static double uniform(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return (double)(*state >> 11) * 0x1p-53 * 2 - 1;
}

struct maps {
	double at[CHANNELS_MAX][SIDE_MAX][SIDE_MAX];
};

static double tap(const struct maps *in, int k, int side, int y, int x)
{
	return y < 0 || x < 0 || y >= side || x >= side ? 0 : in->at[k][y][x];
}

/* Convolution, ReLU; weights: row, column, in, out, then the bias. Returns the weights behind it. */
static const double *plain_layer(const double *w, int side, int n_in, int n_out, const struct maps *in,
				 struct maps *out)
{
	for (int o = 0; o < n_out; o++) {
		for (int y = 0; y < side; y++) {
			for (int x = 0; x < side; x++) {
				double sum = w[9 * n_in * n_out + o];

				for (int i = 0; i < 9 * n_in; i++)
					sum += w[i * n_out + o] * tap(in, i % n_in, side, y + i / n_in / 3 - 1,
								      x + i / n_in % 3 - 1);
				out->at[o][y][x] = fmax(sum, 0);
			}
		}
	}
	return w + (9 * n_in + 1) * n_out;
}

static void plain_pool(int side, int n, struct maps *m)
{
	for (int k = 0; k < n; k++)
		for (int y = 0; y < side / 2; y++)
			for (int x = 0; x < side / 2; x++)
				m->at[k][y][x] = fmax(fmax(m->at[k][2 * y][2 * x], m->at[k][2 * y][2 * x + 1]),
						      fmax(m->at[k][2 * y + 1][2 * x],
							   m->at[k][2 * y + 1][2 * x + 1]));
}

static double plain_loss(const double *w, const float *picture, int label)
{
	static struct maps a, b;
	double features[128], scores[10], sum = 0;

	for (int i = 0; i < NET_PICTURE; i++)
		a.at[i / (48 * 48)][i / 48 % 48][i % 48] = picture[i];
	w = plain_layer(w, 48, 3, 16, &a, &b);
	plain_pool(48, 16, &b);
	w = plain_layer(w, 24, 16, 32, &b, &a);
	plain_pool(24, 32, &a);
	w = plain_layer(w, 12, 32, 64, &a, &b);
	plain_pool(12, 64, &b);
	w = plain_layer(w, 6, 64, 64, &b, &a);
	for (int k = 0; k < 64; k++) {
		double total = 0, best = 0;

		for (int p = 0; p < 36; p++) {
			total += a.at[k][p / 6][p % 6];
			best = fmax(best, a.at[k][p / 6][p % 6]);
		}
		features[k] = total / 36;
		features[64 + k] = best;
	}
	for (int c = 0; c < 10; c++) {
		scores[c] = w[128 * 16 + c];
		for (int f = 0; f < 128; f++)
			scores[c] += features[f] * w[f * 16 + c];
		sum += exp(scores[c]);
	}
	return log(sum) - scores[label];
}

struct scene {
	struct net *net;
	float *pictures;
	int64_t labels[PICTURES];
	double *weights;
	size_t n_weights;
};

static double plain_mean_loss(const struct scene *s)
{
	double sum = 0;

	for (int i = 0; i < PICTURES; i++)
		sum += plain_loss(s->weights, s->pictures + i * NET_PICTURE, (int)s->labels[i]);
	return sum / PICTURES;
}

static int set_up(void **state)
{
	struct scene *s = calloc(1, sizeof(*s));
	uint64_t random = 11;
	float *weights;

	assert_non_null(s);
	assert_int_equal(net_new(3, 2, &s->net), 0);
	s->pictures = calloc(PICTURES * NET_PICTURE, sizeof(float));
	weights = net_weights(s->net, &s->n_weights);
	s->weights = calloc(s->n_weights, sizeof(double));
	assert_true(s->pictures && s->weights);
	for (int i = 0; i < PICTURES * NET_PICTURE; i++)
		s->pictures[i] = (float)uniform(&random);
	for (int i = 0; i < PICTURES; i++)
		s->labels[i] = i * 3 % NET_CLASSES;
	for (size_t i = 0; i < s->n_weights; i++) {
		weights[i] += (float)(.02 * uniform(&random)); /* the biases, too, are something */
		s->weights[i] = weights[i];
	}
	*state = s;
	return 0;
}

static int tear_down(void **state)
{
	struct scene *s = *state;

	net_free(s->net);
	free(s->pictures);
	free(s->weights);
	free(s);
	return 0;
}

static void loss_is_the_plain_one(void **state)
{
	struct scene *s = *state;
	struct net_score score;

	net_score(s->net, s->pictures, s->labels, PICTURES, &score);
	assert_float_equal(score.loss / PICTURES, plain_mean_loss(s), 1e-5);
}

/* Along a random direction within each layer, so that every weight takes part. */
static void gradient_is_the_slope(void **state)
{
	static const size_t sizes[] = {(27 + 1) * 16, (144 + 1) * 32, (288 + 1) * 64, (576 + 1) * 64, 129 * 16};
	struct scene *s = *state;
	struct net_score score;
	uint64_t random = 5;
	size_t from = 0;

	net_gradient(s->net, s->pictures, s->labels, PICTURES, &score);
	for (size_t l = 0; l < sizeof(sizes) / sizeof(sizes[0]); from += sizes[l++]) {
		for (int turn = 0; turn < 2; turn++) {
			const double step = 1e-6;
			double *way = calloc(sizes[l], sizeof(double)), along = 0, slope = 0;

			assert_non_null(way);
			for (size_t i = 0; i < sizes[l]; i++) {
				way[i] = uniform(&random);
				along += way[i] * net_last_gradient(s->net)[from + i];
				s->weights[from + i] += step * way[i];
			}
			slope += plain_mean_loss(s);
			for (size_t i = 0; i < sizes[l]; i++)
				s->weights[from + i] -= 2 * step * way[i];
			slope -= plain_mean_loss(s);
			for (size_t i = 0; i < sizes[l]; i++)
				s->weights[from + i] += step * way[i];
			slope /= 2 * step;
			free(way);
			assert_true(fabs(slope) > 1e-3);
			assert_true(fabs(along - slope) < 2e-3 * fabs(slope) + 1e-5);
		}
	}
	assert_int_equal(from, s->n_weights);
}

static void threads_change_nothing(void **state)
{
	struct scene *s = *state;
	struct net_score score, score_alone;
	float *weights, *weights_alone;
	struct net *alone;
	size_t n;

	assert_int_equal(net_new(3, 1, &alone), 0);
	weights = net_weights(s->net, &n);
	weights_alone = net_weights(alone, &n);
	memcpy(weights_alone, weights, n * sizeof(float));
	for (int i = 0; i < 3; i++) {
		net_gradient(s->net, s->pictures, s->labels, PICTURES, &score);
		net_gradient(alone, s->pictures, s->labels, PICTURES, &score_alone);
		net_update(s->net, 1e-3);
		net_update(alone, 1e-3);
	}
	assert_memory_equal(weights_alone, weights, n * sizeof(float));
	assert_true(score.loss == score_alone.loss);
	net_free(alone);
}

static void learns_by_heart(void **state)
{
	struct scene *s = *state;
	struct net_score score;

	for (int i = 0; i < 120; i++) {
		net_gradient(s->net, s->pictures, s->labels, PICTURES, &score);
		net_update(s->net, 2e-3);
	}
	net_score(s->net, s->pictures, s->labels, PICTURES, &score);
	assert_int_equal(score.n_right, PICTURES);
	assert_true(score.loss / PICTURES < .05);
}

static void check_gemm(void (*multiply)(const struct gemm_shape *, const float *, const float *, float *),
		       const struct gemm_shape *s)
{
	size_t n_a = (s->n_rows - 1) * s->a_row + (s->n_inner - 1) * s->a_inner + 1;
	float *a = calloc(n_a, sizeof(float)), *b = calloc(s->n_inner * s->n_columns, sizeof(float));
	float *c = calloc(s->n_rows * s->n_columns, sizeof(float));
	uint64_t random = 1;

	assert_true(a && b && c);
	for (size_t i = 0; i < n_a; i++)
		a[i] = (float)uniform(&random);
	for (size_t i = 0; i < s->n_inner * s->n_columns; i++)
		b[i] = (float)uniform(&random);
	for (size_t i = 0; i < s->n_rows * s->n_columns; i++)
		c[i] = (float)i;
	multiply(s, a, b, c);
	for (size_t i = 0; i < s->n_rows * s->n_columns; i++) {
		size_t row = i / s->n_columns, column = i % s->n_columns;
		double sum = (double)i;

		for (size_t k = 0; k < s->n_inner; k++)
			sum += (double)a[row * s->a_row + k * s->a_inner] * b[k * s->n_columns + column];
		assert_float_equal(c[i], sum, 1e-3);
	}
	free(a);
	free(b);
	free(c);
}

static void products(void **state)
{
	static const struct gemm_shape shapes[] = {
		{1, 16, 1, 1, 1}, {7, 32, 5, 5, 1}, {12, 16, 9, 1, 12}, {23, 48, 31, 2, 50}, {6, 144, 3, 3, 1},
	};

	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		check_gemm(gemm, &shapes[i]);
		check_gemm(gemm_plain, &shapes[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(products),
		cmocka_unit_test_setup_teardown(loss_is_the_plain_one, set_up, tear_down),
		cmocka_unit_test_setup_teardown(gradient_is_the_slope, set_up, tear_down),
		cmocka_unit_test_setup_teardown(threads_change_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(learns_by_heart, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
