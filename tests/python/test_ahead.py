# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Copying ahead, on a device of the test's own whose copies complete when the test says.

The device reads a slot's bytes at the moment a copy completes, and the scripted daemon overwrites a slot as soon as it
is given back: a slot that is given back too early shows in the bytes.
"""
import gc
import os
import threading
import time

import numpy
import pytest

import ringfeed
from client_rules import leaks, path  # noqa: F401 - fixtures
from ringfeed import _ahead
from scripted_daemon import Daemon, Feed, token


class Event:
    def __init__(self, device, batch):
        self.device, self.is_done, self.moved = device, False, Moved(batch)
        self.sources = {name: batch[name] for name in batch}

    def query(self):
        return self.is_done

    def synchronize(self):
        """Waiting for it completes it, and what is before it."""
        self.device.log.append(("wait", self.moved.step))
        self.device.complete(self.device.events.index(self) + 1)


class Moved:
    def __init__(self, batch):
        self.epoch, self.step, self.index, self.fields = batch.epoch, batch.step, batch.index.copy(), None


class Device:
    """Completes copies at once (eager), when they are waited for, or by complete(n): the first n."""

    def __init__(self, eager=False):
        self.eager, self.events, self.log, self.refuse = eager, [], [], []

    def start(self, batch):
        if self.refuse:
            raise self.refuse.pop(0)
        event = Event(self, batch)
        self.events.append(event)
        self.log.append(("start", batch.step))
        if self.eager:
            self.complete(len(self.events))
        return event.moved, event

    def hand_over(self, moved, event):
        assert moved is event.moved
        self.log.append(("hand over", moved.step))
        return moved

    def complete(self, n):
        for event in self.events[:n]:
            if not event.is_done:
                event.moved.fields = {name: numpy.array(array) for name, array in event.sources.items()}
                event.sources, event.is_done = None, True
                self.log.append(("done", event.moved.step))

    def said(self, word):
        return [step for what, step in self.log if what == word]


def make(path, device, **other):
    loader = _ahead.Loader.__new__(_ahead.Loader)
    loader._ahead = _ahead.Ahead(device)
    loader.__init__("train", socket=path, **{"reconnect": 0, **other})
    return loader


def check(feed, moved, epoch, step):
    t = numpy.arange(step * feed.n_rows, (step + 1) * feed.n_rows)
    assert (moved.epoch, moved.step) == (epoch, step) and (moved.index == 2 * t).all()
    assert (moved.fields["label"] == 1000 * epoch + t).all() and (moved.fields["mask"] == ((t + epoch) % 256)[:, None]).all()
    assert (moved.fields["weight"] == t / 4).all()


def wait_for(condition):
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.mark.parametrize("n_slots", (2, 3, 8))
@pytest.mark.parametrize("eager", (False, True))
def test_every_batch_in_order(path, n_slots, eager):
    """Also with two slots and copies that only complete when they are waited for: never TooManyHeld, never other bytes."""
    feed, device = Feed(n_samples=80, n_slots=n_slots), Device(eager)
    with Daemon(path, feed.serve), make(path, device) as loader:
        for epoch in range(3):
            assert loader.epoch == epoch and len(loader) == 20
            batches = list(loader)  # held as long as one likes
            device.complete(len(device.events))
            for step, moved in enumerate(batches):
                check(feed, moved, epoch, step)
            assert step == 19
    for word in ("start", "done", "hand over"):
        assert device.said(word) == list(range(20)) * 3, word


def test_a_slot_is_free_after_its_own_event(path):
    feed, device = Feed(n_samples=80, n_slots=6), Device()
    with Daemon(path, feed.serve), make(path, device) as loader:
        it = iter(loader)
        wait_for(lambda: feed.n_sent == 6)
        first = next(it)
        assert first.fields is None and feed.n_released == 0  # returned before its copy is complete
        assert device.log == [("start", 0), ("start", 1), ("start", 2), ("hand over", 0)]  # two ahead, no more
        next(it)
        time.sleep(0.05)
        assert feed.n_released == 0 and not device.said("wait")
        device.complete(1)
        assert feed.n_released == 0  # given back in next()
        next(it)
        wait_for(lambda: feed.n_released == 1)
        device.complete(3)
        next(it)
        wait_for(lambda: feed.n_released == 3)
        time.sleep(0.05)
        assert feed.n_released == 3 and not device.said("wait")
        check(feed, first, 0, 0)


def test_no_slot_is_ours_while_we_wait(path):
    """A slow daemon: copies are waited for before it is, so that it has every slot to fill."""
    feed, device = Feed(n_samples=40, n_slots=2), Device()
    held = []

    def slow(peer):
        feed.serve(peer, delay=0.02)
    with Daemon(path, slow), make(path, device) as loader:
        take = loader._take
        loader._take = lambda: (held.append(sum(not e.is_done for e in device.events)), take())[1]
        assert [moved.step for moved in loader] == list(range(10))
        del loader._take, take
    assert held and set(held) == {0}


def test_state_counts_what_was_returned(path):
    feed, device = Feed(n_samples=40, n_slots=6), Device(eager=True)
    with Daemon(path, feed.serve):
        with make(path, device) as loader:
            wait_for(lambda: feed.n_sent == 6)
            assert loader.state_dict()["token"] == token(0, 0)
            for step, moved in enumerate(loader):
                after = loader.state_dict()
                assert after == {"version": 1, "token": token(0, 4 * step + 4, (step + 1) // 2) if step < 9 else token(1, 0)}
                assert loader.epoch == 0 and len(loader) == 10
                if step == 3:
                    kept = after
            assert loader.state_dict()["token"] == token(1, 0) and loader.epoch == 1
            loader.load_state_dict(kept)
            assert len(loader) == 6 and [moved.step for moved in loader] == list(range(4, 10))
        with make(path, Device(), state=kept) as loader:
            assert loader.state_dict() == kept
            assert [moved.step for moved in loader] == list(range(4, 10))


def test_break_and_set_epoch(path):
    """What was copied ahead is forgotten, its slots are given back after its copies."""
    feed, device = Feed(n_samples=80, n_slots=4), Device()
    with Daemon(path, feed.serve), make(path, device) as loader:
        for moved in loader:
            if moved.step == 2:
                break
        for step, moved in zip(range(20), loader):
            assert (moved.epoch, moved.step) == (1, step)
        old = iter(loader)
        loader.set_epoch(7)
        assert [moved.epoch for moved in loader] == [7] * 20
        with pytest.raises(ringfeed.Error, match="out of date"):
            next(old)
        assert loader.epoch == 8


def test_exception_in_mid_epoch(path):
    """Leaving the loader waits for the copies under way and holds nothing."""
    feed, device = Feed(n_samples=80, n_slots=4), Device()
    with Daemon(path, feed.serve):
        with pytest.raises(ZeroDivisionError), make(path, device) as loader:
            it = iter(loader)
            wait_for(lambda: feed.n_sent == 4)
            first = next(it)
            assert not any(e.is_done for e in device.events)
            1 / 0
        assert device.said("done") == [0, 1, 2]
        with open("/proc/self/maps") as maps:
            assert "scripted-slot" not in maps.read()
        check(feed, first, 0, 0)
        with pytest.raises(ringfeed.Closed):
            next(it)
        loader.close()


def test_forgotten_loader(path):
    """Without a close, too, no slot goes back before its copy is complete."""
    feed, device = Feed(n_samples=80, n_slots=4), Device()
    with Daemon(path, feed.serve):
        loader = make(path, device)
        wait_for(lambda: feed.n_sent == 4)
        first = next(iter(loader))
        del loader
        gc.collect()
        assert device.said("done") == [0, 1, 2]
        check(feed, first, 0, 0)


def test_copy_that_cannot_start(path):
    """No batch is lost: it is tried again, and the trainer hears of it at that batch's turn."""
    feed, device = Feed(n_samples=40, n_slots=4), Device(eager=True)
    with Daemon(path, feed.serve), make(path, device) as loader:
        it = iter(loader)
        wait_for(lambda: feed.n_sent == 4)
        assert next(it).step == 0
        device.refuse = [MemoryError("ahead")]  # swallowed: its turn is not yet
        steps = [next(it).step, next(it).step]
        device.refuse = [MemoryError("ahead"), MemoryError("its turn")] * 2
        n_raised = 0
        while len(steps) < 9:
            try:
                steps.append(next(it).step)
            except MemoryError:
                n_raised += 1
                assert loader.state_dict()["token"] == token(0, 4 * (len(steps) + 1), (len(steps) + 1) // 2)
        assert steps == list(range(1, 10)) and n_raised >= 1 and not device.refuse
        assert next(it, None) is None


def test_failure_of_the_daemon(path):
    """What was copied ahead still comes, then the error does, by name."""
    feed, device = Feed(n_samples=80, n_slots=3), Device()

    def failing(peer):
        fds, _, _ = feed.attach(peer)
        for k in range(3):
            feed.write(fds[k], 0, 4 * k)
            peer.send("BATCH", slot=k, n_rows=4, serial=7, lease=k, step=k, position_after=4 * k + 4)
        peer.send("FAILED", error=-74, name=b"TooManyBadSamples", text=b"7 of 20")
        while True:
            peer.receive()
    with Daemon(path, failing), make(path, device) as loader:
        it = iter(loader)
        time.sleep(0.1)
        assert [next(it).step for _ in range(3)] == [0, 1, 2]
        for _ in range(2):
            with pytest.raises(ringfeed.TooManyBadSamples, match="7 of 20"):
                next(it)
        assert loader.state_dict()["token"] == token(0, 12)


def test_p09_lost_daemon(path):
    feed, device = Feed(n_samples=80), Device()

    def dying(peer):
        feed.serve(peer, n_batches=feed.n_sent + 2)
    with Daemon(path, dying), make(path, device, reconnect=10) as loader:
        for epoch in range(2):
            batches = list(loader)
            device.complete(len(device.events))
            for step, moved in enumerate(batches):
                check(feed, moved, epoch, step)
            assert step == 19
    assert len(feed.attaches) >= 20


def test_p04_fork(path):
    """The child is told, and leaves the device alone."""
    feed, device = Feed(n_samples=40, n_slots=4), Device()
    with Daemon(path, feed.serve), make(path, device) as loader:
        it = iter(loader)
        wait_for(lambda: feed.n_sent == 4)
        next(it)
        pid = os.fork()
        if pid == 0:
            n, log = 0, list(device.log)
            for call in (lambda: next(it), loader.state_dict, lambda: loader.set_epoch(1), loader.close):
                try:
                    call()
                except ringfeed.Forked:
                    n += 1
            for copies in (loader._ahead._flying, loader._ahead._ready):
                copies.clear()
            os._exit(0 if n == 4 and device.log == log else 1)
        assert os.waitpid(pid, 0)[1] == 0
        assert [moved.step for moved in it] == list(range(1, 10))


def test_p08_two_threads(path):
    feed, device = Feed(), Device(eager=True)

    def slow(peer):
        feed.attach(peer)
        while True:
            peer.receive()
    with Daemon(path, slow), make(path, device, timeout=1) as loader:
        it, found = iter(loader), []

        def wait():
            try:
                next(it)
            except ringfeed.Timeout:
                found.append(True)
        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        time.sleep(0.3)
        for call in (lambda: next(it), loader.close):
            with pytest.raises(ringfeed.Busy):
                call()
        thread.join(5)
        assert found


def test_peer_gone(path):
    """Heard while copying ahead, told in its place: behind the batches that came before, once."""
    feed, device = Feed(n_slots=5), Device(eager=True)
    feed.deaths = {2: [(1, 0)], 4: [(1, 3), (0, 2)]}
    with Daemon(path, feed.serve), make(path, device, rank=0, world_size=2, group="g") as loader:
        it, heard = iter(loader), []
        while True:
            wait_for(lambda: feed.n_sent >= min(5, len(heard) + 1))
            time.sleep(0.02)  # so that what is sent has come
            try:
                moved = next(it)
            except StopIteration:
                break
            except ringfeed.PeerGone as gone:
                heard.append((gone.rank, gone.replica))
                assert loader.state_dict()["token"] == (token(0, 8, 1) if len(heard) == 3 else token(0, 16, 2))
            else:
                check(feed, moved, 0, moved.step)
                heard.append(moved.step)
        assert heard == [0, 1, (1, 0), 2, 3, (1, 3), (0, 2), 4]
    device.complete(len(device.events))


def test_peer_gone_before_a_new_place(path):
    feed, device = Feed(n_slots=5), Device(eager=True)
    feed.deaths = {2: [(1, 0)]}
    with Daemon(path, feed.serve), make(path, device, rank=0, world_size=2, group="g") as loader:
        wait_for(lambda: feed.n_sent >= 3)
        time.sleep(0.02)
        next(iter(loader))
        loader.set_epoch(3)
        it = iter(loader)
        with pytest.raises(ringfeed.PeerGone):
            next(it)
        check(feed, next(it), 3, 0)
