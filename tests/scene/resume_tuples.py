# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Random stops: resume_tuples.py [COUNT [SEED]] draws COUNT times an order, a kind of batch, how many ranks read
how many batches of which sizes, and by what (workers, engine) and by whom (ranks, size) the run goes on.

What came before the stop and after it is compared row by row with one undisturbed pass of a single rank; which
positions each rank gets in each batch, and which sample lies there, with the second implementation of
proto/order.md. The seed is printed first and the whole tuple with a failure: the same seed draws the same tuples."""
import collections
import contextlib
import functools
import io
import os
import random
import sys
import time

import numpy
import order_twin
import ringfeed
import scene
import trace
from PIL import Image

SHARDS = (60, 1, 37, 53)
N = sum(SHARDS)
SEED = 42
PER_DAEMON = 6
GLOBAL = 24
LARGEST = 16
ORDERS = {
    "none": {"shuffle": "none"},
    "full": {"shuffle": "full"},
    "block": {"shuffle": "block", "window": 16, "parts": 4},
    "wide": {"shuffle": "block", "window": 64},
}

Part = collections.namedtuple("Part", "size n_batches")  # n_batches None: to the end of the pass
Tuple = collections.namedtuple("Tuple", "number order last kind epoch world parts new_world new_size")


def photo(i):
    """Nothing of one looks like another, wherever it is cut."""
    pixels = numpy.random.default_rng(i).integers(0, 256, (6, 8, 3), dtype=numpy.uint8)
    text = io.BytesIO()
    Image.fromarray(pixels).resize((40, 30), Image.BICUBIC).save(text, "JPEG", quality=90)
    return text.getvalue()


def pack(folder):
    shards, first = [], 0
    for number, n in enumerate(SHARDS):
        members = [[("jpg", photo(i)), ("cls", str(i).encode())] for i in range(first, first + n)]
        shards += scene.pack(folder, f"in{number}", members, n)
        first += n
    return shards


def make_feed(shards, order, batch):
    return scene.feed(shards, transform=[{"random_resized_crop": {"size": 12}}, "random_horizontal_flip"],
                      dtype="uint8", slots=2, order={**ORDERS[order], "seed": SEED}, batch=batch)


def feed_name(t):
    return f"{t.order}-{t.last}-{t.kind}"


def batch_of(t):
    return {"size": LARGEST, "last": t.last} if t.kind == "size" else {"global": GLOBAL, "ranks": 1, "last": t.last}


@functools.lru_cache(maxsize=None)
def twin(order, epoch):
    how = ORDERS[order]
    return order_twin.Order(SHARDS, how["shuffle"], SEED, epoch, how.get("window", 0), how.get("parts", 1))


def draw_world(rng, kind):
    return rng.choice((1, 1, 2, 3, 4, 8) if kind == "size" else (1, 2, 3, 4, 6, 8))


def draw_size(rng, kind, world):
    """Rows a rank, or None: what the feed says."""
    if rng.random() < 0.4:
        return None
    return rng.randint(1, min(LARGEST if kind == "size" else GLOBAL, N // world))


def size_of(kind, size, world):
    return size or (LARGEST if kind == "size" else GLOBAL // world)


def draw(rng, number):
    kind = rng.choice(("size", "global"))
    world, new_world, last = draw_world(rng, kind), draw_world(rng, kind), rng.choice(("drop", "pad", "short"))
    sizes = [draw_size(rng, kind, world)] + [draw_size(rng, kind, world) or 3 for _ in range(rng.randint(0, 1))]
    parts, at = [], 0
    for i, size in enumerate(sizes):
        left = passing(last, at, size_of(kind, size, world), world).n_batches() if at < N else 0
        n = rng.randint(0, left if i + 1 == len(sizes) else max(0, left - 1))
        parts.append(Part(size, n))
        at += n * size_of(kind, size, world) * world
    return Tuple(number, rng.choice(list(ORDERS)), last, kind, rng.randint(0, 1), world, parts, new_world,
                 draw_size(rng, kind, new_world))


def passing(last, start, size, world):
    return order_twin.Pass(N, start, size, world, last)


def read(loaders, world, step, plan, seen):
    """One batch of every rank: where and what the twin says; its rows go into seen."""
    for rank, each in enumerate(loaders):
        batch = next(each)
        positions = batch.position.tolist()
        assert positions == list(plan.positions(step, rank)), f"rank {rank}: {positions}"
        for i, (position, index) in enumerate(zip(positions, batch.index.tolist())):
            assert position not in seen, f"position {position} twice"
            seen[position] = trace.Row(index, bool(batch.valid[i]),
                                       trace.hash_arrays([batch[name][i] for name in batch]))
        batch.release()


def open_ranks(stack, daemon, t, world, state=None):
    return [stack.enter_context(ringfeed.Loader(
        feed_name(t), socket=daemon.socket, rank=r, world_size=world, local_world_size=world,
        group=f"t{t.number}", state=state)) for r in range(world)]


def token_of(loaders):
    states = [loader.state_dict() for loader in loaders]
    assert all(state == states[0] for state in states)
    token = order_twin.token_parse(states[0]["token"])
    return states[0], (token["epoch"], token["position"])


def before(daemon, t):
    """Rows until the stop, the state there, and (epoch, position) as the twin has them."""
    seen, at, end = {}, 0, (t.epoch, 0)
    with contextlib.ExitStack() as stack:
        loaders = open_ranks(stack, daemon, t, t.world)
        for loader in loaders:
            loader.set_epoch(t.epoch)
        passes = [iter(loader) for loader in loaders]
        for i, part in enumerate(t.parts):
            if i > 0 and end[0] != t.epoch:
                break
            if part.size is not None:
                for loader in loaders:
                    loader.set_batch_size(part.size)
            plan = passing(t.last, at, size_of(t.kind, part.size, t.world), t.world)
            for j in range(part.n_batches):
                read(passes, t.world, j, plan, seen)
                end = plan.after(t.epoch, j)
            at = end[1]
        state, token = token_of(loaders)
    assert token == end, f"token {token}, due {end}"
    return seen, state, end


def after(daemon, t, state, place):
    """Rows from the state to the end of its epoch, then one batch of the next epoch."""
    seen, following = {}, {}
    epoch, start = place
    size = size_of(t.kind, t.new_size, t.new_world)
    with contextlib.ExitStack() as stack:
        loaders = open_ranks(stack, daemon, t, t.new_world, state)
        if t.new_size is not None:
            for loader in loaders:
                loader.set_batch_size(t.new_size)
        plan = passing(t.last, start, size, t.new_world)
        lengths = {len(loader) for loader in loaders}
        assert plan.n_batches() == 0 or lengths == {plan.n_batches()}, f"len {lengths}, due {plan.n_batches()}"
        passes = [iter(loader) for loader in loaders]
        for j in range(plan.n_batches()):
            read(passes, t.new_world, j, plan, seen)
        for each in passes:
            assert next(each, None) is None, "a batch past the end"
        _, token = token_of(loaders)
        assert plan.n_batches() == 0 or token == (epoch + 1, 0), f"token {token} at the end"
        read([iter(loader) for loader in loaders], t.new_world, 0, passing(t.last, 0, size, t.new_world), following)
    return seen, following


def compare(rows, reference, t, epoch):
    order = twin(t.order, epoch)
    for position, row in rows.items():
        assert row.index == order.sample(position), f"epoch {epoch}, position {position}: sample {row.index}"
        assert row == reference[t.order, epoch][position], f"epoch {epoch}, position {position}: other bytes"


def undisturbed(folder, shards):
    """(order, epoch) -> position -> Row, those of pad's tail too: two batches of N - 1 rows."""
    feeds = {order: make_feed(shards, order, {"size": N - 1, "last": "pad"}) for order in ORDERS}
    rows = {}
    with scene.Daemon(scene.write_config(folder, feeds)) as daemon:
        for order in ORDERS:
            with ringfeed.Loader(order, socket=daemon.socket) as loader:
                for epoch in range(4):
                    rows[order, epoch] = trace.rows(loader)
                    assert len(rows[order, epoch]) == 2 * (N - 1)
    digests = {row.digest for each in rows.values() for row in each.values() if row.valid}
    assert len(digests) > 14 * N, "rows that look alike prove nothing"
    return rows


