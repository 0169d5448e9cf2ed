# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Trainers, workers and the daemon die, stop and leave at any moment: nothing is lost, nothing changes.

With a number as argument: so many kills in the storm (50 without); from 200 on, what takes minutes is done, too.
"""
import os
import random
import resource
import signal
import sys
import time

import ringfeed
import scene
from trainers import Trainer, holding, reading, rows_of, witness

N_KILLS = int(sys.argv[1]) if len(sys.argv) > 1 else 50
N_SAMPLES = 160
SMALL = [{"random_resized_crop": {"size": 64}}, "random_horizontal_flip"]


def make_config(folder, **daemon):
    shards = scene.pack_photos(folder, "in", scene.photos("imagenet-sample")[:N_SAMPLES], 50)
    return scene.write_config(folder, {"train": scene.feed(shards, transform=SMALL, dtype="uint8", size=8, slots=4)},
                              **{"memory": "192MiB", **daemon})


def read_all(daemon, epochs, **options):
    """Every row of these epochs, by a trainer that nobody disturbs."""
    with Trainer(reading("train", epochs, socket=daemon.socket, **options)) as trainer:
        rows = rows_of(trainer.all())
        assert trainer.wait() == 0
    return rows


def slots(daemon):
    """The feed's slots by state, which always add up."""
    f = next(f for f in ringfeed.status(daemon.socket)["feeds"] if f["name"] == "train")
    s = f["slots"]
    assert s["free"] + s["filling"] + s["ready"] + s["leased"] + s["quarantined"] == s["all"], s
    return s


def rank_of(daemon, pid):
    for f in ringfeed.status(daemon.socket)["feeds"]:
        for g in f["groups"]:
            for r in g["ranks"]:
                if r["pid"] == pid:
                    return r
    return None


def assert_prompt(what, seconds, most=0.1):
    assert seconds < scene.at_most(most), f"{what}: {seconds * 1000:.1f} ms"


def subset(rows, world, rank, epochs):
    return {k: v for k, v in rows.items() if k[0] in epochs and k[1] % world == rank}


def p01_killed_trainer(folder):
    """A rank dies by -9 holding batches: free within 100 ms; others are undisturbed; another takes its place."""
    with scene.Daemon(make_config(folder)) as daemon:
        want = read_all(daemon, 2)
        assert len(want) == 2 * N_SAMPLES
        two = {"socket": daemon.socket, "world_size": 2, "local_world_size": 2, "group": "ddp"}
        with Trainer(reading("train", 2, 0.01, rank=0, **two)) as other, \
                Trainer(reading("train", 2, 0.02, socket=daemon.socket)) as alone, \
                Trainer(holding("train", 2, rank=1, **two)) as victim:
            last = victim.hear()
            assert rank_of(daemon, victim.pid)["leases"] >= 2
            began = time.monotonic()
            victim.kill()
            scene.wait_until(lambda: rank_of(daemon, victim.pid) is None, pause=0.001)
            seconds = time.monotonic() - began
            print(f"  slots of a killed trainer free after {seconds * 1000:.1f} ms")
            assert_prompt("reclaim", seconds)
            with Trainer(reading("train", 2, rank=1, state=last["state"], **two)) as again:
                got = rows_of([{"epoch": 0, "rows": [r for b in last["rows"] for r in b]}] + again.all())
            assert subset(want, 2, 1, (0, 1)) == {k: v for k, v in got.items() if k[0] < 2}
            assert rows_of(other.all()) == subset(want, 2, 0, (0, 1))
            assert rows_of(alone.all()) == want
        scene.wait_until(lambda: slots(daemon)["free"] == slots(daemon)["all"])


def p01_forked_child(folder):
    """A child of the dead trainer may still read: quarantined and named, free at its end."""
    with scene.Daemon(make_config(folder)) as daemon:
        want = read_all(daemon, 2)
        with Trainer(holding("train", 2, children=1, socket=daemon.socket)) as victim, \
                Trainer(reading("train", 2, 0.03, socket=daemon.socket)) as other:
            child = victim.hear()["children"][0]
            n = rank_of(daemon, victim.pid)["slots"]
            victim.kill()
            scene.wait_until(lambda: slots(daemon)["quarantined"] == n, scene.at_most(0.1), 0.001)
            scene.wait_until(lambda: child in rank_of(daemon, victim.pid)["held_by"], 2.0)
            assert rank_of(daemon, victim.pid)["state"] == "quarantined"
            text = scene.ringfeed("status", "--socket", daemon.socket).stdout
            assert "quarantined" in text and str(child) in text, text
            began = time.monotonic()
            os.kill(child, signal.SIGKILL)
            scene.wait_until(lambda: rank_of(daemon, victim.pid) is None, pause=0.001)
            assert_prompt("end of quarantine", time.monotonic() - began)
            assert rows_of(other.all()) == want


