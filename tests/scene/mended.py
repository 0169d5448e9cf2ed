# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Damage that storage gives once, and that then lies in the page cache alone: the sample is read again past it, and
comes as it is stored. Damage that stays makes a bad sample, by name.

A FUSE file system (fuse.py) flips bits in its first answer, under either engine, buffered and direct."""
import gzip
import io
import itertools
import pathlib
import sys
import tarfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "unit" / "shard"))

from PIL import Image

import compressed
import fuse
import ringfeed
import scene
from fuse import Fault
from storage import counted, epoch_of, fail_of, rows_of

ENGINES = ("auto", "threads")
PER_SHARD = 10
# What is hit, each in a shard of its own, and which of its samples: no other sample is read with the page that is hit.
HITS = {"png": 4, "header": 0, "jpeg": 0, "label": PER_SHARD - 1, "gzip": None, "zstd": None}
KINDS = tuple(HITS)


def spoil(path, kind):
    """offset -> flipped bits, of one sample's bytes or of the one frame that there is."""
    if kind in ("gzip", "zstd"):
        return {path.stat().st_size // 2: 8}
    with tarfile.open(path) as tar:
        member = tar.getmembers()[2 * HITS[kind] + (kind == "label")]
    if kind == "png":
        return {member.offset_data + member.size // 2: 1}
    if kind == "header":
        return {member.offset + 2: 4}
    if kind == "label":
        return {member.offset_data: 0x40}
    return {member.offset_data + i: 0x5A for i in range(2, 20)}


def as_png(path):
    out = io.BytesIO()
    Image.open(path).convert("RGB").resize((120, 120)).save(out, "PNG")
    return out.getvalue()


class Place:
    """A shard of each kind behind the file system, all samples of which are known."""

    def __init__(self, folder):
        self.folder, source = folder, folder / "source"
        source.mkdir()
        photos = [p for p in scene.photos("imagenet-sample") if p.suffix.lower() in (".jpg", ".jpeg")]
        photos = photos[:PER_SHARD * len(KINDS)]
        plain = scene.pack(source, "in", [[("png", as_png(p)) if i < PER_SHARD else ("jpg", p.read_bytes()),
                                           ("cls", b"%d" % i)] for i, p in enumerate(photos)], PER_SHARD)
        self.wrong = {}
        for kind, path in zip(KINDS, plain):
            if kind in ("gzip", "zstd"):
                raw = path.read_bytes()
                path.unlink()
                path = path.with_suffix(".tar.gz" if kind == "gzip" else ".tar.zst")
                path.write_bytes(gzip.compress(raw, 1) if kind == "gzip" else compressed.zstd_program(raw, "-1"))
            self.wrong[kind] = (path.name, spoil(path, kind))
        self.system = fuse.FileSystem(source, folder / "fuse", is_cached=True)
        self.shards = [self.system.at / self.wrong[kind][0] for kind in KINDS]
        (folder / "cache").mkdir()

    def spoil(self, kinds, is_once):
        self.system.faults.clear()
        for name, wrong in (self.wrong[kind] for kind in kinds):
            self.system.faults[name] = Fault(wrong=dict(wrong), is_once=is_once)

    def left(self):
        """Kinds of which not all the damage has been given out."""
        return [kind for kind in KINDS if self.wrong[kind][0] in self.system.faults and
                self.system.faults[self.wrong[kind][0]].wrong]

    def daemon(self, engine, reads):
        made = scene.feed(self.shards, transform=[{"resize": {"size": [48, 48]}}], dtype="uint8", size=5, slots=4,
                          order={"shuffle": "none"}, bad_samples={"policy": "mask", "limit": "100%"})
        made["source"]["reads"] = reads
        return scene.Daemon(scene.write_config(self.folder, {"train": made}, memory="192MiB", io=engine,
                                               index_cache=str(self.folder / "cache")))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.system.faults.clear()
        self.system.close()


def p17_mended(folder):
    """The epochs' bytes are those of the undamaged shards; status counts, and the log names, what was damaged once."""
    with Place(folder) as place:
        with place.daemon("threads", "direct") as daemon:
            want = rows_of(daemon)
            assert daemon.status()["reads"]["mended"] == 0
        assert len(want) == PER_SHARD * len(KINDS) and all(valid for valid, _, _ in want.values())
        for engine, reads in itertools.product(ENGINES, ("buffered", "direct")):
            with place.daemon(engine, reads) as daemon:
                place.spoil(KINDS, is_once=True)
                with ringfeed.Loader("train", socket=daemon.socket, timeout=20) as loader:
                    got = [epoch_of(loader, {}) for _ in range(2)]  # which of the two is read first is open
                status, bad, log, left = daemon.status(), counted(daemon), daemon.log(), place.left()
            assert not left, (engine, reads, left)
            for rows in got:
                assert rows == want, (engine, reads, [i for i in want if rows[i] != want[i]], log)
            assert not bad, (engine, reads, bad)
            # The second epoch may have been read before the page cache was rid of it, too.
            assert len(KINDS) <= status["reads"]["mended"] <= 2 * len(KINDS), (engine, reads, status["reads"])
            told = [line for line in log.splitlines() if "was damaged when read first" in line]
            assert len(told) == 1 and ", offset " in told[0] and str(place.system.at) in told[0], log
        print(f"  {len(KINDS)} kinds of damage mended, {', '.join(ENGINES)}, buffered and direct")


def p17_damage_that_stays(folder):
    """By name, as ever; nothing is said to be mended. Where a member's header stays damaged the shard is not what it was."""
    lost = {KINDS.index(kind) * PER_SHARD + HITS[kind] for kind in ("png", "jpeg", "label")}
    lost |= set(range(4 * PER_SHARD, 6 * PER_SHARD))
    with Place(folder) as place:
        with place.daemon("threads", "direct") as daemon:
            want = rows_of(daemon)
        for engine, reads in itertools.product(ENGINES, ("buffered", "direct")):
            with place.daemon(engine, reads) as daemon:
                place.spoil([kind for kind in KINDS if kind != "header"], is_once=False)
                got = rows_of(daemon)
                assert {i for i, (valid, _, _) in got.items() if not valid} == lost, (engine, reads)
                assert all(got[i] == want[i] for i in want if i not in lost)
                status = daemon.status()
                assert status["reads"]["mended"] == 0, status["reads"]
                bad = counted(daemon)
                assert set(bad) == {"damaged_image", "not_an_image", "not_an_integer", "damaged_unit"}, bad
            with place.daemon(engine, reads) as daemon:
                place.spoil(["header"], is_once=False)
                assert place.wrong["header"][0] in fail_of(daemon, ringfeed.ShardChanged)
        print(f"  {len(lost)} samples lost, by {', '.join(bad)}")


if __name__ == "__main__":
    scene.need_data("imagenet-sample")
    fuse.need()
    scene.main([p17_mended, p17_damage_that_stays])
