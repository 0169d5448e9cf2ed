# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""The daemon is restarted under running trainers (SIGTERM, then another one with other workers on the same socket):
they wait a moment, and that is all they notice; what they held stays, everything else of the old daemon goes first."""
import json
import os
import pathlib
import re
import threading
import time

import resume_tuples
import ringfeed
import scene
import undisturbed
from trainers import Trainer, row_hashes, rows_of

RESTARTS = 5
SIZE = 8
N_READ = 6  # the three that were sent before the restart are taken before it is seen
FAR = 400  # batches; more than a new trainer may be behind


def config_of(folder, shards, number, **feed):
    """Each daemon has other workers than the one before."""
    feeds = {"train": undisturbed.feed(shards, slots=4, batch={"size": SIZE, "last": "short"}, **feed)}
    return scene.write_config(folder, feeds, memory="192MiB", workers=1 + number % 3)


def playing(stop, pause=0.003, nap=None, **options):
    """Work: reads whole epochs until there is a file of that name; says rows, and how long its longest wait was.
    While there is a file nap, it is busy with something else, and says so."""
    def work(say):
        longest = 0.0
        with ringfeed.Loader("train", **options) as loader:
            say({"pid": os.getpid()})
            while not stop.exists():
                began = time.monotonic()
                for batch in loader:
                    now = time.monotonic()
                    longest = max(longest, now - began)
                    say({"epoch": batch.epoch, "at": now, "rows": row_hashes(batch)})
                    batch.release()
                    if nap is not None and nap.exists():
                        say({"busy": True})
                        scene.wait_until(lambda: not nap.exists(), 120)
                    time.sleep(pause)
                    began = time.monotonic()
        say({"longest": longest})
    return work


def assert_whole(heard, rows, world, rank, who):
    """Every epoch that it read is there, in order and once."""
    assert not [said for said in heard if "error" in said], (who, heard[-1])
    got = rows_of(heard)
    last = max(epoch for epoch, _ in got)
    rows.read_to(last + 1)
    due = [(epoch, p) for epoch in range(last + 1)
           for batch in undisturbed.batches(SIZE, world, rank, "short") for p in batch]
    assert list(got) == due, f"{who}: other rows than due"
    assert list(got.values()) == [rows.epochs[epoch][p] for epoch, p in due], f"{who}: other bytes"


def played(folder, shards, rows, name, trainers, **feed):
    """Four trainers, each a dict of options, under five restarts."""
    stop = folder / f"stop-{name}"
    config = config_of(folder, shards, 0, **feed)
    state = undisturbed.first_state(config, "train")  # without one, who comes to a shared pass begins where it is
    daemon = scene.Daemon(config)
    started = [Trainer(playing(stop, socket=daemon.socket, state=state, **options)) for options in trainers]
    heard = [[] for _ in trainers]
    spent = []

    def hear(n):
        for trainer, said in zip(started, heard):
            for _ in range(n):
                said.append(trainer.hear())
                assert said[-1] and "error" not in said[-1], (name, said[-1])

    try:
        hear(6)
        for number in range(1, RESTARTS + 1):
            began = time.monotonic()
            assert daemon.stop() == 0
            daemon = scene.Daemon(config_of(folder, shards, number, **feed))
            spent.append(time.monotonic() - began)
            hear(60)
        stop.touch()
        for trainer, said in zip(started, heard):
            said += trainer.all()
            assert trainer.wait() == 0, said[-1]
        free = daemon.slots("train")
        assert free["free"] == free["all"], free
    finally:
        for trainer in started:
            trainer.__exit__()
        daemon.stop()
    for options, said in zip(trainers, heard):
        assert_whole(said, rows, options.get("world_size", 1), options.get("rank", 0), (name, options))
    longest = max(said["longest"] for each in heard for said in each if "longest" in said)
    n = sum(len(each) for each in heard)
    print(f"  {name}: {RESTARTS} restarts, {n} batches, each once; the longest pause {longest * 1000:.0f} ms "
          f"(the daemon away for {max(spent) * 1000:.0f} ms)", flush=True)


def p09_restart_is_a_pause(folder):
    """Four trainers in every kind of group see a pause and nothing else."""
    shards = resume_tuples.pack(folder)
    rows = undisturbed.Rows(folder / "quiet", shards)
    four = range(4)
    groups = [{"group": f"model{i}"} for i in four]
    ranks = [{"group": "ddp", "rank": i, "world_size": 4, "local_world_size": 4} for i in four]
    replicas = [{"group": "tp", "rank": 0, "world_size": 1, "local_world_size": 1, "replica": i} for i in four]
    played(folder, shards, rows, "4 independent groups", [{} for _ in four])
    played(folder, shards, rows, "4 groups in lock-step", groups, share="lockstep")
    played(folder, shards, rows, "4 groups up to 3 batches apart", groups, share={"window": 3})
    played(folder, shards, rows, "a group of world 4", ranks)
    played(folder, shards, rows, "a group of world 4 in lock-step", ranks, share="lockstep")
    played(folder, shards, rows, "4 replicas of a rank", replicas)
    played(folder, shards, rows, "4 replicas of a rank in lock-step", replicas, share="lockstep")


def listen(trainer, heard):
    while (said := trainer.hear()) is not None:
        heard.append(said)


def left_behind(folder, shards, rows, world):
    """The last of four groups in lock-step is busy, and has batches of its own where its world is not 1."""
    folder.mkdir()
    stop, nap = folder / "stop", folder / "nap"
    config = config_of(folder, shards, 1, share="lockstep")
    state = undisturbed.first_state(config, "train")
    daemon = scene.Daemon(config)
    trainers = [Trainer(playing(stop, 0, nap if i == 3 else None, socket=daemon.socket, group=f"model{i}", state=state,
                                rank=0, world_size=world if i == 3 else 1)) for i in range(4)]
    heard = [[] for _ in trainers]
    listeners = [threading.Thread(target=listen, args=both, daemon=True) for both in zip(trainers, heard)]
    for listener in listeners:
        listener.start()
    scene.wait_until(lambda: all(len(each) > 20 for each in heard))
    nap.touch()
    scene.wait_until(lambda: "busy" in heard[3][-1])
    daemon.kill()
    at = [len(each) for each in heard]
    daemon = scene.Daemon(config_of(folder, shards, 2, share="lockstep"))
    scene.wait_until(lambda: all(len(each) > n + FAR for each, n in zip(heard[:3], at)), 60)
    nap.unlink()
    n = len(heard[3])
    scene.wait_until(lambda: len(heard[3]) > n + FAR, 60)
    stop.touch()
    for trainer, listener in zip(trainers, listeners):
        listener.join(60)
        assert trainer.wait() == 0, heard[trainers.index(trainer)][-1]
    for i, said in enumerate(heard):
        assert_whole(said, rows, world if i == 3 else 1, 0, f"model{i}")
    taken = [[said["at"] for said in each if "at" in said] for each in heard]
    away = max(zip(taken[3], taken[3][1:]), key=lambda pair: pair[1] - pair[0])
    behind = max(sum(1 for at in each if away[0] < at <= away[1]) for each in taken)
    print(f"  one of world {world}, busy for {away[1] - away[0]:.1f} s, came back {behind} batches behind the others, "
          "and nobody lost one")
    assert behind > 256, behind
    daemon.stop()


def p09_busy_elsewhere(folder):
    """One that is busy while the daemon is restarted, and comes back when the others of a shared pass have gone on for
    hundreds of batches, is waited for: it was there before they were."""
    shards = resume_tuples.pack(folder)
    rows = undisturbed.Rows(folder / "quiet", shards)
    left_behind(folder / "alike", shards, rows, 1)
    left_behind(folder / "unlike", shards, rows, 2)


# ---- memory ----

def mapped(pid):
    """Inodes of the slots that a process has mapped, by the address where each begins."""
    found = {}
    for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
        if "ringfeed-slot" in line:
            place, _, _, _, inode = line.split()[:5]
            found[tuple(int(x, 16) for x in place.split("-"))] = int(inode)
    return found


def keeping(go, **options):
    """Work: holds its first batch and says where. Once there is the file it reads on and says after each batch whether
    what it holds is the same; once there is none it lets go; and ends when it is there again."""
    def work(say):
        with ringfeed.Loader("train", **options) as loader:
            passes = iter(loader)
            held = next(passes)
            before = row_hashes(held)
            say({"held": held["image"].ctypes.data, "rows": before, "epoch": held.epoch})
            scene.wait_until(go.exists, 60)
            for _ in range(N_READ):
                batch = next(passes)
                say({"epoch": batch.epoch, "rows": row_hashes(batch), "same": row_hashes(held) == before})
                batch.release()
            scene.wait_until(lambda: not go.exists(), 60)
            held.release()
            say({"released": True})
            scene.wait_until(go.exists, 60)
    return work


class Watch:
    """Reads what a process has mapped, again and again."""

    def __init__(self, pid):
        self.pid, self.seen, self.is_over = pid, [], False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.is_over:
            self.seen.append(frozenset(mapped(self.pid).values()))

    def end(self):
        self.is_over = True
        self.thread.join(10)
        return self.seen


def held_alone(folder, shards, options, **feed):
    go = folder / "go"
    config = config_of(folder, shards, 0, **feed)
    daemon = scene.Daemon(config)
    with Trainer(keeping(go, socket=daemon.socket, **options)) as trainer:
        first = trainer.hear()
        old = mapped(trainer.pid)
        held = next(inode for (begin, end), inode in old.items() if begin <= first["held"] < end)
        assert daemon.stop() == 0
        daemon = scene.Daemon(config_of(folder, shards, 1, **feed))
        assert mapped(trainer.pid) == old, "nothing was unmapped before its next call"
        watch = Watch(trainer.pid)
        go.touch()
        heard = [trainer.hear() for _ in range(N_READ)]
        assert all(said["same"] for said in heard)
        both = set(mapped(trainer.pid).values())
        go.unlink()
        assert trainer.hear() == {"released": True}
        seen = watch.end()
        left = set(mapped(trainer.pid).values())
        go.touch()
        assert trainer.wait() == 0
    daemon.stop()
    go.unlink()
    olds, n_old, n_new = set(old.values()), len(old), len(left)
    for now in seen:
        if now - olds:
            assert now & olds <= {held}, "new slots were mapped while old ones still were"
        assert len(now) <= max(n_old, 1 + n_new)
    assert both == left | {held} and not left & olds, ("held and new ones, then new ones alone", both, left, held, olds)
    rows = rows_of([first, *heard])
    assert len(rows) == (1 + N_READ) * SIZE
    print(f"  {feed.get('share', 'independent')}: {n_old} slots mapped, 1 held across the restart, then {n_new} new ones; "
          f"never more than {max(map(len, seen))} ({len(seen)} looks)")
    return config, n_old


def plan_of(config):
    """What plan says that a restart needs, in bytes: of all slots, and held by one rank at most."""
    feed = json.loads(scene.ringfeed("plan", "-c", config, "--json").stdout)["feeds"][0]
    text = scene.ringfeed("plan", "-c", config).stdout
    line = next(line for line in text.splitlines() if "restart" in line)
    n_mib, per_rank = re.search(r"up to ([0-9.]+) MiB beside daemon.memory.* ([0-9]+) x ", line).groups()
    assert abs(float(n_mib) - feed["restart_bytes"] / (1 << 20)) < 0.06, line
    return feed, int(per_rank)


def p09_held_alone_is_mapped_twice(folder):
    """Of the old slots a trainer keeps the held one only, before it maps the new ones; plan says what that may come to."""
    shards = resume_tuples.pack(folder)
    for number, (options, feed) in enumerate((({}, {}), ({"group": "a"}, {"share": "lockstep"}),
                                              ({"group": "b", "rank": 0, "world_size": 1, "replica": 1}, {}))):
        part = folder / f"part{number}"
        part.mkdir()
        config, n_mapped = held_alone(part, shards, options, **feed)
        planned, per_rank = plan_of(config)
        assert planned["restart_bytes"] == planned["slots"] * planned["slot_bytes"]
        assert planned["restart_held_bytes_per_rank"] == per_rank * planned["slot_bytes"]
        assert per_rank == n_mapped


if __name__ == "__main__":
    scene.main([p09_restart_is_a_pause, p09_busy_elsewhere, p09_held_alone_is_mapped_twice])
