# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""A damaged sample costs one sample, never the run, and never silently.

Every kind of bad sample lies in the shards once, each with the cause that must be found. Where its members lie says
Python's tarfile; which sample takes its place says the order's second implementation.
"""
import collections
import contextlib
import gzip
import io
import json
import os
import pathlib
import shutil
import subprocess
import tarfile
import time
import zlib

from PIL import Image

import order_twin
import ringfeed
import scene
from trainers import row_hashes

N_GOOD = 70
PER_SHARD = 20
SEED = 42
LIMITS = {"max_scans": 9, "decode_memory": "16MiB"}


def png_header(width, height):
    """A PNG of that size that goes on with almost nothing."""
    def chunk(kind, data):
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes((8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def jpeg_header(width, height):
    """A small JPEG whose frame header claims that size."""
    data = bytearray(encoded("RGB", (16, 16), "JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 5:at + 9] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return bytes(data)


def encoded(mode, size, kind, **options):
    out = io.BytesIO()
    Image.radial_gradient("L").resize(size).convert(mode).save(out, kind, **options)
    return out.getvalue()


def bad_ones():
    """(cause, members): each bad for one reason."""
    photo = scene.photos("imagenet-sample")[0].read_bytes()
    small = encoded("RGB", (80, 60), "JPEG")
    jpeg, png = scene.DATA / "edge-jpeg", scene.DATA / "edge-png"
    cls = ("cls", b"1")
    return [
        ("damaged_image", [("jpg", photo[:len(photo) // 2]), cls]),
        ("damaged_image", [("jpg", photo[:700]), cls]),
        ("damaged_image", [("png", (png / "go/invalid-crc32.png").read_bytes()[:700]), cls]),
        ("damaged_image", [("png", (png / "go/invalid-zlib.png").read_bytes()), cls]),
        ("damaged_image", [("png", (png / "go/invalid-noend.png").read_bytes()[:300]), cls]),
        ("unsupported_image", [("jpg", (jpeg / "mozjpeg/mozjpeg/testorig12.jpg").read_bytes()), cls]),
        ("not_an_image", [("jpg", b"GIF89a" + b"x" * 600), cls]),
        ("not_an_image", [("jpg", b""), cls]),
        ("missing_field", [("jpg", small)]),
        ("missing_field", [("cls", b"1"), ("json", b"{}")]),
        ("repeated_extension", [("jpg", small), cls, ("jpg", small)]),
        ("not_an_integer", [("jpg", small), ("cls", b"seven")]),
        ("not_an_integer", [("jpg", small), ("cls", b"99999999999999999999")]),
        ("not_an_integer", [("jpg", small), ("cls", b"")]),
        ("too_many_pixels", [("png", png_header(30000, 30000)), cls]),
        ("too_many_pixels", [("jpg", jpeg_header(30000, 30000)), cls]),
        ("too_many_scans", [("jpg", encoded("RGB", (80, 60), "JPEG", progressive=True)), cls]),
        ("decode_memory", [("jpg", encoded("L", (4000, 4000), "JPEG", progressive=True)), cls]),
    ]


class Damaged:
    """Shards with bad ones among good photos; causes: sample -> cause."""

    def __init__(self, folder):
        members = [[("jpg", p.read_bytes()), ("cls", b"%d" % i)]
                   for i, p in enumerate(scene.photos("imagenet-sample")[:N_GOOD])]
        self.causes = {}
        for i, (cause, sample) in enumerate(bad_ones()):
            at = 2 + 4 * i
            members.insert(at, sample)
            self.causes[at] = cause
        self.shards = scene.pack(folder, "bad", members, PER_SHARD)
        self.n = len(members)
        self.starts = [len(members[i:i + PER_SHARD]) for i in range(0, self.n, PER_SHARD)]
        self.order = order_twin.Order(self.starts, "full", SEED, 0)
        self.offsets = collections.defaultdict(set)  # key -> where its members' headers lie
        for shard in self.shards:
            with tarfile.open(shard) as tar:
                for info in tar:
                    self.offsets[info.name.split(".")[0]].add(info.offset)

    def feed(self, policy, **more):
        made = scene.feed(self.shards, transform=[{"resize": {"size": [48, 48]}}], dtype="uint8", size=8, slots=4,
                          batch={"size": 8, "last": "short"}, limits=LIMITS)
        made["bad_samples"] = {"policy": policy, "limit": "100%", **more}
        made["order"]["seed"] = SEED
        return made

    def check_ledger(self, lines, epoch=0):
        """Each bad sample of the epoch has its line, which says all of it; good ones have none."""
        found = {}
        for line in lines:
            if line["epoch"] != epoch:
                continue
            sample = self.order.sample(line["position"])
            if sample in found:
                continue
            found[sample] = line["cause"]
            key = f"s{sample:06d}"
            assert line["key"] == key and line["shard"] == str(self.shards[sample // PER_SHARD]), line
            assert line["offset"] in self.offsets[key], (line, self.offsets[key])
            assert line["feed"] == "train" and line["text"], line
        assert found == self.causes, (found, self.causes)


def ledger(folder):
    return [json.loads(line) for line in (folder / "ringfeed-bad.jsonl").read_text().splitlines()]


def read_rows(loader):
    rows = {}
    for batch in loader:
        for i, position in enumerate(batch.position.tolist()):
            rows[position] = (int(batch.index[i]), bool(batch.valid[i]), int(batch["label"][i]),
                              batch["image"][i].tobytes())
        batch.release()
    return rows


def feed_status(daemon):
    return next(f for f in daemon.status()["feeds"] if f["name"] == "train")


def p12_p19_mask(folder):
    """Masked rows are zero bytes with valid false; the counts add up; every one is in the ledger."""
    data = Damaged(folder)
    config = scene.write_config(folder, {"train": data.feed("mask")}, memory="192MiB", ledger=str(folder))
    with scene.Daemon(config) as daemon:
        with ringfeed.Loader("train", socket=daemon.socket, credit=1) as loader:
            rows = read_rows(loader)
            scene.wait_until(lambda: daemon.ranks("train")[0]["due"] >= data.n)
            rank = daemon.ranks("train")[0]
            assert rank["due"] == rank["delivered"] + rank["bad"], rank
            if rank["due"] == data.n:
                assert feed_status(daemon)["bad_samples"] == dict(collections.Counter(data.causes.values()))
                assert rank["bad"] == len(data.causes), rank
        assert sorted(rows) == list(range(data.n))
        for position, (index, valid, label, image) in rows.items():
            assert index == data.order.sample(position)
            assert valid == (index not in data.causes), (index, data.causes.get(index))
            assert valid or (label == 0 and not any(image))
        data.check_ledger(ledger(folder))
        assert "bad sample" in daemon.log()


def p12_substitute(folder):
    """A substitute takes the bad one's place: index is its own, position stays; other rows are as ever."""
    data = Damaged(folder)
    feeds = {"train": data.feed("substitute")}
    with scene.Daemon(scene.write_config(folder, feeds, memory="192MiB", ledger=str(folder))) as daemon:
        with ringfeed.Loader("train", socket=daemon.socket) as loader:
            rows = read_rows(loader)
    assert sorted(rows) == list(range(data.n))
    for position, (index, valid, label, image) in rows.items():
        own, attempt = data.order.sample(position), 0
        want = own
        while want in data.causes:
            attempt += 1
            want = data.order.substitute(position, attempt)
        assert valid and index == want, (position, own, index, want)
        assert label == int(f"{want}") - sum(bad < want for bad in data.causes)
    lines = [line for line in ledger(folder) if data.order.sample(line["position"]) in data.causes]
    firsts = {}
    for line in lines:
        firsts.setdefault((line["epoch"], line["position"]), line["cause"])
    for position in range(data.n):
        assert firsts.get((0, position)) == data.causes.get(data.order.sample(position))


