# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""pin=True as the CUDA driver sees it, by the fake libcuda.so.1 of tests/cuda (first in LD_LIBRARY_PATH)."""
import ctypes
import os
import pathlib
import re
import shutil
import subprocess
import sys
import warnings

import pytest

import ringfeed
from client_rules import leaks, path  # noqa: F401 - fixtures
from scripted_daemon import Daemon, Feed


@pytest.fixture
def cuda(tmp_path, monkeypatch):
    """The driver's log."""
    monkeypatch.setenv("FAKE_CUDA", "")
    monkeypatch.setenv("FAKE_CUDA_LOG", str(tmp_path / "cuda"))
    ctypes.CDLL("libcuda.so.1").fake_cuda_count_anew()
    return Log(tmp_path / "cuda")


class Log:
    def __init__(self, path):
        self.path = path

    def calls(self, word=""):
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return [line.split(" ", 1)[1] for line in lines if word in line]

    def pids(self):
        return {int(line.split()[0]) for line in self.path.read_text().splitlines()}

    def registered(self):
        """(address, bytes, flags, result) of each registration."""
        return [tuple(int(v.strip(","), 0) for v in (w[1], w[2], w[3], w[5]))
                for w in map(str.split, self.calls("cuMemHostRegister "))]

    def unregistered(self):
        """(address, result, mapped or unmapped) of each."""
        return [(int(w[1], 0), int(w[3].strip(",")), w[4])
                for w in map(str.split, self.calls("cuMemHostUnregister "))]


def mapped_slots():
    """(address, bytes) of every mapped slot."""
    found = []
    for line in pathlib.Path("/proc/self/maps").read_text().splitlines():
        if "scripted-slot" in line:
            begin, end = (int(v, 16) for v in line.split()[0].split("-"))
            found.append((begin, end - begin))
    return found


def make(path, **other):
    return ringfeed.Loader("train", socket=path, **{"reconnect": 0, "pin": True, **other})


def test_p24_every_slot_once(path, cuda):
    """Registered whole, page-aligned, for every context, with every page there; unregistered before it is unmapped."""
    feed = Feed(n_slots=4)
    with Daemon(path, feed.serve), make(path) as loader:
        assert loader.pinned and loader.pinned_reason == "" and repr(loader).endswith(", pinned>")
        slots = cuda.registered()
        assert sorted((base, n) for base, n, _, _ in slots) == sorted(mapped_slots()) and len(slots) == 4
        assert all(flags == 1 and result == 0 and base % 4096 == 0 for base, _, flags, result in slots)
        assert all(call.endswith(" 0 absent") for call in cuda.calls("cuMemHostRegister "))
        for batch in loader:
            assert batch["label"].shape == (4,)
        assert len(cuda.registered()) == 4 and not cuda.unregistered()
        del batch
    assert sorted(cuda.unregistered()) == sorted((base, 0, "mapped") for base, _, _, _ in slots)
    assert not mapped_slots()
    # Each call inside the context, and the stack as it was.
    assert len(cuda.calls("cuCtxPush")) == len(cuda.calls("cuCtxPop")) == 8
    assert not cuda.calls("Retain")


def test_active_primary_context(path, cuda, monkeypatch):
    monkeypatch.setenv("FAKE_CUDA", "primary")
    with Daemon(path, Feed().serve), make(path) as loader:
        assert loader.pinned
        assert cuda.calls("Retain") == ["cuDevicePrimaryCtxRetain 11 1"] and not cuda.calls("Release")
    assert cuda.calls()[-1] == "cuDevicePrimaryCtxRelease 11 0"


@pytest.mark.parametrize("said, reason", (
    ("none", r"cuInit says CUDA_ERROR_NO_DEVICE \(100: no CUDA-capable device is detected\)"),
    ("cuInit=999", r"cuInit says an unknown error \(999: no text\)"),
    ("idle", "this process has no CUDA context yet: use the GPU once .*"),
    ("cuMemHostRegister=2", r"slot 1 of 3, 4096 bytes: cuMemHostRegister says CUDA_ERROR_OUT_OF_MEMORY \(2: out of memory\)")))
