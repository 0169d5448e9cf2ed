# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Stopping and going on: tokens, restarts, other numbers of workers and ranks, and a daemon that is killed."""
import contextlib
import json
import os
import random
import threading

import order_twin
import ringfeed
import scene
import trace
from ringfeed import _ahead

SMALL = [{"random_resized_crop": {"size": 40}}, "random_horizontal_flip"]
N = 200
SEED = 42
KILLS = int(os.environ.get("RINGFEED_SCENE_KILLS", "10"))


def photo_feed(shards, *, seed=SEED, order=None, **batch):
    return scene.feed(shards, transform=SMALL, dtype="uint8", slots=3, batch={"last": "short", **batch},
                      order=order or {"shuffle": "full", "seed": seed})


def pack(folder, prefix="in"):
    return scene.pack_photos(folder, prefix, scene.photos("imagenet-sample")[:N], 70)


def daemon_for(folder, feeds, number):
    """Every daemon of a scene has other workers and the other engine."""
    return scene.Daemon(scene.write_config(folder, feeds, workers=1 + number % 3,
                                           io=("uring", "threads")[number % 2]))


def open_loader(daemon, feed="train", **more):
    return ringfeed.Loader(feed, socket=daemon.socket, **more)


def two_epochs(folder, feeds, feed="train"):
    """The batches of epochs 0 and 1, undisturbed."""
    with daemon_for(folder, feeds, 0) as daemon, open_loader(daemon, feed) as loader:
        return [trace.steps(loader), trace.steps(loader)]


def p10_any_batch_any_daemon(folder):
    feeds = {"train": photo_feed(pack(folder), size=16)}
    whole, following = two_epochs(folder, feeds)
    assert len(whole) == 13 and len({step.digest for step in whole + following}) == 26
    chosen = [0, 1, 12, 13] + random.Random(1).sample(range(2, 12), 4)
    for number, k in enumerate(chosen):
        with daemon_for(folder, feeds, number) as daemon, open_loader(daemon) as loader:
            assert trace.steps(loader, k) == whole[:k]
            state = json.loads(json.dumps(loader.state_dict()))
        token = order_twin.token_parse(state["token"])
        assert (token["epoch"], token["position"]) == ((0, 16 * k) if k < 13 else (1, 0))
        assert state["token"] == order_twin.token_make(
            token["fingerprint"], SEED, token["epoch"], token["position"],
            order_twin.order_hash("full", 0, 1), 0)
        with daemon_for(folder, feeds, number + 1) as daemon, open_loader(daemon, state=state) as loader:
            assert len(loader) == (13 - k or 13)
            assert daemon.ranks("train")[0]["batches_in_epoch"] == 13
            if k < 13:
                assert trace.steps(loader) == whole[k:]
                assert len(loader) == 13
            assert trace.steps(loader) == following
            loader.load_state_dict(state)
            assert trace.steps(loader, 1) == (whole[k:] + following)[:1]


def read_ranks(daemon, feed, world, state, most):
    """Every rank's rows of its next batches; (position -> Row, positions of each global batch, state)."""
    union, batches, states = {}, {}, []
    with contextlib.ExitStack() as stack:
        loaders = [stack.enter_context(open_loader(
            daemon, feed, rank=r, world_size=world, local_world_size=world, group=f"world{world}",
            state=state)) for r in range(world)]
        passes = [iter(loader) for loader in loaders]
        for j in range(most):
            for each in passes:
                batch = next(each)
                for i, (position, index) in enumerate(zip(batch.position.tolist(), batch.index.tolist())):
                    assert position not in union
                    digest = trace.hash_arrays([batch[name][i] for name in batch])
                    union[position] = (index, bool(batch.valid[i]), digest)
                    batches.setdefault(j, set()).add(position)
                batch.release()
        states = [loader.state_dict() for loader in loaders]
    assert all(s == states[0] for s in states)
    return union, list(batches.values()), states[0]


def rows_of(batch):
    """position -> (index, digest of the row's arrays)."""
    return {p: (i, trace.hash_arrays([batch[name][k] for name in batch]))
            for k, (p, i) in enumerate(zip(batch.position.tolist(), batch.index.tolist()))}


