# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""ringfeed.Loader against the real daemon."""
import hashlib
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

import ringfeed
import scene

pytestmark = pytest.mark.skipif(bool(scene.missing()), reason=scene.missing())

N = 60


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    assert scene.write_shards(folder, [25, 0, 17, 18]) == N
    return folder


def digest(batch):
    """Every byte a trainer can see of a batch, and where it is."""
    h = hashlib.sha256(repr(batch.epoch).encode())
    for array in (batch["image"], batch["label"], batch.index, batch.position, batch.valid):
        h.update(array.tobytes())
    return h.hexdigest()


def take(loader, n_epochs=1):
    return [digest(batch) for _ in range(n_epochs) for batch in loader]


@pytest.mark.parametrize("order", ["{shuffle: none}", "{shuffle: full, seed: 7}", "{shuffle: block, window: 8, parts: 2}"])
def test_every_sample_once(tmp_path, shards, order):
    with scene.Daemon(tmp_path, shards, order=order) as daemon, daemon.loader() as loader:
        assert loader.n_samples == N and loader.fields == ("image", "label")
        orders = []
        for epoch in range(2):
            assert len(loader) == N // 4
            seen, positions = [], []
            for step, batch in enumerate(loader):
                assert (batch.epoch, batch.step) == (epoch, step)
                seen += scene.check_batch(batch)
                positions += batch.position.tolist()
            assert sorted(seen) == list(range(N)) and positions == list(range(N))
            orders.append(seen)
        assert (orders[0] == orders[1]) == ("none" in order)
        if "none" in order:
            assert orders[0] == list(range(N))
        del batch


