/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * What the CUDA runtime says of lent batches: lent SOCKET, with a feed `train` whose epoch has at least two batches.
 *
 * Every slot that comes by must be registered host memory to cudaPointerGetAttributes, and copies that overlap on
 * two streams must bring the bytes that the host reads. Exit 77 where there is no GPU.
 */
#include <ringfeed/ringfeed.h>

#include <cuda_runtime_api.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_ROUNDS = 64 };

static void need(int is_true, const char *what)
{
	if (is_true)
		return;
	fprintf(stderr, "failed: %s\n", what);
	exit(1);
}

static void cuda(cudaError_t r, const char *what)
{
	if (r == cudaSuccess)
		return;
	fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(r));
	exit(1);
}

/* A batch on its way to the device and back. */
struct copy {
	struct rf_batch *batch;
	struct rf_view view;
	cudaStream_t stream;
	void *device;
	char *back;
	size_t n_bytes; /* of device and back */
};

static void start(struct copy *c, struct rf_session *s)
{
	struct cudaPointerAttributes known;
	int r = rf_session_next_view(s, -1, &c->batch, &c->view);

	if (r == -ENODATA)
		r = rf_session_next_view(s, -1, &c->batch, &c->view);
	need(r == 0, rf_session_error(s)->text);
	cuda(cudaPointerGetAttributes(&known, c->view.base), "cudaPointerGetAttributes");
	need(known.type == cudaMemoryTypeHost, "the slot is registered host memory");
	cuda(cudaPointerGetAttributes(&known, (char *)c->view.base + c->view.n_bytes - 1), "cudaPointerGetAttributes");
	need(known.type == cudaMemoryTypeHost, "and so is its last byte");
	if (c->n_bytes != c->view.n_bytes) {
		c->n_bytes = c->view.n_bytes;
		cuda(cudaStreamCreateWithFlags(&c->stream, cudaStreamNonBlocking), "cudaStreamCreate");
		cuda(cudaMalloc(&c->device, c->n_bytes), "cudaMalloc");
		cuda(cudaMallocHost((void **)&c->back, c->n_bytes), "cudaMallocHost");
	}
	cuda(cudaMemcpyAsync(c->device, c->view.base, c->n_bytes, cudaMemcpyHostToDevice, c->stream), "copying there");
	cuda(cudaMemcpyAsync(c->back, c->device, c->n_bytes, cudaMemcpyDeviceToHost, c->stream), "copying back");
}

static void finish(struct copy *c)
{
	cuda(cudaStreamSynchronize(c->stream), "cudaStreamSynchronize");
	need(memcmp(c->back, c->view.base, c->n_bytes) == 0, "the bytes that came back are the slot's");
	need(rf_batch_release(c->batch) == 0, "releasing a batch");
}

int main(int argc, char **argv)
{
	struct rf_options how = {.size = sizeof(how), .feed = "train", .pin = 1};
	struct copy copies[2] = {0};
	struct rf_session *s;
	struct rf_error e;
	int n_devices = 0;
	char why[600];

	need(argc == 2, "usage: lent SOCKET");
	if (cudaGetDeviceCount(&n_devices) != cudaSuccess || n_devices == 0) {
		printf("skipped: no GPU (%s)\n", cudaGetErrorString(cudaGetLastError()));
		return 77;
	}
	cuda(cudaFree(NULL), "making the runtime's context");
	how.socket = argv[1];
	need(rf_session_open(&how, &s, &e) == 0, e.text);
	need(rf_session_pinned(s, why, sizeof(why)) == 1, why);
	start(&copies[0], s);
	for (int i = 1; i < N_ROUNDS; i++) {
		start(&copies[i % 2], s);
		finish(&copies[(i + 1) % 2]);
	}
	finish(&copies[(N_ROUNDS + 1) % 2]);
	rf_session_close(s);
	cuda(cudaDeviceSynchronize(), "after the session");
	printf("%d batches of %zu bytes, each pinned, copied on two streams and compared\n", N_ROUNDS, copies[0].n_bytes);
	return 0;
}
