# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Several sources in one feed, by weight: what trainers get is what the second implementation says, across ranks, engines,
daemons and tokens; bad samples keep to their source; what plan, order, check and status say of it."""
import collections
import contextlib
import json
import random

import order_twin
import ringfeed
import scene

WEIGHTS = [5, 2.5, 0.7]
COUNTS = [[1700, 0, 1300], [1390, 10], [250, 150]]  # samples of each source's shards, an empty one too
TOTALS = [sum(counts) for counts in COUNTS]
STARTS = [0, TOTALS[0], TOTALS[0] + TOTALS[1], sum(TOTALS)]
SEED = 11
ORDERS = {"none": {"shuffle": "none"}, "full": {"shuffle": "full"}, "block": {"shuffle": "block", "window": 100},
          "parts": {"shuffle": "block", "window": 60, "parts": 4}}
LABEL = {"label": {"from": "cls", "decode": "integer", "dtype": "int64"}}


def source_of(index):
    return sum(index >= start for start in STARTS[1:3])


def pack(folder, bad=()):
    """The shards of each source; label i is the sample's number over all of them, no number for the bad ones."""
    shards, first = [], 0
    for x, counts in enumerate(COUNTS):
        shards.append([])
        for n, count in enumerate(counts):
            members = [[("cls", b"?" if i in bad else str(i).encode())] for i in range(first, first + count)]
            shards[x] += scene.pack(folder, f"in-{x}-{n}", members, max(count, 1)) or empty(folder, f"in-{x}-{n}")
            first += count
    return shards


def empty(folder, name):
    path = folder / f"{name}.tar"
    path.write_bytes(bytes(10240))
    return [path]


def sources(shards, weights=WEIGHTS):
    return [{"format": "webdataset", "shards": [str(s) for s in each], "weight": w, "reads": ("direct", "buffered")[x % 2]}
            for x, (each, w) in enumerate(zip(shards, weights))]


def mix_feed(shards, order="full", until="first", weights=WEIGHTS, last="short", seed=SEED, **batch):
    return scene.feed([], source=sources(shards, weights), order={"seed": seed, "until": until, **ORDERS[order]}, slots=2,
                      batch={"last": last, **(batch or {"size": 250})}, fields=LABEL,
                      limits={"decode_memory": "1MiB"})


def twin_mix(order="full", until="first", epoch=0, weights=WEIGHTS):
    o = ORDERS[order]
    return order_twin.Mix(list(zip(weights, COUNTS)), until, o["shuffle"], SEED, epoch, o.get("window", 0),
                          o.get("parts", 1))


class Expected:
    """The twin's sample at a position, each asked for once."""

    def __init__(self, order, until, epoch):
        self.mix = twin_mix(order, until, epoch)
        self.known = {}

    def __call__(self, t):
        if t not in self.known:
            self.known[t] = self.mix.sample(t)
        return self.known[t]


def open_ranks(stack, daemon, feed, world, state=None):
    return [stack.enter_context(ringfeed.Loader(
        feed, socket=daemon.socket, rank=r, world_size=world, local_world_size=world, group=f"{feed}-{world}",
        state=state)) for r in range(world)]


def check_batch(batch, expected):
    positions, n = batch.position.tolist(), expected.mix.n
    assert batch.index.tolist() == [expected(t) for t in positions]
    assert batch["label"].tolist() == batch.index.tolist()
    assert batch.valid.tolist() == [t < n for t in positions]
    return positions


def take_epoch(daemon, feed, world, last, expected):
    walk = order_twin.Pass(expected.mix.n, 0, 250, world, last)
    seen = []
    with contextlib.ExitStack() as stack:
        for rank, loader in enumerate(open_ranks(stack, daemon, feed, world)):
            assert len(loader) == walk.n_batches() and loader.n_samples == sum(TOTALS)
            for j, batch in enumerate(loader):
                assert check_batch(batch, expected) == list(walk.positions(j, rank))
                seen += batch.position.tolist()
                batch.release()
    assert len(set(seen)) == len(seen)
    if last != "drop":
        assert set(range(expected.mix.n)) <= set(seen)


def as_the_twin_says(folder):
    """Every shuffle, both ends of an epoch, 1 to 3 ranks, both engines; every 1024 positions have exact shares."""
    shards = pack(folder)
    lasts = ("short", "pad", "drop")
    feeds = {f"{order}-{until}": mix_feed(shards, order, until, last=lasts[n % 3])
             for n, (order, until) in enumerate((o, u) for o in ORDERS for u in ("first", "all"))}
    expected = {feed: Expected(*feed.split("-"), 0) for feed in feeds}
    for engine, worlds in (("uring", (1, 2)), ("threads", (3,))):
        with scene.Daemon(scene.write_config(folder, feeds, io=engine)) as daemon:
            for feed, made in feeds.items():
                for world in worlds:
                    take_epoch(daemon, feed, world, made["batch"]["last"], expected[feed])
    for feed, of in expected.items():
        parts = of.mix.parts
        for first in range(0, of.mix.n, parts * 1024):
            for p in range(parts):
                block = collections.Counter(source_of(of(t)) for t in range(first + p, first + parts * 1024, parts))
                assert [block[x] for x in range(3)] == of.mix.m, feed
        if feed.endswith("first"):
            assert len(set(of.known.values())) >= of.mix.n
        else:
            assert set(range(TOTALS[0])) <= set(of.known.values())