def test_p24_not_pinned_and_why(path, cuda, monkeypatch, said, reason):
    """Stated, and never fatal."""
    monkeypatch.setenv("FAKE_CUDA", said)
    with Daemon(path, Feed().serve):
        with pytest.warns(RuntimeWarning, match="batches of feed 'train' are not pinned: ") as warned:
            loader = make(path)
        assert warned[0].message.args[0].endswith(loader.pinned_reason) and not loader.pinned
        assert re.fullmatch(reason, loader.pinned_reason), loader.pinned_reason
        assert repr(loader).endswith(f", not pinned: {loader.pinned_reason}>")
        assert sum(1 for _ in loader) == 5
        loader.close()
    assert len(cuda.calls("Retain")) == len(cuda.calls("Release")) == 0


def test_p24_one_slot_fails(path, cuda, monkeypatch):
    """All or none: what was registered before it is undone at once."""
    monkeypatch.setenv("FAKE_CUDA", "cuMemHostRegister=2@2")
    with Daemon(path, Feed().serve), pytest.warns(RuntimeWarning), make(path) as loader:
        assert "slot 2 of 3" in loader.pinned_reason and not loader.pinned
        (base, _, _, first), (_, _, _, second) = cuda.registered()
        assert (first, second) == (0, 2) and cuda.unregistered() == [(base, 0, "mapped")]
        assert len(mapped_slots()) == 3 and sum(1 for _ in loader) == 5
    assert len(cuda.unregistered()) == 1


def test_p24_already_registered_is_fine(path, cuda, monkeypatch):
    """By somebody else, at the same place: pinned, and no registration outlives the memory."""
    monkeypatch.setenv("FAKE_CUDA", "cuMemHostRegister=712@1")
    with Daemon(path, Feed().serve), make(path) as loader:
        assert loader.pinned and [r[3] for r in cuda.registered()] == [712, 0, 0]
        assert sum(1 for _ in loader) == 5
    assert sorted(r[0] for r in cuda.unregistered()) == sorted(r[0] for r in cuda.registered())


def test_p24_after_a_lost_daemon(path, cuda):
    """Old slots are unregistered before they are unmapped, a held one with its last array; the new ones are pinned."""
    feed = Feed(n_samples=40)

    def dying(peer):
        feed.serve(peer, n_batches=feed.n_sent + 2)
    with Daemon(path, dying), make(path, reconnect=10) as loader:
        it = iter(loader)
        kept = next(it)["label"]
        held = kept.__array_interface__["data"][0] // 4096 * 4096
        first = {base for base, _, _, _ in cuda.registered()}
        next(it)
        assert next(it).step == 2 and len(feed.attaches) == 2
        assert loader.pinned and len(cuda.registered()) == 6
        # The two that nobody holds, before the three new ones.
        gone = cuda.calls("Host")[3:5]
        assert all(call.startswith("cuMemHostUnregister") and call.endswith("= 0, mapped") for call in gone)
        assert {base for base, _, _ in cuda.unregistered()} == first - {held}
        assert kept.tolist() == [0, 1, 2, 3]
        del kept
        assert (held, 0, "mapped") in cuda.unregistered()[:3]
    assert len(cuda.unregistered()) == 6 and all(how == "mapped" for _, _, how in cuda.unregistered())
    assert not mapped_slots()


def test_daemon_gone_for_good(path, cuda):
    daemon = Daemon(path, lambda peer: Feed().serve(peer, n_batches=1))
    with daemon, make(path) as loader:
        it = iter(loader)
        next(it)
        daemon.stop()
        with pytest.raises(ringfeed.DaemonGone):
            next(it)
        assert not loader.pinned and loader.pinned_reason == "the daemon is gone, and no slots are mapped"
        assert len(cuda.unregistered()) == 3