@pytest.mark.parametrize("world", [1, 2, 3])
def test_ranks(tmp_path, shards, world):
    """Each sample once over all ranks; row t of the global order goes to rank t mod world."""
    found = [None] * world
    with scene.Daemon(tmp_path, shards, batch="{size: 5}") as daemon:
        def train(rank):
            with daemon.loader(rank=rank, world_size=world, group="job", copy=True) as loader:
                found[rank] = list(loader)
        threads = [threading.Thread(target=train, args=(rank,)) for rank in range(world)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    seen = []
    for rank, batches in enumerate(found):
        assert len(batches) == N // (5 * world)
        for batch in batches:
            assert all(t % world == rank for t in batch.position.tolist())
            seen += scene.check_batch(batch)
    assert sorted(seen) == list(range(N))


@pytest.mark.parametrize("last, n_batches, n_valid", [("drop", 8, 56), ("pad", 9, 60), ("short", 9, 60)])
def test_last(tmp_path, shards, last, n_batches, n_valid):
    with scene.Daemon(tmp_path, shards, batch=f"{{size: 7, last: {last}}}") as daemon, daemon.loader() as loader:
        assert len(loader) == n_batches
        batches = [(len(batch["label"]), scene.check_batch(batch)) for batch in loader]
        seen = [i for _, rows in batches for i in rows]
        assert len(seen) == len(set(seen)) == n_valid
        assert batches[-1][0] == (4 if last == "short" else 7)
        assert len(loader) == n_batches


def test_p10_resume(tmp_path, shards):
    """After any batch, against a fresh daemon with another number of workers: the same bytes from there on."""
    with scene.Daemon(tmp_path, shards) as daemon, daemon.loader() as loader:
        states, whole = [loader.state_dict()], []
        for _ in range(2):
            for batch in loader:
                whole.append(digest(batch))
                states.append(loader.state_dict())
        del batch
    with scene.Daemon(tmp_path, shards, workers=2, slots=5) as daemon:
        for k in range(len(whole)):
            with daemon.loader(state=states[k]) as loader:
                assert len(loader) == 15 - k % 15
                rest = take(loader, 1 if k >= 15 else 2)
                assert rest == whole[k:]
        with daemon.loader() as loader:
            next(iter(loader))
            loader.load_state_dict(states[7])
            assert take(loader) == whole[7:15]


def test_set_epoch_and_break(tmp_path, shards):
    with scene.Daemon(tmp_path, shards) as daemon, daemon.loader() as loader:
        first, second = take(loader), take(loader)
        loader.set_epoch(0)
        assert take(loader) == first
        for batch in loader:
            break
        del batch
        loader.set_epoch(1)
        assert take(loader) == second


def test_p09_daemon_killed_under_a_running_trainer(tmp_path, shards):
    with scene.Daemon(tmp_path, shards) as daemon:
        with daemon.loader() as loader:
            whole = take(loader, 2)
        with daemon.loader() as loader:
            seen = []
            for _ in range(2):
                for batch in loader:
                    seen.append(digest(batch))
                    if len(seen) in (3, 14, 15, 22):
                        daemon.kill()
                        daemon.start()
            assert seen == whole
            del batch


def test_p09_gone_for_good(tmp_path, shards):
    with scene.Daemon(tmp_path, shards) as daemon, daemon.loader(reconnect=0.5) as loader:
        it = iter(loader)
        batch = next(it)
        before = digest(batch)
        daemon.kill()
        began = time.monotonic()
        with pytest.raises(ringfeed.DaemonGone, match="sock"):
            while True:
                next(it)
        assert time.monotonic() - began < 4
        assert digest(batch) == before


def test_refused_by_name(tmp_path, shards):
    other = tmp_path / "other"
    scene.write_shards(other, [30], first=500)
    with scene.Daemon(tmp_path, shards) as daemon:
        with pytest.raises(ringfeed.Refused, match="train"):
            ringfeed.Loader("trian", socket=daemon.socket)
        with daemon.loader(rank=0, world_size=2, group="g"):
            with pytest.raises(ringfeed.Refused):
                daemon.loader(rank=0, world_size=2, group="g")
            with pytest.raises(ringfeed.Refused):
                daemon.loader(rank=2, world_size=3, group="g")
        with daemon.loader() as loader:
            state = loader.state_dict()
        with pytest.raises(ringfeed.TokenError):
            daemon.loader(state={"version": 1, "token": "nonsense"})
    (tmp_path / "second").mkdir()
    with scene.Daemon(tmp_path / "second", other) as daemon, pytest.raises(ringfeed.TokenError):
        daemon.loader(state=state)


def test_p01_a_killed_trainer_leaves_the_others_alone(tmp_path, shards):
    program = textwrap.dedent("""
        import sys, time, ringfeed
        it = iter(ringfeed.Loader("train", socket=sys.argv[1], rank=1, world_size=2, group="g"))
        held = [next(it), next(it)]
        print("ready", flush=True)
        time.sleep(60)
    """)
    with scene.Daemon(tmp_path, shards) as daemon, daemon.loader(rank=0, world_size=2, group="g", copy=True) as loader:
        child = subprocess.Popen([sys.executable, "-c", program, str(daemon.socket)], stdout=subprocess.PIPE)
        assert child.stdout.readline() == b"ready\n"
        it = iter(loader)
        scene.check_batch(next(it))
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        deadline = time.monotonic() + 0.1
        while True:  # its place is free again
            try:
                with daemon.loader(rank=1, world_size=2, group="g") as again:
                    scene.check_batch(next(iter(again)))
                break
            except ringfeed.Refused:
                assert time.monotonic() < deadline + 0.5
        assert len([scene.check_batch(batch) for batch in it]) == N // 8 - 1


def train(socket, queue):
    with ringfeed.Loader("train", socket=socket, timeout=20) as loader:
        queue.put(sorted(i for batch in loader for i in batch.index.tolist()))


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_started_by_multiprocessing(tmp_path, shards, how):
    context = multiprocessing.get_context(how)
    with scene.Daemon(tmp_path, shards) as daemon:
        queue = context.Queue()
        process = context.Process(target=train, args=(str(daemon.socket), queue))
        process.start()
        assert queue.get(timeout=30) == list(range(N))
        process.join()


def test_p04_fork(tmp_path, shards):
    with scene.Daemon(tmp_path, shards) as daemon, daemon.loader() as loader:
        it = iter(loader)
        batch = next(it)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                next(it)
            except ringfeed.Forked:
                code = 0
            os._exit(code)
        assert os.waitpid(pid, 0)[1] == 0
        assert len(scene.check_batch(batch)) == 4
        del batch
        assert sum(1 for _ in it) == 14


def test_torchrun(tmp_path, shards):
    pytest.importorskip("torch")
    program = tmp_path / "train.py"
    program.write_text(textwrap.dedent("""
        import sys, torch, torch.distributed as dist
        from ringfeed.torch import Loader
        dist.init_process_group("gloo")
        with Loader("train", socket=sys.argv[1]) as loader:
            count = torch.zeros(60, dtype=torch.int64)
            for batch in loader:
                count[batch.index] += 1
        dist.all_reduce(count)
        assert count.tolist() == [1] * 60, count
        dist.destroy_process_group()
    """))
    with scene.Daemon(tmp_path, shards, batch="{size: 5}") as daemon:
        subprocess.run([sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
                        str(program), str(daemon.socket)], check=True, timeout=120)


def test_cpu_per_batch(tmp_path, shards):
    """What a trainer spends of its own thread on a batch: median under 100 µs."""
    with scene.Daemon(tmp_path, shards) as daemon, daemon.loader() as loader:
        times = []
        for _ in range(20):
            it = iter(loader)
            while True:
                began = time.thread_time_ns()
                batch = next(it, None)
                if batch is None:
                    break
                batch["image"], batch["label"]
                del batch
                times.append(time.thread_time_ns() - began)
    times.sort()
    print(f"CPU per batch: median {times[len(times) // 2] / 1000:.1f} µs, n {len(times)}")
    assert times[len(times) // 2] < 100_000
