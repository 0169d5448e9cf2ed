# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""ringfeed.torch.Loader against the scripted daemon."""
import gc
import os
import struct
import time
import warnings

import pytest
import torch

import ringfeed
import ringfeed.torch
from dropping import Dropping
from scripted_daemon import Daemon, Feed


@pytest.fixture
def path(tmp_path):
    return tmp_path / "s"


def make(path, **other):
    return ringfeed.torch.Loader("train", socket=path, reconnect=0, **other)


def check_batch(feed, batch, epoch, position):
    t = torch.arange(position, position + feed.n_rows)
    assert batch["label"].dtype == torch.int64 and torch.equal(batch["label"], 1000 * epoch + t)
    image = (t[:, None] + torch.arange(12) / 16).to(torch.float16).reshape(-1, 3, 2, 2)
    assert batch["image"].dtype == torch.float16 and torch.equal(batch["image"], image)
    assert batch["mask"].dtype == torch.uint8 and batch["mask"].shape == (feed.n_rows, 5)
    assert batch["weight"].dtype == torch.float32 and torch.equal(batch["weight"], t / 4)
    soft = (0x3f80 + t).to(torch.int16)[:, None].expand(-1, 2).contiguous().view(torch.bfloat16)
    assert batch["soft"].dtype == torch.bfloat16 and torch.equal(batch["soft"], soft)
    assert torch.equal(batch.index, 2 * t) and torch.equal(batch.position, t)
    assert batch.valid.tolist() == [True] * (feed.n_rows - 1) + [False] and batch.valid.dtype == torch.bool


def test_epochs(path):
    feed = Feed()
    with Daemon(path, feed.serve), make(path) as loader:
        for epoch in range(2):
            for n, batch in enumerate(loader):
                check_batch(feed, batch, epoch, 4 * n)
            assert n == 4
        del batch


class Captions(Feed):
    """One field of text: row t is t times a character of three bytes."""

    FIELDS = [("caption", "uint8", (18,)), ("wide", "float32", (3,))]

    def __init__(self):
        super().__init__(n_samples=8, n_rows=4)
        self.lengths_at["caption"] = self.valid_at + 128

    def write(self, fd, epoch, position):
        rows = [("€" * t).encode()[:18] for t in range(position, position + 4)]
        os.pwrite(fd, b"".join(row.ljust(18, b"\0") for row in rows), self.at["caption"])
        os.pwrite(fd, struct.pack("<4q", *map(len, rows)), self.lengths_at["caption"])


@pytest.mark.parametrize("copy", (False, True))
def test_text(path, copy):
    feed = Captions()
    with Daemon(path, feed.serve), make(path, copy=copy) as loader:
        for n, batch in enumerate(loader):
            texts, wanted = batch["caption"], ["€" * min(t, 6) for t in range(4 * n, 4 * n + 4)]
            assert list(texts) == wanted and texts[-1] == wanted[-1] and texts[1:3] == wanted[1:3]
            assert texts.lengths.dtype == torch.int64 and texts.lengths.tolist() == [3 * len(w) for w in wanted]
            assert texts.values.dtype == torch.uint8 and texts.values.shape == (4, 18)
            assert bytes(texts.values[0, :texts.lengths[0]].tolist()).decode() == wanted[0]
            with pytest.raises(IndexError):
                texts[4]
            del batch, texts
        assert n == 1


def test_dtype_that_torch_lacks(path, monkeypatch):
    """torch before 2.3 has no uint16: the field is named, the others come."""
    feed = Feed()
    monkeypatch.delattr(torch, "float16")
    with Daemon(path, feed.serve), make(path) as loader:
        batch = next(iter(loader))
        with pytest.raises(TypeError, match="field 'image' is float16, which torch .* does not have"):
            batch["image"]
        assert batch["mask"].shape == (4, 5)
        del batch


def test_zero_copy_and_in_place(path):
    feed = Feed(n_slots=2)
    with Daemon(path, feed.serve), make(path) as loader:
        seen = set()
        for batch in loader:
            seen.add(batch["image"].data_ptr())
            batch["image"].sub_(batch["image"].clone())
            assert not batch["image"].any()
            del batch
        assert len(seen) == 2


