/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * The rule behind every branch here: GNU tar and Python's tarfile must both read the header as we do.
 * Where the two differ about a name, a size or the place of the next header, there is no right
 * answer, and the archive is refused. So numbers are parsed as strictly as the stricter of them, and
 * fields that we do not use are checked too, because tarfile stops silently at a bad one.
 */
#include "shard/header.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
	AT_NAME = 0, N_NAME = 100,
	AT_SIZE = 124, N_SIZE = 12,
	AT_CHECKSUM = 148, N_CHECKSUM = 8,
	AT_TYPE = 156,
	AT_MAGIC = 257,
	AT_PREFIX = 345, N_PREFIX = 155,
};

int chain_refuse(const struct chain *c, uint64_t offset, struct reason *why, const char *format, ...)
{
	char text[300];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	reason_set(why, "%.250s%soffset %llu: %s", c->path ? c->path : "", c->path ? ", " : "",
		   (unsigned long long)offset, text);
	return TAR_E_REFUSED;
}

void chain_init(struct chain *c, const char *path)
{
	c->path = path;
	c->is_open = c->is_awaited = false;
	c->has_long_name = c->has_pax = c->has_pax_path = c->has_pax_size = false;
	c->has_global_path = c->has_global_size = false;
}

static void close_chain(struct chain *c)
{
	c->is_open = c->is_awaited = false;
	c->has_long_name = c->has_pax = c->has_pax_path = c->has_pax_size = false;
}

enum number { NUMBER_GOOD, NUMBER_ZERO, NUMBER_BLANK, NUMBER_NEGATIVE, NUMBER_BAD };

/* Octal text (ZERO: nothing but blanks, ended by a zero byte), or base-256 behind a byte of 0x80
 * (0xff: negative). */
static enum number parse_number(const uint8_t *at, size_t n, uint64_t *ret)
{
	const uint8_t *end = memchr(at, 0, n);
	bool is_zero_to_both = end && (end > at || at[1] == 0);
	uint64_t value = 0;

	if (at[0] == 0xff)
		return NUMBER_NEGATIVE;
	if (at[0] == 0x80) {
		for (size_t i = 1; i < n; i++) {
			if (value >> 55)
				return NUMBER_BAD;
			value = value << 8 | at[i];
		}
		*ret = value;
		return NUMBER_GOOD;
	}
	if (!end)
		end = at + n;
	while (at < end && *at == ' ')
		at++;
	while (end > at && end[-1] == ' ')
		end--;
	if (at == end) /* GNU tar reads digits behind one leading zero byte, tarfile stops at it */
		return is_zero_to_both ? NUMBER_ZERO : NUMBER_BLANK;
	for (; at < end; at++) {
		if (*at < '0' || *at > '7' || value >> 60)
			return NUMBER_BAD;
		value = value << 3 | (uint64_t)(*at - '0');
	}
	*ret = value;
	return NUMBER_GOOD;
}

/* Old tars summed signed chars; both sums are taken, as both readers do. */
static bool is_checksum_right(const uint8_t *block)
{
	uint32_t sum = 0;
	int32_t signed_sum = 0;
	uint64_t stated;

	if (parse_number(block + AT_CHECKSUM, N_CHECKSUM, &stated) != NUMBER_GOOD)
		return false;
	for (int i = 0; i < TAR_BLOCK; i++) {
		uint8_t b = i >= AT_CHECKSUM && i < AT_CHECKSUM + N_CHECKSUM ? ' ' : block[i];

		sum += b;
		signed_sum += (int8_t)b;
	}
	return stated == sum || (signed_sum >= 0 && stated == (uint32_t)signed_sum);
}

static bool is_zero(const uint8_t *block)
{
	return block[0] == 0 && memcmp(block, block + 1, TAR_BLOCK - 1) == 0;
}

static int refuse_not_a_tar(const struct chain *c, const uint8_t *block, uint64_t offset,
			    struct reason *why)
{
	static const struct {
		const char *magic;
		size_t n;
		const char *name;
	} kinds[] = {
		{"\x1f\x8b", 2, "gzip"},
		{"BZh", 3, "bzip2"},
		{"\xfd" "7zXZ", 5, "xz"},
		{"\x28\xb5\x2f\xfd", 4, "zstd"},
		{"\x04\x22\x4d\x18", 4, "lz4"},
		{"PK\x03\x04", 4, "zip"},
	};

