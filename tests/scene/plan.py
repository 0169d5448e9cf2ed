# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""What plan says of an epoch, computed again by NumPy: shuffle quality from what order prints, reads from tarfile's offsets;
and the reads that a daemon then makes."""
import json
import tarfile
import time

import numpy
import ringfeed
import scene

PAGE, GAP, READ_MAX, CANDIDATES = 4096, 16 << 10, 1 << 20, 2048  # as src/core has them
ORDERS = [{"shuffle": "none"}, {"shuffle": "full", "seed": 9}, {"shuffle": "block", "seed": 9, "window": 50},
          {"shuffle": "block", "seed": 3, "window": 100, "parts": 4}]

IMAGE = {"from": ["jpg", "jpeg"], "decode": "image", "dtype": "uint8", "transform": [{"random_resized_crop": {"size": 64}}]}


def make(folder, order, counts=(130, 200, 70), **feed):
    paths = scene.photos("imagenet-sample")
    shards = []
    for k, n in enumerate(counts):
        first = sum(counts[:k])
        shards += scene.pack_photos(folder, f"in-{k}", paths[first:first + n], n)
    fields = {"image": IMAGE, "again": IMAGE, "label": {"from": "cls", "decode": "integer"},
              "key": {"from": "__key__", "decode": "text", "max": "32B"}}
    return shards, scene.write_config(folder, {"train": scene.feed(shards, order=order, fields=fields, size=10, **feed)})


def plan(config):
    said = json.loads(scene.ringfeed("plan", "-c", config, "--json").stdout)
    return said, said["feeds"][0]


def delivered(config):
    """Sample and shard at each position."""
    rows = [json.loads(line) for line in scene.ringfeed("order", "-c", config, "train", "--json").stdout.splitlines()]
    return numpy.array([r["index"] for r in rows]), numpy.array([r["shard"] for r in rows])


def quality(samples, shards):
    n = len(samples)
    counts = numpy.bincount(shards)
    return {"displacement": numpy.abs(samples - numpy.arange(n)).mean() / ((n * n - 1) / (3 * n)),
            "adjacency": numpy.abs(numpy.diff(samples)).mean() / ((n + 1) / 3),
            "same_shard": (numpy.diff(shards) == 0).mean(),
            "same_shard_expected": (counts * (counts - 1)).sum() / (n * (n - 1))}


def extents(shards, counts):
    """Of each sample: [(shard, offset, end)], one for each field, headers of 512 bytes counted."""
    found = []
    for number, path in enumerate(shards):
        with tarfile.open(path) as tar:
            members = {m.name: m for m in tar}
            size = path.stat().st_size
        for key in sorted({name.split(".")[0] for name in members}):
            jpg = next(m for name, m in members.items() if name in (f"{key}.jpg", f"{key}.jpeg"))
            cls = members[f"{key}.cls"]
            found.append([(number, m.offset, min(m.offset + 512 + n, size))
                          for m, n in ((jpg, jpg.size), (jpg, jpg.size), (cls, cls.size), (jpg, 0))])
    assert len(found) == sum(counts)
    return found


def merged(wanted):
    """The reads of one round: sorted by place, joined where they touch or nearly do."""
    reads = []
    for shard, offset, end in sorted(wanted, key=lambda place: place[:2]):
        last = reads[-1] if reads else None
        if last and last[0] == shard and offset <= last[2] + GAP and max(end, last[2]) - last[1] <= READ_MAX:
            last[2] = max(end, last[2])
        else:
            reads.append([shard, offset // PAGE * PAGE, end])
    return [-(-(end - start) // PAGE) * PAGE for _, start, end in reads]


def rounds(samples, places, staging):
    """Every round takes samples until its quarter of three quarters of staging is booked."""
    pages = staging // PAGE
    budget, wanted, reads = (pages - pages // 4) // 4 * PAGE, [], []
    left = budget
    for sample in samples:
        if left <= 0 or len(wanted) + 4 > CANDIDATES:
            reads, wanted, left = reads + merged(wanted), [], budget
        wanted += places[sample]
        left -= sum(end - offset + PAGE for _, offset, end in places[sample])
    return reads + merged(wanted)


def recomputed(folder):
    counts = (130, 200, 70)
    for k, order in enumerate(ORDERS):
        (folder / str(k)).mkdir()
        shards, config = make(folder / str(k), order, counts)
        said, feed = plan(config)
        samples, of_shard = delivered(config)
        for name, want in quality(samples, of_shard).items():
            assert abs(feed["shuffle"][name] - want) < 1e-9, (order, name, feed["shuffle"][name], want)
        staging = next(line["bytes"] for line in said["lines"] if line["name"] == "staging")
        reads = rounds(samples, extents(shards, counts), staging)
        got = feed["reads"]
        assert feed["shuffle"]["exact"] and got["exact"]
        assert abs(got["mean_bytes"] - numpy.mean(reads)) < 1e-6 * numpy.mean(reads), (order, got, numpy.mean(reads))
        assert abs(got["per_sample"] - len(reads) / 400) < 1e-9 and abs(got["bytes_per_sample"] - sum(reads) / 400) < 1e-6
        text = scene.ringfeed("plan", "-c", config).stdout
        assert f"reads of {numpy.mean(reads) / 1024:.1f} KiB in the mean" in text and "(adjacency)" in text
        print(f"  {order}: {feed['shuffle']['displacement']:.3f} {feed['shuffle']['adjacency']:.3f}, "
              f"{numpy.mean(reads) / 1024:.1f} KiB")


def made(folder):
    """The daemon's own reads of several epochs come close to what plan says."""
    for k, order in enumerate(ORDERS):
        (folder / str(k)).mkdir()
        _, config = make(folder / str(k), order)
        feed = plan(config)[1]["reads"]
        with scene.Daemon(config) as daemon, ringfeed.Loader("train", socket=daemon.socket) as loader:
            for _ in range(3):
                for batch in loader:
                    batch.release()
            reads = daemon.status()["reads"]
        mean = reads["bytes"] / reads["requests"]
        print(f"  {order}: made {mean / 1024:.1f} KiB, foretold {feed['mean_bytes'] / 1024:.1f} KiB")
        assert 0.5 < mean / feed["mean_bytes"] < 2, (order, mean, feed)


