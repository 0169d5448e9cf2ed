# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""What transforms draw and which samples stand in for bad ones, against the order's second implementation."""
import json

import numpy
import order_twin
import ringfeed
import scene
from PIL import Image

SEED = 2**64 - 5
N = 120
FIELDS = {
    "image": [{"random_resized_crop": {"size": 64}}, "random_horizontal_flip"],
    "other": [{"resize": {"size": [80, 100]}}, {"random_crop": {"size": [72, 60], "padding": [3, 7]}},
              {"random_horizontal_flip": {"p": 0.25}}],
    "tall": [{"random_resized_crop": {"size": [40, 24], "scale": [0.5, 0.9], "ratio": [0.2, 0.3]}}],
}
ORDERS = {
    "full": {"shuffle": "full", "seed": SEED},
    "block": {"shuffle": "block", "seed": SEED, "window": 16, "parts": 7},
}


def all_photos():
    """Sideways, upright, large, small, gray and PNG ones."""
    return (scene.photos("imagenet-sample")[:N - 16] + scene.photos("kodak")[:8]
            + scene.photos("photos-progressive")[:8])


def make_feed(shards, name, **more):
    fields = {field: {"from": ["jpg", "jpeg", "png"], "decode": "image", "transform": steps, "dtype": "uint8",
                      "layout": "hwc"} for field, steps in FIELDS.items()}
    fields["label"] = {"from": "cls", "decode": "integer", "dtype": "int64"}
    return scene.feed(shards, order=ORDERS[name], fields=fields, slots=2, **more)


def twin_order(name, per_shard, epoch):
    how = ORDERS[name]
    shards = [per_shard] * (N // per_shard) + ([N % per_shard] if N % per_shard else [])
    return order_twin.Order(shards, how["shuffle"], SEED, epoch, how.get("window", 0), how.get("parts", 1))


def words(**values):
    return ",".join(f"{k}={str(v).lower()}" for k, v in values.items())


def crop_words(box):
    return words(**dict(zip(("top", "left", "height", "width"), box)))


def twin_draws(epoch, t, size):
    """The printed texts for a photo of that (width, height)."""
    width, height = size
    at = (SEED, epoch, t)
    texts = ["image/0=random_resized_crop(%s)" % crop_words(
        order_twin.random_resized_crop(*at, "image", "0", height, width))]
    texts.append("image/1=random_horizontal_flip(%s)" % words(
        flip=order_twin.random_flip(*at, "image", "1")))
    top, left = order_twin.random_crop(*at, "other", "1", 80 + 14, 100 + 6, 72, 60)
    texts.append("other/1=random_crop(%s)" % words(top=top, left=left))
    texts.append("other/2=random_horizontal_flip(%s)" % words(
        flip=order_twin.random_flip(*at, "other", "2", 0.25)))
    texts.append("tall/0=random_resized_crop(%s)" % crop_words(order_twin.random_resized_crop(
        *at, "tall", "0", height, width, (0.5, 0.9), (0.2, 0.3))))
    return texts


def printed_draws(folder):
    """`order --draws`, as text and as JSON, with --epoch and --first."""
    paths = all_photos()
    shards = scene.pack_photos(folder, "in", paths, 50)
    config = scene.write_config(folder, {name: make_feed(shards, name, size=8) for name in ORDERS})
    sizes = [Image.open(path).size for path in paths]
    for name in ORDERS:
        for epoch, first in ((0, N), (9, 31), (2**40, 5)):
            order = twin_order(name, 50, epoch)
            options = ("order", "-c", config, name, "--epoch", epoch, "--first", first, "--draws")
            lines = scene.ringfeed(*options).stdout.splitlines()
            objects = [json.loads(line) for line in scene.ringfeed(*options, "--json").stdout.splitlines()]
            assert len(lines) == len(objects) == first
            for t, (line, found) in enumerate(zip(lines, objects)):
                index = order.sample(t)
                shard, place = order.locate(index)
                draws = twin_draws(epoch, t, sizes[index])
                assert line.split("\t") == [str(t), str(shard), str(place), f"s{index:06d}", *draws]
                assert found["draws"] == draws
                assert (found["position"], found["index"], found["shard"], found["sample"]) == (
                    t, index, shard, place)


def crop_reference(path, epoch, t):
    """Field image of that photo with the draws of position t."""
    with Image.open(path) as image:
        image = image.convert("RGB")
    top, left, height, width = order_twin.random_resized_crop(SEED, epoch, t, "image", "0", image.height,
                                                              image.width)
    image = image.crop((left, top, left + width, top + height)).resize((64, 64), Image.Resampling.BILINEAR)
    if order_twin.random_flip(SEED, epoch, t, "image", "1"):
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return numpy.asarray(image)


def damage(number, data):
    """Each in another way: no image at all, cut short in the header, nothing."""
    return (b"this is no image", data[:100], b"")[number % 3]


def substitutes(folder):
    """Four of ten samples are bad: the twin says who stands in, position and draws stay, pads too."""
    paths = all_photos()
    is_bad = [i % 5 in (1, 3) for i in range(N)]
    members = [[(path.suffix.lower()[1:], damage(i, path.read_bytes()) if is_bad[i] else path.read_bytes()),
                ("cls", str(i).encode())] for i, path in enumerate(paths)]
    shards = scene.pack(folder, "bad", members, 50)
    policy = {"policy": "substitute", "limit": "100%"}
    feeds = {name: make_feed(shards, name, batch={"size": 11, "last": "pad"}, bad_samples=policy)
             for name in ORDERS}
    n_attempts = []
    with scene.Daemon(scene.write_config(folder, feeds)) as daemon:
        for name in ORDERS:
            epoch = 4
            order = twin_order(name, 50, epoch)
            n_bad, positions = 0, []
            with ringfeed.Loader(name, socket=daemon.socket) as loader:
                loader.set_epoch(epoch)
                for batch in loader:
                    for i, t in enumerate(batch.position.tolist()):
                        own, attempt = order.sample(t), 0
                        wanted = own
                        while is_bad[wanted]:
                            attempt += 1
                            wanted = order.substitute(t, attempt)
                        n_attempts.append(attempt)
                        n_bad += is_bad[own] and t < N
                        assert attempt <= order_twin.ATTEMPTS
                        assert batch.index[i] == wanted == batch["label"][i], (t, own, attempt)
                        assert batch.valid[i] == (t < N)
                        assert numpy.array_equal(batch["image"][i], crop_reference(paths[wanted], epoch, t))
                        positions.append(t)
                    batch.release()
                    token = order_twin.token_parse(loader.state_dict()["token"])
                    assert token["epoch"] == epoch + 1 or token["bad"] == n_bad
            assert positions == list(range(11 * 11))
    assert max(n_attempts) >= 3, "no position needed a third substitute: the scene shows too little"


if __name__ == "__main__":
    scene.need_data("imagenet-sample", "kodak", "photos-progressive")
    scene.main([printed_draws, substitutes])