def p12_resume(folder):
    """Stopped in the middle and resumed by a fresh daemon with other workers: the same rows, the same bad ones."""
    data = Damaged(folder)
    got, states = {}, []
    for workers in (1, 3):
        path = folder / f"ledger{workers}"
        path.mkdir()
        config = scene.write_config(folder, {"train": data.feed("substitute")}, memory="192MiB", workers=workers,
                                    ledger=str(path))
        with scene.Daemon(config) as daemon:
            with ringfeed.Loader("train", socket=daemon.socket, state=states[0] if states else None) as loader:
                for n, batch in enumerate(loader):
                    for position, digest in row_hashes(batch):
                        got.setdefault(workers, {})[position] = digest
                    batch.release()
                    if workers == 1 and n == 4:
                        states.append(loader.state_dict())
                        break
    with ringfeed_epoch(folder, data) as (whole, lines):
        assert {**got[1], **got[3]} == whole
        where = [{(line["position"], line["cause"]) for line in ledger(folder / f"ledger{w}") if line["epoch"] == 0}
                 for w in (1, 3)]
        assert where[0] | where[1] == {(line["position"], line["cause"]) for line in lines if line["epoch"] == 0}
        assert json.loads(states[0]["token"])["bad"] > 0, states


@contextlib.contextmanager
def ringfeed_epoch(folder, data):
    path = folder / "whole"
    path.mkdir()
    config = scene.write_config(folder, {"train": data.feed("substitute")}, memory="192MiB", ledger=str(path))
    with scene.Daemon(config) as daemon, ringfeed.Loader("train", socket=daemon.socket) as loader:
        rows = {}
        for batch in loader:
            rows.update(row_hashes(batch))
            batch.release()
    yield rows, ledger(path)


