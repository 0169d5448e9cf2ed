# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Every sample exactly once per epoch, in the order that proto/order.md fixes: for 1, 2 and 3 ranks, every
shuffle and every kind of tail; the same bytes for any number of workers, engine and way of reading."""
import contextlib
import io
import json
import re
import tarfile

import order_twin
import ringfeed
import scene
import trace

PER_SHARD = [150, 0, 7, 193, 1, 249]  # an empty shard and a shard of one sample count as shards too
SEED = 42
SMALL = [{"random_resized_crop": {"size": 48}}, "random_horizontal_flip"]
ORDERS = {
    "none": {"shuffle": "none", "seed": SEED},
    "full": {"shuffle": "full", "seed": SEED},
    "block": {"shuffle": "block", "seed": SEED, "window": 64, "parts": 6},
    "wide": {"shuffle": "block", "seed": SEED, "window": 1000},
}


def member_name(number, photo):
    """Long names too, so that GNU and pax headers lie between the members."""
    middle = "long/" + "x" * 120 + "/" if number % 50 == 3 else ""
    return f"set/{middle}{photo.stem.replace('.', '_')}-{number:06d}"


def write_shard(path, form, samples):
    with tarfile.open(path, "w", format=form) as tar:
        for number, photo in samples:
            for extension, data in (("jpeg", photo.read_bytes()), ("cls", str(number).encode())):
                info = tarfile.TarInfo(f"{member_name(number, photo)}.{extension}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def pack_uneven(folder):
    """imagenet-sample in shards of uneven length; the label of a photo is its number."""
    photos = list(enumerate(scene.photos("imagenet-sample")))
    assert len(photos) == sum(PER_SHARD)
    shards = []
    for place, n in enumerate(PER_SHARD):
        path = folder / f"in-{place:06d}.tar"
        write_shard(path, tarfile.PAX_FORMAT if place % 2 else tarfile.GNU_FORMAT, photos[:n])
        photos = photos[n:]
        shards.append(path)
    return shards


def group_shards(shards):
    """What Python's tarfile and WebDataset's regex make of them: keys and labels of every shard."""
    split = re.compile(r"^((?:.*/|)[^.]+)[.]([^/]*)$")
    grouped = []
    for path in shards:
        samples = {}
        with tarfile.open(path) as tar:
            for member in tar:
                key, extension = split.match(member.name).groups()
                samples.setdefault(key, {})[extension] = tar.extractfile(member).read()
        grouped.append([(key, int(fields["cls"])) for key, fields in samples.items()])
    return grouped


def twin_order(name, epoch=0):
    how = ORDERS[name]
    return order_twin.Order(PER_SHARD, how["shuffle"], SEED, epoch, how.get("window", 0), how.get("parts", 1))


def label_feed(shards, name, last, **batch):
    return scene.feed(shards, order=ORDERS[name], slots=2, batch={"last": last, **batch},
                      fields={"label": {"from": "cls", "decode": "integer", "dtype": "int64"}})


def take_pass(daemon, feed, world, size, last):
    """One epoch of every rank against the twin; position -> (index, valid) of all of them."""
    union = {}
    order = twin_order(feed.split("-")[0])
    walk = order_twin.Pass(order.n, 0, size, world, last)
    with contextlib.ExitStack() as stack:
        loaders = [stack.enter_context(ringfeed.Loader(
            feed, socket=daemon.socket, rank=r, world_size=world, local_world_size=world,
            group=f"{feed}-{world}")) for r in range(world)]
        for rank, loader in enumerate(loaders):
            assert len(loader) == walk.n_batches()
            n = 0
            for j, batch in enumerate(loader):
                positions = list(walk.positions(j, rank))
                assert batch.position.tolist() == positions
                assert batch.index.tolist() == [order.sample(t) for t in positions]
                assert batch.valid.tolist() == [t < order.n for t in positions]
                assert batch["label"].tolist() == batch.index.tolist()
                union.update(zip(positions, zip(batch.index.tolist(), batch.valid.tolist())))
                n += 1
            assert n == walk.n_batches() == len(loader)
    return union


def check_union(union, size, world, last):
    valid = [index for index, is_valid in union.values() if is_valid]
    assert len(set(valid)) == len(valid)
    if last == "drop":
        assert len(valid) == 600 // (size * world) * size * world == len(union)
    else:
        assert sorted(valid) == list(range(600))
    assert len(union) % (size * world) == 0 or last == "short"


def shuffles_and_tails(folder):
    """Every shuffle, tail and way to say the batch's size, for 1, 2 and 3 ranks."""
    shards = pack_uneven(folder)
    feeds = {}
    for name in ORDERS:
        for last in ("drop", "pad", "short"):
            feeds[f"{name}-{last}-size"] = label_feed(shards, name, last, size=17)
            feeds[f"{name}-{last}-global"] = label_feed(shards, name, last, **{"global": 42, "ranks": 1})
    with scene.Daemon(scene.write_config(folder, feeds)) as daemon:
        for feed in feeds:
            name, last, how = feed.split("-")
            for world in (1, 2, 3):
                size = 17 if how == "size" else 42 // world
                check_union(take_pass(daemon, feed, world, size, last), size, world, last)


