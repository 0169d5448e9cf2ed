# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""What trainers are due while daemons and trainers die: a small dataset that is decoded in no time, the hash of
every row from one undisturbed pass of a feed that nobody else reads, and whose sample lies at which position from the
second implementation of proto/order.md.

The storm's trainers have batches, worlds and kinds of sharing of their own; the undisturbed feed has none of them.
"""
import functools
import json

import order_twin
import resume_tuples
import ringfeed
import scene
from trainers import row_hashes

SHARDS, N, SEED = resume_tuples.SHARDS, resume_tuples.N, 7
ORDER = {"shuffle": "full", "seed": SEED}


def feed(shards, **more):
    return scene.feed(shards, transform=[{"random_resized_crop": {"size": 12}}, "random_horizontal_flip"],
                      dtype="uint8", order=ORDER, **more)


def first_state(config, name):
    """The state of a trainer that has had nothing, without asking a daemon."""
    said = json.loads(scene.ringfeed("plan", "-c", config, "--json").stdout)
    fingerprint = next(f["fingerprint"] for f in said["feeds"] if f["name"] == name)
    order = order_twin.order_hash("full", 0, 1)
    return {"version": 1, "token": order_twin.token_make(fingerprint, SEED, 0, 0, order, 0)}


class Rows:
    """(epoch, position) -> hash of the row, read by a single trainer of a daemon of its own as far as is asked for."""

    def __init__(self, folder, shards):
        folder.mkdir()
        quiet = feed(shards, batch={"size": N - 20, "last": "pad"})
        self.config = scene.write_config(folder, {"quiet": quiet}, memory="192MiB")
        self.epochs = []

    def read_to(self, n_epochs):
        """Up to and without that epoch."""
        if len(self.epochs) >= n_epochs:
            return
        with scene.Daemon(self.config) as daemon, ringfeed.Loader("quiet", socket=daemon.socket) as loader:
            loader.set_epoch(len(self.epochs))
            while len(self.epochs) < n_epochs:
                rows = {}
                twin = order_twin.Order(SHARDS, "full", SEED, len(self.epochs))
                for batch in loader:
                    positions = batch.position.tolist()
                    assert batch.epoch == len(self.epochs)
                    assert batch.index.tolist() == [twin.sample(p) for p in positions]
                    assert batch.index.tolist() == batch["label"].tolist()
                    rows.update(row_hashes(batch))
                    batch.release()
                assert sorted(rows) == list(range(2 * (N - 20)))
                self.epochs.append(rows)

    def of(self, epoch, positions):
        return [self.epochs[epoch][position] for position in positions]


@functools.lru_cache(maxsize=None)
def batches(size, world, rank, last):
    """The positions of each batch of an epoch of that rank."""
    plan = order_twin.Pass(N, 0, size, world, last)
    return [list(plan.positions(j, rank)) for j in range(plan.n_batches())]
