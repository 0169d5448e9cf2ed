# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""What trainers see of a feed that they share: replicas, groups in lock-step, who comes late, dies or dawdles."""
import contextlib
import ctypes
import os
import signal
import time

import ringfeed
import scene
from trainers import Trainer, reading, row_hashes, rows_of

N_SAMPLES, SIZE, SLOTS = 160, 8, 4
SMALL = [{"random_resized_crop": {"size": 64}}, "random_horizontal_flip"]


def make_config(folder, share="lockstep", **feed):
    shards = scene.pack_photos(folder, "in", scene.photos("imagenet-sample")[:N_SAMPLES], 50)
    made = scene.feed(shards, transform=SMALL, dtype="uint8", size=SIZE, slots=SLOTS, share=share, **feed)
    return scene.write_config(folder, {"train": made}, memory="256MiB")


def quiet(folder, epochs=1):
    """(epoch, position) -> hash, from a daemon that shares nothing."""
    with scene.Daemon(make_config(folder, "independent")) as daemon, \
            Trainer(reading("train", epochs, socket=daemon.socket)) as trainer:
        return rows_of(trainer.all())


def waiting(epochs=1, pause=0.0, feed="train", **options):
    """Work: attaches, says so, and reads from SIGUSR1 on, through deaths of others, of which it says, too."""
    def work(say):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        with ringfeed.Loader(feed, **options) as loader:
            say({"pid": os.getpid(), "shared": loader.shared})
            signal.sigwait([signal.SIGUSR1])
            for _ in range(epochs):
                it = iter(loader)
                while True:
                    try:
                        batch = next(it)
                    except StopIteration:
                        break
                    except ringfeed.PeerGone as gone:
                        say({"gone": [gone.rank, gone.replica]})
                        continue
                    said = {"epoch": batch.epoch, "step": batch.step, "rows": row_hashes(batch)}
                    batch.release()
                    say({**said, "state": loader.state_dict()})
                    time.sleep(pause)
    return work


def together(*trainers):
    """All have attached; now they read."""
    for trainer in trainers:
        said = trainer.hear()
        assert said.get("shared"), said
    for trainer in trainers:
        trainer.signal(signal.SIGUSR1)


@contextlib.contextmanager
def all_of(works):
    """A trainer for each, reading since all had attached."""
    with contextlib.ExitStack() as stack:
        trainers = [stack.enter_context(Trainer(work)) for work in works]
        together(*trainers)
        yield trainers


def feed_of(daemon):
    return daemon.status()["feeds"][0]


def replicas(folder):
    """One decode, n readers: each replica gets every row, in a feed whose groups share nothing else."""
    want = quiet(folder, 2)
    for n in (2, 3):
        with scene.Daemon(make_config(folder, "independent")) as daemon:
            options = {"socket": daemon.socket, "group": "g", "rank": 0, "world_size": 1}
            with all_of(waiting(2, replica=k, **options) for k in range(n)) as trainers:
                assert sorted(r["replica"] for r in daemon.ranks("train")) == list(range(n))
                for trainer in trainers:
                    assert rows_of(trainer.all()) == want
            feed = feed_of(daemon)
            assert 2 * N_SAMPLES <= feed["made"] <= 2 * N_SAMPLES + SLOTS * SIZE, feed
            assert feed["due"] >= 2 * N_SAMPLES * n, feed
            print(f"  {n} replicas: {feed['made']} rows made, {feed['due']} due")


def taken(folder):
    """Two of one rank and replica: the second is refused by name; another replica is not."""
    for share in ("independent", "lockstep"):
        with scene.Daemon(make_config(folder, share)) as daemon:
            options = {"socket": daemon.socket, "group": "g", "rank": 0, "world_size": 1}
            with Trainer(waiting(replica=1, **options)) as first:
                first.hear()
                with Trainer(reading("train", replica=1, **options)) as second:
                    said = second.hear()
                assert said["error"] == "Refused" and "rank 0" in said["text"] and "replica 1" in said["text"], said
                with Trainer(waiting(replica=0, **options)) as other:
                    assert "error" not in other.hear()


def p03_read_only(folder):
    """P3: nobody writes what others read; who wants to takes a copy."""
    with scene.Daemon(make_config(folder)) as daemon:
        with ringfeed.Loader("train", socket=daemon.socket) as loader:
            batch = next(iter(loader))
            image = batch["image"]
            assert loader.shared and not image.flags.writeable
            pid = os.fork()
            if pid == 0:
                ctypes.memset(image.ctypes.data, 1, 1)
                os._exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGSEGV
            del batch, image
        try:
            ringfeed.Loader("train", socket=daemon.socket, writable=True)
            raise AssertionError("it could write what others read")
        except ringfeed.BadConfig as error:
            assert "copy=True" in str(error), error
        with ringfeed.Loader("train", socket=daemon.socket, writable=True, copy=True) as loader:
            image = next(iter(loader))["image"]
            image[:] = 7
            assert (image == 7).all()


