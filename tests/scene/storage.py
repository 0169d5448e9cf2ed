# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Shards on storage that fails, never answers, is slow, gives short reads, or changes what it holds: a FUSE file
system (fuse.py) under a real daemon, with either engine."""
import errno
import gzip
import itertools
import os
import signal
import threading
import time

import fuse
import ringfeed
import scene
from fuse import Fault

N, PER_SHARD = 30, 10
ENGINES = ("uring", "threads")
BAD = range(PER_SHARD, 2 * PER_SHARD)  # the samples of the shard that is hit
DEADLINE = "300ms"


class Place:
    """Shards behind the file system; the second of them is hit."""

    def __init__(self, folder, n=N, per_shard=PER_SHARD, is_packed=False):
        source = folder / "source"
        source.mkdir()
        photos = scene.photos("imagenet-sample")
        shards = scene.pack_photos(source, "in", [photos[i % len(photos)] for i in range(n)], per_shard)
        for shard in shards if is_packed else ():
            shard.with_suffix(".tar.gz").write_bytes(gzip.compress(shard.read_bytes(), 1))
            shard.unlink()
        self.folder, self.system = folder, fuse.FileSystem(source, folder / "fuse")
        self.shards = sorted(self.system.at / name for name in self.system.names)
        self.hit = self.shards[1]
        (folder / "cache").mkdir()

    def fault(self, **what):
        self.system.faults[self.hit.name] = Fault(**what)

    def daemon(self, engine, transient="as_bad", reads="direct", **more):
        made = scene.feed(self.shards, transform=[{"resize": {"size": [48, 48]}}], dtype="uint8", size=5, slots=4,
                          order={"shuffle": "none"},
                          bad_samples={"policy": "mask", "limit": "100%", "transient": transient})
        made["source"]["reads"] = reads
        return scene.Daemon(scene.write_config(self.folder, {"train": made}, memory="192MiB", io=engine,
                                               index_cache=str(self.folder / "cache"), **more))

    def opened_by(self, daemon):
        """Descriptors of the daemon on this file system."""
        n = 0
        for fd in os.listdir(f"/proc/{daemon.process.pid}/fd"):
            try:
                n += os.readlink(f"/proc/{daemon.process.pid}/fd/{fd}").startswith(str(self.system.at))
            except FileNotFoundError:
                pass  # closed meanwhile
        return n

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.system.faults.clear()
        self.system.close()


class Asked:
    """Asks for the status all the while; longest: the longest that took, in seconds."""

    def __init__(self, daemon):
        self.daemon, self.is_over, self.longest = daemon, False, 0.0
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.is_over:
            began = time.monotonic()
            self.daemon.status()
            self.longest = max(self.longest, time.monotonic() - began)
            time.sleep(0.02)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_over = True
        self.thread.join()


def epoch_of(loader, rows):
    """Adds an epoch, as far as it comes: index -> (valid, bytes, label)."""
    for batch in loader:
        for i, index in enumerate(batch.index.tolist()):
            rows[index] = (bool(batch.valid[i]), batch["image"][i].tobytes(), int(batch["label"][i]))
        batch.release()
    return rows


def take_rows(daemon, rows):
    with ringfeed.Loader("train", socket=daemon.socket, timeout=20) as loader:
        return epoch_of(loader, rows)


def rows_of(daemon):
    return take_rows(daemon, {})


def good_rows(place, n=N):
    with place.daemon("threads") as daemon:
        rows = rows_of(daemon)
    assert len(rows) == n and all(valid for valid, _, _ in rows.values())
    return rows


def counted(daemon):
    return next(f for f in daemon.status()["feeds"] if f["name"] == "train")["bad_samples"]


def fail_of(daemon, kind):
    try:
        rows_of(daemon)
    except kind as error:
        return str(error)
    raise AssertionError(f"no {kind.__name__}")


def check_without_bad(rows, want, what):
    assert len(rows) == N
    for index, row in rows.items():
        assert row == want[index] if index not in BAD else not row[0] and not any(row[1]), (what, index)


def check_counted(daemon, cause):
    """An epoch's bad samples, and those of the next one that are there already."""
    found = counted(daemon)
    assert set(found) == {cause} and PER_SHARD <= found[cause] <= 2 * PER_SHARD, found