def printed_order(folder):
    """`ringfeed order`, the twin and Python's tarfile say the same, in both forms and any epoch."""
    shards = pack_uneven(folder)
    grouped = group_shards(shards)
    assert [len(g) for g in grouped] == PER_SHARD
    config = scene.write_config(folder, {name: label_feed(shards, name, "short", size=17) for name in ORDERS})
    for name in ORDERS:
        for epoch in (0, 5):
            order = twin_order(name, epoch)
            rows = [(t, *order.locate(order.sample(t))) for t in range(600)]
            wanted = [(t, s, i, grouped[s][i][0]) for t, s, i in rows]
            assert [grouped[s][i][1] for _, s, i in rows] == [order.sample(t) for t in range(600)]
            epochs = ("--epoch", epoch) if epoch else ()
            text = scene.ringfeed("order", "-c", config, name, *epochs).stdout
            assert text == "".join("\t".join(map(str, row)) + "\n" for row in wanted)
            printed = scene.ringfeed("order", "-c", config, name, *epochs, "--json").stdout.splitlines()
            for line, row in zip(printed, wanted, strict=False):
                got = json.loads(line)
                assert (got["position"], got["shard"], got["sample"], got["key"]) == row
                assert got["index"] == order.sample(row[0])
            assert len(printed) == 600


def photo_feed(shards, reads="direct", seed=SEED):
    return scene.feed(shards, transform=SMALL, dtype="uint8", order={"shuffle": "full", "seed": seed}, slots=2,
                      source={"format": "webdataset", "shards": [str(s) for s in shards], "reads": reads},
                      batch={"size": 16, "last": "short"})


def read_world(daemon, world):
    """position -> Row of an epoch of photos, over all ranks."""
    union = {}
    with contextlib.ExitStack() as stack:
        loaders = [stack.enter_context(ringfeed.Loader(
            "train", socket=daemon.socket, rank=r, world_size=world, local_world_size=world,
            group=f"world{world}")) for r in range(world)]
        for loader in loaders:
            union.update(trace.rows(loader))
    assert sorted(union) == list(range(600))
    assert sorted(row.index for row in union.values()) == list(range(600))
    assert all(row.valid for row in union.values())
    return union


def same_bytes(folder):
    """1, 2 and 3 ranks of photos, each on another number of workers, engine and way of reading."""
    shards = pack_uneven(folder)
    runs = ((1, 1, "uring", "direct"), (2, 2, "threads", "direct"), (3, 3, "threads", "buffered"),
            (1, 3, "uring", "buffered"))
    seen = []
    for world, workers, engine, reads in runs:
        config = scene.write_config(folder, {"train": photo_feed(shards, reads)}, workers=workers, io=engine)
        with scene.Daemon(config) as daemon:
            status = daemon.status()
            assert (status["engine"], len(status["workers"])) == (engine, workers)
            seen.append(read_world(daemon, world))
    assert all(union == seen[0] for union in seen)
    assert len({row.digest for row in seen[0].values()}) > 590


def bench_digest(folder):
    """`bench --digest` is one number for any workers and engine, and another one for another seed."""
    shards = pack_uneven(folder)
    config = scene.write_config(folder, {"train": photo_feed(shards)}, io="uring", workers=1)

    def digest(*sets):
        options = [word for text in sets for word in ("--set", text)]
        out = json.loads(scene.ringfeed("bench", "-c", config, "train", "--epochs", 1, "--digest", "--json",
                                        *options).stdout)
        assert (out["samples"], out["epochs"], out["bad_samples"]) == (600, 1, 0)
        return out["digest"]

    first = digest()
    assert digest("daemon.io=threads", "daemon.workers=3", "feeds.train.source.reads=buffered") == first
    assert digest("feeds.train.order.seed=43") != first


def bench_a_global_batch(folder):
    """Slots of a global batch hold a rank's part: bench takes what rank 0 gets."""
    shards = pack_uneven(folder)
    feed = photo_feed(shards)
    feed["batch"] = {"global": 40, "ranks": 4, "last": "drop"}
    config = scene.write_config(folder, {"train": feed}, workers=1)
    out = json.loads(scene.ringfeed("bench", "-c", config, "train", "--epochs", 1, "--json").stdout)
    assert (out["samples"], out["batches"], out["epochs"]) == (150, 15, 1), out


if __name__ == "__main__":
    scene.need_data("imagenet-sample")
    scene.main([shuffles_and_tails, printed_order, same_bytes, bench_digest, bench_a_global_batch])
