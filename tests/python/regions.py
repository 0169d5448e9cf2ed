# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Drives tests/unit/decode/decode-regions, whose head says what it reads and answers, and makes JPEGs of
every sampling with libjpeg's own cjpeg."""
import itertools
import os
import pathlib
import subprocess

import numpy
import pytest
from PIL import Image

DATA = pathlib.Path(os.environ["RINGFEED_TEST_DATA"])
# Each component's factors out of {1, 2}, less those that name the same relation twice.
SMALL = tuple(f"{a},{b},{c}" for a, b, c in itertools.product(("1x1", "1x2", "2x1", "2x2"), repeat=3))
WIDE = ("4x1,1x1,1x1", "4x1,2x1,1x1", "1x4,1x1,1x1", "1x4,1x2,1x1", "4x2,1x1,1x1", "4x2,2x1,2x1", "2x4,1x1,1x1",
        "4x2,2x2,2x2", "2x4,1x2,1x2", "4x1,4x1,1x1", "1x1,4x1,2x1", "2x1,4x2,1x1", "4x1,2x1,2x1", "3x1,1x1,1x1",
        "1x3,1x1,1x1", "3x1,3x1,1x1", "3x2,1x1,1x1")


class Regions:
    def __init__(self):
        self.process = subprocess.Popen([os.environ["RINGFEED_DECODE_REGIONS"]], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def close(self):
        self.process.stdin.close()
        assert self.process.wait() == 0, "decode-regions failed"

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer.endswith("\n"), f"decode-regions died on: {line}"
        return answer[:-1]

    def use(self, path, pixels, folder, shrink=1):
        """The image at path, whose whole decode, shrunk by that much, must be these pixels."""
        self.ask(f"shrink {shrink}")
        answer = self.ask(f"image {path}").split()
        assert answer[0] == "none" and int(answer[3]) >= shrink, (path, answer)
        raw = folder / "reference.raw"
        raw.write_bytes(numpy.ascontiguousarray(pixels).tobytes())
        assert self.ask(f"reference {raw}") == str(pixels.size)

    def sweep(self, *what, n=300, seed=1):
        """How many regions came out right, all of them."""
        word, *rest = self.ask(f"sweep {n} {seed}").split(" ", 1)
        assert word == "same", (*what, word, *rest)
        return int(rest[0])


@pytest.fixture(scope="module")
def regions():
    r = Regions()
    yield r
    r.close()


def picture(width, height, seed=7):
    """Soft shapes with noise: every coefficient counts."""
    rng = numpy.random.default_rng(seed)
    soft = Image.fromarray(rng.integers(0, 256, (7, 9, 3), numpy.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC)
    noise = rng.integers(-20, 21, (height, width, 3))
    return Image.fromarray(numpy.clip(numpy.asarray(soft) + noise, 0, 255).astype(numpy.uint8))


def cjpeg(image, path, *options):
    """Writes the image with cjpeg; False where that cannot make such a file."""
    ppm = b"P6 %d %d 255\n" % image.size + image.tobytes()
    done = subprocess.run(["cjpeg", "-quality", "90", *options], input=ppm, capture_output=True)
    path.write_bytes(done.stdout)
    return done.returncode == 0


def whole(path):
    """What Pillow makes of the whole file."""
    return numpy.asarray(Image.open(path).convert("RGB"))


def shrunk(path, shrink):
    """What Pillow's draft() makes of the whole file at 1/shrink, also where draft() would not go so far."""
    image = Image.open(path)
    (kind, extents, offset, more), = image.tile
    image._size = tuple((side + shrink - 1) // shrink for side in image.size)
    image.tile = [(kind, (0, 0, *image.size), offset, more)]
    image.decoderconfig = (shrink, 0)
    return numpy.asarray(image.convert("RGB"))
