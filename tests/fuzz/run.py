# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Replays a corpus through a fuzzer's plain form. argv: tar|index|packed, fuzzer, probe-shard.

tar: the collected edge cases. index: the indexes of those that have one, and their names. packed: the edge cases as gzip
members, cut at random, and as zstd frames where the zstd program is there.
"""
import gzip
import os
import pathlib
import random
import shutil
import struct
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
    if name == "packed":
        chance = random.Random(3)
        for i, path in enumerate(p for p in sorted(root.rglob("*.tar")) if p.stat().st_size < 1 << 20):
            raw = path.read_bytes()
            cut = chance.randrange(len(raw) + 1)
            members = gzip.compress(raw[:cut]) + gzip.compress(raw[cut:])
            pathlib.Path(folder, f"{i}.gz").write_bytes(members)
            bad = bytearray(members)
            bad[chance.randrange(len(bad))] ^= 1 << chance.randrange(8)
            pathlib.Path(folder, f"{i}.bad").write_bytes(bad)
            if shutil.which("zstd"):
                frames = [subprocess.run(["zstd", "-qc"], input=r, stdout=subprocess.PIPE, check=True).stdout
                          for r in (raw[:cut], raw[cut:])]
                pathlib.Path(folder, f"{i}.zst").write_bytes(b"".join(frames))
        # A seek table of no frames: both sizes of its entries fit.
        pathlib.Path(folder, "nothing.zst").write_bytes(struct.pack("<IIIBI", 0x184D2A5E, 9, 0, 0, 0x8F92EAB1))
        corpus = [pathlib.Path(folder)]
    sys.exit(subprocess.run([fuzzer, *corpus]).returncode)
