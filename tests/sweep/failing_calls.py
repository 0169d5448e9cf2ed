# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""One call fails, once or from then on, at every site that a run reaches: failing_calls.py [all | ROLE FUNCTION].

First a run is listened to: a daemon with a plain and two compressed shards, two trainers for an epoch, status, SIGHUP,
a resume in mid-epoch, SIGTERM, with either engine. Then it is repeated for each site (failing.c says what that is),
in the daemon's core, clean parent and workers, and in the client's library. Whatever fails: nobody crashes or hangs;
who ends early says why, a trainer by name; what was delivered is what an undisturbed run delivers; no process and no
name stays, and the next daemon takes the socket over.

Without an argument a slice of the sites, chosen by the commit, for SWEEP_SECONDS (100)."""
import collections
import concurrent.futures
import contextlib
import ctypes
import gzip
import io
import json
import os
import pathlib
import random
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from PIL import Image

import order_twin
import scene
from commit import commit_hash

SHIM, TRAINER = os.environ["RINGFEED_SWEEP_SHIM"], os.environ["RINGFEED_SWEEP_TRAINER"]
LIBRARY = os.environ["RINGFEED_LIBRARY"]
SECONDS = float(os.environ.get("SWEEP_SECONDS", "100"))
ROLES = {"core": 0, "parent": 1, "worker": 2, "client": 0}
N, PER_SHARD, SIZE, SEED, BAD = 40, 10, 4, 42, 7

Site = collections.namedtuple("Site", "side role function key at io")


# ---- the run ----

def make_shards(folder):
    """Small photos; one of the plain ones is damaged."""
    members = []
    for i, path in enumerate(scene.photos("imagenet-sample")[:N]):
        with Image.open(path) as image:
            out = io.BytesIO()
            image.convert("RGB").resize((48, 40)).save(out, ("JPEG", "PNG")[i % 2])
        members.append([(("jpg", "png")[i % 2], out.getvalue()), ("cls", b"%d" % i)])
    plain = [list(sample) for sample in members]
    plain[BAD][0] = ("png", b"no image at all")
    shards = {"plain": scene.pack(folder, "plain", plain, PER_SHARD), "packed": []}
    for i, path in enumerate(scene.pack(folder, "packed", members, PER_SHARD)):
        if i % 2:
            to = path.with_suffix(".tar.gz")
            to.write_bytes(gzip.compress(path.read_bytes()))
        else:
            to = path.with_suffix(".tar.zst")
            subprocess.run(["zstd", "-q", str(path), "-o", str(to)], check=True, timeout=30)
        path.unlink()
        shards["packed"].append(to)
    return shards


class Place:
    """A folder with shards of its own, where one run at a time takes place."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "ledger").mkdir(parents=True)
        (folder / "cache").mkdir()
        self.shards = make_shards(folder)
        self.socket, self.notify = str(folder / "rf.sock"), str(folder / "notify")
        self.configs = {}
        for engine in ("uring", "threads"):
            feeds = {name: scene.feed(shards, transform=[{"random_resized_crop": {"size": 16}}], dtype="uint8", slots=4,
                                      batch={"size": SIZE, "last": "short"}, order={"shuffle": "full", "seed": SEED},
                                      bad_samples={"policy": "mask", "limit": "50%"})
                     for name, shards in self.shards.items()}
            self.configs[engine] = scene.write_config(folder, feeds, memory="192MiB", workers=2, io=engine,
                                                      socket=self.socket, ledger=str(folder / "ledger"),
                                                      index_cache=str(folder / "cache"))

    def listen(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.notify)
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        made.bind(self.notify)
        return made

    def clear(self):
        """As before the first run, but for the socket."""
        for path in (self.folder / "cache").iterdir():
            path.unlink()
        for path in self.folder.glob("*.log"):
            path.unlink()
        for path in (self.folder / "ledger").iterdir():
            path.unlink()


class Trainer:
    def __init__(self, place, feed, group, token=None, env=None):
        arguments = [TRAINER, place.socket, feed, group] + ([token] if token else [])
        self.name = f"trainer of {feed}"
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                        cwd=place.folder, env={**os.environ, **(env or {})})

    def end(self):
        """(exit code or None after too long, what it said)."""
        try:
            said, _ = self.process.communicate(timeout=25)
            return self.process.returncode, said.splitlines()
        except subprocess.TimeoutExpired:
            self.process.kill()
            said, _ = self.process.communicate()
            return None, said.splitlines()


