# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""100,000 leases, each hashed when it is lent and when it is given back, while its holders are stopped at random.

With a number as argument: so many.
"""
import random
import signal
import sys
import time
import zlib

import ringfeed
import scene
from trainers import Trainer

N_LEASES = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
N_TRAINERS = 2
N_SAMPLES = 2000
SIZE = 2


def text_of(sample):
    return zlib.crc32(b"%d" % sample).to_bytes(4, "little") * 64


def make_config(folder):
    members = [[("cls", b"%d" % i), ("txt", text_of(i))] for i in range(N_SAMPLES)]
    shards = scene.pack(folder, "in", members, 500)
    made = {
        "source": {"format": "webdataset", "shards": [str(s) for s in shards], "reads": "buffered"},
        "order": {"shuffle": "full", "seed": 2}, "batch": {"size": SIZE}, "slots": 16,
        "fields": {"label": {"from": "cls", "decode": "integer"},
                   "bytes": {"from": "txt", "decode": "raw", "dtype": "uint8", "shape": [256]}},
    }
    return scene.write_config(folder, {"train": made}, memory="192MiB")


def digest(batch):
    """Of all that lies in the slot for this batch."""
    n = 0
    for name in ("label", "bytes"):
        n = zlib.crc32(batch[name], n)
    return zlib.crc32(batch.valid, zlib.crc32(batch.position, zlib.crc32(batch.index, n)))


def give_back(held):
    batch, want = held
    assert digest(batch) == want, (batch.epoch, batch.step)
    batch.release()


def holding(socket, n, seed):
    def work(say):
        rng, held, n_leases = random.Random(seed), [], 0
        texts = [text_of(i) for i in range(N_SAMPLES)]
        with ringfeed.Loader("train", socket=socket, timeout=120) as loader:
            say(0)
            while n_leases < n:
                for batch in loader:
                    for sample, label, row in zip(batch.index.tolist(), batch["label"].tolist(), batch["bytes"]):
                        assert sample == label and row.tobytes() == texts[sample]
                    held.append((batch, digest(batch)))
                    n_leases += 1
                    if n_leases % 1000 == 0:
                        say(n_leases)
                    while len(held) > rng.randrange(8):
                        give_back(held.pop(rng.randrange(len(held))))
                    if n_leases == n:
                        break
            for one in held:
                give_back(one)
    return work


def p02_leases(folder):
    rng, n_stops = random.Random(2), 0
    began = time.monotonic()
    with scene.Daemon(make_config(folder)) as daemon:
        trainers = [Trainer(holding(daemon.socket, N_LEASES // N_TRAINERS, i)) for i in range(N_TRAINERS)]
        counts = [0] * N_TRAINERS
        while min(counts) < N_LEASES // N_TRAINERS:
            i = min(range(N_TRAINERS), key=counts.__getitem__)
            heard = trainers[i].hear(120)
            assert isinstance(heard, int), heard
            counts[i] = heard
            if rng.random() < 0.7:
                victim = rng.choice(trainers)
                victim.signal(signal.SIGSTOP)
                time.sleep(rng.uniform(0, 0.05))
                victim.signal(signal.SIGCONT)
                n_stops += 1
        for trainer in trainers:
            assert trainer.all() == [] and trainer.wait() == 0
    print(f"  {sum(counts)} leases, the same bytes at the end of each, {n_stops} stops, {time.monotonic() - began:.0f} s")
    assert sum(counts) >= N_LEASES


if __name__ == "__main__":
    scene.main([p02_leases])
