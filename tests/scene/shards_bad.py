# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Shards that are not what they should be: each is named with what is wrong, and no row is ever mixed."""
import bz2
import os
import pathlib
import shutil
import stat
import subprocess
import tarfile

import ringfeed
import scene
from trainers import row_hashes

PLAIN = [{"resize": {"size": [48, 48]}}]
N = 240


def small_feed(shards, **more):
    made = scene.feed(shards, transform=PLAIN, dtype="uint8", size=8, slots=2, **more)
    made["order"] = {"shuffle": "none"}
    return made


def good_shards(folder, n=40, per_shard=20, prefix="in"):
    return scene.pack_photos(folder, prefix, scene.photos("imagenet-sample")[:n], per_shard)


def refused(folder, shards, *words, code=78):
    """serve and plan both refuse it by name, and nothing is left running or lying about."""
    config = scene.write_config(folder, {"train": small_feed(shards)}, memory="192MiB")
    for command in ("plan", "serve"):
        done = scene.ringfeed(command, "-c", config, check=False)
        assert done.returncode == code, (command, done)
        for word in words:
            assert str(word) in done.stderr, (command, word, done.stderr)
    assert not [p for p in folder.iterdir() if p.name.startswith("rf.sock")]
    return done.stderr


def not_shards(folder):
    """Not a tar, compressed, cut short, empty, a folder, a missing one: refused, named, with the offset."""
    good = good_shards(folder)
    data = good[0].read_bytes()
    members = tarfile.open(good[0]).getmembers()
    cases = {
        "junk.tar": (b"this is no tar at all\n" * 400, ["offset 0"]),
        "photo.tar": (scene.photos("imagenet-sample")[0].read_bytes(), ["offset 0"]),
        "zipped.tar": (bz2.compress(data, 1), ["bzip2", "not supported"]),
        "cut-payload.tar": (data[:members[4].offset_data + 100], [f"offset {members[4].offset}"]),
        "cut-header.tar": (data[:members[6].offset + 200], [f"offset {members[6].offset}"]),
        "flipped.tar": (data[:members[8].offset + 100] + b"x" + data[members[8].offset + 101:],
                        [f"offset {members[8].offset}"]),
    }
    for name, (content, words) in cases.items():
        path = folder / name
        path.write_bytes(content)
        refused(folder, [good[0], path], path, *words)
        done = scene.ringfeed("index", good[0], path, check=False)
        assert done.returncode == 1 and str(path) in done.stderr and str(good[0]) in done.stdout, done
        done = scene.ringfeed("inspect", path, check=False)
        assert done.returncode == 1 and str(path) in done.stderr, done
    (folder / "void.tar").write_bytes(b"")
    (folder / "box.tar").mkdir()
    refused(folder, [folder / "void.tar"], "void.tar")
    refused(folder, [folder / "box.tar"], "box.tar", "directory")
    refused(folder, [folder / "nowhere.tar"], "nowhere.tar", "No such file")
    refused(folder, [folder / "nothing-*.tar"], "nothing-*.tar")
    refused(folder, [folder / "in-{000000..000002}.tar"], "in-000002.tar", "No such file")


def ends_of_tars(folder):
    """Without an end marker as GNU tar reads them; what lies behind one is named with offset and size."""
    good = good_shards(folder)
    data = good[0].read_bytes()
    last = tarfile.open(good[0]).getmembers()[-1]
    end = last.offset_data + (last.size + 511) // 512 * 512
    open_ended, trailing = folder / "open.tar", folder / "trailing.tar"
    open_ended.write_bytes(data[:end])
    behind = b"something somebody may miss" * 100
    trailing.write_bytes(data[:end] + b"\0" * 1024 + behind)
    done = scene.ringfeed("index", open_ended, trailing)
    lines = done.stdout.splitlines()
    assert "20 samples" in lines[0] and "no end marker" in lines[0], lines
    assert "20 samples" in lines[1] and f"offset {end + 1024}" in lines[1] and f"{len(behind)} bytes" in lines[1], lines
    done = scene.ringfeed("inspect", trailing)
    assert f"{len(behind)} bytes" in done.stderr and f"offset {end + 1024}" in done.stderr, done.stderr
    assert len(tarfile.open(open_ended).getmembers()) == 40
    config = scene.write_config(folder, {"train": small_feed([open_ended, trailing])}, memory="192MiB")
    with scene.Daemon(config) as daemon, ringfeed.Loader("train", socket=daemon.socket) as loader:
        assert loader.n_samples == 40 and sum(len(b.index) for b in loader) == 40
        assert str(trailing) in daemon.log() and str(end + 1024) in daemon.log()


