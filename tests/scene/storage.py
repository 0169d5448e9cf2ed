# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Shards on storage that fails, never answers or is slow: a FUSE file system (fuse.py) under a real daemon, with
either engine."""
import errno
import itertools
import signal
import time

import fuse
import ringfeed
import scene
from fuse import Fault

N, PER_SHARD = 30, 10
ENGINES = ("uring", "threads")
BAD = range(PER_SHARD, 2 * PER_SHARD)  # the samples of the shard that is hit


class Place:
    """Shards behind the file system; the second of them is hit."""

    def __init__(self, folder):
        source = folder / "source"
        source.mkdir()
        scene.pack_photos(source, "in", scene.photos("imagenet-sample")[:N], PER_SHARD)
        self.folder, self.system = folder, fuse.FileSystem(source, folder / "fuse")
        self.shards = sorted(self.system.at / name for name in self.system.names)
        self.hit = self.shards[1]
        (folder / "cache").mkdir()

    def fault(self, **what):
        self.system.faults[self.hit.name] = Fault(**what)

    def daemon(self, engine, transient="as_bad", **more):
        made = scene.feed(self.shards, transform=[{"resize": {"size": [48, 48]}}], dtype="uint8", size=5, slots=4,
                          order={"shuffle": "none"},
                          bad_samples={"policy": "mask", "limit": "100%", "transient": transient})
        return scene.Daemon(scene.write_config(self.folder, {"train": made}, memory="192MiB", io=engine,
                                               index_cache=str(self.folder / "cache"), **more))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.system.faults.clear()
        self.system.close()


def epoch_of(loader):
    """index -> (valid, bytes, label) of an epoch."""
    rows = {}
    for batch in loader:
        for i, index in enumerate(batch.index.tolist()):
            rows[index] = (bool(batch.valid[i]), batch["image"][i].tobytes(), int(batch["label"][i]))
        batch.release()
    return rows


def rows_of(daemon, **options):
    with ringfeed.Loader("train", socket=daemon.socket, timeout=20, **options) as loader:
        return epoch_of(loader)


def counted(daemon):
    return next(f for f in daemon.status()["feeds"] if f["name"] == "train")["bad_samples"]


def fail_of(daemon, kind):
    try:
        rows_of(daemon)
    except kind as error:
        return str(error)
    raise AssertionError(f"no {kind.__name__}")


def p21_dead_storage(folder):
    """EIO and reads that never end: the samples of that shard alone are lost, by name; the others come as ever."""
    with Place(folder) as place:
        with place.daemon("threads") as daemon:
            want = rows_of(daemon)
        assert len(want) == N and all(valid for valid, _, _ in want.values())
        for engine, (fault, cause, words) in itertools.product(
                ENGINES, (({"error": errno.EIO}, "read_error", "Input/output error"),
                          ({"is_mute": True}, "read_late", "daemon.read_timeout"))):
            daemon = place.daemon(engine, read_timeout="300ms")
            place.fault(**fault)
            began = time.monotonic()
            try:
                rows = rows_of(daemon)
            except BaseException:
                place.fault()
                daemon.kill()
                raise
            took = time.monotonic() - began
            for index, row in rows.items():
                assert row == want[index] if index not in BAD else not row[0] and not any(row[1]), (engine, cause, index)
            assert counted(daemon) == {cause: PER_SHARD}, counted(daemon)
            place.fault()
            daemon.stop()
            with place.daemon(engine, read_timeout="300ms", transient="fail") as failing:
                place.fault(**fault)
                text = fail_of(failing, ringfeed.StorageError)
                assert str(place.hit) in text and words in text, text
                place.fault()
            print(f"  {engine}: {cause}: an epoch in {took:.1f} s; {text}")


def p14_p21_leaving(folder):
    """SIGTERM while reads hang: it says so and ends, or the kernel holds it until the storage is gone."""
    with Place(folder) as place:
        for engine in ENGINES:
            daemon = place.daemon(engine, read_timeout="200ms")
            place.fault(is_mute=True)
            rows_of(daemon)
            daemon.process.send_signal(signal.SIGTERM)
            took = scene.wait_until(lambda: daemon.process.poll() is not None or "do not end" in daemon.log(), 10)
            assert "storage of a shard does not answer" in daemon.log(), daemon.log()[-500:]
            place.fault()
            assert daemon.process.wait(timeout=10) == 1
            print(f"  {engine}: {daemon.log().splitlines()[-1]} (after {took:.1f} s)")


def p21_slow(folder):
    """Slow storage of one shard does not delay the others' samples, and no row is lost or other."""
    with Place(folder) as place:
        with place.daemon("threads") as daemon:
            want = rows_of(daemon)
        for engine in ENGINES:
            with place.daemon(engine) as daemon:
                place.fault(delay=0.25)
                assert rows_of(daemon) == want and counted(daemon) == {}
                place.fault()


if __name__ == "__main__":
    scene.need_data("imagenet-sample")
    fuse.need()
    scene.main([p21_dead_storage, p14_p21_leaving, p21_slow])
