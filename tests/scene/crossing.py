# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""A trainer whose threads share one session (tests/threads/crossing.c), beside a daemon with threads of its own."""
import os
import pathlib
import subprocess
import urllib.request

import scene

CROSSING = pathlib.Path(os.environ["RINGFEED_BUILD"]) / "tests/threads/crossing"
N_SAMPLES, N_EPOCHS = 600, 4


def threads_of_a_trainer(folder):
    members = [[("cls", str(i).encode())] for i in range(N_SAMPLES)]
    shards = scene.pack(folder, "labels", members, 200)
    label = {"label": {"from": "cls", "decode": "integer", "dtype": "int64"}}
    feed = scene.feed(shards, size=8, slots=6, fields=label)
    feed["source"]["reads"] = "buffered"
    for io in ("threads", "auto"):
        config = scene.write_config(folder, {"train": feed}, workers=2, io=io, metrics="127.0.0.1:0")
        with scene.Daemon(config) as daemon:
            said = subprocess.run([CROSSING, daemon.socket, "train", str(N_EPOCHS)], stdout=subprocess.PIPE, timeout=120,
                                  check=True, text=True).stdout
            assert said.split() == [str(N_EPOCHS * N_SAMPLES), str(N_EPOCHS * sum(range(N_SAMPLES)))], said
            address = next(line.split("http://")[1].split("/")[0] for line in daemon.log().splitlines() if "http://" in line)
            with urllib.request.urlopen(f"http://{address}/metrics", timeout=20) as page:
                assert b"ringfeed_" in page.read()
            # Reports of a sanitizer would be found here.
            assert "WARNING" not in daemon.log() and daemon.process.poll() is None, daemon.log()


if __name__ == "__main__":
    scene.main([threads_of_a_trainer])
