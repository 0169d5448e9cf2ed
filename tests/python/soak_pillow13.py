# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""`pass_order: pillow13` beside PyPI's Pillow 13: every filter over random sizes and crops, and over every
crop of a whole epoch. soak_pillow13.py BUILD [IMAGES]

The oracle gets the pixels that Debian's Pillow decoded, so that the resize alone is compared; whether it
decodes the photos alike is counted apart.
"""
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

import numpy
from PIL import Image

import environment
import pixels_reference as reference
import test_epoch
from make_rows import Field, Maker

SIDE_MAX, SHAPES = 600, 6


class Oracle:
    def __init__(self, python):
        program = pathlib.Path(__file__).with_name("pillow_oracle.py")
        self.process = subprocess.Popen([python, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.versions = json.loads(self.process.stdout.readline())

    def ask(self, question, data=b""):
        self.process.stdin.write(json.dumps(question).encode() + b"\n" + data)
        self.process.stdin.flush()

    def read(self, w, h):
        data = self.process.stdout.read(3 * w * h)
        assert len(data) == 3 * w * h, "the oracle died"
        return numpy.frombuffer(data, numpy.uint8).reshape(h, w, 3)

    def resize(self, image, box, to, which):
        self.ask({"size": image.size, "box": box, "to": to, "filter": which}, image.tobytes())
        return self.read(*to)

    def decode(self, path):
        self.ask({"decode": str(path)})
        return self.read(*json.loads(self.process.stdout.readline())["size"])

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Tally:
    def __init__(self, name):
        self.name, self.n, self.wrong, self.matters = name, 0, 0, 0

    def count(self, row, expected, what, other_order):
        self.n += 1
        self.matters += not numpy.array_equal(other_order, expected)
        if row is not None and numpy.array_equal(row, expected):
            return
        self.wrong += 1
        if self.wrong <= 20:
            print(f"{self.name}: not equal: {what}")

    def total(self):
        print(f"{self.name}: {self.n} images, {self.wrong} not equal; {self.matters} would differ with the passes "
              "in the other order", flush=True)
        assert self.matters, "nothing here tells the orders apart"
        return self.wrong


def random_sizes(maker, oracle, n_images, folder):
    rng, choose = numpy.random.default_rng(13), random.Random(13)
    tally, path = Tally("random sizes"), folder / "noise.png"
    for i in range(n_images):
        w, h = choose.randint(1, SIDE_MAX), choose.randint(1, SIDE_MAX)
        image = Image.fromarray(rng.integers(0, 256, (h, w, 3), numpy.uint8))
        image.save(path, compress_level=0)
        for shape in range(SHAPES):
            cw, ch = (w, h) if shape == 0 else (choose.randint(1, w), choose.randint(1, h))
            to = choose.randint(1, SIDE_MAX), choose.randint(1, SIDE_MAX)
            draws = reference.Draws(0, 0, i, "image", "0")
            y, x = draws.below(0, h - ch + 1), draws.below(1, w - cw + 1)
            box = (x, y, x + cw, y + ch)
            for which in reference.FILTERS:
                field = Field(to[1], to[0], (("random_crop", ch, cw, 0, 0, 0, 0, 0),
                                             ("resize", to[1], to[0], which)), pass_order="pillow13")
                tally.count(maker.run(field, path, 0, 0, i).row, oracle.resize(image, box, to, which),
                            f"{which}: {cw}x{ch} of {w}x{h} to {to[0]}x{to[1]}",
                            numpy.asarray(image.crop(box).resize(to, reference.FILTERS[which])))
    return tally.total()


def whole_epoch(maker, oracle):
    tally, side, unlike = Tally("whole epoch"), test_epoch.SIDE, 0
    for position, path in enumerate(test_epoch.photos()):
        image = reference.load(path)
        unlike += not numpy.array_equal(oracle.decode(path), numpy.asarray(image))
        crop = reference.Draws(test_epoch.SEED, test_epoch.EPOCH, position, "image", "0")
        y, x, h, w = reference.resized_crop_box(crop, *image.size, (0.08, 1.0), (0.75, 4 / 3))
        flip = reference.Draws(test_epoch.SEED, test_epoch.EPOCH, position, "image", "1").real(0) < 0.5
        box = (x, y, x + w, y + h)
        for which in reference.FILTERS:
            row = maker.run(test_epoch.field(which, "pillow13"), path, test_epoch.SEED, test_epoch.EPOCH, position).row
            expected = oracle.resize(image, box, (side, side), which)
            other = numpy.asarray(image.crop(box).resize((side, side), reference.FILTERS[which]))
            tally.count(row, expected[:, ::-1] if flip else expected, f"{which}: {path.name} at {position}",
                        other[:, ::-1] if flip else other)
    print(f"whole epoch: {unlike} of {position + 1} photos decoded to other pixels than Debian's Pillow's")
    return tally.total()


def main():
    python = environment.python_with(sys.argv[1], "pillow13", "pillow>=13,<14")
    oracle = Oracle(python)
    print("oracle:", ", ".join(f"{name} {version}" for name, version in oracle.versions.items()), flush=True)
    maker = Maker(os.environ["RINGFEED_MAKE_ROWS"])
    maker.limits()
    with tempfile.TemporaryDirectory() as folder:
        wrong = random_sizes(maker, oracle, int(sys.argv[2]) if len(sys.argv) > 2 else 500, pathlib.Path(folder))
    wrong += whole_epoch(maker, oracle)
    maker.close()
    oracle.close()
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
