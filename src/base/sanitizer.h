/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Whether this build has a sanitizer that keeps a shadow of all memory, opens files for its reports and makes calls
 * of its own: limits and lists that hold for the program alone would end it. */
#ifndef BASE_SANITIZER_H
#define BASE_SANITIZER_H

#include <stdbool.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_SANITIZER true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define HAS_SANITIZER true
#endif
#endif
#ifndef HAS_SANITIZER
#define HAS_SANITIZER false
#endif

#endif
