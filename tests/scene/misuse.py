# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Forks, double releases, closed loaders, two threads, a daemon that dies: each a named error, and never other bytes."""
import os
import signal
import threading
import time

import ringfeed
import scene
from trainers import Trainer, reading, row_hashes, rows_of

N_SAMPLES = 96


def make_config(folder):
    shards = scene.pack_photos(folder, "in", scene.photos("imagenet-sample")[:N_SAMPLES], 50)
    made = scene.feed(shards, transform=[{"random_resized_crop": {"size": 64}}], dtype="uint8", size=8, slots=4)
    return scene.write_config(folder, {"train": made}, memory="192MiB")


def quiet_rows(daemon):
    with Trainer(reading("train", socket=daemon.socket)) as trainer:
        return rows_of(trainer.all())


def raises(kind, call):
    began = time.monotonic()
    try:
        call()
    except kind:
        assert time.monotonic() - began < scene.at_most(1.0)
        return
    raise AssertionError(f"no {kind.__name__}")


def p04_fork(folder):
    """In the child every call says Forked at once; parent and daemon go on as if nothing had been."""
    def work(say):
        loader = ringfeed.Loader("train", socket=daemon.socket)
        rows = {}
        for batch in loader:
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    raises(ringfeed.Forked, lambda: next(iter(loader)))
                    raises(ringfeed.Forked, loader.state_dict)
                    raises(ringfeed.Forked, lambda: loader.set_epoch(1))
                    raises(ringfeed.Forked, loader.close)
                    code = 0
                finally:
                    os._exit(code)
            assert os.waitpid(child, 0)[1] == 0
            rows.update(row_hashes(batch))
            batch.release()
        loader.close()
        say({"rows": sorted(rows.items())})

    with scene.Daemon(make_config(folder)) as daemon:
        want = quiet_rows(daemon)
        with Trainer(work) as trainer:
            got = {(0, position): digest for position, digest in trainer.hear()["rows"]}
            assert got == want and trainer.wait() == 0


def p08_misuse(folder):
    def work(say):
        loader = ringfeed.Loader("train", socket=daemon.socket, timeout=2)
        batches = iter(loader)
        first = next(batches)
        first.release()
        raises(ringfeed.Released, lambda: first["image"])
        raises(ringfeed.Released, first.release)
        held = []

        def hold():
            while True:
                held.append(next(batches))

        raises(ringfeed.TooManyHeld, hold)
        assert len(held) == 4
        held.clear()
        two_threads()
        loader.close()
        loader.close()
        raises(ringfeed.Closed, lambda: next(iter(loader)))
        raises(ringfeed.Closed, loader.state_dict)
        say({"done": True})

    def two_threads():
        """While one thread waits for a batch of a stopped daemon, the other's call is Busy."""
        loader = ringfeed.Loader("train", socket=daemon.socket, timeout=1)
        os.kill(daemon.process.pid, signal.SIGSTOP)
        ends = []

        def drain():
            try:
                for batch in loader:
                    batch.release()
            except ringfeed.Error as error:
                ends.append(type(error))

        waiting = threading.Thread(target=drain)
        waiting.start()
        try:
            time.sleep(0.35)
            raises(ringfeed.Busy, lambda: loader.set_epoch(1))
            waiting.join()
        finally:
            os.kill(daemon.process.pid, signal.SIGCONT)
        assert ends == [ringfeed.Timeout], ends
        loader.close()

    with scene.Daemon(make_config(folder)) as daemon, Trainer(work) as trainer:
        assert trainer.hear() == {"done": True} and trainer.wait() == 0
        scene.wait_until(lambda: daemon.slots("train")["free"] == daemon.slots("train")["all"])


def p09_dead_daemon(folder):
    """What is held stays readable; the next call says DaemonGone in time, or goes on byte for byte."""
    config = make_config(folder)
    daemon = scene.Daemon(config)
    want = quiet_rows(daemon)
    for reconnect in (0, 0.5):
        loader = ringfeed.Loader("train", socket=daemon.socket, reconnect=reconnect)
        batches = iter(loader)
        held = next(batches)
        before = row_hashes(held)
        daemon.kill()
        began = time.monotonic()
        try:
            while True:
                next(batches).release()
        except ringfeed.DaemonGone as gone:
            assert daemon.socket in str(gone)
        assert reconnect <= time.monotonic() - began + 0.1 and time.monotonic() - began < reconnect + scene.at_most(1.0)
        assert row_hashes(held) == before
        loader.close()
        assert row_hashes(held) == before
        daemon = scene.Daemon(config)
    with ringfeed.Loader("train", socket=daemon.socket, reconnect=30) as loader:
        rows, kept = {}, []
        for n, batch in enumerate(loader):
            if n % 4 == 1:
                daemon.kill()
                daemon = scene.Daemon(config)
            if n == 0:
                kept = [batch, row_hashes(batch)]
            assert not set(rows) & {(batch.epoch, p) for p in batch.position.tolist()}
            rows.update(((batch.epoch, position), digest) for position, digest in row_hashes(batch))
            if n:
                batch.release()
        assert rows == want and row_hashes(kept[0]) == kept[1]
    daemon.stop()


if __name__ == "__main__":
    scene.need_data("imagenet-sample")
    scene.main([p04_fork, p08_misuse, p09_dead_daemon])
