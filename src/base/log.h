/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Messages to stderr: "ringfeed: warn: reads: …". Only worker, serve and main log; the rooms below return.
 * Each event is logged once, with topic (one of topics.def), object and the number that matters.
 *
 * A line for which stderr has no room is lost and counted: no reader of the log can stop who writes it.
 *
 * Threads: any; one write per line.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

enum log_topic {
#define TOPIC(name, what) LOG_TOPIC_##name,
#include "base/topics.def"
#undef TOPIC
	LOG_TOPICS,
};

/* The least level of each topic. */
struct log_levels {
	uint8_t least[LOG_TOPICS];
};

/* Lines below the level of their topic are dropped; LOG_INFO until set. */
void log_set_levels(const struct log_levels *levels);
/* The i-th topic's name, or NULL past the last. */
const char *log_topic_name(unsigned i);
/* Control characters of other people's names do not get through. */
void log_line(enum log_level level, const char *topic, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)

#endif
