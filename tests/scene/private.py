# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Private daemons: started by the first trainer, found by the others, brought back when they are killed, gone with
their files 15 s after the last trainer however it ended.

RINGFEED_SCENE_RUNS: how often each way of ending is run (2).
"""
import contextlib
import json
import os
import pathlib
import signal
import time

import ringfeed
import scene
from trainers import Trainer

RUNS = int(os.environ.get("RINGFEED_SCENE_RUNS", "2"))
N_SAMPLES, SIZE = 48, 4
LATEST = 6  # after this batch the epoch has more left than the slots hold: a daemon that is killed is missed
GONE_SECONDS = 15


def make_config(folder, **order):
    shards = scene.pack_photos(folder, "in", scene.photos("imagenet-sample")[:N_SAMPLES], 24)
    made = scene.feed(shards, transform=[{"random_resized_crop": {"size": 32}}], dtype="uint8", size=SIZE, slots=4)
    made["order"] = {"shuffle": "full", "seed": 7, **order}
    return {"daemon": {"memory": "192MiB", "workers": 1, "log": "info"}, "feeds": {"train": made}}


def environment(job, rank=0, world=1):
    os.environ.update(RINGFEED_COMMAND=scene.BINARY, RINGFEED_GROUP=job, RANK=str(rank), WORLD_SIZE=str(world),
                      LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE=str(world))
    os.environ.pop("RINGFEED_SOCKET", None)


def where(loader):
    """Socket and pid of the loader's daemon."""
    socket = loader._private.ensure()
    return {"socket": socket, "pid": ringfeed.status(socket)["pid"]}


def train(config, job, *, rank=0, world=1, at=None, do=None):
    """Work for a Trainer: one epoch; before batch number `at` it says so and does something."""
    def work(say):
        environment(job, rank, world)
        with ringfeed.Loader("train", config=config) as loader:
            say(where(loader))
            for step, batch in enumerate(loader):
                if step == at:
                    say("here")
                    do(loader)
                say({"index": batch.index.tolist(), "sum": int(batch["image"].sum(dtype="int64"))})
    return work


def is_alive(pid):
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


def left_over(daemon):
    stem = daemon["socket"].removesuffix(".sock")
    files = [str(p) for p in pathlib.Path(stem).parent.glob(pathlib.Path(stem).name + "*")]
    return files + ([f"process {daemon['pid']}"] if is_alive(daemon["pid"]) else [])


def assert_gone(daemons, since):
    try:
        scene.wait_until(lambda: not any(left_over(d) for d in daemons), GONE_SECONDS + scene.at_most(1.0), 0.1)
    except AssertionError as error:
        raise AssertionError(f"{error}: {[left_over(d) for d in daemons if left_over(d)]}") from None
    print(f"  {len(daemons)} daemons gone after {time.monotonic() - since:.1f} s")


def sleep_on(_loader):
    time.sleep(60)


def fall_over(_loader):
    raise RuntimeError("as a training script does")


def batches_of(heard):
    return [h for h in heard if isinstance(h, dict) and "index" in h]


def quiet_epoch(config, job):
    with Trainer(train(config, job)) as t:
        daemon, *rest = t.all()
    assert t.code is None or t.wait() == 0
    return daemon, batches_of(rest)


def ends(folder):
    """Normal end, exception, Ctrl-C, kill -9: nothing is left of the daemon."""
    config, daemons = make_config(folder), []
    for run in range(RUNS):
        with contextlib.ExitStack() as stack:
            def start(name, **how):
                t = stack.enter_context(Trainer(train(config, f"ends-{name}-{os.getpid()}-{run}", **how)))
                daemons.append(t.hear())
                return t
            ways = {"normal": start("normal"), "exception": start("exception", at=3, do=fall_over),
                    "interrupt": start("interrupt", at=3, do=sleep_on), "kill": start("kill", at=3, do=sleep_on)}
            for name, number in (("interrupt", signal.SIGINT), ("kill", signal.SIGKILL)):
                while ways[name].hear() != "here":
                    pass
                ways[name].signal(number)
            assert len(batches_of(ways["normal"].all())) == N_SAMPLES // SIZE
            assert {name: t.wait() == 0 for name, t in ways.items()} == {
                "normal": True, "exception": False, "interrupt": False, "kill": False}
    assert len({d["socket"] for d in daemons}) == 4 * RUNS
    assert_gone(daemons, time.monotonic())


