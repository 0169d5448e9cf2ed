# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""`decode: {image: fast}`: rows equal Pillow's draft() of the file, cut and resized with the fractional box that
the crop is there, bit for bit; where nothing can be shrunk they equal the exact rows. And fast looks like exact.

Runs under Debian's own Python; RINGFEED_MAKE_ROWS names the make-rows program.
"""
import dataclasses
import itertools
import math
import os
import pathlib

import numpy
import pytest
from PIL import Image, ImageOps

import pixels_reference as reference
from make_rows import Field

DATA = pathlib.Path(os.environ["RINGFEED_TEST_DATA"])
SETS = {"imagenet-sample/*.JPEG": 4, "photos-progressive/**/*.jpg": 1, "photos-exif/**/*.jp*g": 1,
        "coco128-train/**/*.jpg": 2, "edge-jpeg/exif-orientation/*.jpg": 1}
SEED, EPOCH = 3, 1


def orientation(image, exif):
    value = image.getexif().get(0x0112, 1) if exif else 1
    return value if value in range(1, 9) else 1


def factors(image):
    """The sampling factors in the file's frame header; fast leaves those past 2 alone."""
    return [f for layer in image.layer for f in layer[1:3]] if image.format == "JPEG" else [9]


def choose(image, source, to):
    n = 1 if max(factors(image)) > 2 else 8
    while n > 1 and (to[0] * n > source[0] or to[1] * n > source[1]):
        n //= 2
    return n


