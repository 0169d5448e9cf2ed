/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Looks, plans, then fills: whatever can be refused is refused before the first shard is begun. */
#include "pack/pack.h"

#include "base/fault.h"
#include "base/file.h"
#include "pack/fill.h"
#include "pack/manifest.h"
#include "pack/shards.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES = 4096 };

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), n_end = strlen(end);

	return n > n_end && strcmp(text + n - n_end, end) == 0;
}

/* 0 or -errno. */
static int open_folder(const char *path, int *ret)
{
	char made[PATH_BYTES];

	if (strlen(path) >= sizeof(made))
		return -ENAMETOOLONG;
	strcpy(made, path);
	for (char *p = made + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(made, 0777) < 0 && errno != EEXIST)
			return -errno;
		*p = '/';
	}
	if (mkdir(made, 0777) < 0 && errno != EEXIST)
		return -errno;
	*ret = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *ret < 0 ? -errno : 0;
}

/* Kind of source by what it is: a folder, a list by its name, else tars. */
static int take_in(const struct pack_options *how, struct catalog *c, struct reason *why)
{
	const char *source = how->source;
	struct stat st, folder;

	if (stat(source, &st) == 0 && S_ISDIR(st.st_mode)) {
		bool is_there = stat(how->folder, &folder) == 0;

		if (is_there && folder.st_dev == st.st_dev && folder.st_ino == st.st_ino) {
			reason_set(why, "%s: the shards cannot lie in the folder that is packed itself; a folder in it will do",
				   how->folder);
			return PACK_E_REFUSED;
		}
		return catalog_add_tree(c, source, is_there ? &folder : NULL, why);
	}
	if (ends_with(source, ".csv") || ends_with(source, ".jsonl"))
		return catalog_add_table(c, source, why);
	if (how->long_side) {
		reason_set(why, "%s: --long-side goes with folders and lists of images", source);
		return PACK_E_REFUSED;
	}
	return catalog_add_tars(c, source, why);
}

static int save_classes(int folder_fd, const char *text, size_t n)
{
	int fd = openat(folder_fd, "classes.txt.part", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666), r;

	if (fd < 0)
		return fail(-errno);
	r = file_write(fd, text, n);
	if (r < 0)
		r = fail(r);
	else if (fsync(fd) < 0 || renameat(folder_fd, "classes.txt.part", folder_fd, "classes.txt") < 0)
		r = fail(-errno);
	close(fd);
	return r;
}

/* Whether the folder's classes.txt holds just these bytes. 0 or 1, or -ENOENT. */
static int has_classes(int folder_fd, const char *text, size_t n)
{
	int fd = openat(folder_fd, "classes.txt", O_RDONLY | O_CLOEXEC), is_same;
	char *there = malloc(n + 1);

	if (fd < 0 || !there) {
		is_same = fd < 0 ? -ENOENT : 0;
	} else {
		is_same = file_read(fd, there, n + 1) == (int64_t)n && memcmp(there, text, n) == 0;
	}
	free(there);
	if (fd >= 0)
		close(fd);
	return is_same;
}

/* classes.txt may be shared by several packs of one folder (train and val), if they agree. */
static int settle_classes(const struct pack_options *how, const struct catalog *c, int folder_fd,
			  struct reason *why)
{
	char *text = NULL;
	size_t n = 0;
	FILE *file;
	int r;

	if (c->n_classes == 0)
		return 0;
	file = open_memstream(&text, &n);
	if (!file)
		return fail(-errno);
	for (size_t i = 0; i < c->n_classes; i++)
		fprintf(file, "%s\n", catalog_at(c, c->classes[i]));
	if (fclose(file) != 0)
		r = fail(-ENOMEM);
	else
		r = has_classes(folder_fd, text, n);
	if (r == 0 && !how->is_forced) {
		reason_set(why, "%s/classes.txt lists other classes; --classes %s/classes.txt takes its numbers, --force "
			   "replaces it", how->folder, how->folder);
		r = PACK_E_REFUSED;
	} else if (r == 0 || r == -ENOENT) {
		r = save_classes(folder_fd, text, n);
	} else if (r > 0) {
		r = 0;
	}
	free(text);
	return r;
}

static int fill(const struct pack_options *how, const struct catalog *c, int folder_fd, struct pack_result *ret,
		struct reason *why)
{
	struct manifest manifest = {.fd = -1};
	struct shard_plans plans;
	const struct fill_job job = {.how = how, .catalog = c, .plans = &plans, .manifest = &manifest,
				     .folder_fd = folder_fd};
	int r = shard_plans_make(c, how->shard_bytes, how->samples_per_shard, &plans);

	if (r < 0)
		return pass(r);
	ret->n_shards_all = plans.n;
	r = manifest_open(how, c, &plans, folder_fd, &manifest, why);
	if (r == 0)
		r = settle_classes(how, c, folder_fd, why);
	if (r == 0)
		r = how->long_side ? fill_shards_shrunk(&job, ret, why) : fill_shards(&job, ret, why);
	manifest_close(&manifest);
	shard_plans_deinit(&plans);
	return r < 0 ? pass(r) : r;
}

static int pack(const struct pack_options *how, struct catalog *c, struct pack_result *ret, struct reason *why)
{
	int r = take_in(how, c, why), folder_fd;

	if (r == 0)
		r = catalog_finish(c, how->classes, why);
	if (r == 0 && c->n_samples == 0) {
		reason_set(why, "%s: nothing there that can be packed", how->source);
		r = PACK_E_REFUSED;
	}
	if (r != 0)
		return r < 0 ? pass(r) : r;
	ret->n_classes = c->n_classes;
	for (size_t i = 0; i < c->n_samples && !ret->has_labels; i++)
		ret->has_labels = c->samples[i].has_label;
	r = open_folder(how->folder, &folder_fd);
	if (r < 0) {
		reason_set(why, "%s: %s", how->folder, strerror(-r));
		return PACK_E_REFUSED;
	}
	r = fill(how, c, folder_fd, ret, why);
	close(folder_fd);
	return r < 0 ? pass(r) : r;
}

int pack_run(const struct pack_options *how, struct pack_result *ret, struct reason *why)
{
	struct catalog c = {.shuffle = how->shuffle, .context = how->context, .on_left_out = how->on_left_out,
			    .is_stopped = how->is_stopped};
	int r;

	*ret = (struct pack_result){0};
	r = pack(how, &c, ret, why);
	catalog_deinit(&c);
	return r;
}