def read_resized(loader, sizes, kill=None):
    """One epoch in batches of these sizes, each asked for before its batch; rows, lengths, the state after each."""
    rows, lengths, states = {}, [], []
    sizes = iter(sizes)
    loader.set_batch_size(next(sizes))
    for step, batch in enumerate(loader):
        more = rows_of(batch)
        assert list(more) == list(range(len(rows), len(rows) + len(more)))
        rows.update(more)
        lengths.append(len(more))
        batch.release()
        states.append(loader.state_dict())
        assert len(loader) >= step + 1 and (len(loader) == step + 1) == (len(rows) == N)
        if kill is not None and step == kill[0]:
            kill[1]()
        loader.set_batch_size(next(sizes))
    return rows, lengths, states


def p10_other_batch_sizes(folder):
    """set_batch_size between steps: the same rows in the same order, and every state leads to the next row."""
    feeds = {"train": photo_feed(pack(folder), size=16)}
    with daemon_for(folder, feeds, 0) as daemon, open_loader(daemon) as loader:
        whole = {}
        for batch in loader:
            whole.update(rows_of(batch))
        following = rows_of(next(iter(loader)))
    for number in range(3):
        rng = random.Random(number)
        sizes = [rng.choice((1, 2, 3, 5, 8, 13, 16)) for _ in range(N + 2)]
        with contextlib.ExitStack() as stack:
            daemon = stack.enter_context(daemon_for(folder, feeds, number))
            loader = stack.enter_context(open_loader(daemon))

            def restart():
                daemon.kill()
                stack.enter_context(daemon_for(folder, feeds, number + 1))

            kill = None if number == 0 else (rng.randrange(4, 12), restart)
            rows, lengths, states = read_resized(loader, sizes, kill)
            assert rows == whole and lengths[:-1] == sizes[:len(lengths) - 1] and sum(lengths) == N
            loader.set_batch_size(16)
            assert rows_of(next(iter(loader))) == following
        for k in rng.sample(range(len(states) - 1), 3):
            with daemon_for(folder, feeds, number + 1) as daemon, open_loader(daemon, state=states[k]) as loader:
                done = sum(lengths[:k + 1])
                assert rows_of(next(iter(loader))) == {p: whole[p] for p in range(done, min(N, done + 16))}


class Copied(dict):
    """What a device makes of a batch."""

    def __init__(self, batch):
        super().__init__({name: batch[name].copy() for name in batch})
        self.position, self.index = batch.position.copy(), batch.index.copy()

    def release(self):
        pass


class Device:
    """Whose copies are complete at once."""

    @staticmethod
    def start(batch):
        return Copied(batch), Device

    @staticmethod
    def hand_over(moved, _event):
        return moved

    query = staticmethod(lambda: True)
    synchronize = staticmethod(lambda: None)


def resized_while_copied_ahead(folder):
    """What was copied ahead in the old size is forgotten, and comes again in the new one."""
    feeds = {"train": photo_feed(pack(folder), size=16)}
    with daemon_for(folder, feeds, 0) as daemon, open_loader(daemon) as plain, \
            _ahead.Loader("train", socket=daemon.socket) as loader:
        whole = {}
        for batch in plain:
            whole.update(rows_of(batch))
        loader._ahead = _ahead.Ahead(Device)
        for number in range(2):
            rng = random.Random(number)
            rows, lengths, states = read_resized(loader, [rng.choice((1, 4, 9, 16)) for _ in range(N + 2)])
            assert len(rows) == N and sum(lengths) == N
            assert number == 1 or rows == whole
            k = len(states) // 2
            plain.load_state_dict(states[k])
            assert list(rows_of(next(iter(plain))))[0] == sum(lengths[:k + 1])
        loader.set_epoch(0)
        passes = iter(loader)
        next(passes)
        loader.set_batch_size(3)
        next(passes)
        assert list(rows_of(next(iter(loader)))) == [0, 1, 2] and loader.epoch == 1


def resized_by_all_ranks(folder):
    feeds = {"train": photo_feed(pack(folder), size=16)}
    with daemon_for(folder, feeds, 1) as daemon, contextlib.ExitStack() as stack:
        loaders = [stack.enter_context(open_loader(daemon, rank=r, world_size=2, local_world_size=2, group="g"))
                   for r in range(2)]
        passes, seen = [iter(loader) for loader in loaders], []
        for size in (16, 4, 9, 9, 16, 1):
            for loader in loaders:
                loader.set_batch_size(size)
            both = [next(each).position.tolist() for each in passes]
            assert [len(b) for b in both] == [size, size]
            assert sorted(both[0] + both[1]) == list(range(len(seen), len(seen) + 2 * size))
            assert all(p % 2 == r for r in range(2) for p in both[r])
            seen += both[0] + both[1]