class Run:
    """One run; faults holds what went wrong that must not."""

    def __init__(self, place, engine, want, daemon_env=None, client_env=None, is_once=True, is_log_lost=False):
        self.place, self.want, self.is_once, self.faults, self.rows = place, want, is_once, [], {}
        self.is_log_lost = is_log_lost
        self.ends, self.client_env = [], client_env or {}
        place.clear()
        self.path = place.folder / "daemon.log"
        self.news = place.listen()
        with open(self.path, "w") as errors:
            self.daemon = subprocess.Popen([scene.BINARY, "serve", "-c", str(place.configs[engine])], stderr=errors,
                                           cwd=place.folder, env={**os.environ, "NOTIFY_SOCKET": place.notify,
                                                                  **(daemon_env or {})})
            KNOWN.add(self.daemon.pid)
        try:
            self.play()
        finally:
            if self.daemon.poll() is None:
                self.daemon.kill()
                self.daemon.wait()
            KNOWN.discard(self.daemon.pid)
            self.news.close()
        self.left_over()

    def log(self):
        return self.path.read_text(errors="replace")

    def is_ready(self):
        """As systemd hears it, for the log may be what fails; or by the log, for that may fail."""
        return bool(select.select([self.news], [], [], 0)[0]) or "ready on" in self.log()

    def play(self):
        deadline = time.monotonic() + 20
        while not self.is_ready() and self.daemon.poll() is None:
            if time.monotonic() > deadline:
                self.fault("the daemon hangs at its start")
                break
            time.sleep(0.005)
        else:
            if self.is_ready():
                self.train()
        if self.daemon.poll() is None:
            self.daemon.send_signal(signal.SIGTERM)
        self.end()

    def train(self):
        first = [Trainer(self.place, feed, "a", env=self.client_env) for feed in ("plain", "packed")]
        self.daemon.send_signal(signal.SIGHUP)
        self.check(Trainer(self.place, "status", "", env=self.client_env), None)
        said = [self.check(trainer, feed) for trainer, feed in zip(first, ("plain", "packed"))]
        tokens = [line.split(" ", 1)[1] for line in said[0] if line.startswith("token ")]
        if tokens:
            self.check(Trainer(self.place, "plain", "b", tokens[len(tokens) // 2], env=self.client_env), "plain",
                       len(tokens) // 2 + 1)
        self.check(Trainer(self.place, "status", "", env=self.client_env), None)

    def check(self, trainer, feed, n_before=0):
        """A trainer's end and what it got; n_before: batches that a token covered."""
        code, said = trainer.end()
        rows = {}
        for line in said:
            if line.startswith("row "):
                _, epoch, position, index, valid, digest = line.split()
                rows[feed, int(epoch), int(position)] = (int(index), int(valid), digest)
        self.rows.update(rows)
        error = next((line for line in said if line.startswith("error ")), "")
        self.ends.append(f"{trainer.name}: {code} {error}")
        if code is None:
            self.fault(f"{trainer.name} hangs")
        elif code not in (0, 3):
            self.fault(f"{trainer.name} ended with {code}: {said[-3:]}")
        elif code == 3 and not re.match(r"error [A-Z]\w+: .{10}", error):
            self.fault(f"{trainer.name}: no sentence: {said[-1:]}")
        elif code == 3 and self.is_once and re.match("error (Timeout|Late|Stalled)", error):
            self.fault(f"one failure, and {trainer.name} waits for ever: {error}")
        if self.want is not None:
            for key, row in rows.items():
                if row != self.want.get(key):
                    self.fault(f"{trainer.name}: row {key} is {row}, not {self.want.get(key)}")
                    break
            if code == 0 and feed and len(rows) != N - n_before * SIZE:
                self.fault(f"{trainer.name}: {len(rows)} rows of an epoch")
        return said

    def end(self):
        try:
            code = self.daemon.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.fault("the daemon does not end on SIGTERM")
            return
        log = self.log()
        self.ends.append(f"daemon: {code}")
        if code < 0 or code not in (0, 1, 78):
            self.fault(f"the daemon ended with {code}")
        elif code and not self.is_log_lost and not re.search(r"\w+: .*\w{3}", log.splitlines()[-1] if log else ""):
            self.fault(f"the daemon ended with {code} and does not say why")
        if re.search(r"Assertion|AddressSanitizer|runtime error", log):
            self.fault("an assertion")
        if "SIGSEGV" in log or "Segmentation" in log or "Aborted" in log or "(Bus error)" in log:
            self.fault("a worker crashed")
        if "(Bad system call)" in log:
            self.fault("a call that a worker may not make")

    def left_over(self):
        """Processes of this run that outlived the daemon by two seconds."""
        deadline = time.monotonic() + 2
        while left := children_in(self.place.folder):
            if time.monotonic() > deadline:
                self.fault(f"processes stay: {left}")
                for pid in left:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                return
            time.sleep(0.005)

    def fault(self, what):
        if what not in self.faults:
            self.faults.append(what)


def children_in(folder):
    """Children of ours (orphans come to us) that live in that folder."""
    found = []
    for path in pathlib.Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for pid in path.read_text().split():
                with contextlib.suppress(OSError):
                    if os.readlink(f"/proc/{pid}/cwd") == str(folder):
                        found.append(int(pid))
                    elif pathlib.Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] == "Z":
                        reap(int(pid))
    return found


def reap(pid):
    """An orphan that has ended; those that subprocess waits for are left to it."""
    with contextlib.suppress(OSError):
        if "ringfeed" in pathlib.Path(f"/proc/{pid}/comm").read_text() and pid not in KNOWN:
            os.waitpid(pid, os.WNOHANG)


KNOWN = set()  # daemons that Run waits for itself


# ---- sites ----

def env_of(side, **more):
    program = "/ringfeed" if side == "daemon" else os.path.basename(os.path.realpath(LIBRARY))
    return {"LD_PRELOAD": SHIM, "SWEEP_PROGRAM": program, **{f"SWEEP_{k.upper()}": str(v) for k, v in more.items()}}


class Told:
    """What the library tells through memory (failing.c)."""

    def __init__(self, place):
        self.path = place.folder / "told"
        self.path.write_bytes(bytes(1 << 20))

    def lines(self):
        data = self.path.read_bytes()
        return data[8:8 + int.from_bytes(data[:8], sys.byteorder)].decode().splitlines()


def enumerate_sites(place, want):
    """Every site of both sides, each with the first engine under which it was reached."""
    sites = {}
    for engine in ("uring", "threads"):
        for side in ("daemon", "client"):
            told = Told(place)
            run = Run(place, engine, want, **{f"{side}_env": env_of(side, told=told.path)})
            assert not run.faults, (run.faults, run.log())
            for line in told.lines():
                _, role, function, key, at = line.split()
                site = Site(side, int(role), function, key, at, engine)
                sites.setdefault((side, role, key), site)
    return sorted(sites.values())


def sweep_one(place, want, site, how):
    told = Told(place)
    env = env_of(site.side, fail=f"{site.role} {site.key} {how}", told=told.path)
    run = Run(place, site.io, want, is_once=how == "once",
              is_log_lost=site.function in ("write", "pwritev2"), **{f"{site.side}_env": env})
    return run, bool(told.lines())


def where(site):
    """Functions and lines, where the build has them."""
    binary = scene.BINARY if site.side == "daemon" else LIBRARY
    with contextlib.suppress(FileNotFoundError):
        done = subprocess.run(["addr2line", "-fse", binary, *(hex(int(a, 16) - 1) for a in site.at.split(",") if a != "0")],
                              capture_output=True, text=True, timeout=30)
        return " < ".join(done.stdout.split("\n")[0:-1:2])
    return site.at


def role_name(site):
    return "client" if site.side == "client" else ["core", "parent", "worker"][min(site.role, 2)]


def chosen(sites):
    """All of (site, how), in the order of this commit."""
    commit = commit_hash()
    todo = [(site, how) for site in sites for how in ("once", "forever")]
    random.Random(commit).shuffle(todo)
    print(f"  the slice of commit {commit[:12]}", flush=True)
    return todo


class Sweep:
    """Works through the list with a few places side by side."""

    def __init__(self, folder, n_places):
        self.places = [Place(folder / f"p{i}") for i in range(n_places)]
        self.free, self.lock = list(self.places), threading.Lock()
        self.counts = collections.Counter()
        self.found, self.n_missed = [], 0

    def undisturbed(self):
        """What is due, held against the order's second implementation."""
        run = Run(self.places[0], "threads", None)
        assert not run.faults, run.faults
        order = order_twin.Order([PER_SHARD] * (N // PER_SHARD), "full", SEED, 0)
        for (feed, epoch, position), (index, valid, _) in run.rows.items():
            assert epoch == 0 and index == order.sample(position), (feed, position, index)
            assert valid == (feed != "plain" or index != BAD)
        assert len(run.rows) == 2 * N
        return run.rows

    def one(self, want, site, how):
        with self.lock:
            place = self.free.pop()
        try:
            run, is_reached = sweep_one(place, want, site, how)
            if run.faults:  # what else the machine did is no finding: it must happen again
                again, _ = sweep_one(place, want, site, how)
                run.faults = again.faults and run.faults
            log = run.log()
        finally:
            with self.lock:
                self.free.append(place)
        with self.lock:
            self.counts[role_name(site), site.function, how] += 1
            self.n_missed += not is_reached
            if run.faults:
                self.counts[role_name(site), site.function, "found"] += 1
                self.found.append((site, how, run.faults))
                print(f"  FOUND {role_name(site)} {site.function} {how} ({site.io}) at {where(site)}: {run.faults}\n"
                      f"    {run.ends}\n    " + "\n    ".join(log.splitlines()[-3:]), flush=True)

    def work(self, want, todo, seconds):
        began = told = time.monotonic()
        todo, n = collections.deque(todo), len(todo)
        with concurrent.futures.ThreadPoolExecutor(len(self.places)) as pool:
            pending = set()
            while todo or pending:
                while todo and len(pending) < len(self.places) and time.monotonic() - began < seconds:
                    pending.add(pool.submit(self.one, want, *todo.popleft()))
                if not pending:
                    break
                done, pending = concurrent.futures.wait(pending, return_when=concurrent.futures.FIRST_COMPLETED)
                for future in done:
                    future.result()
                if time.monotonic() - told > 30:
                    told = time.monotonic()
                    print(f"  {n - len(todo)} of {n}, {told - began:.0f} s, {len(self.found)} found", flush=True)
        return n - len(todo)

    def table(self, sites):
        all_sites = collections.Counter((role_name(s), s.function) for s in sites)
        print(f"  {'where':8}{'function':18}{'sites':>6}{'once':>6}{'for good':>10}{'found':>7}")
        for (role, function), n in sorted(all_sites.items()):
            once, forever, found = (self.counts[role, function, what] for what in ("once", "forever", "found"))
            print(f"  {role:8}{function:18}{n:6}{once:6}{forever:10}{found:7}")


def failing_calls(folder):
    arguments = sys.argv[1:]
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    before = set(os.listdir("/dev/shm"))
    sweep = Sweep(folder, 3)
    want = sweep.undisturbed()
    sites = enumerate_sites(sweep.places[0], want)
    todo, seconds = chosen(sites), SECONDS
    if arguments:
        seconds = float("inf")
    if len(arguments) == 2:
        todo = [(s, how) for s, how in todo if arguments[0] == role_name(s) and re.fullmatch(arguments[1], s.function)]
    n = sweep.work(want, todo, seconds)
    sweep.table(sites)
    print(f"  {len(sites)} sites; {n} of {2 * len(sites)} failures tried, {sweep.n_missed} not reached again; "
          f"{len(sweep.found)} findings")
    left = [name for name in set(os.listdir("/dev/shm")) - before if "ringfeed" in name]
    assert not left, left
    assert not sweep.found
    assert sweep.n_missed <= n // 10


if __name__ == "__main__":
    if "asan" in os.environ.get("RINGFEED_SANITIZE", ""):
        print("skipped: a sanitizer's malloc comes before that which fails")
        sys.exit(77)
    scene.need_data("imagenet-sample")
    scene.main([failing_calls])
