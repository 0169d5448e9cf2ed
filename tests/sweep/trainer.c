/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * sweep-trainer SOCKET FEED GROUP [TOKEN]: reads what is left of an epoch and says a line for each row, "row EPOCH POSITION INDEX
 * VALID HASH", and for each batch "token …". Exit 0: the epoch is over; 3: an error by name, said as "error NAME: TEXT";
 * 4: what cannot be. "status" for FEED asks for the status instead.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ringfeed/ringfeed.h>

enum { PATIENCE_MS = 4000 };

static int tell(const struct rf_error *error)
{
	if (!*error->name || !*error->text) {
		printf("an error without a name or a text\n");
		return 4;
	}
	printf("error %s: %s\n", error->name, error->text);
	return 3;
}

static uint64_t hash(uint64_t h, const void *bytes, size_t n)
{
	const unsigned char *b = bytes;

	for (size_t i = 0; i < n; i++)
		h = (h ^ b[i]) * 0x100000001b3u;
	return h;
}

static bool say_rows(const struct rf_session *s, const struct rf_batch *b)
{
	const int64_t *index = rf_batch_index(b), *position = rf_batch_position(b);
	const uint8_t *valid = rf_batch_valid(b);
	int64_t n = rf_batch_n_rows(b);

	if (n < 1 || !index || !position || !valid)
		return false;
	for (int64_t row = 0; row < n; row++) {
		uint64_t h = 0xcbf29ce484222325u;

		for (int i = 0; i < rf_session_n_fields(s); i++) {
			struct rf_array a;

			if (rf_batch_array(b, rf_session_field_name(s, i), &a) < 0)
				return false;
			h = hash(h, (char *)a.data + a.n_bytes / (size_t)n * (size_t)row, a.n_bytes / (size_t)n);
		}
		printf("row %" PRId64 " %" PRId64 " %" PRId64 " %u %016" PRIx64 "\n", rf_batch_epoch(b), position[row],
		       index[row], valid[row], h);
	}
	return true;
}

static int read_all(struct rf_session *s)
{
	struct rf_batch *b;
	char token[1024];
	int r;

	while ((r = rf_session_next(s, -1, &b)) == 0) {
		if (!say_rows(s, b) || rf_batch_release(b) < 0)
			return 4;
		r = rf_session_token(s, token, sizeof(token));
		if (r < 0 || (size_t)r >= sizeof(token))
			return 4;
		printf("token %s\n", token);
		fflush(stdout);
	}
	return r == -ENODATA ? 0 : tell(rf_session_error(s));
}

int main(int argc, char **argv)
{
	struct rf_options options = {.size = sizeof(options), .timeout_ms = PATIENCE_MS, .has_rank = 1,
				     .world_size = 1, .local_world_size = 1, .reconnect_ms = 100};
	struct rf_error error = {0};
	struct rf_session *s = NULL;
	int r;

	if (argc < 4)
		return 2;
	if (strcmp(argv[2], "status") == 0) {
		char *json = NULL;

		r = rf_status(argv[1], PATIENCE_MS, &json, &error);
		rf_free(json);
		return r < 0 ? tell(&error) : 0;
	}
	options.socket = argv[1];
	options.feed = argv[2];
	options.group = argv[3];
	options.token = argc > 4 ? argv[4] : NULL;
	if (rf_session_open(&options, &s, &error) < 0)
		return tell(&error);
	r = read_all(s);
	rf_session_close(s);
	return r;
}
