/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * A folder tree: the first folder below the root is the class, whatever lies deeper belongs to it.
 * Links are followed, but not into a folder that they lie in.
 */
#include "pack/catalog.h"

#include "base/fault.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 64, PATH_BYTES = 4096 };

struct walk {
	struct catalog *catalog;
	const struct stat *except;
	const char *root, *class_name;
	struct stat above[DEPTH_MAX]; /* the folders that we are in */
	unsigned depth;
};

static int walk_folder(struct walk *w, const char *relative);

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static int enter(struct walk *w, const char *path, const char *relative, const char *name, const struct stat *st)
{
	struct catalog *c = w->catalog;
	int r;

	if (w->except && is_same(w->except, st))
		return 0;
	if (name[0] == '.') {
		catalog_leave_out(c, path, false, "a hidden folder");
		return 0;
	}
	for (unsigned i = 0; i < w->depth; i++)
		if (is_same(&w->above[i], st)) {
			catalog_leave_out(c, path, false, "a link to a folder that it lies in");
			return 0;
		}
	if (w->depth == DEPTH_MAX) {
		catalog_leave_out(c, path, true, "more than %d folders deep", DEPTH_MAX);
		return 0;
	}
	w->above[w->depth++] = *st;
	if (w->depth == 2)
		w->class_name = name;
	r = walk_folder(w, relative);
	if (--w->depth == 1)
		w->class_name = NULL;
	return r;
}

static int visit(struct walk *w, const char *relative, const char *name)
{
	char path[PATH_BYTES], inside[PATH_BYTES];
	struct catalog *c = w->catalog;
	struct catalog_image image = {.path = path, .name = inside, .class_name = w->class_name};
	struct stat st;

	if (c->is_stopped(c->context))
		return PACK_E_STOPPED;
	if (snprintf(inside, sizeof(inside), "%s%s%s", relative, *relative ? "/" : "", name) >= PATH_BYTES ||
	    snprintf(path, sizeof(path), "%s/%s", w->root, inside) >= PATH_BYTES) {
		catalog_leave_out(c, name, true, "the path is too long");
		return 0;
	}
	if (stat(path, &st) < 0) {
		catalog_leave_out(c, path, catalog_is_image_name(name), "%s", strerror(errno));
		return 0;
	}
	if (S_ISDIR(st.st_mode))
		return enter(w, path, inside, name, &st);
	if (!S_ISREG(st.st_mode))
		catalog_leave_out(c, path, catalog_is_image_name(name), "not a regular file");
	else if (!catalog_is_image_name(name))
		catalog_leave_out(c, path, false, "not an image: no jpg, jpeg, png or webp by its name");
	else if (name[0] == '.')
		catalog_leave_out(c, path, false, "a hidden file");
	else {
		image.st = &st;
		return catalog_add_image(c, &image);
	}
	return 0;
}

static int not_dots(const struct dirent *e)
{
	return strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
}

static int walk_folder(struct walk *w, const char *relative)
{
	char path[PATH_BYTES];
	struct dirent **entries;
	int n, r = 0;

	snprintf(path, sizeof(path), "%s%s%s", w->root, *relative ? "/" : "", relative);
	n = scandir(path, &entries, not_dots, alphasort);
	if (n < 0 && errno == ENOMEM)
		return fail(-ENOMEM);
	if (n < 0)
		catalog_leave_out(w->catalog, path, true, "the folder cannot be read: %s", strerror(errno));
	for (int i = 0; i < n; i++) {
		if (r == 0)
			r = visit(w, relative, entries[i]->d_name);
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
	return r < 0 ? pass(r) : r;
}

int catalog_add_tree(struct catalog *c, const char *root, const struct stat *except, struct reason *why)
{
	struct walk w = {.catalog = c, .except = except, .root = root, .depth = 1};

	c->is_sorted = c->is_checked = true;
	if (stat(root, &w.above[0]) < 0) {
		reason_set(why, "%s: %s", root, strerror(errno));
		return PACK_E_REFUSED;
	}
	return walk_folder(&w, "");
}
