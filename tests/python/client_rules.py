# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""What the tests of the loader against the scripted daemon share."""
import gc
import os
import time

import numpy
import pytest

import ringfeed

for variable in list(os.environ):
    if variable.startswith(("RANK", "WORLD_SIZE", "SLURM_", "OMPI_", "LOCAL_WORLD_SIZE", "RINGFEED_GROUP", "RINGFEED_REPLICA")):
        del os.environ[variable]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "s"


@pytest.fixture(autouse=True)
def leaks():
    """Every test leaves as many descriptors and mapped slots as it found."""
    def count():
        gc.collect()
        with open("/proc/self/maps") as maps:
            return len(os.listdir("/proc/self/fd")), sum("scripted-slot" in line for line in maps)
    before = count()
    yield
    deadline = time.monotonic() + 2
    while count() != before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert count() == before


def make(path, **other):
    other.setdefault("reconnect", 0)
    return ringfeed.Loader("train", socket=path, **other)


def hold(peer):
    """Wait until the trainer hangs up."""
    while True:
        peer.receive()


def check_batch(feed, batch, epoch, position):
    t = numpy.arange(position, position + feed.n_rows)
    assert batch.epoch == epoch
    assert (batch["label"] == 1000 * epoch + t).all() and batch["label"].dtype == numpy.int64
    image = (t[:, None] + numpy.arange(12) / 16).astype(numpy.float16).reshape(-1, 3, 2, 2)
    assert (batch["image"] == image).all() and batch["image"].dtype == numpy.float16
    assert (batch["mask"] == ((t + epoch) % 256)[:, None]).all() and batch["mask"].shape == (feed.n_rows, 5)
    assert (batch["weight"] == t / 4).all() and batch["weight"].dtype == numpy.float32
    assert (batch["soft"].view(numpy.uint16) == 0x3f80 + t[:, None]).all()
    assert (batch.index == 2 * t).all() and (batch.position == t).all()
    assert batch.valid.dtype == bool and batch.valid.tolist() == [True] * (feed.n_rows - 1) + [False]