def test_views_keep_their_batch(path):
    feed = Feed()
    with Daemon(path, feed.serve), make(path) as loader:
        it = iter(loader)
        kept = next(it)["label"][1:].view(-1)[1:].detach()
        for position in (4, 8, 12):
            check_batch(feed, next(it), 0, position)
        held = [kept, next(it)]
        assert kept.tolist() == [2, 3]
        loader.set_epoch(3)
        held.append(next(iter(loader)))
        with pytest.raises(ringfeed.TooManyHeld):
            next(iter(loader))
        del held, kept
        gc.collect()
        check_batch(feed, next(iter(loader)), 4, 0)


def test_autograd_holds_the_batch_until_backward(path):
    feed = Feed(n_slots=2)
    weight = torch.ones(5, requires_grad=True)
    with Daemon(path, feed.serve), make(path) as loader:
        for n, batch in enumerate(loader):
            loss = (batch["mask"].float() * weight).sum() + (batch["weight"] * weight[0]).sum()
            del batch
            loss.backward()
        assert n == 4
    assert weight.grad.tolist() == [190 + 47.5] + [190] * 4


def test_copy(path):
    feed = Feed()
    with Daemon(path, feed.serve), make(path, copy=True) as loader:
        for n, batch in enumerate(list(loader)):
            check_batch(feed, batch, 0, 4 * n)


def test_last_view_dropped_by_another_thread(path):
    feed = Feed(n_slots=2, n_samples=400)
    with Daemon(path, feed.serve), make(path) as loader, Dropping() as dropping:
        for n, batch in enumerate(loader):
            dropping.hand(batch["image"][1:])
            del batch
            dropping.wait(0)
        assert n == 99


def test_device_batch(path):
    """A copy of its own, here to the CPU: the fields' tensors lie in one piece of memory, the rest is as it was."""
    feed = Feed()
    with Daemon(path, feed.serve), make(path, device="cpu") as loader:
        kept = []
        for n, batch in enumerate(loader):
            lent = {name: batch[name].data_ptr() for name in batch}
            kept.append(ringfeed.torch.DeviceBatch(batch, torch.device("cpu")))
            assert all(kept[-1][name].data_ptr() != lent[name] for name in batch)
            assert kept[-1].epoch == 0 and kept[-1].step == n and kept[-1].waits == batch.waits
            batch.release()
        for n, batch in enumerate(kept):
            check_batch(feed, batch, 0, 4 * n)
            assert len({batch[name].untyped_storage().data_ptr() for name in batch}) == 1
            batch.release()
            assert f"step {n}, 4 rows" in repr(batch)