def expect(kind, daemon, *words):
    """Reading comes to that error, which says those words; another trainer may still come."""
    try:
        with ringfeed.Loader("train", socket=daemon.socket) as loader:
            for _ in range(3):
                for batch in loader:
                    batch.release()
    except kind as error:
        for word in words:
            assert word in str(error), (word, str(error))
        return str(error)
    raise AssertionError(f"no {kind.__name__}")


def p12_fail_and_limit(folder):
    data = Damaged(folder)
    with scene.Daemon(scene.write_config(folder, {"train": data.feed("fail")}, memory="192MiB")) as daemon:
        text = expect(ringfeed.BadSample, daemon, ".tar", "key s0", "offset ", "policy is fail")
        assert any(cause in text for cause in data.causes.values()), text
        key = text.split("key ")[1].split(",")[0]
        assert int(text.split("offset ")[1].split(":")[0]) in data.offsets[key]
        expect(ringfeed.BadSample, daemon)
    for limit, allowed in (("0.1%", 1), ("10%", data.n // 10)):
        feeds = {"train": data.feed("mask", limit=limit)}
        with scene.Daemon(scene.write_config(folder, feeds, memory="192MiB")) as daemon:
            text = expect(ringfeed.TooManyBadSamples, daemon, f"allows {allowed}", "epoch 0")
            assert allowed < int(text.split()[0]) <= len(data.causes), text


def has_strace():
    if not shutil.which("strace"):
        return False
    done = subprocess.run(["strace", "-qq", "-o", "/dev/null", "-e", "inject=getppid:error=EIO", "true"],
                          capture_output=True, timeout=30)
    return done.returncode == 0


@contextlib.contextmanager
def faulty_reads(config, shard, fault):
    """A daemon whose reads of that shard go wrong, by strace."""
    daemon = scene.Daemon(config, wrap=("strace", "-f", "-qq", "-o", "/dev/null", "-P", shard, "-e", "trace=pread64",
                                        "-e", f"inject=pread64:{fault}"))
    try:
        yield daemon
    finally:
        with contextlib.suppress(ringfeed.Error, ProcessLookupError):
            os.kill(ringfeed.status(daemon.socket)["pid"], 15)
        daemon.process.wait(timeout=20)


def p21_dead_storage(folder):
    """Reads that fail or come too late: `transient` decides; other shards go on.

    In file order, so that fewer reads are stuck than the engine has threads.
    """
    if not has_strace():
        print("  skipped: faults of reads need strace")
        return
    plain = scene.pack_photos(folder, "in", scene.photos("imagenet-sample")[:60], 20)
    dead_storage(folder, plain)
    packed = [path.with_suffix(".tar.gz") for path in plain]
    for path, to in zip(plain, packed):
        to.write_bytes(gzip.compress(path.read_bytes(), 1))
    dead_storage(folder, packed)


def dead_storage(folder, shards):
    scene.ringfeed("index", *shards)
    for fault, cause, words, timeout in (("error=EIO", "read_error", "Input/output error", "30s"),
                                         ("delay_enter=1500ms", "read_late", "daemon.read_timeout", "200ms")):
        made = scene.feed(shards, transform=[{"resize": {"size": [48, 48]}}], dtype="uint8", size=4, slots=4)
        common = {"memory": "192MiB", "io": "threads", "read_timeout": timeout}
        made["order"] = {"shuffle": "none"}
        made["bad_samples"] = {"policy": "mask", "limit": "100%"}
        with faulty_reads(scene.write_config(folder, {"train": made}, **common), shards[1], fault) as daemon:
            text = expect(ringfeed.StorageError, daemon, str(shards[1]), words)
            print(f"  {text}")
        made["bad_samples"]["transient"] = "as_bad"
        with faulty_reads(scene.write_config(folder, {"train": made}, **common), shards[1], fault) as daemon:
            with ringfeed.Loader("train", socket=daemon.socket) as loader:
                rows = read_rows(loader)
            assert len(rows) == 60
            wrong = [index for index, valid, _, _ in rows.values() if valid == (20 <= index < 40)]
            assert not wrong, (cause, sorted(wrong))
            assert not any(any(image) for _, valid, _, image in rows.values() if not valid)
            assert set(feed_status(daemon)["bad_samples"]) == {cause}


if __name__ == "__main__":
    scene.need_data("imagenet-sample", "edge-jpeg", "edge-png")
    scene.main([p12_p19_mask, p12_substitute, p12_resume, p12_fail_and_limit, p21_dead_storage])
