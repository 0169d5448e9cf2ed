# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""A daemon, its workers and a trainer in C under valgrind: no byte is used that nobody wrote, nor one that is not theirs.

Reads go through threads: what io_uring writes is unknown to valgrind.
"""
import os
import pathlib
import shutil
import subprocess
import sys

import scene

CROSSING = pathlib.Path(os.environ["RINGFEED_BUILD"]) / "tests/threads/crossing"
VALGRIND = ["valgrind", "--quiet", "--trace-children=yes", "--error-exitcode=99"]
N_PHOTOS = 24


def complaints(text):
    return [line for line in text.splitlines() if line.startswith("==")]


def epoch_under_valgrind(folder):
    # valgrind knows no AVX-512.
    os.environ["RINGFEED_KERNELS"] = "avx2" if "avx2" in pathlib.Path("/proc/cpuinfo").read_text() else "c"
    for name, ending in (("plain", ""), ("packed", ".zst")):
        (folder / name).mkdir()
        shards = scene.pack_photos(folder / name, "in", scene.photos("imagenet-sample")[:N_PHOTOS], N_PHOTOS // 2)
        if ending:
            if not shutil.which("zstd"):
                continue
            subprocess.run(["zstd", "-q", "--rm", *folder.glob(f"{name}/*.tar")], check=True)
            shards = [f"{path}.zst" for path in shards]
        config = scene.write_config(folder, {"train": scene.feed(shards, size=8, slots=3)}, workers=1, io="threads")
        with scene.Daemon(config, wrap=VALGRIND) as daemon:
            trainer = subprocess.run([*VALGRIND, "--leak-check=full", CROSSING, daemon.socket, "train", "1"],
                                     capture_output=True, text=True, timeout=300)
            assert trainer.returncode == 0 and not trainer.stderr, trainer
            assert trainer.stdout.split() == [str(N_PHOTOS), str(sum(range(N_PHOTOS)))], trainer
            workers = sum(line.startswith("ringfeed: warn: workers") for line in daemon.log().splitlines())
            daemon.process.terminate()
            assert daemon.process.wait(timeout=60) == 0 and workers == 0, daemon.log()
            assert not complaints(daemon.log()), daemon.log()


if __name__ == "__main__":
    scene.need_data("imagenet-sample")
    if not shutil.which("valgrind"):
        print("skipped: no valgrind")
        sys.exit(77)
    scene.main([epoch_under_valgrind])