	for (size_t i = 0; offset == 0 && i < sizeof(kinds) / sizeof(*kinds); i++) {
		if (memcmp(block, kinds[i].magic, kinds[i].n) == 0)
			return chain_refuse(c, offset, why,
					    "compressed with %s, which is not supported; unpack it to a .tar "
					    "(`ringfeed pack TAR DEST --zstd` makes it small again)",
					    kinds[i].name);
	}
	if (offset == 0)
		return chain_refuse(c, offset, why, "not a tar: the first header's checksum is wrong");
	return chain_refuse(c, offset, why, "damaged: no tar header here (its checksum is wrong)");
}

/* mode, uid, gid, mtime, devmajor, devminor: unused here, but tarfile gives up on a bad one. */
static int check_unused_fields(const struct chain *c, const uint8_t *block, uint64_t offset,
			       struct reason *why)
{
	static const struct {
		const char *name;
		uint16_t at, n;
	} fields[] = {
		{"mode", 100, 8}, {"uid", 108, 8}, {"gid", 116, 8},
		{"mtime", 136, 12}, {"devmajor", 329, 8}, {"devminor", 337, 8},
	};
	uint64_t unused;

	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
		const uint8_t *at = block + fields[i].at;

		if (at[0] == 0x80 || at[0] == 0xff)
			continue;
		if (parse_number(at, fields[i].n, &unused) == NUMBER_BAD)
			return chain_refuse(c, offset, why, "the header's %s is not a number",
					    fields[i].name);
	}
	return 0;
}

static int read_size(const struct chain *c, const uint8_t *block, uint64_t offset, uint64_t *ret,
		     struct reason *why)
{
	enum number n = parse_number(block + AT_SIZE, N_SIZE, ret);

	if (block[AT_TYPE] == '1' && n != NUMBER_BAD) {
		*ret = 0; /* a hard link has no payload, whatever its size says */
		return 0;
	}
	switch (n) {
	case NUMBER_GOOD:
		return 0;
	case NUMBER_ZERO:
		*ret = 0;
		return 0;
	case NUMBER_NEGATIVE:
		return chain_refuse(c, offset, why, "the member's size is negative");
	default:
		return chain_refuse(c, offset, why, "the member's size is not a number");
	}
}

/* The name by header block alone: prefix/name. Only the POSIX magic makes bytes 345 on a prefix
 * (old GNU headers keep times there); tarfile takes them for one always. */
static int read_own_name(const struct chain *c, const uint8_t *block, uint64_t offset, char *ret,
			 struct reason *why)
{
	size_t n_prefix = strnlen((const char *)block + AT_PREFIX, N_PREFIX), n = 0;

	if (n_prefix && memcmp(block + AT_MAGIC, "ustar", 6) != 0)
		return chain_refuse(c, offset, why,
				    "an old header with bytes where POSIX has a prefix: tar readers "
				    "disagree about the name");
	if (n_prefix) {
		memcpy(ret, block + AT_PREFIX, n_prefix);
		ret[n_prefix] = '/';
		n = n_prefix + 1;
	}
	snprintf(ret + n, TAR_NAME_MAX - n, "%.*s", N_NAME, (const char *)block + AT_NAME);
	return 0;
}

static int read_name(const struct chain *c, const uint8_t *block, uint64_t offset, char *ret,
		     struct reason *why)
{
	int r;

	if (c->has_long_name && c->has_pax_path && strcmp(c->long_name, c->pax_path) != 0)
		return chain_refuse(c, offset, why,
				    "a GNU long name and a pax path that differ: tar readers disagree");
	if (c->has_pax_path) {
		strcpy(ret, c->pax_path);
	} else if (c->has_long_name) {
		strcpy(ret, c->long_name);
	} else {
		r = read_own_name(c, block, offset, ret, why);
		if (r != 0)
			return r;
	}
	if (c->has_global_path && !c->has_pax_path && strcmp(c->global_path, ret) != 0)
		return chain_refuse(c, offset, why, "a global pax path would rename this member");
	return 0;
}

/* Types 0, 7 and NUL: a file, or a directory where the name ends in a slash. */
static int take_regular(struct chain *c, const uint8_t *block, uint64_t offset,
			struct chain_block *ret, struct reason *why)
{
	size_t n_own = strnlen((const char *)block + AT_NAME, N_NAME), n;
	bool is_own_slash = n_own > 0 && block[AT_NAME + n_own - 1] == '/', is_slash;
	int r = read_name(c, block, offset, ret->name, why);

	if (r != 0)
		return r;
	n = strlen(ret->name);
	is_slash = n > 0 && ret->name[n - 1] == '/';
	if (n > 0 && strspn(ret->name, "/") == n)
		return chain_refuse(c, offset, why, "a file named /: tar readers disagree");
	if (ret->type == 0 && is_own_slash && (!is_slash || ret->size != 0))
		return chain_refuse(c, offset, why,
				    "a directory of the oldest format with a payload or another name: "
				    "tar readers disagree");
	if (is_slash && c->has_pax_path && !(ret->type == 0 && is_own_slash))
		return chain_refuse(c, offset, why,
				    "a file whose pax path ends in a slash: tar readers disagree");
	ret->kind = is_slash ? CHAIN_SKIP : CHAIN_MEMBER;
	return 0;
}

