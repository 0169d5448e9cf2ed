# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Replays a corpus through a fuzzer's plain form. argv: tar|index, fuzzer, probe-shard.

tar: the collected edge cases. index: the indexes of those that have one, and their names.
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

name, fuzzer, probe = sys.argv[1:4]
root = pathlib.Path(os.environ.get("RINGFEED_TEST_DATA", "../shared/data")) / "edge-tar"
if not root.is_dir():
    print(f"skipped: no test data at {root}")
    sys.exit(77)
corpus = [root]
with tempfile.TemporaryDirectory() as folder:
    if name == "index":
        tars = [shutil.copy(p, folder) for p in sorted(root.rglob("*.tar"))]  # the index is saved beside
        subprocess.run([probe, "save", folder, *tars], check=True, stdout=subprocess.DEVNULL)
        assert len(list(pathlib.Path(folder).glob("*.rfidx"))) > 10
        corpus.append(pathlib.Path(folder))
    sys.exit(subprocess.run([fuzzer, *corpus]).returncode)
