# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""The time of day jumps by days with every look, in the daemon and in trainers: nothing that is decided changes."""
import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time

import ringfeed
import scene
from trainers import row_hashes

SHIM = os.environ["RINGFEED_JUMPING_CLOCK"]
JUMPING = {"LD_PRELOAD": SHIM, "ASAN_OPTIONS": "verify_asan_link_order=0:" + os.environ.get("ASAN_OPTIONS", "")}
WRAP = ("env", *(f"{name}={value}" for name, value in JUMPING.items()))
ITSELF = os.path.abspath(__file__)


def make_config(folder, **more):
    members = [[("jpg", p.read_bytes()), ("cls", b"%d" % i)] for i, p in enumerate(scene.photos("imagenet-sample")[:96])]
    members[7][0] = ("jpg", b"no image")
    shards = scene.pack(folder, "in", members, 50)
    made = scene.feed(shards, size=8, slots=4, **more)
    made["bad_samples"] = {"limit": "100%"}
    return scene.write_config(folder, {"train": made}, memory="192MiB", ledger=str(folder))


def does_jump():
    """In this process? Only then does a test of it say anything."""
    libc, looks = ctypes.CDLL(None), []
    for _ in range(8):
        looks.append(libc.time(None))
    return max(looks) - min(looks) > 86400


def trainer(arguments):
    """This program as a trainer under the shim; prints a line of JSON for each thing it is asked for."""
    socket, what, group = arguments
    assert does_jump() and max(times := [time.time() for _ in range(8)]) - min(times) > 86400
    if what == "rows":
        with ringfeed.Loader("train", socket=socket) as loader:
            rows = []
            for _ in range(2):
                for batch in loader:
                    rows += [(batch.epoch, *row) for row in row_hashes(batch)]
                    batch.release()
            print(json.dumps(rows))
    elif what == "late":
        with ringfeed.Loader("train", socket=socket, timeout=1.5, reconnect=0, credit=1) as loader:
            it = iter(loader)
            next(it).release()
            print("{}", flush=True)
            sys.stdin.readline()
            began = time.monotonic()
            try:
                while True:
                    next(it).release()
            except ringfeed.Error as error:
                print(json.dumps([type(error).__name__, time.monotonic() - began]), flush=True)
            os._exit(0)
    elif what == "take":
        with ringfeed.Loader("train", socket=socket, group=group, credit=1) as loader:
            it = iter(loader)
            next(it).release()
            print("{}", flush=True)
            sys.stdin.readline()
            began = slowest = time.monotonic()
            slowest = 0.0
            for batch in it:
                slowest = max(slowest, time.monotonic() - began)
                batch.release()
                began = time.monotonic()
            print(json.dumps(slowest))


@contextlib.contextmanager
def running(daemon, what, group="x"):
    process = subprocess.Popen([sys.executable, ITSELF, daemon.socket, what, group], env={**os.environ, **JUMPING},
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def p26_order(folder):
    """Two epochs with a bad sample, the same rows as in a quiet time; the ledger's times are all that jumps."""
    with scene.Daemon(make_config(folder)) as daemon, ringfeed.Loader("train", socket=daemon.socket) as loader:
        want = []
        for _ in range(2):
            for batch in loader:
                want += [[batch.epoch, *row] for row in row_hashes(batch)]
                batch.release()
    (folder / "ringfeed-bad.jsonl").unlink()
    with scene.Daemon(make_config(folder), wrap=WRAP) as daemon, running(daemon, "rows") as process:
        assert json.loads(process.stdout.readline()) == want and len(want) == 2 * 96
        status = daemon.status()
        assert 0 < status["uptime_seconds"] < 600, status["uptime_seconds"]
    days = {json.loads(line)["time"][:10] for line in (folder / "ringfeed-bad.jsonl").read_text().splitlines()}
    print(f"  the ledger's lines are of {sorted(days)}")


def p26_deadlines(folder):
    """A deadline of 1.5 s on a daemon that is stopped comes after 1.5 s."""
    with scene.Daemon(make_config(folder), wrap=WRAP) as daemon, running(daemon, "late") as process:
        process.stdout.readline()
        daemon.process.send_signal(signal.SIGSTOP)
        process.stdin.write("\n")
        process.stdin.flush()
        name, took = json.loads(process.stdout.readline())
        daemon.process.send_signal(signal.SIGCONT)
        print(f"  {name} after {took:.2f} s")
        assert 1.4 < took < scene.at_most(2.0), (name, took)


def p26_evict(folder):
    """Who keeps others waiting is dropped after the second that `slow` allows, not before, and not never."""
    config = make_config(folder, share="lockstep", slow={"evict": "1s"})
    with scene.Daemon(config, wrap=WRAP) as daemon, running(daemon, "take", "a") as quick, running(daemon, "take", "b") as slow:
        for process in (quick, slow):
            process.stdout.readline()
        slow.send_signal(signal.SIGSTOP)
        quick.stdin.write("\n")
        quick.stdin.flush()
        waited = json.loads(quick.stdout.readline())
        print(f"  the other one waited {waited:.2f} s")
        assert 0.8 < waited < scene.at_most(1.5), waited


if __name__ == "__main__":
    if len(sys.argv) > 1:
        trainer(sys.argv[1:])
        sys.exit(0)
    scene.need_data("imagenet-sample")
    scene.main([p26_order, p26_deadlines, p26_evict])
