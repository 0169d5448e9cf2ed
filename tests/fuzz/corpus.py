# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Replays a target's seeds through its plain form. argv: target, program, probe-shard, options of replay.c."""
import pathlib
import subprocess
import sys
import tempfile

import seeds

target, program, probe, *options = sys.argv[1:]
with tempfile.TemporaryDirectory() as folder:
    paths, missing = seeds.gather(target, pathlib.Path(folder), probe)
    done = subprocess.run([program, *options, *paths])
    if done.returncode == 0 and missing:
        print(f"skipped the rest: {missing}")
        sys.exit(77)
    sys.exit(done.returncode)