def nothing_left_in_that_size(folder):
    """What is left is less than one batch of the new size, and is dropped: the pass is over, and len() says so."""
    feeds = {"train": photo_feed(pack(folder), size=16, last="drop")}
    with daemon_for(folder, feeds, 0) as daemon, open_loader(daemon) as loader:
        passes = iter(loader)
        for _ in range(11):
            next(passes)
        loader.set_batch_size(10)
        assert len(loader) == 13 and next(passes).position.tolist() == list(range(176, 186))
        loader.set_batch_size(16)
        assert len(loader) == 12 and next(passes, None) is None
        assert len(loader) == N // 16 and loader.epoch == 1


def batch_sizes_refused(folder):
    feeds = {"train": photo_feed(pack(folder), size=16)}
    with daemon_for(folder, feeds, 0) as daemon, open_loader(daemon) as loader:
        for size, words in ((0, "at least 1"), (17, "hold 1 to 16"), (-3, "at least 1")):
            try:
                loader.set_batch_size(size)
            except ringfeed.BadConfig as error:
                assert words in str(error), error
            else:
                raise AssertionError(f"{size} is taken")
        assert len(next(iter(loader)).position) == 16


def p10_elastic_ranks(folder):
    """1, then 2, then 3 ranks go on with one token: the same samples with the same bytes, each once."""
    shards = pack(folder)
    feeds = {"global": photo_feed(shards, ranks=1, **{"global": 24}), "size": photo_feed(shards, size=8)}
    for feed, plan in (("global", [(1, 3), (2, 3), (3, 3)]), ("size", [(1, 4), (2, 4), (3, 5)])):
        with daemon_for(folder, feeds, 0) as daemon:
            n_all = -(-N // (24 if feed == "global" else 8))
            alone, global_batches, _ = read_ranks(daemon, feed, 1, None, n_all)
        assert sorted(alone) == list(range(N))
        assert sorted(index for index, _, _ in alone.values()) == list(range(N))
        union, batches, state = {}, [], None
        for number, (world, most) in enumerate(plan):
            with daemon_for(folder, feeds, number) as daemon:
                rows, more, state = read_ranks(daemon, feed, world, state, most)
            assert not rows.keys() & union.keys()
            union.update(rows)
            batches += more
        assert union == alone
        if feed == "global":
            assert batches == global_batches
        assert order_twin.token_parse(state["token"])["epoch"] == 1


class Killer(threading.Thread):
    """Kills the daemon again and again at random moments and starts another one on the same socket."""

    def __init__(self, folder, feeds, kills):
        super().__init__()
        self.folder, self.feeds, self.kills = folder, feeds, kills
        self.random = random.Random(2)
        self.done = 0
        self.stopped = threading.Event()
        self.failure = None
        self.server = daemon_for(folder, feeds, 0)

    def run(self):
        try:
            while self.done < self.kills and not self.stopped.wait(self.random.uniform(0.02, 0.4)):
                self.server.kill()
                self.done += 1
                self.server = daemon_for(self.folder, self.feeds, self.done)
        except BaseException as reason:  # told to the trainer's thread, which raises it
            self.failure = reason

    def end(self):
        self.stopped.set()
        self.join()
        self.server.stop()


def p09_daemon_killed_under_trainer(folder):
    """kill -9 and a new start while a trainer takes batches, some held meanwhile: it goes on byte for byte."""
    feeds = {"train": photo_feed(pack(folder), size=16)}
    epochs = two_epochs(folder, feeds)
    killer = Killer(folder, feeds, KILLS)
    n_epochs, held = 0, None
    try:
        with open_loader(killer.server) as loader:
            killer.start()
            while killer.done < KILLS and killer.is_alive():
                loader.set_epoch(n_epochs % 2)
                seen = []
                for batch in loader:
                    seen.append(trace.step_of(batch))
                    if held:
                        assert trace.step_of(held[0]) == held[1], "a held batch has changed"
                    held = (batch, seen[-1])
                assert seen == epochs[n_epochs % 2]
                n_epochs += 1
            assert killer.failure is None, killer.failure
            assert trace.steps(loader) == epochs[0] if loader.epoch == 0 else True
    finally:
        held = batch = None
        killer.end()
    assert killer.done == KILLS
    print(f"{KILLS} kills within {n_epochs} epochs")


def refused(kind, make):
    try:
        make()
    except kind as reason:
        assert str(reason)
        return
    raise AssertionError(f"accepted; {kind.__name__} was due")


def tokens_refused(folder):
    """Other data, other order, tokens edited, of a newer version or past the end: refused by name, at the
    start and under way, and nobody else notices."""
    shards = pack(folder)
    other = scene.pack_photos(folder, "other", scene.photos("imagenet-sample")[:N], 80)
    feeds = {
        "train": photo_feed(shards, size=16), "data": photo_feed(other, size=16),
        "seed": photo_feed(shards, size=16, seed=43),
        "order": photo_feed(shards, size=16, order={"shuffle": "none", "seed": SEED}),
        "window": photo_feed(shards, size=16, order={"shuffle": "block", "seed": SEED, "window": 64}),
    }
    with daemon_for(folder, feeds, 1) as daemon, open_loader(daemon) as loader:
        passing = iter(loader)
        next(passing).release()
        state = loader.state_dict()
        token = order_twin.token_parse(state["token"])

        def altered(**values):
            parts = {**token, **values}
            return {"version": 1, "token": order_twin.token_make(
                parts["fingerprint"], parts["seed"], parts["epoch"], parts["position"], parts["order"],
                parts["bad"])}

        def edited(old, new):
            assert old in state["token"]
            return {"version": 1, "token": state["token"].replace(old, new)}

        assert altered() == state
        bad = [edited('"position":16', '"position":32'), edited('"epoch":0', '"epoch":1'),
               {"version": 1, "token": state["token"][:-1]}, {"version": 1, "token": "{}"},
               altered(position=N), altered(position=N + 100), altered(fingerprint="0" * 32),
               altered(seed=SEED + 1)]
        for wrong in bad:
            refused(ringfeed.TokenError, lambda: open_loader(daemon, state=wrong))
            with open_loader(daemon) as another:
                refused(ringfeed.TokenError, lambda: another.load_state_dict(wrong))
        refused(ringfeed.VersionMismatch, lambda: open_loader(daemon, state=edited('"version":1', '"version":2')))
        refused(ringfeed.TokenError, lambda: open_loader(daemon, state={"version": 2, "token": "x"}))
        for feed in ("data", "seed", "order", "window"):
            refused(ringfeed.TokenError, lambda: open_loader(daemon, feed, state=state))
        with open_loader(daemon, state=altered(epoch=7, position=32)) as another:  # a good one, made by the twin
            first = trace.steps(another, 1)[0]
            assert (first.epoch, first.positions) == (7, list(range(32, 48)))
        rest = [trace.step_of(batch).step for batch in passing]
        assert rest == list(range(1, 13))


def position_of(loader):
    token = order_twin.token_parse(loader.state_dict()["token"])
    return token["epoch"], token["position"]


def epoch_ends(folder):
    """Where a pass ends, where the next one starts, and how long it is, for each way to get there."""
    feeds = {"train": photo_feed(pack(folder), size=16)}
    whole, following = two_epochs(folder, feeds)
    with daemon_for(folder, feeds, 1) as daemon, open_loader(daemon) as loader:
        assert (loader.epoch, len(loader), position_of(loader)) == (0, 13, (0, 0))
        n = 0
        for batch in loader:
            n += 1
            assert position_of(loader) == ((0, 16 * n) if n < 13 else (1, 0))
            batch.release()
        assert (loader.epoch, position_of(loader)) == (1, (1, 0))
        assert trace.steps(loader, 5) == following[:5]  # and a break
        assert position_of(loader) == (1, 80)
        third = trace.steps(loader)
        assert [step.epoch for step in third] == [2] * 13
        loader.set_epoch(1)
        assert (loader.epoch, len(loader), position_of(loader)) == (1, 13, (1, 0))
        assert trace.steps(loader) == following
        loader.set_epoch(2)  # the next one anyway
        assert trace.steps(loader, 2) == third[:2]
        state = loader.state_dict()
        loader.set_epoch(0)
        assert trace.steps(loader, 3) == whole[:3]
        loader.load_state_dict(state)
        assert (loader.epoch, len(loader)) == (2, 11)
        loader.set_epoch(2)  # as frameworks do after loading a state: it stays in mid-epoch
        assert position_of(loader) == (2, 32)
        assert trace.steps(loader) == third[2:]
        assert (loader.epoch, len(loader), position_of(loader)) == (3, 13, (3, 0))


if __name__ == "__main__":
    scene.need_data("imagenet-sample")
    scene.main([p10_any_batch_any_daemon, p10_elastic_ranks, p10_other_batch_sizes, resized_by_all_ranks,
                resized_while_copied_ahead, nothing_left_in_that_size, batch_sizes_refused, p09_daemon_killed_under_trainer, tokens_refused,
                epoch_ends])