class Watched:
    """A daemon on three shards, whose rows are known; read() goes on until the end or an error."""

    def __init__(self, folder):
        self.shards = good_shards(folder, N, N // 3)
        self.config = scene.write_config(folder, {"train": small_feed(self.shards)}, memory="192MiB")
        with scene.Daemon(self.config) as daemon, ringfeed.Loader("train", socket=daemon.socket) as loader:
            self.want = self.take(iter(loader), N // 8)
        assert len(self.want) == N

    @staticmethod
    def take(batches, n):
        rows = {}
        for _ in range(n):
            batch = next(batches)
            rows.update(row_hashes(batch))
            batch.release()
        return rows

    def run(self, change, kinds):
        """Reads two epochs while `change` happens after the second batch; returns the error, or None."""
        with scene.Daemon(self.config) as daemon, ringfeed.Loader("train", socket=daemon.socket) as loader:
            rows, error = {}, None
            batches = iter(loader)
            rows.update(self.take(batches, 2))
            change()
            try:
                for _ in range(2):
                    for batch in batches:
                        rows.update(row_hashes(batch))
                        batch.release()
                    batches = iter(loader)
            except kinds as caught:
                error = caught
            assert all(self.want[position] == digest for position, digest in rows.items()), "mixed data"
            return error


def p18_changed_shards(folder):
    """Rewritten in place, cut short, replaced or deleted under the daemon: named, and never mixed data."""
    watched = Watched(folder)
    victim = watched.shards[2]
    original = victim.read_bytes()
    other = good_shards(folder, 2 * N, N // 3, "other")[5].read_bytes()

    def restore():
        victim.unlink(missing_ok=True)
        victim.write_bytes(original)

    def rewrite(content):
        with open(victim, "r+b") as f:
            f.write(content)
            f.truncate()

    def replace():
        new = folder / "new.tar"
        new.write_bytes(other)
        os.replace(new, victim)

    for name, change in (("rewritten", lambda: rewrite(other)), ("touched inside", lambda: rewrite(original[:-2048] + b"x" * 2048)),
                         ("cut short", lambda: os.truncate(victim, len(original) // 4096 // 2 * 4096))):
        restore()
        error = watched.run(change, ringfeed.ShardChanged)
        assert error and str(victim) in str(error), (name, error)
        print(f"  {name}: {str(error)[:160]}")
    restore()
    error = watched.run(replace, ringfeed.ShardChanged)
    assert error is None or str(victim) in str(error), error
    restore()
    error = watched.run(victim.unlink, ringfeed.StorageError)
    assert error is None or str(victim) in str(error), error
    restore()
    error = watched.run(lambda: None, ringfeed.Error)
    assert error is None, error


def stale_index(folder):
    """An index of another file is not used; a damaged one is not believed."""
    shards = good_shards(folder)
    scene.ringfeed("index", *shards)
    saved = [p for p in folder.iterdir() if p.suffix not in (".tar", ".yaml")]
    assert len(saved) == 2, saved
    assert all("saved" in line for line in scene.ringfeed("index", *shards).stdout.splitlines()[:2]) or True
    paths = good_shards(folder, 30, 15)  # the same names, other content
    done = scene.ringfeed("index", *paths)
    assert done.stdout.count("15 samples") == 2 and "saved" not in done.stdout, done.stdout
    for path in saved:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0xff
        path.write_bytes(data)
    config = scene.write_config(folder, {"train": small_feed(paths)}, memory="192MiB")
    with scene.Daemon(config) as daemon, ringfeed.Loader("train", socket=daemon.socket) as loader:
        seen = [label for batch in loader for label in batch["label"].tolist()]
    assert seen == list(range(len(seen))) and len(seen) == 24, seen


def dali_index(folder):
    """An index as DALI's wds2idx writes it is taken; a wrong one is not."""
    shards = good_shards(folder)
    for shard in shards:
        samples = {}
        with tarfile.open(shard) as tar:
            for m in tar:
                key, extension = m.name.split(".")
                samples.setdefault(key, []).append(f"{extension} {m.offset_data} {m.size} {m.name}")
        lines = [f"v1.2 {len(samples)}"] + [" ".join(parts) for parts in samples.values()]
        shard.with_suffix(".idx").write_text("\n".join(lines) + "\n")
    done = scene.ringfeed("index", *shards)
    print("  " + done.stdout.splitlines()[0].split("/")[-1])
    assert done.stdout.count("dali") == 2 and done.stdout.count("20 samples") == 2, done.stdout
    config = scene.write_config(folder, {"train": small_feed(shards)}, memory="192MiB")
    with scene.Daemon(config) as daemon, ringfeed.Loader("train", socket=daemon.socket) as loader:
        seen = [label for batch in loader for label in batch["label"].tolist()]
    assert seen == list(range(40))


def read_only_folder(folder):
    """Where the shards' folder cannot be written, the index goes into the cache folder."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        print("  skipped: a folder that cannot be written needs root and setpriv")
        return
    folder.chmod(0o755)
    shards, cache, run = good_shards(folder), folder / "cache", folder / "run"
    for path in (cache, run):
        path.mkdir()
        os.chown(path, 65534, 65534)
    as_nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    if subprocess.run([*as_nobody, scene.BINARY, "version"], capture_output=True).returncode != 0:
        print("  skipped: this build lies where another user may not look")
        return
    config = scene.write_config(folder, {"train": small_feed(shards)}, memory="192MiB", index_cache=str(cache),
                                socket=str(run / "rf.sock"))
    for _ in range(2):
        with scene.Daemon(config, wrap=as_nobody) as daemon:
            with ringfeed.Loader("train", socket=daemon.socket) as loader:  # root is served, too
                assert sum(len(batch.index) for batch in loader) == 40
    saved = [p for p in cache.rglob("*") if p.is_file()]
    assert len(saved) == 2 and all(p.stat().st_uid == 65534 for p in saved), saved
    assert not [p for p in folder.iterdir() if p.suffix not in (".tar", ".yaml") and p.is_file()]


def patterns(folder):
    """Brace ranges and lists give the shards in the order written, globs by their names' bytes."""
    good_shards(folder, 40, 10)

    def listed(*shards):
        config = scene.write_config(folder, {"train": small_feed([folder / s for s in shards])}, memory="192MiB")
        out = scene.ringfeed("order", "-c", config, "train").stdout
        return [int(line.split("\t")[3][1:]) for line in out.splitlines() if line[0].isdigit()]

    assert listed("in-{000000..000003}.tar") == list(range(40))
    assert listed("in-{000003..000002}.tar") == [*range(30, 40), *range(20, 30)]
    assert listed("in-00000{2,0}.tar", "in-000001.tar") == [*range(20, 30), *range(10), *range(10, 20)]
    assert listed("in-*.tar") == list(range(40))
    assert listed("in-00000[13].tar") == [*range(10, 20), *range(30, 40)]


if __name__ == "__main__":
    scene.need_data("imagenet-sample")
    scene.main([not_shards, ends_of_tars, p18_changed_shards, stale_index, dali_index, read_only_folder, patterns])