def p21_dead_storage(folder):
    """EIO and reads that never end: the samples of that shard alone are lost, by name; the others come as ever."""
    with Place(folder) as place:
        want = good_rows(place)
        for engine, (fault, cause, words) in itertools.product(
                ENGINES, (({"error": errno.EIO}, "read_error", "Input/output error"),
                          ({"mute": ("read",)}, "read_late", "daemon.read_timeout (300 ms)"))):
            daemon = place.daemon(engine, read_timeout=DEADLINE)
            place.fault(**fault)
            began = time.monotonic()
            try:
                rows = rows_of(daemon)
            except BaseException:
                place.fault()
                daemon.kill()
                raise
            took = time.monotonic() - began
            check_without_bad(rows, want, (engine, cause))
            check_counted(daemon, cause)
            place.fault()
            daemon.stop()
            with place.daemon(engine, read_timeout=DEADLINE, transient="fail") as failing:
                place.fault(**fault)
                text = fail_of(failing, ringfeed.StorageError)
                assert str(place.hit) in text and words in text and "offset" in text and "timed out" not in text, text
                place.fault()
            print(f"  {engine}: {cause}: an epoch in {took:.1f} s; {text}")


def p21_never_opened(folder):
    """A server that answers no lookup, open or getattr of one shard: its samples are late, the loop and the others go on;
    when it answers at last, what it opened is used, and nothing is left over."""
    with Place(folder) as place:
        want = good_rows(place)
        for engine, kind, is_open in [*itertools.product(ENGINES, ("lookup", "open", "getattr", "statfs"), (False,)),
                                      *itertools.product(ENGINES, ("getattr",), (True,))]:
            daemon = place.daemon(engine, read_timeout=DEADLINE)
            try:
                if is_open:
                    assert rows_of(daemon) == want
                place.fault(mute=(kind,))
                with Asked(daemon) as asked:
                    began = time.monotonic()
                    rows = rows_of(daemon)
                    took = time.monotonic() - began
                check_without_bad(rows, want, (engine, kind))
                check_counted(daemon, "read_late")
                assert asked.longest < scene.at_most(0.1), asked.longest
                place.fault()
                assert rows_of(daemon) == want and place.opened_by(daemon) <= len(place.shards)
            except BaseException:
                place.fault()
                daemon.kill()
                raise
            assert daemon.stop() == 0
            print(f"  {engine}: {kind} of a shard that is {'open' if is_open else 'not open yet'} unanswered: an epoch in "
                  f"{took:.1f} s, status in {1000 * asked.longest:.0f} ms at most")


def p21_never_closed(folder):
    """More shards than are kept open, and a server that never answers the closing of some."""
    n = 300
    with Place(folder, n=n, per_shard=1) as place:
        want = good_rows(place, n)
        for engine in ENGINES:
            with place.daemon(engine) as daemon, Asked(daemon) as asked:
                for shard in place.shards[:10]:
                    place.system.faults[shard.name] = Fault(mute=("flush",))
                place.system.n_asked.clear()
                rows = rows_of(daemon)
                assert all(place.system.n_asked["flush", node] for node in range(2, 12))
                n_open = place.opened_by(daemon)
                place.system.faults.clear()
            assert rows == want and n_open < n and asked.longest < scene.at_most(0.1), (n_open, asked.longest)
            print(f"  {engine}: {n_open} of {n} open at the end, status in {1000 * asked.longest:.0f} ms at most")


