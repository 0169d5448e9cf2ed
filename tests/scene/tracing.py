# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""`status --trace`: every batch with all its stages, in order, and with counts that agree with `status`."""
import collections
import gzip
import json
import time

import ringfeed
import scene
from metrics import take_epoch

EDGE = 0.002  # us: times are written with three digits


def make_config(folder, n=64, side=32, compress=None, **more):
    members = [[("jpg", p.read_bytes()), ("cls", str(i).encode())] for i, p in enumerate(scene.photos("imagenet-sample")[:n])]
    members[3][0] = ("jpg", b"no image")
    shards = compress(scene.pack(folder, "in", members, n // 4)) if compress else scene.pack(folder, "in", members, n)
    made = scene.feed(shards, transform=[{"random_resized_crop": {"size": side}}], dtype="uint8", size=8, slots=3,
                      bad_samples={"policy": "substitute", "limit": "50%"}, **more)
    return scene.write_config(folder, {"train": made, "other": made}, memory="192MiB", workers=2)


class Trace:
    def __init__(self, daemon, path):
        scene.ringfeed("status", "--socket", daemon.socket, "--trace", path)
        told = json.loads(path.read_text())
        self.other, events = told["otherData"], told["traceEvents"]
        names = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
        self.batches = [e for e in events if e.get("cat") == "batch"]
        self.stages = collections.defaultdict(list)
        self.tasks = [e for e in events if e.get("cat") == "task"]
        self.inflates = [e for e in events if e.get("cat") == "inflate"]
        for e in events:
            assert e["ph"] in "MXbe" and (e["ph"] == "M" or e["ts"] >= 0 and e.get("dur", 0) >= 0), e
            if e.get("cat") == "stage":
                self.stages[e["args"]["lease"]].append(e)
        for b in self.batches + self.tasks + self.inflates:
            b["end"] = b["ts"] + b["dur"]
            b["track"] = b["pid"], b["tid"]
            assert b["pid"] in names
        self.feed = {pid: name.split()[1].rstrip(":") for pid, name in names.items() if name.startswith("feed ")}
        begun = {e["id"]: e for e in events if e["ph"] == "b"}
        ended = {e["id"]: e for e in events if e["ph"] == "e"}
        assert begun.keys() == ended.keys() and all(ended[i]["ts"] >= begun[i]["ts"] for i in begun)
        self.reads = list(begun.values())

    def in_window(self):
        return [b for b in self.batches if b["ts"] >= self.other["complete_from_us"]]

    def check(self):
        """Spans nest and follow each other; each batch of the window has all its rows in tasks between opened and ready."""
        for b in self.batches:
            stages = self.stages[b["args"]["lease"]]
            assert [s["name"] for s in stages] == ["reading", "decoding", "ready", "lent"], stages
            at = b["ts"]
            for s in stages:
                assert abs(s["ts"] - at) < EDGE and (s["pid"], s["tid"]) == b["track"], (b, s)
                at = s["ts"] + s["dur"]
            assert abs(at - b["end"]) < 5 * EDGE, (b, stages)
        for spans in (self.batches, self.tasks + self.inflates):
            tracks = collections.defaultdict(list)
            for b in spans:
                tracks[b["track"]].append(b)
            for track in tracks.values():
                track.sort(key=lambda b: b["ts"])
                for a, b in zip(track, track[1:]):
                    assert a["end"] <= b["ts"] + EDGE, ("overlap", a, b)
        for b in self.in_window():
            ready = self.stages[b["args"]["lease"]][2]["ts"]
            mine = [t for t in self.tasks if t["args"]["feed"] == self.feed[b["pid"]] and t["args"]["slot"] == b["tid"]
                    and t["ts"] >= b["ts"] - EDGE and t["end"] <= ready + EDGE]
            n = sum(t["args"]["samples"] for t in mine)
            assert b["args"]["rows"] <= n <= b["args"]["rows"] + 4, (b, n)  # bad ones are tried once more
            assert abs(max(t["end"] for t in mine) - ready) < EDGE, "ready when the last task was answered"


def whole_life(folder):
    """Nothing has been overwritten yet: all of it is there, and adds up."""
    with scene.Daemon(make_config(folder)) as daemon:
        with ringfeed.Loader("train", socket=daemon.socket, credit=2) as loader, \
                ringfeed.Loader("other", socket=daemon.socket, rank=1, world_size=2, group="g") as other:
            for batch in loader:
                time.sleep(0.01)
                batch.release()
            take_epoch(daemon, other)
            status, trace = daemon.status(), Trace(daemon, folder / "trace.json")
            trace.check()
            assert trace.other["complete_from_us"] == 0 and len(trace.in_window()) == len(trace.batches)
            assert len(trace.batches) == sum(f["batches"] for f in status["feeds"]) == trace.other["batches_lent"]
            assert sum(b["args"]["rows"] for b in trace.batches) == sum(f["due"] for f in status["feeds"])
            assert len(trace.tasks) == trace.other["tasks_ended"] == status["reads"]["tasks"] and not trace.inflates
            assert len(trace.reads) == trace.other["reads_ended"] == status["reads"]["requests"]
            assert sum(r["args"]["bytes"] for r in trace.reads) == status["reads"]["bytes"]
            held = [b for b in trace.batches if not b["args"]["released"]]
            assert len(held) == sum(r["leases"] for f in status["feeds"] for g in f["groups"] for r in g["ranks"]) > 0
            lent = [s["dur"] for b in trace.batches if b["args"]["released"] and trace.feed[b["pid"]] == "train"
                    for s in trace.stages[b["args"]["lease"]] if s["name"] == "lent"]
            assert len(lent) == 8 and all(d >= 10000 for d in lent), "each was held for 10 ms"
            assert {b["args"]["rank"] for b in trace.batches if trace.feed[b["pid"]] == "other"} == {1}
        scene.wait_until(lambda: not daemon.ranks("train") and not daemon.ranks("other"))
        assert all(b["args"]["released"] for b in Trace(daemon, folder / "after.json").batches)


def compress(shards):
    """Each tar as one gzip stream, so that a shard is one unit."""
    made = []
    for path in shards:
        made.append(path.with_suffix(".tar.gz"))
        made[-1].write_bytes(gzip.compress(path.read_bytes(), 1))
        path.unlink()
    return made


def when_nothing_moves(daemon, path):
    """The trace, and the counters of reads that were the same before and after it."""
    for _ in range(100):
        before, trace = daemon.status()["reads"], Trace(daemon, path)
        if daemon.status()["reads"] == before and before["in_flight"] == 0:
            return before, trace
        time.sleep(0.05)
    raise AssertionError("it never comes to rest")


def inflating(folder):
    """Pieces of compressed shards are tasks, too, but no rows of any slot: each unit was inflated whole, piece by piece."""
    config = make_config(folder, compress=compress, order={"shuffle": "none", "seed": 42})
    sizes = [p.stat().st_size for p in sorted(folder.glob("in-*.tar.gz"))]
    with scene.Daemon(config) as daemon:
        with ringfeed.Loader("train", socket=daemon.socket) as loader:
            take_epoch(daemon, loader)
            reads, trace = when_nothing_moves(daemon, folder / "trace.json")
    trace.check()
    assert len(trace.tasks) + len(trace.inflates) == trace.other["tasks_ended"] == reads["tasks"]
    units = collections.defaultdict(list)
    for e in sorted(trace.inflates, key=lambda e: e["end"]):
        assert e["name"] == "inflate" and e["args"]["feed"] == "train", e
        units[e["args"]["unit"]].append(e)
    n_whole = 0
    for unit, pieces in units.items():
        assert all(e["args"]["bytes"] > 0 for e in pieces)
        whole, rest = divmod(sum(e["args"]["bytes"] for e in pieces), sizes[unit])
        n_whole += whole
        assert whole > 0 and (len(pieces) > 1 or rest == 0), (unit, pieces)
    print(f"  {len(trace.tasks)} tasks of rows, {len(trace.inflates)} of pieces; {len(units)} units, {n_whole} times whole")
    assert units.keys() == set(range(len(sizes))) and len(sizes) == 4 and n_whole == reads["units_inflated"]


def window(folder):
    """A long run: the rings have gone round, what is left is whole."""
    with scene.Daemon(make_config(folder, side=8)) as daemon:
        with ringfeed.Loader("train", socket=daemon.socket) as loader:
            while daemon.status()["reads"]["tasks"] < 9000:
                for _ in range(20):
                    for batch in loader:
                        batch.release()
            began = time.monotonic()
            trace = Trace(daemon, folder / "trace.json")
            took = time.monotonic() - began
        trace.check()
        n = len(trace.in_window())
        print(f"  {len(trace.batches)} batches, {n} of them whole, {len(trace.tasks)} tasks, {len(trace.reads)} reads; "
              f"{(folder / 'trace.json').stat().st_size / 1e6:.1f} MB in {1000 * took:.0f} ms")
        assert trace.other["complete_from_us"] > 0 and n > 50 and abs(len(trace.tasks) + len(trace.reads) - 8192) < 1000
        plan = {l["name"]: l["bytes"] for l in daemon.status()["memory"]["plan"]}
        assert 0 < plan["trace"] < 1 << 20


def slips(folder):
    with scene.Daemon(make_config(folder)) as daemon:
        done = scene.ringfeed("status", "--socket", daemon.socket, "--trace", "-")
        assert json.loads(done.stdout)["otherData"]["batches_lent"] == 0
        done = scene.ringfeed("status", "--socket", daemon.socket, "--trace", folder / "no" / "file", check=False)
        assert done.returncode == 1 and "No such file or directory" in done.stderr, done


if __name__ == "__main__":
    scene.need_data("imagenet-sample")
    scene.main([whole_life, inflating, window, slips])
