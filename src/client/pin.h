/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Page-locking mapped memory for the GPU: libcuda, looked up at run time, and the context that the process has.
 *
 * Never makes a context: it takes the one that is current, else the primary context of the first device
 * that has an active one. Whatever stands in the way is an outcome with a sentence, never a fault.
 *
 * Threads: any, one at a time for one struct pin. Not to be called in a forked child.
 */
#ifndef CLIENT_PIN_H
#define CLIENT_PIN_H

#include <stddef.h>

#include "base/reason.h"

enum {
	PIN_E_REFUSED = 1, /* the reason says why */
	PIN_CHUNK = 1 << 30, /* the driver holds locks of its own during one registration */
};

struct pin;

/* Loads libcuda and finds the context. 0, PIN_E_REFUSED or -ENOMEM. The caller has one reference. */
int pin_open(struct pin **ret, struct reason *why);
struct pin *pin_ref(struct pin *p);
/* Takes NULL; the last reference lets go of the context. Returns NULL. */
struct pin *pin_unref(struct pin *p);

/* Registers page-aligned memory for every context; nothing stays registered on failure. What is registered already
 * is fine. 0 or PIN_E_REFUSED. */
int pin_register(struct pin *p, void *base, size_t n_bytes, struct reason *why);
/* Undoes it; before the memory is unmapped. */
void pin_unregister(struct pin *p, void *base, size_t n_bytes);

#endif
