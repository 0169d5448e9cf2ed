/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * A mount shows the part of the hierarchy below its root (mountinfo's fourth value). Without a
 * cgroup namespace a container has root "/docker/X" and path "/docker/X", so the root is cut off
 * the path; where that does not fit, the mount itself is the nearest that can be seen.
 */
#include "batch/cgroup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static FILE *open_under(const char *root, const char *path)
{
	char whole[PATH_MAX];
	int n = snprintf(whole, sizeof(whole), "%s%s", root, path);

	return n < 0 || n >= PATH_MAX ? NULL : fopen(whole, "re");
}

/* Is name one of the comma-separated words? */
static bool has_word(const char *words, const char *name)
{
	const size_t n = strlen(name);

	for (const char *w = words; w; w = strchr(w, ',') ? strchr(w, ',') + 1 : NULL)
		if (strncmp(w, name, n) == 0 && (w[n] == 0 || w[n] == ','))
			return true;
	return false;
}

/* Splits "ID:CONTROLLERS:PATH"; false when it is not this. */
static bool split_cgroup_line(char *line, char **ret_controllers, char **ret_path)
{
	char *first = strchr(line, ':'), *second = first ? strchr(first + 1, ':') : NULL;

	if (!second)
		return false;
	*second = 0;
	line[strcspn(second + 1, "\n") + (size_t)(second + 1 - line)] = 0;
	*ret_controllers = first + 1;
	*ret_path = second + 1;
	return true;
}

/* The path of the wanted hierarchy; controller NULL: version 2's. */
static bool find_path(const char *root, const char *controller, char *ret, size_t n_ret)
{
	FILE *file = open_under(root, "/proc/self/cgroup");
	char *line = NULL, *controllers, *path;
	bool is_found = false;
	size_t room = 0;

	while (file && !is_found && getline(&line, &room, file) >= 0) {
		if (!split_cgroup_line(line, &controllers, &path))
			continue;
		if (controller ? has_word(controllers, controller) : controllers[0] == 0)
			is_found = (size_t)snprintf(ret, n_ret, "%s", path) < n_ret;
	}
	free(line);
	if (file)
		fclose(file);
	return is_found;
}

/* mountinfo writes space, tab, newline and backslash as three octal digits. */
static void unescape(char *text)
{
	char *to = text;

	for (const char *from = text; *from; to++) {
		if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] >= '0' &&
		    from[2] <= '7' && from[3] >= '0' && from[3] <= '7') {
			*to = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'));
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = 0;
}

struct mount {
	char *root, *at, *type, *options;
};

/* "36 35 98:0 /root /at rw,noatime master:1 - type source options" */
static bool split_mount_line(char *line, struct mount *ret)
{
	char *rest = strstr(line, " - "), *save = NULL, *word;
	unsigned n = 0;

	if (!rest)
		return false;
	*rest = 0;
	line[strcspn(rest + 3, "\n") + (size_t)(rest + 3 - line)] = 0;
	for (word = strtok_r(line, " ", &save); word; word = strtok_r(NULL, " ", &save), n++) {
		if (n == 3)
			ret->root = word;
		if (n == 4)
			ret->at = word;
	}
	ret->type = strtok_r(rest + 3, " ", &save);
	strtok_r(NULL, " ", &save);
	ret->options = strtok_r(NULL, " ", &save);
	if (n < 5 || !ret->type || !ret->options)
		return false;
	unescape(ret->root);
	unescape(ret->at);
	return true;
}

/* What is left of path below the mount's root. */
static const char *below(const char *path, const char *mount_root)
{
	size_t n = strlen(mount_root);

	if (strcmp(mount_root, "/") == 0)
		n = 0;
	if (strncmp(path, mount_root, n) != 0 || (path[n] != '/' && path[n] != 0) ||
	    strstr(path, "/.."))
		return "";
	return strcmp(path + n, "/") == 0 ? "" : path + n;
}

static bool find_mount(const char *root, const char *controller, const char *path,
		       struct cgroup *ret)
{
	FILE *file = open_under(root, "/proc/self/mountinfo");
	struct cgroup g = {.version = controller ? 1 : 2};
	const char *type = controller ? "cgroup" : "cgroup2";
	bool is_found = false;
	char *line = NULL;
	size_t room = 0;
	struct mount m;

	while (file && !is_found && getline(&line, &room, file) >= 0) {
		if (!split_mount_line(line, &m) || strcmp(m.type, type) != 0)
			continue;
		if (controller && !has_word(m.options, controller))
			continue;
		is_found = snprintf(g.mount, sizeof(g.mount), "%s%s", root, m.at) < PATH_MAX &&
			   snprintf(g.path, sizeof(g.path), "%s", below(path, m.root)) < PATH_MAX;
	}
	free(line);
	if (file)
		fclose(file);
	if (is_found)
		*ret = g;
	return is_found;
}

bool cgroup_find(const char *root, const char *controller, struct cgroup *ret)
{
	char path[PATH_MAX];

	if (find_path(root, controller, path, sizeof(path)) &&
	    find_mount(root, controller, path, ret))
		return true;
	return find_path(root, NULL, path, sizeof(path)) && find_mount(root, NULL, path, ret);
}

bool cgroup_up(struct cgroup *g)
{
	char *last = strrchr(g->path, '/');

	if (!last)
		return false;
	*last = 0;
	return true;
}

bool cgroup_read(const struct cgroup *g, const char *name, char *line, int n_line)
{
	char path[2 * PATH_MAX + 64];
	FILE *file;
	bool is_read;

	snprintf(path, sizeof(path), "%s%s/%s", g->mount, g->path, name);
	file = fopen(path, "re");
	if (!file)
		return false;
	is_read = fgets(line, n_line, file) != NULL;
	fclose(file);
	if (is_read)
		line[strcspn(line, "\n")] = 0;
	return is_read;
}
