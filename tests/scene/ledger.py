# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""The ledger after crashes: each line is there as a whole or not at all, and no bad row was delivered without one."""
import json
import random
import shutil
import subprocess
import sys
import time

import ringfeed
import scene
from trainers import Trainer

N_KILLS = int(sys.argv[1]) if len(sys.argv) > 1 else 15
N = 600
TORN = b'{"time":"2026-01-01T00:00:00Z","feed":"train","sha'


def make_shards(folder):
    """Two of three samples are bad."""
    photo = scene.photos("imagenet-sample")[0].read_bytes()
    members = [[("jpg", photo if i % 3 == 0 else b"no image %d" % i), ("cls", b"%d" % i)] for i in range(N)]
    return scene.pack(folder, "key" * 60, members, 100)


def make_config(folder, shards, **daemon):
    made = scene.feed(shards, transform=[{"resize": {"size": [16, 16]}}], dtype="uint8", size=4, slots=2,
                      batch={"size": 4, "last": "short"}, bad_samples={"policy": "mask", "limit": "100%"})
    made["order"]["seed"] = random.randrange(1 << 30)
    return scene.write_config(folder, {"train": made}, **{"memory": "192MiB", "ledger": str(folder), **daemon})


def lines_of(folder):
    """Every line is JSON of all its keys; an end without a newline is not there."""
    data = (folder / "ringfeed-bad.jsonl").read_bytes()
    assert not data or data.endswith(b"\n"), data[-100:]
    lines = [json.loads(line) for line in data.splitlines() if line]
    for line in lines:
        assert list(line) == ["time", "feed", "shard", "key", "offset", "epoch", "position", "cause", "text", "detail"], line
    return lines


def say_bad(socket):
    def work(say):
        with ringfeed.Loader("train", socket=socket) as loader:
            for _ in range(1000):
                for batch in loader:
                    say([(batch.epoch, int(p)) for p, good in zip(batch.position, batch.valid) if not good])
                    batch.release()
    return work


def p12_ledger_killed(folder):
    """Killed while it writes, again and again: what was delivered as bad is there; nothing is half there."""
    rng, shards, n_torn, n_seen = random.Random(12), make_shards(folder), 0, 0
    path = folder / "ringfeed-bad.jsonl"
    for _ in range(N_KILLS):
        begins = path.stat().st_size if path.exists() else 0
        with scene.Daemon(make_config(folder, shards)) as daemon:
            if begins:
                begins = path.stat().st_size
            with Trainer(say_bad(daemon.socket)) as trainer:
                trainer.hear()
                time.sleep(rng.uniform(0, 0.15))
                daemon.kill()
                trainer.kill()
                seen = {tuple(place) for said in trainer.all() for place in said}
        written = path.read_bytes()[begins:]
        n_torn += not written.endswith(b"\n")
        whole = [json.loads(line) for line in written.split(b"\n")[:-1] if line]
        assert seen <= {(line["epoch"], line["position"]) for line in whole}, "a bad row without its line"
        n_seen += len(seen)
    with scene.Daemon(make_config(folder, shards)):
        lines = lines_of(folder)
    print(f"  {N_KILLS} kills, {len(lines)} lines whole, {n_seen} bad rows delivered, {n_torn} torn ends taken back")
    assert len(lines) > 20 * N_KILLS


def read_epoch(daemon):
    with ringfeed.Loader("train", socket=daemon.socket) as loader:
        for batch in loader:
            batch.release()


def p12_ledger_torn(folder):
    """What a crash left of a last line goes when the next daemon starts; beside another daemon it is kept apart."""
    shards, path = make_shards(folder), folder / "ringfeed-bad.jsonl"
    whole = json.dumps({"mine": 1}).encode() + b"\n"
    for left, kept in ((b"", b""), (TORN, b""), (whole, whole), (whole + TORN, whole), (b"x" * 100000, None),
                       (whole + b"\0" * 3000, whole)):
        path.write_bytes(left)
        with scene.Daemon(make_config(folder, shards)) as daemon:
            if kept is not None:
                assert path.read_bytes() == kept, left[:80]
            read_epoch(daemon)
        data = path.read_bytes()
        start = kept if kept is not None else left + b"\n"
        assert data.startswith(start) and data.endswith(b"\n")
        assert len([json.loads(line) for line in data[len(start):].splitlines()]) >= N * 2 // 3
    path.write_bytes(b"")
    with scene.Daemon(make_config(folder, shards)) as first:
        path.write_bytes(TORN)
        with scene.Daemon(make_config(folder, shards, socket=str(folder / "second.sock"))) as second:
            assert path.read_bytes() == TORN, "taken from under another daemon"
            read_epoch(second)
            read_epoch(first)
    lines = path.read_bytes().split(b"\n")
    assert lines[0] == TORN and len([json.loads(line) for line in lines[1:] if line]) >= 2 * (N * 2 // 3)


def p12_ledger_full(folder):
    """A disk that is full amid a line (RLIMIT_FSIZE writes short, too): the line goes; when there is room they are written again."""
    if not shutil.which("prlimit"):
        print("  skipped: prlimit is not installed")
        return
    shards, path = make_shards(folder), folder / "ringfeed-bad.jsonl"
    config = make_config(folder, shards)
    with scene.Daemon(config, wrap=("env", "--ignore-signal=XFSZ")) as daemon:
        def limit(n):
            subprocess.run(["prlimit", "--pid", str(daemon.process.pid), f"--fsize={n}:unlimited"], check=True)

        for room in (5000, 9999, 20011):
            n = path.stat().st_size + room
            limit(n)
            read_epoch(daemon)
            assert n - 1000 < path.stat().st_size <= n
            before = lines_of(folder)
            limit("unlimited")
            read_epoch(daemon)
            assert lines_of(folder)[:len(before)] == before and len(lines_of(folder)) > len(before)
        log = daemon.log()
    assert "a line could not be written" in log and "lines are written again" in log, log
    print("  " + next(line for line in log.splitlines() if "written again" in line))


if __name__ == "__main__":
    scene.need_data("imagenet-sample")
    scene.main([p12_ledger_killed, p12_ledger_torn, p12_ledger_full])
