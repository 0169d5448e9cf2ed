# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Every kind of field through the daemon, compared with what Pillow, NumPy and Python's own float, json and struct
make of the same bytes."""
import collections

import numpy
import pixels_reference
import ringfeed
import scene
from make_rows import Field

SEED, EPOCH = 11, 2
CUT = {"size": 96}
VIEWS = {  # the feed's steps, and the same for pixels_reference
    "left": ([{"random_resized_crop": CUT}, "random_vertical_flip", "random_horizontal_flip",
              {"pad": {"padding": [1, 2, 3, 4], "fill": 9}}],
             (("random_resized_crop", 96, 96, 0.08, 1.0, 0.75, 4 / 3, "bilinear"), ("random_vertical_flip", 0.5),
              ("random_horizontal_flip", 0.5), ("pad", 1, 2, 3, 4, 9))),
    "right": ([{"random_vertical_flip": {"p": 0.7}}, {"random_resized_crop": CUT},
               {"grayscale": {"num_output_channels": 3}}],
              (("random_vertical_flip", 0.7),
               ("random_resized_crop", 96, 96, 0.08, 1.0, 0.75, 4 / 3, "bilinear"), ("grayscale",)))}


def batches(folder, shards, fields, **more):
    """Every batch of epoch EPOCH of one feed, released after the caller has looked at it."""
    feed = scene.feed(shards, fields=fields, **{"order": {"shuffle": "full", "seed": SEED},
                                                "batch": {"size": 8, "last": "short"}, "slots": 2, **more})
    config = scene.write_config(folder, {"all": feed})
    with scene.Daemon(config) as daemon, ringfeed.Loader("all", socket=daemon.socket) as loader:
        loader.set_epoch(EPOCH)
        for batch in loader:
            yield batch
            batch.release()


def two_views(folder):
    """Two fields from one image, each with draws of its own."""
    paths = scene.photos("imagenet-sample")[:120]
    shards = scene.pack_photos(folder, "photos", paths, 50)
    fields = {name: {"from": ["jpg", "jpeg"], "decode": "image", "transform": steps, "layout": "hwc"}
              for name, (steps, _) in VIEWS.items()}
    seen = collections.Counter()
    for batch in batches(folder, shards, fields):
        for i, (position, index) in enumerate(zip(batch.position.tolist(), batch.index.tolist())):
            image = pixels_reference.load(paths[index])
            seen[index] += 1
            for name, (_, steps) in VIEWS.items():
                wanted, _ = pixels_reference.transform(image, Field(1, 1, steps), SEED, EPOCH, position, name)
                assert numpy.array_equal(batch[name][i], wanted), (paths[index], name)
    assert seen == collections.Counter(range(len(paths)))


if __name__ == "__main__":
    scene.need_data("imagenet-sample")
    scene.main([two_views])
