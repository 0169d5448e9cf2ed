#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# torchrun with a daemon of its own on this machine, which begins before it and ends after it. On one machine:
#   config/torchrun.sh feed.yaml --standalone --nproc-per-node 8 train.py
# On several, the same on each, with torchrun's own words for where the others are:
#   config/torchrun.sh feed.yaml --nnodes 4 --node-rank 0 --master-addr node0 --master-port 29500 --nproc-per-node 8 train.py
# train.py says Loader("train"): rank and world size come from torchrun, the socket from `ringfeed run`. order.parts in
# feed.yaml, a multiple of all ranks, keeps each machine to shards of its own.
# Without this script: `ringfeed serve -c feed.yaml` before torchrun, or Loader("train", config="feed.yaml") and nothing to start.
set -euo pipefail

if (($# < 2)); then
	echo 'usage: torchrun.sh feed.yaml ARGUMENTS-OF-TORCHRUN…' >&2
	exit 2
fi
config=$1
shift
exec ringfeed run -c "$config" -- torchrun "$@"