def p02_stopped_trainer(folder):
    """A stopped trainer pins its own slots only, and what it holds stays as it is."""
    with scene.Daemon(make_config(folder)) as daemon:
        want = read_all(daemon, 2)
        with Trainer(holding("train", 2, socket=daemon.socket)) as stalled:
            before = stalled.hear()
            for _ in range(3):
                stalled.signal(signal.SIGSTOP)
                assert read_all(daemon, 2) == want
                own = rank_of(daemon, stalled.pid)["slots"]
                scene.wait_until(lambda: slots(daemon)["all"] - slots(daemon)["free"] <= own, 1.0)
                stalled.signal(signal.SIGCONT)
                stalled.signal(signal.SIGUSR1)
                assert stalled.hear()["rows"] == before["rows"]
        with Trainer(reading("train", 2, 0.01, socket=daemon.socket)) as jerky:
            heard = []
            while (said := jerky.hear()) is not None:
                heard.append(said)
                if len(heard) % 7 == 0:
                    jerky.signal(signal.SIGSTOP)
                    time.sleep(0.03)
                    jerky.signal(signal.SIGCONT)
            assert rows_of(heard) == want


def p02_detached_holder(folder):
    """Arrays that outlive their loader stay as they are; their slots are free at the process's end."""
    def work(say):
        loader = ringfeed.Loader("train", socket=daemon.socket, credit=1)
        batch = next(iter(loader))
        image, before = batch["image"], batch["image"].tobytes()
        loader.close()
        say({"pid": os.getpid()})
        read_all(daemon, 1)
        assert image.tobytes() == before
        say({"same": True})
        signal.pause()

    with scene.Daemon(make_config(folder)) as daemon, Trainer(work) as trainer:
        trainer.hear()
        assert trainer.hear() == {"same": True}
        scene.wait_until(lambda: slots(daemon)["all"] - slots(daemon)["free"] <= 1, 1.0)
        time.sleep(0.1)
        assert slots(daemon)["all"] - slots(daemon)["free"] == 1, slots(daemon)
        trainer.kill()
        scene.wait_until(lambda: slots(daemon)["free"] == slots(daemon)["all"], scene.at_most(0.1), 0.001)


def p01_storm(folder):
    """Kills at any moment, half of them with a live child; a trainer beside them feels nothing."""
    rng = random.Random(1)
    late, since_kill = [], []
    with scene.Daemon(make_config(folder)) as daemon:
        with witness("train", socket=daemon.socket):
            for i in range(N_KILLS):
                has_child = i % 2 == 1
                work = holding("train", rng.randrange(1, 4), children=1, socket=daemon.socket) if has_child \
                    else reading("train", 100, rng.choice((0, 0.005)), socket=daemon.socket)
                with Trainer(work) as victim:
                    first = victim.hear()
                    time.sleep(rng.random() * 0.05)
                    killed = time.monotonic()
                    victim.kill()
                    began = time.monotonic()  # dead and reaped: how long that takes is the kernel's
                    if has_child:
                        scene.wait_until(lambda: slots(daemon)["quarantined"] > 0, scene.at_most(0.1), 0.001)
                        killed = began = time.monotonic()
                        os.kill(first["children"][0], signal.SIGKILL)
                    scene.wait_until(lambda: rank_of(daemon, victim.pid) is None, pause=0.001)
                    late.append(time.monotonic() - began)
                    since_kill.append(time.monotonic() - killed)
        scene.wait_until(lambda: slots(daemon)["free"] == slots(daemon)["all"])
        print(f"  {N_KILLS} kills: slots free {max(late) * 1000:.1f} ms after death at most, "
              f"{sorted(late)[len(late) // 2] * 1000:.1f} ms median; {max(since_kill) * 1000:.1f} ms after the kill at most")
        assert_prompt("reclaim in the storm", max(late))


def p12_killed_workers(folder):
    """Workers die by -9 all the time; every byte is as without, and nothing is a bad sample."""
    rng = random.Random(2)
    with scene.Daemon(make_config(folder)) as daemon:
        want = read_all(daemon, 2)
        with Trainer(reading("train", 2, 0.02, socket=daemon.socket)) as trainer:
            heard = []
            while (said := trainer.hear()) is not None:
                heard.append(said)
                if len(heard) % 4 == 0:
                    status = ringfeed.status(daemon.socket)
                    pids = [w["pid"] for w in status["workers"] if w["pid"]]
                    if pids:
                        os.kill(rng.choice(pids), signal.SIGKILL)
            assert rows_of(heard) == want
        status = ringfeed.status(daemon.socket)
        assert status["reads"]["worker_deaths"] >= 5, status["reads"]
        assert status["feeds"][0]["bad_samples"] == {}