def draw_daemon(rng, folder, feeds):
    return scene.write_config(folder, feeds, workers=rng.randint(1, 4), io=rng.choice(("uring", "threads")))


def some(folder, shards, rng, tuples, reference):
    """These tuples stop on one daemon, which ends or is killed, and go on on another one."""
    feeds = {feed_name(t): make_feed(shards, t.order, batch_of(t)) for t in tuples}
    stopped = {}
    with scene.Daemon(draw_daemon(rng, folder, feeds)) as daemon:
        for t in tuples:
            with told(t):
                stopped[t.number] = before(daemon, t)
        if rng.random() < 0.5:
            daemon.kill()
    with scene.Daemon(draw_daemon(rng, folder, feeds)) as daemon:
        for t in tuples:
            with told(t):
                seen, state, (epoch, start) = stopped[t.number]
                rest, following = after(daemon, t, state, (epoch, start))
                if epoch == t.epoch:
                    assert not seen.keys() & rest.keys()
                    assert t.last == "drop" or set(range(N)) <= seen.keys() | rest.keys()
                compare(seen, reference, t, t.epoch)
                compare(rest, reference, t, epoch)
                compare(following, reference, t, epoch + 1)


@contextlib.contextmanager
def told(t):
    try:
        yield
    except Exception:
        print(f"failed: {t}", file=sys.stderr, flush=True)
        raise


def tuples(folder, count, seed):
    print(f"seed {seed}", flush=True)
    rng = random.Random(seed)
    shards = pack(folder)
    reference = undisturbed(folder, shards)
    began, n_stopped_inside = time.monotonic(), 0
    for first in range(0, count, PER_DAEMON):
        drawn = [draw(rng, number) for number in range(first, min(count, first + PER_DAEMON))]
        n_stopped_inside += sum(1 for t in drawn if any(part.n_batches for part in t.parts))
        some(folder, shards, rng, drawn, reference)
    spent = time.monotonic() - began
    print(f"{count} tuples, {n_stopped_inside} of them stopped behind a batch, no row differs; "
          f"{count / spent:.1f} tuples a second", flush=True)


def p10_random_tuples(folder):
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 12
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else int.from_bytes(os.urandom(4), "little")
    tuples(folder, count, seed)


if __name__ == "__main__":
    scene.main([p10_random_tuples])
