/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The driver API with prototypes of our own, so that neither building nor running needs a CUDA toolkit and one
 * library serves every CUDA runtime. libcuda stays loaded once it was found: it cannot be unloaded safely.
 */
#include "client/pin.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/fault.h"

enum {
	CUDA_OK = 0,
	CUDA_ALREADY_REGISTERED = 712,
	REGISTER_PORTABLE = 1, /* pinned for every context of the process, not for ours alone */
};

typedef void *cuda_context;

/* What is used of it; the names are those of the versions with these prototypes (CUDA 11 and later). */
struct driver {
	int (*init)(unsigned flags);
	int (*device_count)(int *ret);
	int (*device_get)(int *ret, int ordinal);
	int (*current)(cuda_context *ret);
	int (*push)(cuda_context context);
	int (*pop)(cuda_context *ret);
	int (*primary_state)(int device, unsigned *ret_flags, int *ret_is_active);
	int (*primary_retain)(cuda_context *ret, int device);
	int (*primary_release)(int device);
	int (*host_register)(void *base, size_t n_bytes, unsigned flags);
	int (*host_unregister)(void *base);
	int (*error_name)(int error, const char **ret);
	int (*error_text)(int error, const char **ret);
};

struct pin {
	struct driver driver;
	cuda_context context;
	int device; /* whose primary context we hold; -1: the context is the caller's */
	unsigned n_refs;
};

static int load(struct driver *d, struct reason *why)
{
	const struct {
		const char *name;
		void *to;
	} functions[] = {
		{"cuInit", &d->init},
		{"cuDeviceGetCount", &d->device_count},
		{"cuDeviceGet", &d->device_get},
		{"cuCtxGetCurrent", &d->current},
		{"cuCtxPushCurrent_v2", &d->push},
		{"cuCtxPopCurrent_v2", &d->pop},
		{"cuDevicePrimaryCtxGetState", &d->primary_state},
		{"cuDevicePrimaryCtxRetain", &d->primary_retain},
		{"cuDevicePrimaryCtxRelease_v2", &d->primary_release},
		{"cuMemHostRegister_v2", &d->host_register},
		{"cuMemHostUnregister", &d->host_unregister},
		{"cuGetErrorName", &d->error_name},
		{"cuGetErrorString", &d->error_text},
	};
	void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);

	if (!library) {
		reason_set(why, "the CUDA driver's library cannot be loaded: %s", dlerror());
		return PIN_E_REFUSED;
	}
	for (size_t i = 0; i < sizeof(functions) / sizeof(*functions); i++) {
		void *found = dlsym(library, functions[i].name);

		if (!found) {
			reason_set(why, "libcuda.so.1 has no %s: the CUDA driver is too old",
				   functions[i].name);
			dlclose(library);
			return PIN_E_REFUSED;
		}
		*(void **)functions[i].to = found;
	}
	dlclose(library);
	return 0;
}

static int refuse(const struct pin *p, const char *function, int error, struct reason *why)
{
	const char *name = NULL, *text = NULL;

	if (p->driver.error_name(error, &name) != CUDA_OK || !name)
		name = "an unknown error";
	if (p->driver.error_text(error, &text) != CUDA_OK || !text)
		text = "no text";
	reason_set(why, "%s says %s (%d: %s)", function, name, error, text);
	return PIN_E_REFUSED;
}

/* Holds the primary context of the first device that has an active one. */
static int find_primary(struct pin *p, struct reason *why)
{
	int n_devices = 0, r = p->driver.device_count(&n_devices);

	if (r != CUDA_OK)
		return refuse(p, "cuDeviceGetCount", r, why);
	for (int i = 0; i < n_devices; i++) {
		int device, is_active = 0;
		unsigned flags;

		if (p->driver.device_get(&device, i) != CUDA_OK ||
		    p->driver.primary_state(device, &flags, &is_active) != CUDA_OK || !is_active)
			continue;
		r = p->driver.primary_retain(&p->context, device);
		if (r != CUDA_OK)
			return refuse(p, "cuDevicePrimaryCtxRetain", r, why);
		p->device = device;
		return 0;
	}
	reason_set(why, "this process has no CUDA context yet: use the GPU once before attaching (in PyTorch: torch.cuda.synchronize())");
	return PIN_E_REFUSED;
}

static int find_context(struct pin *p, struct reason *why)
{
	int r = p->driver.init(0);

	if (r != CUDA_OK)
		return refuse(p, "cuInit", r, why);
	r = p->driver.current(&p->context);
	if (r != CUDA_OK)
		return refuse(p, "cuCtxGetCurrent", r, why);
	return p->context ? 0 : find_primary(p, why);
}

int pin_open(struct pin **ret, struct reason *why)
{
	struct pin *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return fail(-ENOMEM);
	p->device = -1;
	p->n_refs = 1;
	r = load(&p->driver, why);
	if (r == 0)
		r = find_context(p, why);
	if (r != 0) {
		pin_unref(p);
		return r;
	}
	*ret = p;
	return 0;
}

struct pin *pin_ref(struct pin *p)
{
	p->n_refs++;
	return p;
}

struct pin *pin_unref(struct pin *p)
{
	if (!p || --p->n_refs > 0)
		return NULL;
	if (p->device >= 0)
		p->driver.primary_release(p->device);
	free(p);
	return NULL;
}

/* The first n_bytes are registered no more. Ones that were there before us go too: their memory is about to. */
static void unregister_chunks(struct pin *p, char *base, size_t n_bytes)
{
	for (size_t at = 0; at < n_bytes; at += PIN_CHUNK)
		p->driver.host_unregister(base + at);
}

int pin_register(struct pin *p, void *base, size_t n_bytes, struct reason *why)
{
	cuda_context mine;
	int r = p->driver.push(p->context);

	if (r != CUDA_OK)
		return refuse(p, "cuCtxPushCurrent", r, why);
	for (size_t at = 0; at < n_bytes; at += PIN_CHUNK) {
		size_t n = n_bytes - at < PIN_CHUNK ? n_bytes - at : PIN_CHUNK;

		r = p->driver.host_register((char *)base + at, n, REGISTER_PORTABLE);
		if (r == CUDA_ALREADY_REGISTERED || r == CUDA_OK)
			continue;
		unregister_chunks(p, base, at);
		refuse(p, "cuMemHostRegister", r, why);
		p->driver.pop(&mine);
		return PIN_E_REFUSED;
	}
	p->driver.pop(&mine);
	return 0;
}

void pin_unregister(struct pin *p, void *base, size_t n_bytes)
{
	cuda_context mine;
	/* Any thread may be here, with another context or none. A context that was destroyed has unregistered all. */
	bool is_pushed = p->driver.push(p->context) == CUDA_OK;

	unregister_chunks(p, base, n_bytes);
	if (is_pushed)
		p->driver.pop(&mine);
}
