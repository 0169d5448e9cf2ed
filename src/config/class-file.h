/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * A file of names of classes, read whole when the configuration is.
 *
 * Threads: any; nothing here has state.
 */
#ifndef CONFIG_CLASS_FILE_H
#define CONFIG_CLASS_FILE_H

#include "base/classes.h"

/* 0, CLASSES_E_REFUSED with the reason (also when the file cannot be read), or -ENOMEM. */
int class_file_read(const char *path, struct classes **ret, struct reason *why);

#endif
