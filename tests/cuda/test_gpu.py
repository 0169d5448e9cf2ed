# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""ringfeed.torch.Loader on a real GPU."""
import os
import struct

import pytest
import torch

import ringfeed
import ringfeed.torch
from scripted_daemon import Daemon, Feed


class Photos(Feed):
    """Batches of 9.6 MB: pixel i of sample s is s + i / 2^10."""

    FIELDS = [("image", "float32", (3, 128, 128)), ("label", "int64", ())]
    ROW = torch.arange(3 * 128 * 128, dtype=torch.float32).reshape(3, 128, 128) / 1024

    def __init__(self, n_samples=960, n_slots=3):
        super().__init__(n_samples, 48, n_slots)
        self.index_at += 512
        self.position_at += 1024
        self.valid_at += 1536
        self.slot_bytes += 4096

    def rows(self, position):
        return torch.arange(position, position + self.n_rows)

    def images(self, position):
        return self.rows(position)[:, None, None, None] + self.ROW

    def write(self, fd, epoch, position):
        os.pwrite(fd, self.images(position).numpy().tobytes(), self.at["image"])
        for at in (self.at["label"], self.index_at, self.position_at):
            os.pwrite(fd, struct.pack("<48q", *self.rows(position)), at)
        os.pwrite(fd, b"\1" * 48, self.valid_at)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "s"


def make(path, **other):
    return ringfeed.torch.Loader("train", socket=path, reconnect=0, **other)


def check(feed, batch, step):
    assert batch["image"].is_cuda and not batch.index.is_cuda and batch.step == step
    assert torch.equal(batch["image"].cpu(), feed.images(48 * step))
    assert torch.equal(batch["label"].cpu(), feed.rows(48 * step)) and torch.equal(batch.index, feed.rows(48 * step))


@pytest.mark.parametrize("pin", (True, False))
@pytest.mark.parametrize("n_slots", (2, 6))
def test_epochs(path, pin, n_slots):
    feed = Photos(n_slots=n_slots)
    with Daemon(path, feed.serve), make(path, device="cuda", pin=pin) as loader:
        assert loader.pinned == pin, loader.pinned_reason
        for _ in range(2):
            for step, batch in enumerate(loader):
                check(feed, batch, step)
            assert step == 19


def test_held_batches(path):
    """Every batch of an epoch at once: no memory is used twice."""
    feed = Photos()
    with Daemon(path, feed.serve), make(path, device="cuda") as loader:
        for step, batch in enumerate(list(loader)):
            check(feed, batch, step)


@pytest.mark.parametrize("own_stream", (False, True))
def test_slow_consumer(path, own_stream):
    """The host runs far ahead of a busy stream: its batches are dropped before they are read, and still read right."""
    feed, sums = Photos(), []
    stream = torch.cuda.Stream() if own_stream else torch.cuda.current_stream()
    with Daemon(path, feed.serve), make(path, device="cuda") as loader, torch.cuda.stream(stream):
        for batch in loader:
            torch.cuda._sleep(20_000_000)
            sums.append(batch["image"].sum(dtype=torch.float64))
            del batch
    for step, total in enumerate(sums):
        assert total.item() == feed.images(48 * step).sum(dtype=torch.float64).item()
    assert step == 19


def test_lent_tensors_are_pinned(path):
    torch.cuda.synchronize()
    feed = Photos()
    with Daemon(path, feed.serve), make(path, pin=True) as loader:
        assert loader.pinned, loader.pinned_reason
        for step, batch in enumerate(loader):
            assert batch["image"].is_pinned() and batch["label"].is_pinned()
            there = batch["image"].to("cuda", non_blocking=True)
            torch.cuda.synchronize()
            assert torch.equal(there.cpu(), feed.images(48 * step))
            del batch


def test_a_gpu_that_is_not_there(path):
    with pytest.raises(ringfeed.BadConfig, match="GPUs, counted from 0"):
        make(path, device=torch.cuda.device_count())
