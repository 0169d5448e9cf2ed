/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * skip() finds the end of any value without recursion: inside an object or array only brackets and
 * texts matter. It stops at the text's closing zero, so that nothing is read behind it.
 */
#include "json.h"

#include <ctype.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static const char *blank(const char *at)
{
	return at ? at + strspn(at, " \t\r\n") : NULL;
}

/* Behind the closing quote of the text that opens here, or NULL. */
static const char *skip_text(const char *at)
{
	for (at++; *at && *at != '"'; at++)
		if (*at == '\\' && !*++at)
			return NULL;
	return *at ? at + 1 : NULL;
}

/* Behind the value, or NULL. */
static const char *skip(const char *at)
{
	size_t depth = 0;

	do {
		at += strspn(at, " \t\r\n");
		if (*at == '"') {
			at = skip_text(at);
			if (!at)
				return NULL;
		} else if (*at == '{' || *at == '[') {
			depth++;
			at++;
		} else if (depth > 0 && (*at == '}' || *at == ']')) {
			depth--;
			at++;
		} else if (depth > 0 && (*at == ',' || *at == ':')) {
			at++;
		} else {
			size_t n = strspn(at, "+-.0123456789abcdefghijklmnopqrstuvwxyzE");

			if (n == 0)
				return NULL;
			at += n;
		}
	} while (depth > 0);
	return at;
}

struct json json_of(const char *text)
{
	return (struct json){blank(text)};
}

struct json json_member(struct json object, const char *name)
{
	size_t n = strlen(name);
	const char *at = object.text;

	if (!at || *at != '{')
		return (struct json){NULL};
	do {
		const char *key = blank(at + 1), *end;

		if (*key != '"' || !(end = skip_text(key)))
			break;
		at = blank(end);
		if (*at != ':')
			break;
		at = blank(at + 1);
		if ((size_t)(end - key) == n + 2 && memcmp(key + 1, name, n) == 0)
			return (struct json){at};
		at = blank(skip(at));
	} while (at && *at == ',');
	return (struct json){NULL};
}

struct json json_first(struct json array)
{
	const char *at;

	if (!array.text || *array.text != '[')
		return (struct json){NULL};
	at = blank(array.text + 1);
	return (struct json){*at == ']' ? NULL : at};
}

struct json json_after(struct json element)
{
	const char *at = element.text ? blank(skip(element.text)) : NULL;

	return (struct json){at && *at == ',' ? blank(at + 1) : NULL};
}

bool json_is_text(struct json value, const char *text)
{
	size_t n = strlen(text);

	return value.text && *value.text == '"' && strncmp(value.text + 1, text, n) == 0 &&
	       value.text[n + 1] == '"' && !strchr(text, '\\');
}

bool json_number(struct json value, double *ret)
{
	char *end;
	double number;

	if (!value.text || (*value.text != '-' && !isdigit((unsigned char)*value.text)))
		return false;
	number = strtod(value.text, &end);
	if (!*end || !strchr(" \t\r\n,]}", *end))
		return false;
	*ret = number;
	return true;
}