static int take_member(struct chain *c, const uint8_t *block, uint64_t offset,
		       struct chain_block *ret, struct reason *why)
{
	bool is_payload_free = ret->type >= '1' && ret->type <= '6';
	uint64_t own_size = ret->size;

	if (ret->type == '5') { /* the size of a directory is a hint without bytes behind it */
		ret->kind = CHAIN_SKIP;
		ret->size = 0;
		return 0;
	}
	if (c->has_pax_size)
		ret->size = c->pax_size;
	else if (c->has_global_size && c->global_size != own_size)
		return chain_refuse(c, offset, why,
				    "a global pax size differs from this member's: tar readers disagree");
	if (is_payload_free && ret->size != 0)
		return chain_refuse(c, offset, why,
				    "a link or device with a size: tar readers disagree about what follows");
	switch (ret->type) {
	case 'S':
		return chain_refuse(c, offset, why, "a sparse member (old GNU): not supported");
	case 0:
	case '0':
	case '7':
		return take_regular(c, block, offset, ret, why);
	default: /* links, devices, volume labels, dumpdirs and types nobody knows: not files to both */
		ret->kind = CHAIN_SKIP;
		return 0;
	}
}

int chain_take(struct chain *c, const uint8_t *block, uint64_t offset, struct chain_block *ret,
	       struct reason *why)
{
	int r;

	if (is_zero(block)) {
		if (c->is_awaited)
			return chain_refuse(c, offset, why, "an extension header without its member");
		ret->kind = CHAIN_END;
		return 0;
	}
	if (!is_checksum_right(block))
		return refuse_not_a_tar(c, block, offset, why);
	r = check_unused_fields(c, block, offset, why);
	if (r != 0)
		return r;
	r = read_size(c, block, offset, &ret->size, why);
	if (r != 0)
		return r;
	ret->type = (char)block[AT_TYPE];
	switch (ret->type) {
	case 'L':
	case 'K':
	case 'x':
	case 'X':
	case 'g':
		if (ret->size > TAR_EXTENSION_MAX)
			return chain_refuse(c, offset, why,
					    "an extension header of %llu bytes; %d are accepted",
					    (unsigned long long)ret->size, TAR_EXTENSION_MAX);
		ret->kind = ret->type == 'g' ? CHAIN_GLOBAL : CHAIN_EXTENSION;
		if (ret->kind == CHAIN_GLOBAL && c->is_open)
			return chain_refuse(c, offset, why,
					    "a global header between a member and its extension");
		return 0;
	default:
		r = take_member(c, block, offset, ret, why);
		close_chain(c);
		return r;
	}
}

static int take_long_name(struct chain *c, const uint8_t *bytes, uint64_t size, uint64_t offset,
			  struct reason *why)
{
	size_t n = strnlen((const char *)bytes, size);

	/* GNU tar ends the name at its size, tarfile at the next zero in the block */
	if (n != strnlen((const char *)bytes, tar_round_up(size)))
		return chain_refuse(c, offset, why, "a GNU long name without its end");
	if (n >= TAR_NAME_MAX)
		return chain_refuse(c, offset, why, "a name of %zu bytes; %d are accepted", n,
				    TAR_NAME_MAX - 1);
	if (c->has_long_name && (strlen(c->long_name) != n || memcmp(c->long_name, bytes, n) != 0))
		return chain_refuse(c, offset, why, "two GNU long names for one member");
	memcpy(c->long_name, bytes, n);
	c->long_name[n] = '\0';
	c->has_long_name = true;
	return 0;
}

struct record {
	const uint8_t *keyword, *value;
	size_t n_keyword, n_value;
};

/* "LENGTH KEYWORD=VALUE\n" at bytes; its length, or 0 where it is malformed. */
static size_t parse_record(const uint8_t *bytes, size_t n, struct record *ret)
{
	size_t at = 0, length = 0;
	const uint8_t *equals;

	for (; at < n && at < 8 && bytes[at] >= '0' && bytes[at] <= '9'; at++)
		length = length * 10 + (size_t)(bytes[at] - '0');
	if (at == 0 || at >= n || bytes[at] != ' ' || length > n || length < at + 4 ||
	    bytes[length - 1] != '\n')
		return 0;
	at++;
	ret->keyword = bytes + at;
	equals = memchr(ret->keyword, '=', length - 1 - at);
	if (!equals || equals == ret->keyword || *ret->keyword == ' ' || *ret->keyword == '\t')
		return 0;
	ret->n_keyword = (size_t)(equals - ret->keyword);
	if (memchr(ret->keyword, 0, ret->n_keyword))
		return 0;
	ret->value = equals + 1;
	ret->n_value = (size_t)(bytes + length - 1 - ret->value);
	return length;
}

