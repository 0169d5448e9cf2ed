# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Several machines, played by several daemons that share nothing but the shards: each computes its own part, and
together they deliver the global order; parts keep each to its own shards and bytes."""
import contextlib
import json
import random
import re

import numpy
import order_twin
import ringfeed
import scene

SEED = 42
GLOBAL = 24
PER_SHARD = [150, 0, 7, 193, 1, 149, 62]
N = sum(PER_SHARD)
ORDERS = {
    "none": ({"shuffle": "none", "seed": SEED}, "short"),
    "full": ({"shuffle": "full", "seed": SEED}, "drop"),
    "block": ({"shuffle": "block", "seed": SEED, "window": 16, "parts": 24}, "pad"),
    "wide": ({"shuffle": "block", "seed": SEED, "window": 100}, "short"),
}


def payload(number, size):
    """Bytes that no other sample has."""
    return numpy.random.Philox(number).random_raw(size // 8).view(numpy.uint8)


def pack_shards(folder, per_shard, size):
    """Samples that spell their number, as label and as bytes; shards of so many each."""
    shards, number = [], 0
    for place, n in enumerate(per_shard):
        members = [[("bin", payload(i, size).tobytes()), ("cls", str(i).encode())] for i in range(number, number + n)]
        made = scene.pack(folder, f"in-{place:03d}", members, max(n, 1))
        if not made:
            made = [folder / f"in-{place:03d}-empty.tar"]
            made[0].write_bytes(bytes(10240))
        shards += made
        number += n
    return shards


def make_feed(shards, order, last, n_bytes, **batch):
    return scene.feed(shards, order=order, slots=2, batch={"last": last, **batch}, fields={
        "bytes": {"from": "bin", "decode": "raw", "dtype": "uint8", "shape": [n_bytes]},
        "label": {"from": "cls", "decode": "integer", "dtype": "int64"}})


@contextlib.contextmanager
def machines(folder, n, feeds, **daemon):
    """So many daemons, each with a folder, a configuration and a socket of its own."""
    with contextlib.ExitStack() as stack:
        started = []
        for number in range(n):
            own = folder / f"node-{number}"
            own.mkdir(exist_ok=True)
            config = scene.write_config(own, feeds, **{"memory": "96MiB", "workers": 1, "index_cache": str(own), **daemon})
            started.append(stack.enter_context(scene.Daemon(config)))
        yield started


def ranks_of(world, n, node):
    """Neighbours in number on one machine, as launchers lay them."""
    each = -(-world // n)
    return range(min(node * each, world), min(node * each + each, world))


@contextlib.contextmanager
def trainers(daemon, feed, world, ranks, state=None):
    with contextlib.ExitStack() as stack:
        yield {rank: stack.enter_context(ringfeed.Loader(
            feed, socket=daemon.socket, rank=rank, world_size=world, local_world_size=len(ranks), group=f"{feed}/{world}",
            state=state)) for rank in ranks}


def take(loaders, most=None):
    """rank -> its next batches as [(positions, indices, valid)]; checks every row. All ranks step together."""
    taken = {rank: [] for rank in loaders}
    passes = {rank: iter(loader) for rank, loader in loaders.items()}
    j = 0
    while passes and (most is None or j < most):
        for rank, batches in list(passes.items()):
            batch = next(batches, None)
            if batch is None:
                del passes[rank]
                continue
            assert batch["label"].tolist() == batch.index.tolist()
            for index, row, valid in zip(batch.index.tolist(), batch["bytes"], batch.valid.tolist()):
                assert not valid or (row == payload(index, row.size)).all(), index
            taken[rank].append((batch.position.tolist(), batch.index.tolist(), batch.valid.tolist()))
            batch.release()
        j += 1
    return taken


def check_ranks(taken, order, walk):
    """Every batch of every rank as the twin has it; returns position -> index of the valid rows."""
    union = {}
    for rank, batches in taken.items():
        for j, (positions, indices, valid) in enumerate(batches):
            assert positions == list(walk.positions(j, rank)), (rank, j)
            assert indices == [order.sample(t) for t in positions]
            assert valid == [t < order.n for t in positions]
            for t, index, is_valid in zip(positions, indices, valid):
                assert t not in union
                if is_valid:
                    union[t] = index
    return union


def twin_of(per_shard, order, epoch=0):
    return order_twin.Order(per_shard, order["shuffle"], SEED, epoch, order.get("window", 0), order.get("parts", 1))


def union_is_the_order(folder):
    """Every world that divides the global batch, on 1, 2 and 4 machines. One machine after the other reads its whole epoch:
    nobody waits for anybody."""
    shards = pack_shards(folder, PER_SHARD, 64)
    feeds = {name: make_feed(shards, order, last, 64, ranks=1, **{"global": GLOBAL}) for name, (order, last) in ORDERS.items()}
    with machines(folder, 4, feeds) as daemons:
        for name, (how, last) in ORDERS.items():
            order, n_runs = twin_of(PER_SHARD, how), 0
            for world in (r for r in range(1, GLOBAL + 1) if GLOBAL % r == 0):
                walk = order_twin.Pass(N, 0, GLOBAL // world, world, last)
                for n in (n for n in (1, 2, 4) if n <= world):
                    taken = {}
                    for node in range(n):
                        with trainers(daemons[node], name, world, ranks_of(world, n, node)) as loaders:
                            assert all(len(loader) == walk.n_batches() for loader in loaders.values())
                            taken.update(take(loaders))
                    assert all(len(batches) == walk.n_batches() for batches in taken.values()) and len(taken) == world
                    union = check_ranks(taken, order, walk)
                    whole = N // GLOBAL * GLOBAL if last == "drop" else N
                    assert union == {t: order.sample(t) for t in range(whole)}
                    n_runs += 1
            print(f"  {name}: {n_runs} ways to lay 1 to {GLOBAL} ranks on 1, 2 and 4 machines")


def p10_other_machines(folder):
    """2 machines stop at a random batch; 4 machines and 1 machine go on from the token, and again from theirs."""
    shards = pack_shards(folder, PER_SHARD, 64)
    feeds = {name: make_feed(shards, order, last, 64, ranks=1, **{"global": GLOBAL}) for name, (order, last) in ORDERS.items()}
    choose = random.Random(6)
    with machines(folder, 4, feeds) as daemons:
        def run(feed, n, each, state, most):
            taken, states = {}, []
            for node in range(n):
                ranks = range(node * each, node * each + each)
                with trainers(daemons[node], feed, n * each, ranks, state) as loaders:
                    taken.update(take(loaders, most))
                    states += [loader.state_dict() for loader in loaders.values()]
            assert all(s == states[0] for s in states), "the same token on every machine"
            return taken, states[0]

        for name, (how, last) in ORDERS.items():
            order = twin_of(PER_SHARD, how)
            n_batches = order_twin.Pass(N, 0, GLOBAL, 1, last).n_batches()
            whole = {t: order.sample(t) for t in range(N // GLOBAL * GLOBAL if last == "drop" else N)}
            for ways in (((2, 1), (4, 1)), ((2, 1), (1, 2)), ((2, 1), (4, 1), (1, 2)), ((1, 2), (2, 2), (4, 2), (2, 1))):
                stops = sorted(choose.sample(range(1, n_batches), len(ways) - 1))
                union, state, start = {}, None, 0
                for (n, each), stop in zip(ways, [*stops, None]):
                    taken, state = run(name, n, each, state, None if stop is None else stop - start // GLOBAL)
                    walk = order_twin.Pass(N, start, GLOBAL // (n * each), n * each, last)
                    part = check_ranks(taken, order, walk)
                    assert not part.keys() & union.keys()
                    union.update(part)
                    start = order_twin.token_parse(state["token"])["position"]
                assert union == whole and order_twin.token_parse(state["token"])["epoch"] == 1


PAGE = 4096
PARTS = 8
SHARDS, EACH, SIZE = 32, 128, 20 << 10  # a sample left out is a gap too long to be read through
WINDOW = 4


def steady_reads(daemon):
    """(bytes, requests) so far, once it reads no further ahead."""
    def look():
        reads = daemon.status()["reads"]
        return reads["in_flight"], reads["bytes"], reads["requests"]
    seen = []
    scene.wait_until(lambda: seen.append(look()) or (len(seen) > 3 and seen[-1][0] == 0 and len(set(seen[-4:])) == 1),
                     30, 0.05)
    return numpy.array(seen[-1][1:])


def shards_read(daemon, own):
    """(shard, bytes) of every read so far, in order."""
    path = own / "trace.json"
    scene.ringfeed("status", "--trace", path, "--socket", daemon.socket)
    events = json.loads(path.read_text())["traceEvents"]
    return [(e["args"]["shard"], e["args"]["bytes"]) for e in events if e.get("cat") == "read" and e["ph"] == "b"]


def own_shards(order, world, ranks):
    """Shards of the samples that these ranks get in the epoch, by the twin."""
    return {order.locate(order.sample(t))[0] for t in range(order.n) if t % world in ranks}


def run_epochs(daemons, feed, world, epochs):
    """Epochs of all ranks, one machine after the other; per machine (bytes, requests) of an epoch, without the first one,
    which has what is read ahead on top."""
    per_epoch = []
    for node, daemon in enumerate(daemons):
        with trainers(daemon, feed, world, ranks_of(world, len(daemons), node)) as loaders:
            marks = []
            for _ in range(epochs):
                for batches in zip(*loaders.values(), strict=True):
                    for batch in batches:
                        batch.release()
                marks.append(steady_reads(daemon))
            per_epoch.append((marks[-1] - marks[0]) / (epochs - 1))
    return per_epoch


def parts_keep_shards_apart(folder):
    """1, 2 and 4 machines, of 1 and 2 ranks, with as many parts as any of them divides."""
    shards = pack_shards(folder, [EACH] * SHARDS, SIZE)
    order = {"shuffle": "block", "seed": SEED, "window": WINDOW, "parts": PARTS}
    feeds = {"train": make_feed(shards, order, "drop", SIZE, size=32)}
    total = sum(path.stat().st_size for path in shards)
    twin = twin_of([EACH] * SHARDS, order)
    for n, each in ((1, 1), (2, 1), (2, 2), (4, 1), (4, 2)):
        with machines(folder, n, feeds, io="threads") as daemons:
            read = run_epochs(daemons, "train", n * each, 3)
            share = total / n
            for daemon, (n_bytes, n_requests) in zip(daemons, read):
                # A request begins and ends with a whole page: one page more, on average.
                assert 0.9 * share < n_bytes - n_requests * PAGE < 1.1 * share, (n, each, n_bytes / share, n_requests)
                assert "does not divide order.parts" not in daemon.log()
        # Again, for the shards of the first epoch: the next one has others.
        with machines(folder, n, feeds) as daemons:
            for node, daemon in enumerate(daemons):
                ranks = ranks_of(n * each, n, node)
                own = own_shards(twin, n * each, ranks)
                assert SHARDS / n <= len(own) <= SHARDS / n + 2 * each, "shards at the edges of a part alone are shared"
                with trainers(daemon, "train", n * each, ranks):
                    steady_reads(daemon)
                    reads = shards_read(daemon, folder / f"node-{node}")
                    seen, n_bytes = set(), 0
                    for shard, n_here in reads:
                        n_bytes += n_here
                        if n_bytes > share / 2:
                            break  # reading ahead comes to the next epoch
                        seen.add(shard)
                    assert seen and seen <= own, (n, node, sorted(seen - own))
        print(f"  {n} machines x {each}: {', '.join(f'{n_bytes / total:.3f}' for n_bytes, _ in read)} of all bytes an epoch")


SMALL = 2 << 10  # here gaps are read through


def another_world_is_said(folder):
    """3 machines on 8 parts: each reads the others' samples on the way, and the attach says how much, once a group."""
    shards = pack_shards(folder, [EACH] * SHARDS, SMALL)
    order = {"shuffle": "block", "seed": SEED, "window": WINDOW, "parts": PARTS}
    feeds = {"train": make_feed(shards, order, "drop", SMALL, size=16)}
    total = sum(512 + SMALL + 512 + len(str(i)) for i in range(SHARDS * EACH))  # header and payload of each member
    for n, each, met in ((3, 1, 1), (3, 2, 1), (6, 1, 2)):
        with machines(folder, 3, feeds) as daemons:
            read = run_epochs(daemons[:min(n, 3)], "train", n * each, 4) if n == 3 else []
            if n == 6:  # three of the six are enough
                for node, daemon in enumerate(daemons):
                    with trainers(daemon, "train", 6, [node]):
                        pass
            for daemon, (n_bytes, _) in zip(daemons, read or [(0, 0)] * 3):
                said = re.findall(r"world size (\d+) does not divide order.parts (\d+), so a machine with (\d+) of the ranks takes "
                                  r"samples from (\d+) of \d+ parts and may read ([\d.]+) MiB an epoch for its own ([\d.]+) MiB; "
                                  rf"a multiple of {n * each} as order.parts", daemon.log())
                assert len(said) == 1, daemon.log()
                world, parts, local, n_parts, most, own = map(float, said[0])
                assert (world, parts, local, n_parts) == (n * each, PARTS, each, PARTS // met)
                assert abs(own - total / n / 2**20) <= 0.051 and abs(most - total / met / 2**20) <= 0.051
                if n_bytes:
                    assert 0.9 * most < n_bytes / 2**20 < 1.2 * most, (n_bytes / 2**20, own, most)
        if read:
            print(f"  {n} machines x {each}: {', '.join(f'{n_bytes / total:.2f}' for n_bytes, _ in read)} of all bytes an epoch each")


if __name__ == "__main__":
    scene.main([union_is_the_order, p10_other_machines, parts_keep_shards_apart, another_world_is_said])