def p10_resume(folder):
    """A token goes on in another world, on another daemon, through the end of an epoch that shares its passes."""
    shards = pack(folder)
    chance = random.Random(3)
    for order, until, parts in (("full", "first", 1), ("parts", "all", 4), ("block", "all", 1)):
        feeds = {"train": mix_feed(shards, order, until, ranks=1, **{"global": 300})}
        expected = {epoch: Expected(order, until, epoch) for epoch in range(3)}
        n, state, at = expected[0].mix.n, None, (0, 0)
        for number in range(6):
            world, steps = chance.choice((1, 2, 3)), chance.randrange(1, 12)
            config = scene.write_config(folder, feeds, workers=1 + number % 2, io=("uring", "threads")[number % 2])
            with scene.Daemon(config) as daemon, contextlib.ExitStack() as stack:
                loaders = open_ranks(stack, daemon, "train", world, state)
                epoch, position = at
                seen = set()
                passes = [iter(loader) for loader in loaders]
                for _ in range(min(steps, -(-(n - position) // 300))):
                    for each in passes:
                        batch = next(each)
                        assert batch.epoch == epoch
                        seen.update(check_batch(batch, expected[epoch]))
                        batch.release()
                    position += 300
                assert seen == set(range(at[1], min(position, n)))
                at = (epoch, position) if position < n else (epoch + 1, 0)
                states = [loader.state_dict() for loader in loaders]
            assert all(s == states[0] for s in states)
            state = states[0]
            token = order_twin.token_parse(state["token"])
            o = ORDERS[order]
            assert (token["epoch"], token["position"]) == at
            assert token["order"] == order_twin.order_hash(o["shuffle"], o.get("window", 0), parts, until,
                                                           expected[0].mix.m)


def tokens_refused(folder):
    """Other weights, another end, no mix at all: refused with what this feed has."""
    shards = pack(folder)
    alone = scene.feed([s for each in shards for s in each], order={"shuffle": "full", "seed": SEED}, slots=2,
                       batch={"size": 250}, fields=LABEL)
    feeds = {"train": mix_feed(shards), "same": mix_feed(shards, weights=[10, 5, 1.4]), "until": mix_feed(shards, until="all"),
             "weights": mix_feed(shards, weights=[5, 2.6, 0.7]), "alone": alone}
    with scene.Daemon(scene.write_config(folder, feeds)) as daemon:
        with ringfeed.Loader("train", socket=daemon.socket) as loader:
            next(iter(loader)).release()
            state = loader.state_dict()
        ringfeed.Loader("same", socket=daemon.socket, state=state).close()  # weights count against each other alone
        for feed, told in (("until", "full 0 1 all 624 312 88"), ("weights", "full 0 1 first 617 321 86"),
                           ("alone", "shuffle, window, parts: full 0 1)")):
            try:
                ringfeed.Loader(feed, socket=daemon.socket, state=state)
            except ringfeed.TokenError as error:
                assert "of another order" in str(error) and told in str(error), error
            else:
                raise AssertionError(f"{feed}: accepted")


def bad_samples_keep_to_their_source(folder):
    """The substitute is the twin's first good one, of the same source."""
    bad = set(random.Random(4).sample(range(sum(TOTALS)), 400))
    shards = pack(folder, bad)
    for order, until in (("full", "all"), ("parts", "first")):
        feed = mix_feed(shards, order, until)
        feed["bad_samples"] = {"policy": "substitute", "limit": "100%"}
        expected, n_bad = twin_mix(order, until, 1), 0
        with scene.Daemon(scene.write_config(folder, {"train": feed})) as daemon, \
                ringfeed.Loader("train", socket=daemon.socket) as loader:
            loader.set_epoch(1)
            for batch in loader:
                for t, index in zip(batch.position.tolist(), batch.index.tolist()):
                    own = expected.sample(t)
                    tried = [own] + [expected.substitute(t, a) for a in range(1, 9)] if own in bad else [own]
                    assert index == next(i for i in tried if i not in bad)
                    assert source_of(index) == source_of(own)
                    n_bad += own in bad
                batch.release()
            assert 100 < n_bad <= daemon.ranks("train")[0]["bad"]  # it is some batches ahead


def printed(folder):
    """order, plan, status and bench of a mix."""
    shards = pack(folder)
    feeds = {name: mix_feed(shards, *name.split("-")) for name in ("full-first", "parts-all")}
    config = scene.write_config(folder, feeds)
    said = {f["name"]: f for f in json.loads(scene.ringfeed("plan", "-c", config, "--json").stdout)["feeds"]}
    text = scene.ringfeed("plan", "-c", config).stdout
    for name in feeds:
        order, until = name.split("-")
        mixes = [twin_mix(order, until, epoch) for epoch in range(4)]
        rows = [json.loads(line) for line in
                scene.ringfeed("order", "-c", config, name, "--json", "--epoch", 2, "--first", 3000).stdout.splitlines()]
        assert len(rows) == 3000
        for row in rows:
            index = mixes[2].sample(row["position"])
            assert (row["index"], row["source"]) == (index, source_of(index))
            assert (row["shard"], row["sample"]) == mixes[2].locate(index)
        plan = said[name]
        assert (plan["positions"], plan["samples"], plan["shuffle"]) == (mixes[0].n, sum(TOTALS), None)
        assert plan["batches_per_epoch"] == -(-mixes[0].n // 250)
        for x, source in enumerate(plan["sources"]):
            takes = collections.Counter(mixes[0].place(t)[2] for t in range(mixes[0].n) if mixes[0].place(t)[0] == x)
            assert (source["share"], source["samples"]) == (mixes[0].m[x], TOTALS[x])
            assert source["positions"] == sum(takes.values()) == mixes[0].n * mixes[0].m[x] // 1024
            assert source["passes_per_epoch"] == len(takes)
            assert source["epochs_per_pass"] == max(1, mixes[0].least[x] * mixes[0].parts // source["positions"])
            if len(takes) == 1 and source["epochs_per_pass"] == 1:
                assert source["skipped_per_pass"] == TOTALS[x] - source["positions"]
            assert f"feed {name}: source {x}: {mixes[0].m[x]} of every 1024" in text
    out = json.loads(scene.ringfeed("bench", "-c", config, "parts-all", "--epochs", 1, "--digest", "--json").stdout)
    assert (out["samples"], out["epochs"], out["bad_samples"]) == (said["parts-all"]["positions"], 1, 0)
    with scene.Daemon(config) as daemon, ringfeed.Loader("parts-all", socket=daemon.socket, credit=1) as loader:
        loader.set_epoch(2)
        passing = iter(loader)
        for _ in range(21):
            next(passing).release()
        mix = twin_mix("parts", "all", 2)
        rank = daemon.ranks("parts-all")[0]
        assert (rank["epoch"], rank["step"] >= 21) == (2, True)
        for x, told in enumerate(rank["passes"]):  # in whole blocks
            behind, n = rank["step"] * 250 // 4096 * mix.m[x], mix.least[x]
            assert behind > 0 and n < 2 * mix.blocks * mix.m[x]  # every epoch has passes of its own
            assert abs(told - (2 * -(-mix.blocks * mix.m[x] // n) + behind / n)) < 1e-9, (x, told)
        feed = next(f for f in daemon.status()["feeds"] if f["name"] == "parts-all")
        assert (feed["shares"], feed["positions"]) == (mix.m, mix.n)
        human = scene.ringfeed("status", "--socket", daemon.socket).stdout
        assert "passes of the sources:" in human and "a mix of 3 sources" in human


def refused(folder):
    """What the data do not allow is told by source, with its numbers, by check and by serve."""
    shards = pack(folder)
    several = {
        "block": (mix_feed(shards, weights=[1, 1, 3]), "source.2 has 400 samples in the smallest part of the order, and its "
                  "weight takes 614 of every 1024"),
        "parts": (mix_feed(shards, "parts"), None),
        "void": (mix_feed([shards[0], [shards[0][1]]], weights=[1, 1]), "source.1 has 0 samples, fewer than the 1 parts"),
        "many": (mix_feed(shards, "parts", "all"), "source.2 has 400 samples, fewer than the 500 parts"),
    }
    several["many"][0]["order"]["parts"] = 500
    for name, (feed, told) in several.items():
        config = scene.write_config(folder, {name: feed})
        done = scene.ringfeed("check", "-c", config, check=False)
        assert done.returncode == (78 if told else 0), (name, done)
        assert not told or (told in done.stderr and f"feed {name}" in done.stderr), done.stderr
        if told:
            done = scene.ringfeed("serve", "-c", config, check=False)
            assert done.returncode == 78 and told in done.stderr, done


if __name__ == "__main__":
    scene.main([as_the_twin_says, p10_resume, tokens_refused, bad_samples_keep_to_their_source, printed, refused])