def test_pinned_after_close(path, cuda):
    """A batch that outlives its loader stays registered as long as it is mapped."""
    with Daemon(path, Feed().serve):
        with make(path) as loader:
            kept = next(iter(loader))["label"]
        assert len(cuda.unregistered()) == 2 and len(mapped_slots()) == 1
        with pytest.raises(ringfeed.Closed):
            loader.pinned
        assert repr(loader).endswith(", closed>")
        del kept
    assert len(cuda.unregistered()) == 3 and not mapped_slots()


def test_not_asked_for(path, cuda):
    with Daemon(path, Feed().serve), make(path, pin=False) as loader:
        assert not loader.pinned and loader.pinned_reason == "pinning was not asked for"
        assert repr(loader) == "<ringfeed loader of feed 'train'>"
        next(iter(loader))
    assert not cuda.calls()


def test_p04_forked_child_makes_no_cuda_call(path, cuda):
    with Daemon(path, Feed().serve), make(path) as loader:
        it = iter(loader)
        batch = next(it)
        pid = os.fork()
        if pid == 0:
            n = 0
            for call in (lambda: next(it), lambda: loader.pinned, lambda: loader.pinned_reason, batch.release,
                         loader.close, lambda: loader.set_epoch(3)):
                try:
                    call()
                except ringfeed.Forked:
                    n += 1
            repr(loader)
            del batch, it, loader
            os._exit(0 if n == 6 else 1)
        assert os.waitpid(pid, 0)[1] == 0
        assert cuda.pids() == {os.getpid()} and not cuda.unregistered()
        assert batch["label"].tolist() == [0, 1, 2, 3]
        del batch
    assert len(cuda.unregistered()) == 3


def reason_with(path, folder):
    """What a process of its own says, whose libcuda.so.1 is the file in that folder."""
    program = ("import ringfeed, sys\n"
               "with ringfeed.Loader('train', socket=sys.argv[1], pin=True, reconnect=0) as loader:\n"
               "    assert sum(1 for _ in loader) == 5\n"
               "    print(loader.pinned, loader.pinned_reason)\n")
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder)}
    with Daemon(path, Feed().serve):
        return subprocess.run([sys.executable, "-c", program, path], env=environment, text=True, check=True,
                              stdout=subprocess.PIPE).stdout.strip()


def test_p24_no_library(path, tmp_path):
    (tmp_path / "libcuda.so.1").write_bytes(b"")
    said = reason_with(path, tmp_path)
    assert said.startswith("False the CUDA driver's library cannot be loaded: ") and "file too short" in said


def test_p24_library_without_functions(path, tmp_path):
    shutil.copy(os.environ["RINGFEED_LIBRARY"], tmp_path / "libcuda.so.1")
    assert reason_with(path, tmp_path) == "False libcuda.so.1 has no cuInit: the CUDA driver is too old"


@pytest.mark.parametrize("said", ("", "cuMemHostRegister=2"))
def test_p03_shared_slots(path, cuda, monkeypatch, said):
    """Writable while they are registered, as the driver wants them, and for reading from then on, pinned or not."""
    monkeypatch.setenv("FAKE_CUDA", said)
    monkeypatch.setattr(warnings, "warn", lambda *_: None)
    feed = Feed()
    feed.is_shared = 1
    with Daemon(path, feed.serve), make(path) as loader:
        assert loader.pinned == (said == "") and loader.shared
        assert all(call.endswith(" 0 absent") for call in cuda.calls("cuMemHostRegister ") if not said)
        lines = [line for line in pathlib.Path("/proc/self/maps").read_text().splitlines() if "scripted-slot" in line]
        assert lines and {line.split()[1] for line in lines} == {"r--s"}
        assert sum(1 for _ in loader) == 5
