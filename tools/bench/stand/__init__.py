# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""What the benchmarks stand on: sets of photos, programs that take turns on one core, a feed, tables."""
