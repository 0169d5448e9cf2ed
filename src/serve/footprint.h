/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* What processes keep in memory, from /proc. */
#ifndef SERVE_FOOTPRINT_H
#define SERVE_FOOTPRINT_H

#include <stdint.h>
#include <sys/types.h>

/* Anonymous memory of one process (statm: resident minus shared): cheap, counts pages shared after
 * fork in each process. */
uint64_t footprint_anonymous(pid_t pid);
/* Private memory exactly (smaps_rollup): its share of anonymous pages, and of pages of private file
 * mappings. Walks the page tables: for measuring, not for the loop. */
uint64_t footprint_private(pid_t pid);
/* CPU time that a process has used; with_reaped: and the children that it has waited for. In ns, by ticks of
 * the clock. */
uint64_t footprint_cpu(pid_t pid);
uint64_t footprint_cpu_with_reaped(pid_t pid);

#endif
