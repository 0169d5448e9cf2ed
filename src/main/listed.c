/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Arguments that are shards: paths, globs and brace ranges. */
#include "main/command.h"

#include "base/fault.h"
#include "shard/list.h"

#include <string.h>

bool options_shards(const struct options *options, struct shard_list *ret, int *ret_status)
{
	struct reason why = {{0}};
	int r;

	*ret = (struct shard_list){NULL, 0};
	r = shard_list_expand((const char *const *)options->arguments, options->n_arguments, ret, &why);
	if (r == 0)
		return true;
	if (r > 0)
		fprintf(stderr, "ringfeed: %s\n", why.text);
	else
		fprintf(stderr, "ringfeed: %s (%s)\n", strerror(-r), fault_trail());
	shard_list_deinit(ret);
	*ret_status = STATUS_FAILED;
	return false;
}