static bool is_keyword(const struct record *r, const char *keyword)
{
	return r->n_keyword == strlen(keyword) && memcmp(r->keyword, keyword, r->n_keyword) == 0;
}

static bool parse_decimal(const uint8_t *at, size_t n, uint64_t *ret)
{
	uint64_t value = 0;

	if (n == 0 || n > 18)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (at[i] < '0' || at[i] > '9')
			return false;
		value = value * 10 + (uint64_t)(at[i] - '0');
	}
	*ret = value;
	return true;
}

struct pax {
	bool has_path, has_size;
	uint64_t size;
	const uint8_t *path;
	size_t n_path;
};

static int take_record(const struct chain *c, const struct record *record, uint64_t offset,
		       struct pax *pax, struct reason *why)
{
	static const char sparse[] = "GNU.sparse.";

	if (is_keyword(record, "path")) {
		if (record->n_value == 0 || record->n_value >= TAR_NAME_MAX ||
		    memchr(record->value, 0, record->n_value))
			return chain_refuse(c, offset, why,
					    "a pax path that is empty, holds a zero byte or is longer "
					    "than %d bytes", TAR_NAME_MAX - 1);
		pax->has_path = true;
		pax->path = record->value;
		pax->n_path = record->n_value;
	} else if (is_keyword(record, "size")) {
		if (!parse_decimal(record->value, record->n_value, &pax->size))
			return chain_refuse(c, offset, why, "a pax size that is not a number");
		pax->has_size = true;
	} else if (record->n_keyword >= sizeof(sparse) - 1 &&
		   memcmp(record->keyword, sparse, sizeof(sparse) - 1) == 0) {
		return chain_refuse(c, offset, why, "a sparse member (pax GNU.sparse): not supported");
	}
	return 0;
}

static int parse_pax(const struct chain *c, const uint8_t *bytes, uint64_t size, uint64_t offset,
		     struct pax *pax, struct reason *why)
{
	size_t at = 0;

	while (at < size && bytes[at] != 0) {
		struct record record;
		size_t n = parse_record(bytes + at, size - at, &record);
		int r;

		if (n == 0)
			return chain_refuse(c, offset + at, why, "a malformed pax record");
		r = take_record(c, &record, offset + at, pax, why);
		if (r != 0)
			return r;
		at += n;
	}
	/* tarfile reads records on into the padding, GNU tar does not */
	if (at < tar_round_up(size) && bytes[at] != 0)
		return chain_refuse(c, offset + at, why, "bytes behind the last pax record");
	return 0;
}

static void copy_path(char *ret, const struct pax *pax)
{
	memcpy(ret, pax->path, pax->n_path);
	ret[pax->n_path] = '\0';
}

static int take_pax(struct chain *c, const struct pax *pax, uint64_t offset, struct reason *why)
{
	if (c->has_pax)
		return chain_refuse(c, offset, why, "two pax headers for one member");
	c->has_pax = true;
	c->has_pax_path = pax->has_path;
	c->has_pax_size = pax->has_size;
	c->pax_size = pax->size;
	if (pax->has_path)
		copy_path(c->pax_path, pax);
	return 0;
}

/* A second global header replaces the first to GNU tar, and adds to it to tarfile. */
static int take_global(struct chain *c, const struct pax *pax, uint64_t offset, struct reason *why)
{
	if ((c->has_global_path && !pax->has_path) || (c->has_global_size && !pax->has_size))
		return chain_refuse(c, offset, why,
				    "a second global pax header without the first one's path or size: "
				    "tar readers disagree");
	c->has_global_path = pax->has_path;
	c->has_global_size = pax->has_size;
	c->global_size = pax->size;
	if (pax->has_path)
		copy_path(c->global_path, pax);
	return 0;
}

int chain_extension(struct chain *c, char type, const uint8_t *bytes, uint64_t size,
		    uint64_t offset, struct reason *why)
{
	struct pax pax = {0};
	int r;

	c->is_awaited = true;
	if (type != 'g')
		c->is_open = true;
	if (type == 'K')
		return 0;
	if (type == 'L')
		return take_long_name(c, bytes, size, offset, why);
	r = parse_pax(c, bytes, size, offset, &pax, why);
	if (r != 0)
		return r;
	return type == 'g' ? take_global(c, &pax, offset, why) : take_pax(c, &pax, offset, why);
}