def family(daemon):
    status = ringfeed.status(daemon.socket)
    return [status["clean_parent_pid"], *(w["pid"] for w in status["workers"])]


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def p11_p14_killed_daemon(folder):
    """-9 leaves no process, no name in shared memory, and nothing for the next start to clean."""
    config = make_config(folder)
    before = set(os.listdir("/dev/shm"))
    for _ in range(3):
        daemon = scene.Daemon(config)
        with Trainer(reading("train", 1000, socket=daemon.socket, reconnect=0)) as trainer:
            trainer.hear()
            trainer.hear()
            pids = family(daemon)
            assert len(pids) == 3 and all(map(is_alive, pids))
            daemon.kill()
            seconds = scene.wait_until(lambda: not any(map(is_alive, pids)), 1.0)
            print(f"  no worker is left {seconds * 1000:.0f} ms after the daemon's death")
            assert trainer.all()[-1]["error"] == "DaemonGone"
        assert set(os.listdir("/dev/shm")) <= before
    with scene.Daemon(config) as daemon:
        assert len(read_all(daemon, 1)) == N_SAMPLES
    left = [p.name for p in folder.iterdir() if p.name.startswith("rf.sock")]
    assert left == [], left


def p14_shutdown(folder):
    """SIGTERM under load, also with a stopped worker or clean parent, ends all of it in under 2 s."""
    config = make_config(folder)
    for stopped in (None, 1, 0):
        daemon = scene.Daemon(config)
        with Trainer(reading("train", 1000, socket=daemon.socket, reconnect=0)) as trainer:
            trainer.hear()
            trainer.hear()
            pids = family(daemon)
            if stopped is not None:
                os.kill(pids[stopped], signal.SIGSTOP)
            began = time.monotonic()
            code = daemon.stop()
            seconds = time.monotonic() - began
            print(f"  SIGTERM with {('the clean parent', 'a worker')[stopped] + ' stopped' if stopped is not None else 'load'}: "
                  f"{seconds * 1000:.0f} ms")
            assert code == 0 and seconds < 2.0, (code, seconds)
            scene.wait_until(lambda: not any(map(is_alive, pids)), 1.0)
            assert trainer.all()[-1]["error"] == "DaemonGone"


def p14_second_sigterm(folder):
    """The second SIGTERM ends it at once, whatever the first one waits for."""
    daemon = scene.Daemon(make_config(folder))
    pids = family(daemon)
    os.kill(pids[0], signal.SIGSTOP)
    daemon.process.terminate()
    scene.wait_until(lambda: "ending on signal" in daemon.log())
    began = time.monotonic()
    daemon.process.terminate()
    daemon.process.wait(timeout=2)
    assert_prompt("second SIGTERM", time.monotonic() - began, 0.2)
    scene.wait_until(lambda: not any(map(is_alive, pids)), 1.0)


def p12_stopped_worker(folder):
    """A worker that answers no more is replaced when its task's time (60 s) is over; the bytes are as without."""
    with scene.Daemon(make_config(folder)) as daemon:
        want = read_all(daemon, 2)
        with Trainer(reading("train", 2, 0.01, socket=daemon.socket)) as trainer:
            heard = [trainer.hear() for _ in range(5)]
            os.kill(family(daemon)[1], signal.SIGSTOP)
            began = time.monotonic()
            heard += trainer.all(90)
            print(f"  a stopped worker held up its batch for {time.monotonic() - began:.0f} s")
            assert rows_of(heard) == want
        assert "answers late" in daemon.log()


def workers_cannot_start(folder):
    """Where no worker ever gets ready, the daemon ends and says why, instead of leaving trainers to wait."""
    if scene.IS_SANITIZED:
        print("  not with a sanitizer: it needs more than the limit that is tried")
        return

    def small_heap():
        resource.setrlimit(resource.RLIMIT_DATA, (60 << 20, 60 << 20))  # the large scratch alone is 64 MiB
    done = scene.ringfeed("serve", "-c", make_config(folder), check=False, preexec_fn=small_heap)
    assert done.returncode == 1, done
    assert "cannot set up its decoders" in done.stderr and "the daemon ends" in done.stderr, done.stderr


if __name__ == "__main__":
    scene.need_data("imagenet-sample")
    if N_KILLS >= 200:
        scene.main([p12_stopped_worker])
    scene.main([p01_killed_trainer, p01_forked_child, p02_stopped_trainer, p02_detached_holder, p01_storm,
                p12_killed_workers, p11_p14_killed_daemon, p14_shutdown, p14_second_sigterm,
                workers_cannot_start])
