# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Every crop of a whole epoch, in every filter, bit-equal to Debian's Pillow: positions 0 to 599 of one
epoch of imagenet-sample, in a shuffled order of the photos."""
import os
import pathlib
import random
import sys

import numpy

import pixels_reference as reference
from make_rows import Field, Maker

SEED, EPOCH, SIDE = 5, 1, 224


def field(which, pass_order="pillow"):
    return Field(SIDE, SIDE, (("random_resized_crop", SIDE, SIDE, 0.08, 1.0, 0.75, 4 / 3, which),
                              ("random_horizontal_flip", 0.5)), pass_order=pass_order)


def photos():
    """The photo at each position."""
    paths = sorted((pathlib.Path(os.environ["RINGFEED_TEST_DATA"]) / "imagenet-sample").glob("*.JPEG"))
    random.Random(SEED).shuffle(paths)
    return paths


def main():
    paths = photos()
    if not paths:
        print("skipped: no photos in imagenet-sample of RINGFEED_TEST_DATA")
        return 77
    maker = Maker(os.environ["RINGFEED_MAKE_ROWS"])
    maker.limits()
    images = [reference.load(path) for path in paths]
    wrong = 0
    for which in reference.FILTERS:
        for position, (path, image) in enumerate(zip(paths, images)):
            answer = maker.run(field(which), path, SEED, EPOCH, position)
            expected = reference.make(image, field(which), SEED, EPOCH, position)
            if answer.code != "done" or not numpy.array_equal(answer.row, expected):
                print(f"{which}: position {position}, {path.name}: {answer.detail or 'other pixels'}")
                wrong += 1
    maker.close()
    print(f"{len(paths)} crops x {len(reference.FILTERS)} filters, {wrong} of them not equal to Pillow's")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