def large(folder):
    """More samples than plan looks at: close to the truth, in bounded time, and always the same."""
    n = 70000
    with open(folder / "large.tar", "wb") as tar:
        for i in range(n):
            info = tarfile.TarInfo(f"{i:06d}.cls")
            info.size = 5
            tar.write(info.tobuf(tarfile.USTAR_FORMAT) + (b"%05d" % (i % 99999)).ljust(512, b"\0"))
        tar.write(bytes(1024))
    for order in ({"shuffle": "full"}, {"shuffle": "block", "window": 4096}):
        feed = scene.feed([folder / "large.tar"], order=order, size=100, fields={"label": {"from": "cls", "decode": "integer"}})
        config = scene.write_config(folder, {"train": feed})
        scene.ringfeed("check", "-c", config)  # indexes it
        began = time.monotonic()
        said = plan(config)[1]
        seconds = time.monotonic() - began
        want = quality(*delivered(config))
        assert not said["shuffle"]["exact"] and not said["reads"]["exact"]
        for name in want:
            assert abs(said["shuffle"][name] - want[name]) < 0.02, (name, said, want)
        assert plan(config)[1] == said
        assert seconds < scene.at_most(1), seconds
        print(f"  {order}: {seconds:.2f} s")


def sharing(folder):
    """What a shared pass gives and costs stands there, where there is one."""
    for share, window, words in (("independent", 0, None), ("lockstep", 1, "in lock-step"), ({"window": 3}, 3, "up to 3 batches apart")):
        _, config = make(folder, ORDERS[0], share=share, slots=5)
        assert plan(config)[1]["share_window"] == window
        text = scene.ringfeed("plan", "-c", config).stdout
        assert ("groups share one pass" in text) == (window > 0), text
        assert words is None or words in text, text


if __name__ == "__main__":
    scene.need_data("imagenet-sample")
    scene.main([recomputed, made, large, sharing])