def lockstep(folder):
    """Groups in lock-step, their trainers attached before any reads: each gets every row, decoded once."""
    want = quiet(folder, 2)
    for share in ("lockstep", {"window": 3}):
        with scene.Daemon(make_config(folder, share)) as daemon:
            with all_of(waiting(2, pause, socket=daemon.socket, group=name)
                        for name, pause in (("a", 0), ("b", 0.005), ("c", 0))) as trainers:
                for trainer in trainers:
                    assert rows_of(trainer.all()) == want
            feed = feed_of(daemon)
            assert 2 * N_SAMPLES <= feed["made"] <= 2 * N_SAMPLES + SLOTS * SIZE, feed


def late(folder):
    """Who comes late begins at the present batch, or at the next epoch if it asks; the bytes are the same."""
    want = quiet(folder, 3)
    with scene.Daemon(make_config(folder)) as daemon:
        for start in ("now", "next_epoch"):
            with Trainer(waiting(2, 0.03, socket=daemon.socket, group="a")) as first:
                first.hear()
                first.signal(signal.SIGUSR1)
                heard = [first.hear() for _ in range(5)]
                with Trainer(reading("train", 1, socket=daemon.socket, group="b", start=start)) as second:
                    rows = rows_of(second.all())
                heard += first.all()
            assert rows_of(heard) == {k: v for k, v in want.items() if k[0] < 2}
            assert rows and all(want[place] == digest for place, digest in rows.items())
            if start == "now":
                begin = min(rows)
                assert begin[0] == 0 and 4 * SIZE <= begin[1] < N_SAMPLES, begin
                assert set(rows) == {k for k in want if begin <= k < (1, 0)}
            else:
                assert set(rows) == {k for k in want if k[0] == 1}
            scene.wait_until(lambda: not daemon.ranks("train"))


def peer_gone(folder):
    """A rank dies by SIGKILL: the other one is told once, by name, and goes on; the next one takes its place at the token."""
    want = quiet(folder, 1)
    with scene.Daemon(make_config(folder)) as daemon:
        options = {"socket": daemon.socket, "group": "g", "world_size": 2}
        with all_of(waiting(1, 0.1, rank=rank, **options) for rank in (0, 1)) as (lasting, dying):  # longer than the news takes
            mine = [dying.hear() for _ in range(3)]
            dying.kill()
            mine += [said for said in dying.all() if "rows" in said]
            heard = []
            while (said := lasting.hear()) is not None and "gone" not in said:
                heard.append(said)
            assert said == {"gone": [1, 0]}, said
            with Trainer(reading("train", 1, rank=1, state=mine[-1]["state"], **options)) as again:
                rest = again.all()
            heard += lasting.all()
            assert not any("gone" in said for said in heard), "told once"
        assert {**rows_of(heard), **rows_of(mine + rest)} == want
        # In a group that shares nothing nobody is told.
    with scene.Daemon(make_config(folder, "independent")) as daemon:
        options = {"socket": daemon.socket, "group": "g", "world_size": 2}
        with Trainer(reading("train", 1, 0.01, rank=0, **options)) as lasting, \
                Trainer(reading("train", 1, 0.01, rank=1, **options)) as dying:
            for _ in range(3):
                dying.hear()
            dying.kill()
            assert len(rows_of(lasting.all())) == N_SAMPLES // 2


def back_to_a_held_one(folder):
    """A trainer that goes back to a batch that it holds, while others of the pass have it, too, gets it again."""
    with scene.Daemon(make_config(folder)) as daemon:
        with Trainer(waiting(1, socket=daemon.socket, group="other")) as other:
            other.hear()
            with ringfeed.Loader("train", socket=daemon.socket, group="mine") as loader:
                start = loader.state_dict()
                held = next(iter(loader))
                rows = row_hashes(held)
                for _ in range(3):
                    loader.load_state_dict(start)
                    again = next(iter(loader))
                    assert row_hashes(again) == rows
                    again.release()
                assert row_hashes(held) == rows
                held.release()
                other.signal(signal.SIGUSR1)  # it is waited for, up to the next epoch
                assert next(iter(loader)).epoch == 1


def evicted(folder):
    """slow: the others wait for a stopped trainer, or it is dropped after the time that was set, and told why."""
    want = quiet(folder)
    for slow in ("wait", {"evict": "1s"}):
        with scene.Daemon(make_config(folder, slow=slow)) as daemon:
            with all_of(waiting(1, pause, socket=daemon.socket, group=name)
                        for name, pause in (("slow", 0.01), ("fast", 0))) as (stopped, other):
                for _ in range(3):
                    stopped.hear()
                stopped.signal(signal.SIGSTOP)
                if slow == "wait":
                    time.sleep(2)
                    assert len(daemon.ranks("train")) == 2
                    assert max(r["step"] for r in daemon.ranks("train")) < N_SAMPLES // SIZE
                    stopped.signal(signal.SIGCONT)
                    assert len(rows_of(stopped.all())) == N_SAMPLES - 3 * SIZE
                    assert rows_of(other.all()) == want
                    continue
                assert rows_of(other.all()) == want
                stopped.signal(signal.SIGCONT)
                last = stopped.all()[-1]
                assert last.get("error") == "Evicted" and "waiting" in last["text"] and "1000 ms" in last["text"], last


if __name__ == "__main__":
    scene.need_data("imagenet-sample")
    scene.main([replicas, taken, p03_read_only, lockstep, late, peer_gone, back_to_a_held_one, evicted])