def daemon_killed(folder):
    """kill -9 of the daemon under a trainer, again and again: the trainer gets what it would have got."""
    config = make_config(folder)
    _, want = quiet_epoch(config, f"quiet-{os.getpid()}")
    assert len(want) == N_SAMPLES // SIZE

    def kill(loader):
        os.kill(where(loader)["pid"], signal.SIGKILL)

    daemons = []
    for run in range(RUNS):
        with Trainer(train(config, f"killed-{os.getpid()}-{run}", at=1 + run % LATEST, do=kill)) as t:
            daemon, *rest = t.all()
            assert t.wait() == 0
        assert batches_of(rest) == want
        daemons.append(daemon)
    assert_gone(daemons, time.monotonic())


def two_ranks(folder):
    """The ranks of a job start one daemon between them, and share an epoch; one that is killed leaves the other be."""
    config, job = make_config(folder), f"ranks-{os.getpid()}"
    with Trainer(train(config, job, rank=0, world=2)) as a, Trainer(train(config, job, rank=1, world=2)) as b:
        (first, *left), (second, *right) = a.all(), b.all()
        assert (a.wait(), b.wait()) == (0, 0)
    assert first == second
    seen = [i for batch in batches_of(left) + batches_of(right) for i in batch["index"]]
    assert sorted(seen) == list(range(N_SAMPLES))
    with Trainer(train(config, job, rank=0, world=2, at=2, do=lambda _: time.sleep(2))) as a, \
            Trainer(train(config, job, rank=1, world=2, at=2, do=sleep_on)) as b:
        while b.hear() != "here":
            pass
        b.kill()
        third, *rest = a.all()
        assert a.wait() == 0 and batches_of(rest) == batches_of(left)
    assert_gone([third], time.monotonic())


def lives_on(folder):
    """A process that stays, as a notebook: loaders come and go, and one that is still open keeps the daemon."""
    config, job = make_config(folder), f"notebook-{os.getpid()}"

    def work(say):
        environment(job)
        for _ in range(2):
            with ringfeed.Loader("train", config=config) as loader:
                say({**where(loader), "n": sum(1 for _ in loader)})
        loader = ringfeed.Loader("train", config=config)
        time.sleep(11)
        say({**where(loader), "n": sum(1 for _ in loader)})
        loader.close()
        time.sleep(30)

    with Trainer(work) as t:
        daemons = [t.hear() for _ in range(3)]
        assert len({d["pid"] for d in daemons}) == 1 and {d["n"] for d in daemons} == {N_SAMPLES // SIZE}
        assert_gone(daemons[:1], time.monotonic())


def next_start_sweeps(folder):
    """A daemon killed with no trainer left cannot clean up; the next start of any private daemon does."""
    config, job, daemons = make_config(folder), f"swept-{os.getpid()}", []
    for run in range(RUNS):
        daemon, _ = quiet_epoch(config, f"{job}-{run}")
        os.kill(daemon["pid"], signal.SIGKILL)
        assert left_over(daemon)
        daemons.append(daemon)
    time.sleep(6)
    other, _ = quiet_epoch(config, job + "-other")
    assert not any(left_over(d) for d in daemons), [left_over(d) for d in daemons]
    assert_gone([other], time.monotonic())


def refusals(folder):
    config = make_config(folder)
    environment(f"refused-{os.getpid()}")
    for change, words in (({"memory": "20MiB"}, "too small"), ({"wrokers": 1}, "wrokers")):
        bad = {**config, "daemon": {**config["daemon"], **change}}
        try:
            ringfeed.Loader("train", config=bad)
        except ringfeed.BadConfig as error:
            assert words in str(error), error
        else:
            raise AssertionError(f"accepted: {change}")
    try:
        ringfeed.Loader("train", config=config, socket="/tmp/x.sock")
    except ringfeed.BadConfig as error:
        assert "socket and config" in str(error)
    path = folder / "feed.yaml"
    path.write_text(json.dumps(config))
    with ringfeed.Loader("train", config=path) as one, ringfeed.Loader("train", config=config) as two:
        assert where(one) == where(two)  # a file and a mapping that say the same
        daemon = where(one)
    try:
        ringfeed.Loader("valid", config=config)
    except ringfeed.Error as error:
        assert "valid" in str(error), error
    assert_gone([daemon], time.monotonic())


if __name__ == "__main__":
    scene.need_data("imagenet-sample")
    scene.main([ends, daemon_killed, two_ranks, lives_on, next_start_sweeps, refusals])
