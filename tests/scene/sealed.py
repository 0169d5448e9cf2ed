# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""daemon.sealed: who has got a slot, and runs as the daemon's own user, changes no byte of it, whatever he tries.

Without it the same attacker succeeds, in ways that are counted: that is what makes this a test.
"""
import hashlib
import mmap
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import warnings

import ringfeed
import scene
from clients_bad import Client
from scripted_daemon import unpack
from trainers import row_hashes

ATTACKER = os.environ["RINGFEED_ATTACKER"]
NOBODY = 65534


def as_user():
    """Command words that make a process an ordinary user's: nothing holds root."""
    if os.getuid():
        return ()
    if not shutil.which("setpriv"):
        print("skipped: this runs as root, and setpriv is not installed")
        sys.exit(77)
    return ("setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", "--inh-caps=-all")


def make_config(folder, is_sealed, share="independent"):
    folder.chmod(0o777)
    shards = scene.pack_photos(folder, "in", scene.photos("imagenet-sample")[:64], 32)
    scene.ringfeed("index", *shards)
    made = scene.feed(shards, size=8, slots=3, share=share)
    path = scene.write_config(folder, {"train": made}, memory="192MiB", sealed=is_sealed)
    path.chmod(0o644)
    return path


class Holder(Client):
    """A client that keeps the descriptors of its slots, and says which slot the first batch is in."""

    def take(self):
        self.greet()
        self.send("ATTACH", rank=0, world=1, local_world=1, feed=b"train", credit=1)
        self.slots, self.kinds = [], []
        while True:
            packet, fds, _, _ = socket.recv_fds(self.socket, 65536, 4)
            name, said = unpack(packet)
            self.kinds.append(name)
            if name == "SLOT":
                self.slots.append((fds[0], said["n_bytes"]))
            if name == "ATTACHED":
                self.is_shared = said["is_shared"]
            if name == "BATCH":
                return self.slots[said["slot"]]
            assert name in ("ATTACHED", "FIELD", "SLOT"), name


def digest(fd, n):
    with mmap.mmap(fd, n, prot=mmap.PROT_READ) as seen:
        return hashlib.sha256(seen).hexdigest()


def attack(folder, wrap, is_sealed):
    """Lines of the attacker, and whether the slot is as it was."""
    tool = folder / "attacker"
    shutil.copy(ATTACKER, tool)
    tool.chmod(0o755)
    with scene.Daemon(make_config(folder, is_sealed), wrap=wrap) as daemon, Holder(daemon) as holder:
        fd, n = holder.take()
        n = (n + 4095) & ~4095
        before, status = digest(fd, n), daemon.status()
        pids = [status["pid"]] + [w["pid"] for w in status["workers"]]
        children = pathlib.Path(f"/proc/{status['pid']}/task/{status['pid']}/children")
        if children.exists() and os.getuid() == 0:
            pids += map(int, children.read_text().split())
        if is_sealed:
            assert holder.is_shared == 1
        done = subprocess.run([*wrap, str(tool), str(n), *map(str, pids)], stdin=fd, capture_output=True, text=True,
                              timeout=60)
        assert done.returncode in (0, 3), (done.returncode, done.stderr, done.stdout)
        is_same = digest(fd, n) == before
        for fd, _ in holder.slots:
            os.close(fd)
    return done, is_same


def p03_attacker(folder):
    """Sealed: no way changes a byte. Not sealed: the ways that do."""
    wrap = as_user()
    done, is_same = attack(folder, wrap, False)
    ways = [line for line in done.stdout.splitlines() if line.endswith(": written")]
    print(f"  not sealed: {len(ways)} ways: " + ", ".join(sorted({line.split(':')[0] for line in ways})))
    assert done.returncode == 3 and not is_same
    assert {"mmap: written", "pwrite: written", "open again: written", "mprotect: written"} <= set(ways), done.stdout
    done, is_same = attack(folder, wrap, True)
    lines = [line for line in done.stdout.splitlines() if not line.startswith("--")]
    assert done.returncode == 0 and is_same, done.stdout
    assert all("not here" in line or not line.endswith("written") for line in lines), done.stdout
    print(f"  sealed: none of {len(lines)}: " + "; ".join(sorted(set(lines)))[:600])


def read(daemon, **more):
    with ringfeed.Loader("train", socket=daemon.socket, **more) as loader:
        rows = []
        for batch in loader:
            rows += row_hashes(batch)
            batch.release()
        return rows, loader.shared, loader.pinned, loader.pinned_reason


def p03_sealed_is_the_same(folder):
    """The same bytes, read-only everywhere, not pinned and why; the daemon knows its memory and CPU time as ever."""
    results = []
    for is_sealed in (False, True):
        with scene.Daemon(make_config(folder, is_sealed)) as daemon:
            rows, is_shared, _, _ = read(daemon)
            assert is_shared == is_sealed
            status = daemon.status()
            assert status["memory"]["resident_bytes"] > status["feeds"][0]["slot_bytes"], status["memory"]
            assert status["cpu_seconds"]["workers"] > 0
            results.append((rows, status["memory"]["resident_bytes"]))
            if not is_sealed:
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                _, _, is_pinned, reason = read(daemon, pin=True)
            assert not is_pinned and "daemon.sealed" in reason, reason
            print(f"  not pinned: {reason}")
            try:
                ringfeed.Loader("train", socket=daemon.socket, writable=True)
                raise AssertionError("writable=True on sealed slots")
            except ringfeed.BadConfig as error:
                assert "copy=True" in str(error)
    assert results[0][0] == results[1][0] and len(results[0][0]) == 64
    assert 0.9 < results[0][1] / results[1][1] < 1.1, results


if __name__ == "__main__":
    scene.need_data("imagenet-sample")
    scene.main([p03_attacker, p03_sealed_is_the_same])