def draft(path, n, exif):
    image = Image.open(path)
    w, h = image.size
    image.draft("RGB", (w // n, h // n))
    assert image.size == (-(-w // n), -(-h // n))
    if exif:
        image = ImageOps.exif_transpose(image)
    return image.convert("RGB")


def resize_box(image, box, to, which, pass_order):
    """Of the pixels that the box touches, none outside."""
    whole = (math.floor(box[0]), math.floor(box[1]), math.ceil(box[2]), math.ceil(box[3]))
    inside = (box[0] - whole[0], box[1] - whole[1], box[2] - whole[0], box[3] - whole[1])
    return image.crop(whole).resize(to, reference.FILTERS[which], box=inside)


def expected(path, field, cut, to, which, flip, n=None):
    """What the crop `cut` (of the upright image, in full size) becomes, shrunk by n or as it chooses."""
    image = Image.open(path)
    turn = orientation(image, field.exif)
    w, h = image.size if turn < 5 else image.size[::-1]
    n = n or choose(image, (cut[2] - cut[0], cut[3] - cut[1]), to)
    small = draft(path, n, field.exif)
    dx = small.width - w / n if turn in (2, 3, 6, 7) else 0
    dy = small.height - h / n if turn in (3, 4, 7, 8) else 0
    box = (cut[0] / n + dx, cut[1] / n + dy, cut[2] / n + dx, cut[3] / n + dy)
    out = resize_box(small, box, to, which, field.pass_order)
    return n, numpy.asarray(out.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else out)


def upright_size(path, exif):
    image = Image.open(path)
    return image.size if orientation(image, exif) < 5 else image.size[::-1]


def test_what_leaves_a_sample_exact(maker):
    """A vertical flip or grayscale before the first resize; behind it they change nothing about fast."""
    up, gray, cut = ("random_vertical_flip", 1.0), ("grayscale",), ("random_resized_crop", 40, 40, 0.5, 1.0, 0.75, 4 / 3,
                                                                  "bilinear")
    files = sorted(DATA.glob("photos-exif/**/*.jp*g"))[:8]
    assert files
    for (position, path), exif in itertools.product(enumerate(files), (False, True)):
        for steps in ((up, cut), (gray, cut), (up, cut, up)):
            field = Field(40, 40, steps, exif=exif, fast=True)
            fast, exact = (maker.run(f, path, SEED, EPOCH, position)
                           for f in (field, dataclasses.replace(field, fast=False)))
            assert fast.code == "done" and numpy.array_equal(fast.row, exact.row), (path, steps)
        for steps in ((cut, up), (cut, gray), (cut, gray, up)):
            alone = maker.run(Field(40, 40, (cut,), exif=exif, fast=True), path, SEED, EPOCH, position).row
            wanted = numpy.asarray(Image.fromarray(alone).convert("L").convert("RGB")) if gray in steps else alone
            row = maker.run(Field(40, 40, steps, exif=exif, fast=True), path, SEED, EPOCH, position).row
            assert numpy.array_equal(row, wanted[::-1] if up in steps else wanted), (path, steps)


def psnr(a, b):
    error = ((a.astype(numpy.float64) - b) ** 2).mean()
    return 99.0 if error == 0 else 10 * math.log10(255 ** 2 / error)


def check(maker, path, field, position, cut, to, which, flip, *, window=None):
    n, wanted = expected(path, field, cut, to, which, flip)
    if window:
        wanted = wanted[window[1]:window[3], window[0]:window[2]]
    answer = maker.run(field, path, SEED, EPOCH, position)
    exact = maker.run(dataclasses.replace(field, fast=False), path, SEED, EPOCH, position)
    assert (answer.code, answer.cause) == ("done", "none"), (path, answer.detail)
    assert numpy.array_equal(answer.row, wanted), (path, field, position, n)
    if n == 1:
        assert numpy.array_equal(answer.row, exact.row)
    return n, psnr(answer.row, exact.row)


@pytest.mark.parametrize("side,which,exif", itertools.product((48, 160), ("bilinear", "bicubic"), (False, True)))
def test_random_resized_crop(maker, side, which, exif):
    shrinks, closeness = [], []
    for pattern, step in SETS.items():
        for position, path in enumerate(sorted(DATA.glob(pattern))[::step]):
            field = Field(side, side, (("random_resized_crop", side, side, 0.08, 1.0, 0.75, 4 / 3, which),
                                       ("random_horizontal_flip", 0.5)), exif=exif, fast=True)
            w, h = upright_size(path, exif)
            y, x, ch, cw = reference.resized_crop_box(
                reference.Draws(SEED, EPOCH, position, "image", "0"), w, h, (0.08, 1.0), (0.75, 4 / 3))
            flip = reference.Draws(SEED, EPOCH, position, "image", "1").real(0) < 0.5
            n, likeness = check(maker, path, field, position, (x, y, x + cw, y + ch), (side, side), which, flip)
            shrinks.append(n)
            if n > 1:
                closeness.append(likeness)
    print(side, which, {n: shrinks.count(n) for n in (1, 2, 4, 8)}, "PSNR", numpy.percentile(closeness, (1, 50)))
    assert {2, 4} <= set(shrinks) and numpy.median(closeness) > 33 and min(closeness) > 20


def test_flip_before_and_windows(maker):
    """A mirror before the resize, a centre crop before it, a crop of the result."""
    seen = set()
    for pattern, step in SETS.items():
        for position, path in enumerate(sorted(DATA.glob(pattern))[::4 * step]):
            w, h = upright_size(path, False)
            if min(w, h) < 130:
                continue
            field = Field(40, 60, (("random_horizontal_flip", 1.0), ("center_crop", 130, 121),
                                   ("resize", 40, 60, "hamming")), fast=True)
            left, top = int(round((w - 121) / 2.0)), int(round((h - 130) / 2.0))
            # the middle of the mirrored image, seen from the other side
            cut = (w - left - 121, top, w - left, top + 130)
            seen.add(check(maker, path, field, position, cut, (60, 40), "hamming", True)[0])
            to = (50, int(50 * h / w)) if w <= h else (int(50 * w / h), 50)
            x, y = int(round((to[0] - 33) / 2.0)), int(round((to[1] - 44) / 2.0))
            field = Field(44, 33, (("resize", 50, 0, "box"), ("center_crop", 44, 33)), fast=True)
            seen.add(check(maker, path, field, position, (0, 0, w, h), to, "box", False,
                           window=(x, y, x + 33, y + 44))[0])
    assert {2, 4} <= seen


def test_what_stays_exact(maker, tmp_path):
    """nearest, a padded crop before the resize, PNG, no resize at all."""
    path = sorted(DATA.glob("photos-progressive/**/*.jpg"))[0]
    png = tmp_path / "photo.png"
    reference.load(path).save(png)
    for steps in ((("resize", 64, 64, "nearest"),), (("center_crop", 3000, 3000), ("resize", 64, 64, "bilinear")),
                  (("center_crop", 64, 64),)):
        field = Field(64, 64, steps, fast=True)
        assert numpy.array_equal(maker.run(field, path).row, reference.make(reference.load(path), field, 0, 0, 0))
    field = Field(64, 64, (("resize", 64, 64, "bilinear"),), fast=True)
    assert numpy.array_equal(maker.run(field, png).row, reference.make(reference.load(path), field, 0, 0, 0))


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__, "-q", "-p", "no:cacheprovider", "-x", *os.sys.argv[1:]]))