def test_device_batch_in_registered_pieces(path, monkeypatch):
    """No copy crosses from one registration into the next."""
    monkeypatch.setattr(ringfeed.torch, "_REGISTERED", 64)
    feed, copied = Feed(), []
    whole = torch.frombuffer

    def frombuffer(buffer, **how):
        copied.append((how["offset"], how["count"]))
        return whole(buffer, **how)
    with Daemon(path, feed.serve), make(path) as loader:
        lent = next(iter(loader))
        list(map(lent.__getitem__, lent)), lent.index, lent.position, lent.valid
        monkeypatch.setattr(torch, "frombuffer", frombuffer)
        batch = ringfeed.torch.DeviceBatch(lent, torch.device("cpu"))
        monkeypatch.undo()
        check_batch(feed, batch, 0, 0)
        assert len(copied) > 3 and all(at // 64 == (at + n - 1) // 64 for at, n in copied)
        del lent


def test_text_on_a_device(path):
    feed = Captions()
    with Daemon(path, feed.serve), make(path) as loader:
        texts = ringfeed.torch.DeviceBatch(next(iter(loader)), torch.device("cpu"))["caption"]
        assert len(texts) == 4 and texts.values.shape == (4, 18) and texts.lengths.tolist() == [0, 3, 6, 9]
        assert list(texts) == ["", "€", "€€", "€€€"] and texts[-1] == "€€€" and texts[1:3] == ["€", "€€"]
        with pytest.raises(IndexError):
            texts[4]


@pytest.mark.filterwarnings("ignore:batches of feed")
def test_order_on_a_gpu(path, monkeypatch):
    """Copies and events on the loader's own stream; the stream that is current at next() waits, and keeps the memory."""
    said = []

    class Stream:
        def __init__(self, name="current"):
            self.name = name

        def wait_event(self, event):
            said.append(("wait", self.name, event.n))

        def __enter__(self):
            said.append(("enter", self.name))

        def __exit__(self, *_):
            said.append(("leave", self.name))

    class Event:
        n = 0

        def __init__(self):
            Event.n += 1
            self.n = Event.n

        def record(self, stream):
            said.append(("record", stream.name, self.n))

        def query(self):
            return True

        def synchronize(self):
            pass
    copied = torch.Tensor.copy_
    monkeypatch.setattr(ringfeed.torch, "_gpu", lambda asked: torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "device", lambda device: Stream("device"))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: said.append(("context",)))
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream("own"))
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: stream)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream())
    monkeypatch.setattr(torch.Tensor, "copy_", lambda to, of, non_blocking=False: (
        said.append(("copy", non_blocking)), copied(to, of))[1])
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: said.append(("keep", stream.name)))
    feed = Feed(n_samples=4, n_slots=2)
    with Daemon(path, feed.serve), make(path, device="cuda") as loader:
        assert said == [("enter", "device"), ("context",), ("leave", "device")]
        del said[:]
        assert "pinned" in repr(loader)  # it was asked for
        batches = list(loader)
    check_batch(feed, batches[0], 0, 0)
    assert said == [("enter", "own"), ("copy", True), ("record", "own", 1), ("leave", "own"), ("wait", "current", 1),
                    ("keep", "current")] and len(batches) == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_device_without_a_gpu(path):
    with pytest.raises(ringfeed.BadConfig, match="device='cuda': this torch .* (was built without CUDA|finds no GPU)"):
        make(path, device="cuda")
    with pytest.raises(ringfeed.BadConfig, match="device=1: this torch"):
        make(path, device=1)
    with pytest.raises(ringfeed.BadConfig, match="can stay on the cpu or go to cuda"):
        make(path, device="meta")
    with pytest.raises(ringfeed.BadConfig, match="device='gpu': "):
        make(path, device="gpu")
    with Daemon(path, Feed().serve), make(path, device=torch.device("cpu")) as loader:
        assert loader.pinned_reason == "pinning was not asked for"
        assert next(iter(loader))["label"].tolist() == [0, 1, 2, 3]


def test_cpu_per_batch(path):
    feed = Feed(n_samples=8000)
    with Daemon(path, feed.serve), make(path) as loader:
        times, it = [], iter(loader)
        while True:
            began = time.thread_time_ns()
            batch = next(it, None)
            if batch is None:
                break
            images, labels = batch["image"], batch["label"]
            del batch, images, labels
            times.append(time.thread_time_ns() - began)
    times.sort()
    print(f"CPU per batch: median {times[len(times) // 2] / 1000:.1f} µs, n {len(times)}")
    assert times[len(times) // 2] < 100_000


def test_shared(path):
    """Writing would be a fault there, and torch does not know: one warning that names the way out, none where there is one."""
    feed = Feed()
    feed.is_shared = 1
    with Daemon(path, feed.serve):
        with pytest.warns(UserWarning, match="copy=True") as caught, make(path) as loader:
            for n, batch in enumerate(loader):
                check_batch(feed, batch, 0, 4 * n)
            del batch
        assert len(caught) == 1
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with make(path, copy=True) as loader:
                batch = next(iter(loader))
                batch["weight"].mul_(2)
                assert batch["weight"].tolist() == [0, 0.5, 1, 1.5]
        with pytest.raises(ringfeed.BadConfig, match="copy=True"):
            make(path, writable=True)
