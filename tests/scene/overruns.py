# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""daemon.sample_cpu is a net behind the limits: who overruns it twice is a cause of the machine, by its name."""
import collections
import contextlib
import io
import json
import multiprocessing
import os
import random

from PIL import Image

import ringfeed
import scene
from bad_samples import expect, feed_status, ledger, read_rows
from trainers import row_hashes

N = 24
SLOW = (3, 14)


def slow_photo():
    """An honest progressive JPEG of 20 megapixels: a second of work or more."""
    noise = Image.frombytes("RGB", (2500, 2000), random.Random(1).randbytes(15000000)).resize((5000, 4000))
    out = io.BytesIO()
    noise.save(out, "JPEG", quality=85, progressive=True)
    return out.getvalue()


def make_shards(folder):
    slow, photos = slow_photo(), scene.photos("imagenet-sample")[:N]
    members = [[("jpg", slow if i in SLOW else p.read_bytes()), ("cls", b"%d" % i)] for i, p in enumerate(photos)]
    return scene.pack(folder, "in", members, 12)


def make_config(folder, shards, transient, *, policy="mask", **daemon):
    made = scene.feed(shards, transform=[{"resize": {"size": [48, 48]}}], dtype="uint8", size=4, slots=4,
                      batch={"size": 4, "last": "short"}, limits={"decode_memory": "96MiB"},
                      bad_samples={"policy": policy, "limit": "100%", "transient": transient})
    made["order"] = {"shuffle": "none"}
    return scene.write_config(folder, {"train": made}, **{"sample_cpu": "100ms", "ledger": str(folder), **daemon})


def p15_overrun(folder):
    """Within the default they are as good as others; past a limit they follow `transient`: fail, or as_bad."""
    shards = make_shards(folder)
    with scene.Daemon(make_config(folder, shards, "fail", sample_cpu="30s")) as daemon:
        with ringfeed.Loader("train", socket=daemon.socket) as loader:
            whole = read_rows(loader)
        assert sorted(whole) == list(range(N)) and all(valid for _, valid, _, _ in whole.values())
    assert not ledger(folder)
    with scene.Daemon(make_config(folder, shards, "fail")) as daemon:
        text = expect(ringfeed.StorageError, daemon, str(shards[0]), "key s000003", "daemon.sample_cpu", "transient is fail")
        print(f"  {text}")
    with scene.Daemon(make_config(folder, shards, "as_bad")) as daemon:
        with ringfeed.Loader("train", socket=daemon.socket, credit=1) as loader:
            rows = read_rows(loader)
            status = feed_status(daemon)
        deaths = daemon.status()["reads"]["worker_deaths"]
        assert deaths >= 2 * len(SLOW), deaths
    for i in range(N):
        assert rows[i][1] == (i not in SLOW), i
        assert rows[i] == whole[i] or i in SLOW and rows[i] == (i, False, 0, bytes(3 * 48 * 48)), i
    assert set(status["bad_samples"]) == {"overrun"}, status["bad_samples"]
    lines = [line for line in ledger(folder) if line["epoch"] == 0]
    assert {(line["key"], line["cause"]) for line in lines} == {(f"s{i:06d}", "overrun") for i in SLOW}, lines
    assert all("daemon.sample_cpu" in line["text"] and line["shard"] in map(str, shards) for line in lines)


def p15_overrun_resume(folder):
    """The same decisions after a resume, by another daemon with other workers, in the middle of them."""
    shards = make_shards(folder)
    got = collections.defaultdict(dict)
    state = None
    for part, workers in (("first", 1), ("second", 3), ("whole", 2)):
        with scene.Daemon(make_config(folder, shards, "as_bad", policy="substitute", workers=workers)) as daemon:
            with ringfeed.Loader("train", socket=daemon.socket, state=state) as loader:
                for n, batch in enumerate(loader):
                    got[part].update(row_hashes(batch))
                    batch.release()
                    if part == "first" and n == 1:
                        state = loader.state_dict()
                        break
        if part == "first":
            assert json.loads(state["token"])["bad"] == 1, state
        else:
            state = None
    assert {**got["first"], **got["second"]} == got["whole"] and len(got["whole"]) == N


def burn(cpu):
    os.sched_setaffinity(0, {cpu})
    while True:
        pass


@contextlib.contextmanager
def crowded(cpu, n):
    burners = [multiprocessing.Process(target=burn, args=(cpu,), daemon=True) for _ in range(n)]
    for b in burners:
        b.start()
    yield
    for b in burners:
        b.kill()
        b.join()


def p15_crowd(folder):
    """It is CPU time: on a crowded machine nothing overruns that would not on a quiet one."""
    shards = make_shards(folder)
    cpu = min(os.sched_getaffinity(0))
    made = {"workers": 1, "cpus": str(cpu)}
    with scene.Daemon(make_config(folder, shards, "fail", sample_cpu="30s", **made)) as daemon:
        with ringfeed.Loader("train", socket=daemon.socket) as loader:
            read_rows(loader)
        used = daemon.status()["cpu_seconds"]["workers"] / len(SLOW)
    limit = f"{int(2000 * used)}ms"
    with crowded(cpu, 5), scene.Daemon(make_config(folder, shards, "fail", sample_cpu=limit, **made)) as daemon:
        with ringfeed.Loader("train", socket=daemon.socket) as loader:
            took = scene.wait_until(lambda: len(read_rows(loader)) > 0, 120)
    print(f"  {took:.1f} s where one sample may take {limit}")
    assert took > 2 * used


if __name__ == "__main__":
    scene.need_data("imagenet-sample")
    scene.main([p15_overrun, p15_overrun_resume, p15_crowd])
