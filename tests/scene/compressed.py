# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Compressed shards feed the very samples of the plain ones, in every order, by any number of workers and ranks and by
both engines; what is damaged costs the samples of its unit, by name; memory stays within the budget.

Files are compressed by other hands: Python's zlib, the zstd program, frames by the format's page.
"""
import bz2
import collections
import gzip
import json
import lzma
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import tarfile
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "unit" / "shard"))

import compressed
import order_twin
import ringfeed
import scene
from bad_samples import feed_status, ledger, read_rows
from trainers import Trainer, reading, rows_of

PER_SHARD = 60
SEED = 42
SMALL = [{"random_resized_crop": {"size": 32}}]
ORDERS = {
    "none": {"shuffle": "none", "seed": SEED},
    "block": {"shuffle": "block", "seed": SEED, "window": 40},
    "parts": {"shuffle": "block", "seed": SEED, "window": 16, "parts": 2},
    "full": {"shuffle": "full", "seed": SEED},
}


def sample_edges(path):
    """Where samples begin in the tar, and its end."""
    with tarfile.open(path) as tar:
        members = [(m.offset, m.name.split(".")[0]) for m in tar]
    return [at for (at, key), (_, last) in zip(members, [(0, None), *members]) if key != last] + [path.stat().st_size]


def cut_at_samples(path, n_samples):
    edges, raw = sample_edges(path), path.read_bytes()
    return [raw[a:b] for a, b in zip(edges[::n_samples], [*edges[n_samples::n_samples], len(raw)]) if a != b]


def as_seekable(path):
    raws = cut_at_samples(path, 3)
    frames = [compressed.zstd_program(r, "-1") for r in raws]
    return b"".join(frames) + compressed.seek_table(frames, raws)


def as_frames(path):
    raw, chance = path.read_bytes(), random.Random(3)
    return b"".join(compressed.zstd_program(r, "-1") for r in compressed.cut(raw, chance.sample(range(1, len(raw)), 20)))


def as_bgzip(path):
    raw = path.read_bytes()
    return b"".join(compressed.bgzip_member(r) for r in compressed.cut(raw, range(65280, len(raw), 65280))) + \
        compressed.bgzip_member(b"")


FORMS = {
    "seekable": (".tar.zst", as_seekable, ("none", "block", "parts", "full")),
    "stream": (".tar.zst", lambda p: compressed.zstd_program(p.read_bytes(), "-3"), ("none", "block", "parts")),
    "frames": (".tar.zst", as_frames, ("none", "block", "full")),
    "gzip": (".tar.gz", lambda p: gzip.compress(p.read_bytes(), 1), ("none", "block", "parts")),
    "bgzip": (".tar", as_bgzip, ("block", "full")),
}


def write_form(folder, plain, form):
    suffix, make, _ = FORMS[form]
    out = folder / form
    out.mkdir()
    shards = []
    for path in plain:
        shards.append(out / (path.stem + suffix))
        shards[-1].write_bytes(make(path))
    return shards


def make_feed(shards, order, size=16, last="short", **more):
    return scene.feed(shards, transform=SMALL, dtype="uint8", size=size, order=ORDERS[order],
                      batch={"size": size, "last": last}, **more)


def read_world(daemon, world):
    """position -> row, of all ranks of one epoch; and rank -> positions."""
    rows, errors = {}, []

    def read(rank):
        try:
            with ringfeed.Loader("train", socket=daemon.socket, rank=rank, world_size=world, group="g") as loader:
                for position, row in read_rows(loader).items():
                    assert position % world == rank and position not in rows
                    rows[position] = row
        except BaseException as error:  # told by the caller's thread
            errors.append(error)

    threads = [threading.Thread(target=read, args=(r,)) for r in range(world)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]
    return rows


def draws_of(folder, shards):
    config = scene.write_config(folder, {"train": make_feed(shards, "block")})
    said = scene.ringfeed("order", "-c", config, "train", "--draws")
    assert said.stdout.count("random_resized_crop(") == 150 and all(
        "shards indexed" in line for line in said.stderr.splitlines()), said.stderr  # slow machines tell progress
    return said.stdout


def the_same_samples(folder):
    """Every form, every order that applies; workers, engines and ranks in turn."""
    plain = scene.pack_photos(folder, "in", scene.photos("imagenet-sample")[:150], PER_SHARD)
    wanted = {}
    for order in ORDERS:
        with scene.Daemon(scene.write_config(folder, {"train": make_feed(plain, order)}, memory="256MiB")) as daemon:
            wanted[order] = read_world(daemon, 1)
        twin = order_twin.Order([60, 60, 30], ORDERS[order]["shuffle"], SEED, 0, ORDERS[order].get("window", 0),
                                ORDERS[order].get("parts", 1))
        assert {p: r[0] for p, r in wanted[order].items()} == {p: twin.sample(p) for p in range(150)}
    turn = 0
    draws = draws_of(folder, plain)
    for form, (_, _, orders) in FORMS.items():
        shards = write_form(folder, plain, form)
        assert draws_of(folder, shards) == draws, form
        for order in orders:
            workers, world, io = 1 + turn % 3, 1 + turn % 2, "threads" if turn % 4 >= 2 else "auto"
            turn += 1
            config = scene.write_config(folder, {"train": make_feed(shards, order)}, memory="256MiB", workers=workers,
                                        io=io)
            with scene.Daemon(config) as daemon:
                got = read_world(daemon, world)
                status = daemon.status()
            assert got == wanted[order], (form, order, workers, world, io, len(got))
            assert status["feeds"][0]["bad_samples"] == {}, status
            times = status["reads"]["bytes_inflated"] / sum(p.stat().st_size for p in plain)
            # next epoch's first units may be inflated by now; those that overlap are inflated for both
            assert 0.5 < times < (5 if form in ("frames", "bgzip") else 2.5), (form, order, times)
            print(f"  {form}, {order}: {workers} workers, {world} ranks, {io}; inflated {times:.2f} times", flush=True)


def packed_by_pack(folder):
    """What `pack --zstd` writes is fed at random, from the index that it leaves."""
    plain = scene.pack_photos(folder, "in", scene.photos("imagenet-sample")[:60], 60)
    scene.ringfeed("pack", plain[0], folder / "out", "--name", "in", "--zstd", "--samples", "60")
    shards = sorted((folder / "out").glob("*.tar.zst"))
    rows = []
    for shard in (plain, shards):
        with scene.Daemon(scene.write_config(folder, {"train": make_feed(shard, "full")}, memory="256MiB")) as daemon:
            rows.append(read_world(daemon, 1))
    assert rows[0] == rows[1]


def flip(path, at, bit=3):
    """Behind the index's back: size and mtime stay."""
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << bit
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def p12_damaged_units(folder):
    """Flipped bits cost exactly the samples of the frames they lie in, which the ledger names; the counts add up."""
    plain = scene.pack_photos(folder, "in", scene.photos("imagenet-sample")[:90], 30)
    for form, order in (("seekable", "full"), ("stream", "block"), ("gzip", "none")):
        shards = write_form(folder, plain, form)
        for shard in shards:
            scene.ringfeed("index", shard)
        place = folder / f"ledger-{form}"
        place.mkdir()
        config = scene.write_config(folder, {"train": make_feed(shards, order, bad_samples={"policy": "mask", "limit": "100%"})},
                                    memory="256MiB", ledger=str(place))
        with scene.Daemon(config) as daemon:
            whole = read_world(daemon, 1)
        assert all(valid for _, valid, _, _ in whole.values())
        if form == "seekable":  # one frame of three samples of each of the first two shards
            bad = set()
            for number, frame in ((0, 2), (1, 9)):
                report = json.loads(scene.ringfeed("inspect", "--json", shards[number]).stdout)
                it = report["compressed"]["frames"][frame]
                flip(shards[number], it["offset"] + it["bytes"] // 2)
                bad |= set(range(30 * number + 3 * frame, 30 * number + 3 * frame + 3))
        else:
            flip(shards[1], shards[1].stat().st_size // 2)
            bad = set(range(30, 60))
        with scene.Daemon(config) as daemon:
            rows = read_world(daemon, 1)
            scene.wait_until(lambda: feed_status(daemon)["bad_samples"].get("damaged_unit", 0) >= len(bad))
            rank_due = feed_status(daemon)
            assert set(rank_due["bad_samples"]) == {"damaged_unit"}, rank_due
        for position, (index, valid, label, image) in rows.items():
            assert valid == (index not in bad), (form, index)
            assert valid or (label == 0 and not any(image))
            assert not valid or (index, valid, label, image) == whole[position]
        lines = [line for line in ledger(place) if line["epoch"] == 0]
        keys = {line["key"] for line in lines}
        assert keys == {f"s{i:06d}" for i in bad}, (form, keys)
        assert all(line["cause"] == "damaged_unit" and line["detail"].startswith("offset ") for line in lines), lines[:2]
        print(f"  {form}: {lines[0]['detail']}", flush=True)


def refused_shards(folder):
    """Damage seen at indexing, foreign compressions, and orders that whole shards cannot serve: named, with the cure."""
    plain = scene.pack_photos(folder, "in", scene.photos("imagenet-sample")[:200], 200)[0]
    raw = plain.read_bytes()
    cases = {
        "cut.tar.gz": (gzip.compress(raw, 1)[:-100], "cut short"),
        "cut.tar.zst": (compressed.zstd_program(raw)[:-100], "cut short"),
        "behind.tar.gz": (gzip.compress(raw, 1) + b"garbage", "7 bytes behind"),
        "a.tar.bz2": (bz2.compress(raw[:100000]),
                      "compressed with bzip2, which is not supported"),
        "a.tar.xz": (lzma.compress(raw[:100000]),
                     "compressed with xz, which is not supported"),
    }
    for name, (data, part) in cases.items():
        (folder / name).write_bytes(data)
        done = scene.ringfeed("index", folder / name, check=False)
        assert done.returncode == 1 and part in done.stderr and str(folder / name) in done.stderr, done.stderr
    for name, data in (("one.tar.zst", compressed.zstd_program(raw)), ("one.tar.gz", gzip.compress(raw, 1))):
        (folder / name).write_bytes(data)
        config = scene.write_config(folder, {"train": make_feed([folder / name], "full")}, memory="256MiB")
        for command in ("check", "plan", "serve"):
            done = scene.ringfeed(command, "-c", config, check=False)
            assert done.returncode == 78, (command, done)
            assert name in done.stderr and "shuffle: full" in done.stderr and "ringfeed pack" in done.stderr, done.stderr
        cure = re.search(r"`(.*) && (ringfeed pack .*)`", done.stderr)
        subprocess.run(cure[1], shell=True, check=True, cwd=folder)
        command = cure[2].replace("ringfeed", scene.BINARY).replace("DEST", f"cured-{name}")
        subprocess.run(command, shell=True, check=True, cwd=folder, stderr=subprocess.DEVNULL)
        cured = sorted((folder / f"cured-{name}").glob("*.tar.zst"))
        scene.ringfeed("check", "-c", scene.write_config(folder, {"train": make_feed(cured, "full")}, memory="256MiB"))


def changed_shards(folder):
    """A shard rewritten or cut behind the daemon's back is an error that names it, never mixed data."""
    plain = scene.pack_photos(folder, "in", scene.photos("imagenet-sample")[:60], 60)
    shard, = write_form(folder, plain, "stream")
    config = scene.write_config(folder, {"train": make_feed([shard], "block")}, memory="256MiB")
    with scene.Daemon(config) as daemon:
        os.truncate(shard, shard.stat().st_size // 2)
        try:
            read_world(daemon, 1)
        except ringfeed.ShardChanged as error:
            assert shard.name in str(error), error
        else:
            raise AssertionError("a cut shard was read")


def p12_killed_workers(folder):
    """Workers die by -9 while they inflate: every byte is as without, and nothing is a bad sample. (Two deaths on one
    unit would make it bad; so they are spread.)"""
    plain = scene.pack_photos(folder, "in", scene.photos("imagenet-sample")[:180], 90)
    chance = random.Random(2)
    for form, order in (("stream", "block"), ("seekable", "full")):
        shards = write_form(folder, plain, form)
        config = scene.write_config(folder, {"train": make_feed(shards, order, size=6)}, memory="256MiB", workers=2)
        with scene.Daemon(config) as daemon:
            want = rows_of(Trainer(reading("train", 2, 0.0, socket=daemon.socket)).all())
            with Trainer(reading("train", 2, 0.02, socket=daemon.socket)) as trainer:
                heard = []
                while (said := trainer.hear()) is not None:
                    heard.append(said)
                    if len(heard) % 6 == 0:
                        pids = [w["pid"] for w in ringfeed.status(daemon.socket)["workers"] if w["pid"]]
                        if pids:
                            os.kill(chance.choice(pids), signal.SIGKILL)
            status = ringfeed.status(daemon.socket)
            assert status["feeds"][0]["bad_samples"] == {}, (form, status["feeds"], status["reads"])
            assert rows_of(heard) == want, form
            assert status["reads"]["worker_deaths"] >= 5, status["reads"]


def p23_compressed(folder):
    """Within the budget; too little for whole shards is refused with the number that works, and it works."""
    plain = scene.pack_photos(folder, "in", scene.photos("imagenet-sample")[:360], 60)
    for form, order in (("seekable", "full"), ("stream", "block"), ("gzip", "none")):
        shards = write_form(folder, plain, form)

        def config(memory):
            made = make_feed(shards, order, size=16)
            if order == "block":
                made["order"] = {**made["order"], "window": 200}
            return scene.write_config(folder, {"train": made}, memory=f"{memory}MiB", workers=2)

        done = scene.ringfeed("plan", "-c", config(40), check=False)
        assert done.returncode == 78, done
        least = int(re.search(r"(\d+)MiB is needed", done.stderr)[1])
        if form == "stream":
            assert "window of 200" in done.stderr and "pack --zstd" in done.stderr, done.stderr
        assert f"{least}MiB is needed" in scene.ringfeed("plan", "-c", config(least - 1), check=False).stderr
        for memory in (least, 512):
            report = json.loads(scene.ringfeed("bench", "-c", config(memory), "train", "--json", "--epochs", "2").stdout)
            peak, budget = report["peak_memory_bytes"], report["budget_bytes"]
            print(f"  {form}, {memory} MiB: peak {peak / (1 << 20):.1f} MiB ({peak / budget:.3f})", flush=True)
            assert budget / 8 < peak <= budget and report["bad_samples"] == 0, report
            assert report["due"] == report["delivered"], report
        lines = {l["name"]: l["bytes"] for l in json.loads(scene.ringfeed("plan", "-c", config(512), "--json").stdout)["lines"]}
        assert lines["inflated train"] > 0


if __name__ == "__main__":
    scene.need_data("imagenet-sample")
    scene.main([refused_shards, the_same_samples, packed_by_pack, p12_damaged_units, changed_shards, p12_killed_workers, p23_compressed])
