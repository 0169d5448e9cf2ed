# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""daemon.cpus and daemon.nice: daemon and workers run where they were told, and the workers give way."""
import json
import os
import pathlib
import subprocess

import scene


def make_config(folder, **daemon):
    shards = scene.pack_photos(folder, "in", scene.photos("imagenet-sample")[:16], 16)
    made = scene.feed(shards, transform=[{"random_resized_crop": {"size": 32}}], dtype="uint8", size=4, slots=2)
    return scene.write_config(folder, {"train": made}, memory="192MiB", **daemon)


def family(pid):
    """The process and all below it."""
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(p for c in children for p in family(int(c)))]


def niceness(pid):
    return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[16])


def name(pid):
    return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()


def where_and_how(folder):
    cpu = max(os.sched_getaffinity(0))
    with scene.Daemon(make_config(folder, cpus=str(cpu), nice=7, workers="auto")) as daemon:
        status = daemon.status()
        pids = family(status["pid"])
        assert len(status["workers"]) == 1, "workers: auto counts daemon.cpus"
        assert all(os.sched_getaffinity(p) == {cpu} for p in pids), [os.sched_getaffinity(p) for p in pids]
        workers = [p for p in pids if name(p).startswith("ringfeed-w")]
        assert len(workers) == 1 and niceness(workers[0]) == 7 and niceness(status["pid"]) == 0


def bench_says_what_limits(folder):
    """A trainer that does nothing but take waits for the decoders."""
    done = scene.ringfeed("bench", "-c", make_config(folder), "train", "--seconds", "1", "--json")
    assert json.loads(done.stdout)["limit"].startswith("decoding"), done.stdout
    done = scene.ringfeed("bench", "-c", make_config(folder), "train", "--seconds", "1")
    assert "\nlimit: decoding" in done.stdout, done.stdout


def refusals(folder):
    for cpus, words in (("1020-1023", "daemon.cpus"), ("3-1", "0-3,8"), ("1,,2", "0-3,8"), ("2000", "0-3,8"), ("a", "0-3,8")):
        config = make_config(folder, cpus=cpus)
        for command in ("plan", "serve"):
            done = subprocess.run([scene.BINARY, command, "-c", config], capture_output=True, text=True, timeout=60)
            assert done.returncode == 78 and words in done.stderr, (cpus, command, done)


if __name__ == "__main__":
    scene.need_data("imagenet-sample")
    scene.main([where_and_how, bench_says_what_limits, refusals])