def p14_p21_leaving(folder):
    """SIGTERM while reads, openings or closings hang: it says so and ends, or the kernel holds it until the storage is
    gone."""
    with Place(folder) as place:
        for engine, kind in itertools.product(ENGINES, ("read", "open", "flush")):
            daemon = place.daemon(engine, read_timeout="200ms")
            place.fault(mute=(kind,))
            rows_of(daemon)
            daemon.process.send_signal(signal.SIGTERM)
            took = scene.wait_until(lambda: daemon.process.poll() is not None or "do not end" in daemon.log(), 10)
            assert "storage of a shard does not answer" in daemon.log(), daemon.log()[-500:]
            assert took < scene.at_most(2)
            place.fault()
            assert daemon.process.wait(timeout=10) == 1
            print(f"  {engine}: {kind}: {daemon.log().splitlines()[-1]} (after {took:.1f} s)")


def p21_slow(folder):
    """Slow storage of one shard does not delay the others' samples, and no row is lost or other."""
    with Place(folder) as place:
        want = good_rows(place)
        for engine in ENGINES:
            with place.daemon(engine) as daemon:
                place.fault(delay=0.25)
                assert rows_of(daemon) == want and counted(daemon) == {}
                place.fault()


def p20_short_reads(folder):
    """However the server cuts reads short, by sectors or anywhere, the bytes are the same, the scan's included."""
    for is_packed in (False, True):
        below = folder / f"packed{is_packed}"
        below.mkdir()
        with Place(below, is_packed=is_packed) as place:
            want = good_rows(place)
            for engine, reads, (most, step) in itertools.product(ENGINES, ("direct", "buffered"),
                                                                 ((65536, 4096), (20000, 512), (30000, 1))):
                for shard in place.shards:
                    place.system.faults[shard.name] = Fault(most=most, step=step)
                for path in (below / "cache").iterdir():
                    path.unlink()
                place.system.n_asked.clear()
                with place.daemon(engine, reads=reads) as daemon:
                    rows = rows_of(daemon)
                    assert rows == want, (engine, reads, most, step, counted(daemon),
                                          [i for i in want if rows.get(i) != want[i]])
                place.system.faults.clear()
            if not is_packed:
                check_pack(place)
            print(f"  {'packed' if is_packed else 'plain'}: the last of 12 daemons took "
                  f"{sum(n for (kind, _), n in place.system.n_asked.items() if kind == 'read')} reads")


def check_pack(place):
    """What `ringfeed pack` makes of shards that are read in short pieces."""
    made = []
    for name, source in (("whole", place.system.source), ("short", place.system.at)):
        for shard in place.shards if name == "short" else ():
            place.system.faults[shard.name] = Fault(most=20000)
        scene.ringfeed("pack", source / "in-{000000..000002}.tar", place.folder / name)
        made.append([path.read_bytes() for path in sorted((place.folder / name).glob("*.tar"))])
    place.system.faults.clear()
    assert made[0] and made[0] == made[1]


def p18_changing(folder):
    """A shard that is another one now is named, by its attributes also where the kernel could still take them as known;
    what came before is right, and no row mixes old and new."""
    with Place(folder) as place:
        want = good_rows(place)
        size = os.stat(place.hit).st_size
        for engine, (what, fault), known_for, is_open in itertools.product(
                ENGINES, (("touched", {"moved": 7}), ("cut short", {"cut": size // 2}), ("other bytes", {"flip": 1})),
                (0, 60), (False, True)):
            place.system.known_for = known_for
            with place.daemon(engine, transient="fail") as daemon:
                if is_open:
                    assert rows_of(daemon) == want
                place.fault(**fault)
                rows = {}
                try:
                    take_rows(daemon, rows)
                    raise AssertionError((engine, what, "went unseen"))
                except ringfeed.ShardChanged as error:
                    text = str(error)
                assert str(place.hit) in text, text
                assert all(want[index] == row for index, row in rows.items()), (engine, what)
                place.fault()
        print(f"  24 times, last: {text}")


if __name__ == "__main__":
    scene.need_data("imagenet-sample")
    fuse.need()
    scene.main([p21_dead_storage, p21_never_opened, p21_never_closed, p14_p21_leaving, p21_slow, p20_short_reads,
                p18_changing])
