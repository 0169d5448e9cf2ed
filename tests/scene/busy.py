# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""A daemon under full load: it still answers at once, and its trainers share the workers."""
import http.client
import multiprocessing
import statistics
import time

import ringfeed
import scene
from metrics import port_of

N_ASKED = 50


def make_config(folder):
    shards = scene.pack_photos(folder, "in", scene.photos("imagenet-sample"), 150)
    return scene.write_config(folder, {"train": scene.feed(shards, size=32)}, memory="512MiB", workers=2,
                              metrics="127.0.0.1:0")


def train(path, rank, world, seconds, batches):
    """As fast as it can; the number of batches goes to `batches`."""
    n, end = 0, time.monotonic() + seconds
    with ringfeed.Loader("train", socket=path, group="busy", rank=rank, world_size=world) as loader:
        while time.monotonic() < end:
            for batch in loader:
                batch.release()
                n += 1
                if time.monotonic() >= end:
                    break
    batches.put((rank, n))


class Load:
    """Trainers as processes, for so many seconds."""

    def __init__(self, daemon, world, seconds):
        self.batches = multiprocessing.Queue()
        self.processes = [multiprocessing.Process(target=train, args=(daemon.socket, r, world, seconds, self.batches))
                          for r in range(world)]
        for p in self.processes:
            p.start()

    def counts(self):
        counts = dict(self.batches.get(timeout=60) for _ in self.processes)
        for p in self.processes:
            p.join()
        return [counts[r] for r in sorted(counts)]


def times(ask):
    taken = []
    for _ in range(N_ASKED):
        began = time.monotonic()
        ask()
        taken.append(1000 * (time.monotonic() - began))
        time.sleep(0.05)
    return taken


def p13_status_under_load(folder):
    """`status` within 100 ms, with every worker busy and three trainers that take batches as fast as they come."""
    with scene.Daemon(make_config(folder)) as daemon:
        load = Load(daemon, 3, 12)
        scene.wait_until(lambda: len(daemon.ranks("train")) == 3, seconds=30)

        def page(path):
            connection = http.client.HTTPConnection("127.0.0.1", port_of(daemon), timeout=20)
            connection.request("GET", path)
            assert connection.getresponse().read()
            connection.close()

        for what, ask in (("status", lambda: scene.ringfeed("status", "--json", "--socket", daemon.socket)),
                          ("/metrics", lambda: page("/metrics")), ("the status page", lambda: page("/"))):
            taken = times(ask)
            print(f"  {what}, {N_ASKED} times: median {statistics.median(taken):.1f} ms, at most {max(taken):.1f} ms", flush=True)
            assert max(taken) < 1000 * scene.at_most(0.1), taken
        load.counts()


def fair_shares(folder):
    """Two trainers that are equally fast get equally many batches."""
    with scene.Daemon(make_config(folder)) as daemon:
        counts = Load(daemon, 2, 5).counts()
        print(f"  batches: {counts}")
        assert min(counts) > 0.5 * max(counts), counts


if __name__ == "__main__":
    scene.need_data("imagenet-sample")
    scene.main([p13_status_under_load, fair_shares])
