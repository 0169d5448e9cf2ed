/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The messages of messages.def as C structs: what client and daemon exchange over the SOCK_SEQPACKET
 * socket. One message is one packet. Values from the other side are checked after they are copied out.
 */
#ifndef PROTO_WIRE_H
#define PROTO_WIRE_H

#include <stdint.h>

#define WIRE_MAGIC 0x64656672u /* "rfed" */
#define WIRE_VERSION 4u

/* FIELD's kind. */
enum { WIRE_ARRAY, WIRE_BYTES, WIRE_TEXT };
/* ATTACH's start. */
enum { WIRE_START_NOW, WIRE_START_NEXT_EPOCH, WIRE_START_BACK };

struct wire_head {
	uint32_t type;	  /* enum wire_type */
	uint32_t n_bytes; /* of the whole message */
};

#define MESSAGE(name, number, direction) WIRE_##name = number,
#define U32(name)
#define U64(name)
#define I32(name)
#define TEXT(name, n_bytes)
#define END(name)
enum wire_type {
#include "messages.def"
};

#define MESSAGE(name, number, direction) struct wire_##name { struct wire_head head;
#define U32(name) uint32_t name;
#define U64(name) uint64_t name;
#define I32(name) int32_t name;
#define TEXT(name, n_bytes) char name[n_bytes];
#define END(name) } __attribute__((packed, aligned(8)));
#include "messages.def"

/* The exact size of a message of that type, or 0 when there is no such type. */
static inline uint32_t wire_bytes(uint32_t type)
{
	switch (type) {
#define MESSAGE(name, number, direction) case number: return (uint32_t)sizeof(struct wire_##name);
#define U32(name)
#define U64(name)
#define I32(name)
#define TEXT(name, n_bytes)
#define END(name)
#include "messages.def"
	default:
		return 0;
	}
}

#endif
