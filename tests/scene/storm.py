# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""A storm over every kind of group at once: storm.py [SEED]. Trainers are killed by -9 at any moment and started
again from the state they saved last, half of them leave a child that goes on reading; they are stopped and continued;
workers are killed, or stopped and continued; the daemon is killed and started again with other workers and the other engine.

Each trainer writes what it was given to a file of its own before it asks for more, and its state behind that, all or
every third batch; so what it gets again after a kill is exactly what was not covered by a state. In the end each file
is held, line by line, against the second implementation of proto/order.md and the rows of an undisturbed feed.

RINGFEED_SCENE_KILLS and RINGFEED_SCENE_RESTARTS say how often trainers and daemons are killed. They are spread over
rounds of some 200 and 40, each from the first batch on; the seed of a round is printed, and the argument repeats it."""
import collections
import contextlib
import json
import os
import pathlib
import random
import re
import select
import shutil
import signal
import sys
import tempfile
import time

import order_twin
import resume_tuples
import ringfeed
import scene
import undisturbed
from trainers import Trainer, row_hashes

KILLS = int(os.environ.get("RINGFEED_SCENE_KILLS", "200"))
RESTARTS = int(os.environ.get("RINGFEED_SCENE_RESTARTS", "50"))
A_ROUND = 200  # kills
CALM = 40  # kills of a round before the daemon dies for the first time, and after its last death
SIZE = 8
FEEDS = {"alone": ("drop", {}), "lockstep": ("short", {"share": "lockstep"}), "window": ("pad", {"share": {"window": 3}})}

# replica: None where the rank has none. every: batches between two states.
Member = collections.namedtuple("Member", "feed group world rank replica every")
MEMBERS = [
    Member("alone", "one", 1, 0, None, 1), Member("alone", "other", 1, 0, None, 3),
    Member("alone", "ddp", 2, 0, None, 1), Member("alone", "ddp", 2, 1, None, 1),
    Member("alone", "tp", 1, 0, 0, 1), Member("alone", "tp", 1, 0, 1, 3),
    Member("lockstep", "a", 1, 0, None, 1), Member("lockstep", "b", 1, 0, None, 3),
    Member("lockstep", "ddp", 2, 0, None, 1), Member("lockstep", "ddp", 2, 1, None, 3),
    Member("lockstep", "tp", 1, 0, 0, 1), Member("lockstep", "tp", 1, 0, 1, 1),
    Member("window", "a", 1, 0, None, 3), Member("window", "b", 1, 0, None, 1),
    Member("window", "ddp", 2, 0, None, 1), Member("window", "ddp", 2, 1, None, 1)]


def config_of(folder, shards, number):
    feeds = {name: undisturbed.feed(shards, slots=6, batch={"size": SIZE, "last": last}, **share)
             for name, (last, share) in FEEDS.items()}
    return scene.write_config(folder, feeds, memory="224MiB", workers=1 + number % 3, io=("uring", "threads")[number % 2])


# ---- a trainer ----

def saved_state(path, first):
    """The last state in the file. A line that the kill cut short, as it may at the end of a page, is no line."""
    state, text = first, path.read_text() if path.exists() else ""
    if text and not text.endswith("\n"):
        text = text[:text.rfind("\n") + 1]
        os.truncate(path, len(text))
    for line in text.splitlines():
        kind, rest = line.split(" ", 1)
        if kind == "S":
            state = {"version": 1, "token": rest}
    return state


def open_loader(member, socket, state, write):
    """Its place may be taken for a moment still, by itself."""
    deadline = time.monotonic() + scene.at_most(0.5)
    options = {} if member.replica is None else {"replica": member.replica}
    while True:
        try:
            return ringfeed.Loader(member.feed, socket=socket, group=member.group, rank=member.rank, state=state,
                                   world_size=member.world, local_world_size=member.world, timeout=120, **options)
        except ringfeed.Refused as error:
            if "is taken by" not in str(error) or time.monotonic() > deadline:
                raise
            write("T", "")
            time.sleep(0.005)


def read_on(held, before, children, parent):
    """A child that outlives its trainer and reads what that held."""
    n, is_same, left = 0, True, None
    while left is None or time.monotonic() < left:
        is_same = is_same and row_hashes(held) == before
        n += 1
        if left is None and os.getppid() != parent:
            left = time.monotonic() + random.random() * 0.15
        time.sleep(0.002)
    with open(children, "a") as f:
        f.write(f"{'same' if is_same else 'changed'} {n}\n")
    os._exit(0)


def training(member, path, folder, socket, first):
    """Work: goes on from the last state, until there is a file stop at the end of an epoch. After SIGUSR1 it holds its next
    batch for good, and has a child that does."""
    def work(say):
        wants_child = []
        signal.signal(signal.SIGUSR1, lambda *_: wants_child.append(True))
        log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

        def write(kind, what):
            os.write(log, f"{kind} {what}\n".encode())

        state, held = saved_state(path, first), []
        write("R", os.getpid())
        loader = open_loader(member, socket, state, write)
        say({"attached": True})
        while True:
            passes, n, batch = iter(loader), 0, None
            while True:
                try:
                    batch = next(passes, None)
                except ringfeed.PeerGone as gone:
                    write("P", f"{gone.rank} {gone.replica}")
                    continue
                if batch is None:
                    break
                rows = row_hashes(batch)
                write("B", json.dumps([batch.epoch, batch.step, [p for p, _ in rows], [h for _, h in rows]]))
                n += 1
                if wants_child and not held:
                    held.append(batch)
                    parent = os.getpid()
                    if os.fork() == 0:
                        read_on(batch, rows, folder / "children", parent)
                    say({"child": True})
                else:
                    batch.release()
                if n % member.every == 0:
                    write("S", loader.state_dict()["token"])
                time.sleep(0.002)
            write("S", loader.state_dict()["token"])
            if (folder / "stop").exists() and not held:
                break
        loader.close()
        write("E", "")
    return work


# ---- the storm ----

class Storm:
    """Trainers and their daemon, from the first batch to the last."""

    def __init__(self, folder, shards, rng):
        self.folder, self.shards, self.rng, self.number = folder, shards, rng, 0
        self.config = config_of(folder, shards, 0)
        self.first = {name: undisturbed.first_state(self.config, name) for name in FEEDS}
        self.daemon = scene.Daemon(self.config)
        self.trainers, self.heard, self.due = {}, {}, []  # due: (when, what to do)
        self.n_kills = self.n_restarts = self.n_children = self.n_stops = self.peak = 0
        self.n_workers_killed = self.n_workers_lost = self.n_workers_stopped = 0  # lost: by the daemon of now
        self.killed = collections.Counter()
        self.named = 0
        for member in MEMBERS:
            self.start(member)

    def path(self, member):
        return self.folder / f"{member.feed}-{member.group}-{member.rank}-{member.replica}.log"

    def start(self, member):
        self.trainers[member] = Trainer(training(member, self.path(member), self.folder, self.daemon.socket,
                                                 self.first[member.feed]))

    def wait(self, what, seconds=20.0):
        """While what is due is done."""
        def is_done():
            self.turn()
            return what()
        scene.wait_until(is_done, seconds)

    def has_attached(self, member):
        """In its present run."""
        return "attached" in self.said(self.trainers[member])

    def said(self, trainer):
        """What it has said so far: attached, child."""
        while b"\n" in trainer.rest or select.select([trainer.pipe], [], [], 0)[0]:
            line = trainer.hear()
            assert line and "error" not in line, line
            self.heard.setdefault(trainer, set()).update(line)
        return self.heard.get(trainer, ())

    def later(self, seconds, what):
        self.due.append((time.monotonic() + seconds, what))

    def turn(self, seconds=0.0):
        """Does what is due until then; a trainer that ended by itself is a failure."""
        until = time.monotonic() + seconds
        while True:
            now = time.monotonic()
            for entry in [e for e in self.due if e[0] <= now]:
                self.due.remove(entry)
                entry[1]()
            if now >= until:
                return
            time.sleep(0.003)

    def settle(self):
        while self.due:
            self.turn(0.01)

    def running(self):
        return [m for m, t in self.trainers.items() if t is not None]

    def check_running(self):
        for member in self.running():
            trainer = self.trainers[member]
            pid, _ = os.waitpid(trainer.pid, os.WNOHANG)
            if pid:
                trainer.code = 1
                raise AssertionError(f"{member} ended by itself: {trainer.all()}\n{self.daemon.log()[-2000:]}")

    def have_child(self, trainer):
        """It holds a batch from now on, and so does a child."""
        self.wait(lambda: "attached" in self.said(trainer))
        trainer.signal(signal.SIGUSR1)
        self.wait(lambda: "child" in self.said(trainer))
        self.n_children += 1

    def kill(self, is_calm):
        member = self.rng.choice(self.running())
        trainer = self.trainers[member]
        if is_calm:  # neither it nor anybody of its group is on the way back
            self.settle()
            self.wait(lambda: all(self.has_attached(m) for m in [member, *self.peers(member)]))
        if self.n_kills % 2:
            self.have_child(trainer)
        self.turn(self.rng.random() * 0.03)
        before = {peer: self.path(peer).stat().st_size for peer in self.peers(member) if self.has_attached(peer)}
        trainer.kill()
        trainer.__exit__()
        self.trainers[member] = None
        self.n_kills += 1
        self.killed[member] += 1
        return member, before

    def peers(self, member):
        """Who is told of its death."""
        return [] if member.feed == "alone" else [m for m in self.running() if m != member and m[:2] == member[:2]]

    def again(self, member):
        self.later(self.rng.random() * 0.2, lambda: self.start(member))

    def wait_named(self, member, before):
        """Its peers hear of it by its number before it is back."""
        name = f"P {member.rank} {member.replica or 0}"

        def is_told(peer):
            with open(self.path(peer)) as f:
                f.seek(before[peer])
                return name in f.read().splitlines()
        for peer in before:
            self.wait(lambda peer=peer: is_told(peer))
            self.named += 1

    def stop(self):
        """A trainer stands still for a while."""
        trainer = self.trainers[self.rng.choice(self.running())]
        trainer.signal(signal.SIGSTOP)
        self.n_stops += 1
        self.later(0.02 + self.rng.random() * 0.1, lambda: trainer.code is None and trainer.signal(signal.SIGCONT))

    def harm_worker(self):
        """One of them dies, or stands still for a while."""
        pid = self.rng.choice(ringfeed.status(self.daemon.socket)["workers"])["pid"]
        if not pid:  # it has just died, and is not back yet
            return
        if self.n_workers_stopped <= self.n_workers_killed:
            os.kill(pid, signal.SIGSTOP)
            self.n_workers_stopped += 1
            self.later(0.02 + self.rng.random() * 0.1, lambda: end_stop(pid))
            return
        os.kill(pid, signal.SIGKILL)
        self.n_workers_killed += 1
        self.n_workers_lost += 1

    def restart(self):
        self.look()
        self.n_workers_lost = 0
        self.daemon.kill()
        self.number += 1
        self.n_restarts += 1
        self.daemon = scene.Daemon(config_of(self.folder, self.shards, self.number))

    def look(self):
        """Memory and arithmetic of the daemon as it is."""
        status = ringfeed.status(self.daemon.socket)
        self.peak = max(self.peak, status["memory"]["peak_bytes"])
        assert status["memory"]["peak_bytes"] <= status["memory"]["budget_bytes"], status["memory"]
        assert status["reads"]["worker_deaths"] <= self.n_workers_lost, (status["reads"], self.n_workers_lost)
        for feed in status["feeds"]:
            s = feed["slots"]
            assert s["free"] + s["filling"] + s["ready"] + s["leased"] + s["quarantined"] == s["all"], s
            assert feed["bad_samples"] == {} and feed["delivered"] == feed["due"], feed

    def rage(self, n_kills, n_restarts):
        """So many deaths of trainers, and of the daemon in the middle of them."""
        events = ["restart"] * n_restarts + ["kill"] * max(0, n_kills - 2 * CALM)
        self.rng.shuffle(events)
        for number, event in enumerate(["calm"] * CALM + events + ["kill"] * CALM):
            self.check_running()
            if event == "restart":
                self.restart()
            else:
                member, before = self.kill(event == "calm")
                if event == "calm":
                    self.wait_named(member, before)
                self.again(member)
            if number % 5 == 0:
                self.stop()
            if number % 8 == 0:  # never twice on the same sample, which would be a bad one
                self.harm_worker()
            self.turn(self.rng.random() * 0.25)
        self.settle()

    def end(self):
        (self.folder / "stop").touch()
        for member in MEMBERS:
            trainer = self.trainers[member]
            heard = trainer.all(120)
            assert trainer.wait() == 0, (member, heard)
            trainer.__exit__()

    def leave(self):
        for trainer in self.trainers.values():
            if trainer is not None and trainer.code is None:
                trainer.__exit__()
        self.daemon.stop()


def end_stop(pid):
    with contextlib.suppress(ProcessLookupError):  # its daemon was killed meanwhile
        os.kill(pid, signal.SIGCONT)


def fds(daemon):
    """What the daemon has open, by kind, once the connections that asked for its status are closed."""
    scene.wait_until(lambda: "pidfd" not in " ".join(open_files(daemon)))
    return open_files(daemon)


def open_files(daemon):
    found = collections.Counter()
    for path in pathlib.Path(f"/proc/{daemon.process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if path.name == "2":
                continue  # a log of its own
            found[re.sub(r".*/|\[\d+\]| .*", "", os.readlink(path))] += 1
    return found


def assert_clean(storm, shm):
    """No slot, name, descriptor or process is left over from all that."""
    scene.wait_until(lambda: all(f["slots"]["free"] == f["slots"]["all"] and not f["groups"]
                                 for f in ringfeed.status(storm.daemon.socket)["feeds"]))
    storm.look()
    left = fds(storm.daemon)
    storm.daemon.stop()
    with scene.Daemon(config_of(storm.folder, storm.shards, storm.number)) as fresh:
        for feed in FEEDS:  # shards are opened when they are first read
            with ringfeed.Loader(feed, socket=fresh.socket) as loader:
                assert sum(1 for _ in loader) > 0
        scene.wait_until(lambda: ringfeed.status(fresh.socket)["sessions"] == 0)
        assert left == fds(fresh), (left, fds(fresh))
    assert set(os.listdir("/dev/shm")) <= shm, set(os.listdir("/dev/shm")) - shm


# ---- what they were given ----

def judge(member, path, rows):
    """Its file, line by line. (batches, of them again, runs, places that were taken, peers)."""
    lines = [line.split(" ", 1) for line in path.read_text().splitlines()]
    plan = undisturbed.batches(SIZE, member.world, member.rank, FEEDS[member.feed][0])
    last = max(json.loads(rest)[0] for kind, rest in lines if kind == "B")
    rows.read_to(last + 1)
    due = [[epoch, j, positions, rows.of(epoch, positions)] for epoch in range(last + 1)
           for j, positions in enumerate(plan)]
    at = saved = furthest = n_again = 0
    count = collections.Counter(kind for kind, _ in lines)
    for number, (kind, rest) in enumerate(lines, 1):
        if kind == "R":
            at = saved
        elif kind == "B":
            got = json.loads(rest)
            assert got == due[at], f"{path.name}:{number}: {got[:3]} came, {due[at][:3]} was due"
            n_again += at < furthest
            at += 1
            furthest = max(furthest, at)
        elif kind == "S":
            token = order_twin.token_parse(rest)
            epoch, j = divmod(at, len(plan))
            assert (token["epoch"], token["position"]) == (epoch, j * SIZE * member.world), f"{path.name}:{number}"
            saved = at
    assert lines[-1][0] == "E" and at == len(due) == furthest, f"{path.name}: {at} of {len(due)} batches at the end"
    return collections.Counter(batches=count["B"], again=n_again, runs=count["R"], taken=count["T"], told=count["P"])


def judge_all(storm, rows):
    total = collections.Counter()
    for member in MEMBERS:
        path = storm.path(member)
        found = judge(member, path, rows)
        assert 0 < found["runs"] <= storm.killed[member] + 1, (member, found)  # some die before they say so
        total += found
        told = collections.Counter(line for line in path.read_text().splitlines() if line.startswith("P "))
        peers = {f"P {m.rank} {m.replica or 0}": storm.killed[m] for m in MEMBERS if m != member and m[:2] == member[:2]}
        assert member.feed != "alone" or not told
        assert all(n <= peers.get(name, 0) for name, n in told.items()), (member, told, peers)
    children = (storm.folder / "children").read_text().splitlines()
    assert len(children) == storm.n_children and all(line.startswith("same ") for line in children), children
    return total


def storm_once(folder, shards, rows, seed, n_kills, n_restarts):
    shm, began = set(os.listdir("/dev/shm")), time.monotonic()
    storm = Storm(folder, shards, random.Random(seed))
    try:
        storm.wait(lambda: all(storm.has_attached(member) for member in MEMBERS))
        storm.rage(n_kills, n_restarts)
        storm.end()
        assert_clean(storm, shm)
    finally:
        storm.leave()
    spent = time.monotonic() - began
    total = judge_all(storm, rows)
    print(f"  seed {seed}: {storm.n_kills} trainers killed, {storm.n_children} with a live child, {storm.n_stops} stopped, "
          f"{storm.n_workers_killed} workers killed and {storm.n_workers_stopped} stopped, {storm.n_restarts} daemons killed in {spent:.0f} s; {total['batches']} batches of {len(MEMBERS)} trainers, "
          f"{total['again']} of them again behind their state, none other; {total['told']} times PeerGone "
          f"({storm.named} awaited by name); {total['taken']} waits for a place; peak {storm.peak / 1e6:.0f} MB", flush=True)
    return storm


@contextlib.contextmanager
def kept_on_failure(folder):
    """What trainers wrote says more than the line that failed."""
    try:
        yield
    except BaseException:
        kept = tempfile.mkdtemp(prefix="rf-storm-")
        for path in folder.glob("*.log"):
            shutil.copy(path, kept)
        print(f"  what trainers were given is in {kept}", flush=True)
        raise


def p01_p09_p10_kill_storm(folder):
    shards = resume_tuples.pack(folder)
    rows = undisturbed.Rows(folder / "quiet", shards)
    n_rounds = max(1, KILLS // A_ROUND)
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else int.from_bytes(os.urandom(4), "little")
    for number in range(n_rounds):
        part = folder / f"round{number}"
        part.mkdir()
        print(f"  seed {seed + number}", flush=True)
        with kept_on_failure(part):
            storm_once(part, shards, rows, seed + number, KILLS // n_rounds + (number < KILLS % n_rounds),
                       RESTARTS // n_rounds + (number < RESTARTS % n_rounds))
        shutil.rmtree(part)


if __name__ == "__main__":
    scene.main([p01_p09_p10_kill_storm])
