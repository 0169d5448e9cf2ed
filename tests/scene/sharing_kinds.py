# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Groups that share a pass and nothing else: other world sizes, batches and views. Each sample is decoded once, whatever
batches it goes into, and each row is what a daemon that shares nothing gives."""
import contextlib
import signal

import ringfeed
import scene
from sharing_clients import waiting
from trainers import Trainer, reading, rows_of

N_SAMPLES, GLOBAL, SLOTS = 160, 16, 4
VIEWS = {"small": {"image": {"transform": [{"random_resized_crop": {"size": 48}}], "layout": "hwc"}},
         "half": {"image": {"dtype": "float16"}}}
# (feed, world size, rows of a batch or None for the feed's own); who wants other rows comes while nobody shares its own
KINDS = [("train", 1, 5), ("train/small", 2, 3), ("train", 1, None), ("train", 2, None), ("train", 4, None),
         ("train/small", 1, None), ("train/half", 1, None)]


def make_config(folder, share, **more):
    shards = scene.pack_photos(folder, "in", scene.photos("imagenet-sample")[:N_SAMPLES], 50)
    feed = scene.feed(shards, transform=[{"random_resized_crop": {"size": 64}}, "random_horizontal_flip"],
                      dtype="uint8", slots=SLOTS, share=share, views=VIEWS,
                      **{"batch": {"global": GLOBAL, "ranks": 1, "last": "drop"}, **more})
    return scene.write_config(folder, {"train": feed}, memory="384MiB")


def quiet(folder, epochs, **more):
    """{feed: {(epoch, position): hash}}, of every sample."""
    config = make_config(folder, "independent", **{**more, "batch": {"size": 10, "last": "drop"}})
    rows = {}
    with scene.Daemon(config) as daemon:
        for name in ("train", *(f"train/{view}" for view in VIEWS)):
            with Trainer(reading(name, epochs, socket=daemon.socket)) as trainer:
                rows[name] = rows_of(trainer.all())
                assert len(rows[name]) == epochs * N_SAMPLES
    return rows


def made(daemon):
    return sum(feed["made"] for feed in daemon.status()["feeds"])


def sized(feed, rows, epochs, **options):
    """Work: as `waiting`, with batches of so many rows from the beginning."""
    if rows is None:
        return waiting(epochs, feed=feed, **options)

    def work(say):
        plain = waiting(epochs, feed=feed, **options)
        loader = ringfeed.Loader.__init__

        def resized(self, *arguments, **more):
            loader(self, *arguments, **more)
            self.set_batch_size(rows)
        ringfeed.Loader.__init__ = resized
        plain(say)
    return work


def together(folder, share, epochs, kinds, want, **more):
    """All kinds at once in one daemon; returns the rows made."""
    with scene.Daemon(make_config(folder, share, **more)) as daemon:
        works, whose = [], []
        for n, (feed, world, rows) in enumerate(kinds):
            for rank in range(world):
                works.append(sized(feed, rows, epochs, socket=daemon.socket, group=f"g{n}", rank=rank,
                                   world_size=world, local_world_size=world))
                whose.append((n, feed, world, rows or GLOBAL // world))
        got = {}
        with contextlib.ExitStack() as stack:
            trainers = []
            for work in works:
                trainers.append(stack.enter_context(Trainer(work)))
                said = trainers[-1].hear()
                assert said.get("shared"), said
            for trainer in trainers:
                trainer.signal(signal.SIGUSR1)
            for trainer, (n, feed, world, rows) in zip(trainers, whose):
                heard = trainer.all()
                assert not any("error" in said for said in heard), heard[-1]
                got.setdefault((n, feed, world * rows), {}).update(rows_of(heard))
        for (_, feed, each), rows in got.items():
            length = N_SAMPLES // each * each
            assert rows == {place: digest for place, digest in want[feed].items() if place[1] < length}, (feed, each)
        return made(daemon)


def kinds(folder):
    """Seven kinds of batches of one pass, in lock-step and in a window."""
    epochs = 2
    want = quiet(folder, epochs)
    due = sum(epochs * (N_SAMPLES // ((rows or GLOBAL // world) * world)) * (rows or GLOBAL // world) * world
              for _, world, rows in KINDS)
    for share in ("lockstep", {"window": 3}):
        n = together(folder, share, epochs, KINDS, want)
        # What lay ready when the next kind came is made again for it, and some of the next epoch is made ahead.
        most = epochs * N_SAMPLES + (len(KINDS) + 1) * SLOTS * GLOBAL
        assert epochs * N_SAMPLES <= n <= most, n
        print(f"  {share}: {n} rows made, {due} due")


def damaged(folder):
    """The same with damaged samples among them: bad for all kinds alike, counted once for each that gets the row."""
    shards = scene.pack(folder, "bad", [
        [("jpg", photo.read_bytes() if i % 20 else photo.read_bytes()[:900]), ("cls", str(i).encode())]
        for i, photo in enumerate(scene.photos("imagenet-sample")[:N_SAMPLES])], 50)
    for policy in ("mask", "substitute"):
        more = {"source": {"format": "webdataset", "shards": [str(s) for s in shards]},
                "bad_samples": {"policy": policy, "limit": "100%"}}
        want = quiet(folder, 1, **more)
        together(folder, "lockstep", 1, KINDS, want, **more)


if __name__ == "__main__":
    scene.need_data("imagenet-sample")
    scene.main([kinds, damaged])
