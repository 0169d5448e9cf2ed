# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""One sample, decoded once, into rows of several views: each row equals Pillow's and what a task for that row alone
gives, and what makes a sample bad does so in every view, whichever of them are asked for.

Runs under Debian's own Python; RINGFEED_MAKE_ROWS names the make-rows program.
"""
import dataclasses
import io
import itertools
import os
import pathlib

import numpy
import pytest
from PIL import Image

import pixels_reference as reference
import test_fast as fast_reference
from make_rows import Field, Maker

DATA = pathlib.Path(os.environ["RINGFEED_TEST_DATA"])
NORMALIZE = ("normalize", 0.485, 0.456, 0.406, 0.229, 0.224, 0.225)
FLIP = ("random_horizontal_flip", 0.5)
SEED, EPOCH = 5, 1
# Every kind of JPEG and PNG: photos, progressive, turned, subsampled, with restart markers, odd sizes, interlaced.
SETS = {"imagenet-sample/*.JPEG": 12, "photos-progressive/**/*.jpg": 2, "photos-exif/**/*.jp*g": 2, "kodak/*.png": 6,
        "coco128-train/**/*.jpg": 6, "edge-jpeg/**/*.jp*g": 1, "edge-png/pngsuite/png/[bt]*.png": 3}


def crop(side, low=0.08, high=1.0):
    return ("random_resized_crop", side, side, low, high, 0.75, 4 / 3, "bilinear")


# The first two draw one box, since field and place in the list are the same; the others look elsewhere.
VIEWS = (
    Field(224, 224, (crop(224), FLIP, NORMALIZE), "float16", "chw"),
    Field(96, 96, (crop(96), FLIP), "uint8", "hwc"),
    Field(64, 80, (("resize", 72, 90, "bicubic"), ("center_crop", 64, 80), ("grayscale",)), "float32", "chw",
          "reciprocal"),
    Field(40, 30, (("random_vertical_flip", 0.5), crop(50, 0.02, 0.1), ("random_crop", 40, 30, 4, 0, 4, 9, 7)), "uint8",
          "chw"),
    Field(48, 48, (("pad", 3, 4, 5, 6, 9), ("center_crop", 48, 48), NORMALIZE), "bfloat16", "hwc", pass_order="pillow13"),
)
TARGETS = (2, 0, 1, 1, 4, 3, 0)


@pytest.fixture(scope="module")
def alone():
    """A second program, that never hears of views."""
    m = Maker(os.environ["RINGFEED_MAKE_ROWS"])
    m.limits()
    yield m
    m.close()


def same(a, b):
    return numpy.array_equal(a.view(numpy.uint8), b.view(numpy.uint8))


def sampled():
    for pattern, step in SETS.items():
        found = sorted(p for p in DATA.glob(pattern) if p.is_file())
        assert found, f"no test data for {pattern}"
        yield from found[::step]


def test_rows(maker, alone):
    """Each row of a sample in many places, with itself alone, with Pillow's, and with no views at all."""
    n_good = n_pillow = 0
    for (position, path), exif in itertools.product(enumerate(sampled()), (False, True)):
        views = tuple(dataclasses.replace(v, exif=exif) for v in VIEWS)
        answers = maker.run_views(views, TARGETS, path, SEED, EPOCH, position)
        lone = [alone.run(v, path, SEED, EPOCH, position) for v in views]
        # What views decode in company is around what each needs: what is bad for one is bad for all.
        if any(a.code != "done" for a in lone):
            assert answers[0].code == "bad", path
            continue
        assert answers[0].code == "done" or answers[0].cause == "damaged_image", (path, answers[0].detail)
        if answers[0].code != "done":
            continue
        n_good += 1
        for target, answer in zip(TARGETS, answers):
            assert same(answer.row, lone[target].row), (path, target)
        for target in set(TARGETS):
            assert same(maker.run_views(views, (target,), path, SEED, EPOCH, position)[0].row, lone[target].row)
        if "edge" in str(path):
            continue # where Pillow differs on purpose: test_pixels.py has the list
        image = reference.load(path, exif)
        for view, answer in zip(views, lone):
            assert same(answer.row, reference.make(image, view, SEED, EPOCH, position)), (path, view)
        n_pillow += 1
    print(f"{n_good} samples in {len(TARGETS)} rows each, {n_pillow} of them against Pillow")
    assert n_good > 200 and n_pillow > 120


def test_fast(maker):
    """One decode, at the scale that the largest view needs: Pillow's draft() of that scale, in any company."""
    views = tuple(Field(side, side, (crop(side), FLIP), fast=True) for side in (160, 32, 64))
    paths = sorted(DATA.glob("imagenet-sample/*.JPEG"))[::15] + sorted(DATA.glob("photos-progressive/**/*.jpg"))[::6]
    shrinks, n_finer = set(), 0
    for position, path in enumerate(paths):
        image = Image.open(path)
        y, x, h, w = reference.resized_crop_box(reference.Draws(SEED, EPOCH, position, "image", "0"), *image.size,
                                                (0.08, 1.0), (0.75, 4 / 3))
        flip = reference.Draws(SEED, EPOCH, position, "image", "1").real(0) < 0.5
        n = min(fast_reference.choose(image, (w, h), (v.width, v.height)) for v in views)
        shrinks.add(n)
        n_finer += n < fast_reference.choose(image, (w, h), (32, 32))
        answers = maker.run_views(views, (1, 0, 2, 1), path, SEED, EPOCH, position)
        for target, answer in zip((1, 0, 2, 1), answers):
            v = views[target]
            _, wanted = fast_reference.expected(path, v, (x, y, x + w, y + h), (v.width, v.height), "bilinear", flip, n)
            assert same(answer.row, wanted), (path, target, n)
            assert same(maker.run_views(views, (target,), path, SEED, EPOCH, position)[0].row, wanted)
    assert shrinks >= {1, 2} and n_finer


def outcomes(maker, views, path, position, has_large=True):
    """The one outcome of every view alone, of all and of pairs."""
    companies = [(i,) for i in range(len(views))] + [tuple(range(len(views))), (1, 0), (0, 0)]
    found = {(a.code, a.cause, a.detail, a.warnings)
             for c in companies for a in maker.run_views(views, c, path, SEED, EPOCH, position, has_large)}
    assert len(found) == 1, found
    return found.pop()


def test_too_small(maker, alone, tmp_path):
    path = tmp_path / "small.png"
    Image.new("RGB", (60, 40), (1, 2, 3)).save(path)
    views = (Field(32, 32, (crop(32),)), Field(50, 50, (("random_crop", 50, 50, 0, 0, 0, 0, 0),)))
    assert alone.run(views[0], path).code == "done"
    assert outcomes(maker, views, path, 0) == ("bad", "too_small", "60 x 40 pixels, for view v1", 0)
    assert outcomes(maker, views[::-1], path, 0) == ("bad", "too_small", "60 x 40 pixels", 0)


def test_cut_off_files(maker, alone, tmp_path):
    """Rows that only one view needs are missing: bad for all; rows that none needs: good for all."""
    path = tmp_path / "cut.jpg"
    image = reference.load(sorted(DATA.glob("imagenet-sample/*.JPEG"))[3]).resize((400, 300))
    box, other = Field(32, 32, (crop(32, 0.08, 0.2),)), Field(64, 64, (crop(64, 0.08, 0.2), FLIP))
    upper = Field(40, 40, (("resize", 300, 400, "bilinear"), ("random_vertical_flip", 0.5), crop(40, 0.05, 0.1)))
    seen = set()
    for progressive in (False, True):
        whole = io.BytesIO()
        image.save(whole, "JPEG", quality=90, progressive=progressive)
        for position in range(30):
            path.write_bytes(whole.getvalue()[:len(whole.getvalue()) * 6 // 10])
            for views in ((box, other), (box, upper), (upper, box)):
                lone = [alone.run(v, path, SEED, EPOCH, position).code for v in views]
                together = outcomes(maker, views, path, position)[0]
                if "bad" in lone:
                    assert together == "bad"
                seen.add((progressive, *lone, together))
    assert {(False, "done", "done", "done"), (False, "done", "bad", "bad"), (False, "bad", "done", "bad"),
            (False, "bad", "bad", "bad")} <= seen, seen


def test_memory(maker, tmp_path):
    """What decoding may take is one number for all views together: neither company nor order decides."""
    path = tmp_path / "large.jpg"
    reference.load(sorted(DATA.glob("kodak/*.png"))[0]).save(path, progressive=True)
    views = (Field(32, 32, (crop(32, 0.9),)), Field(512, 512, (crop(512, 0.9),)), Field(64, 64, (("center_crop", 64, 64),)))
    seen = []
    for kib in range(1100, 3000, 50):
        maker.limits(decode_memory=kib << 10, scratch=1 << 20)
        maker.field = None
        seen.append(outcomes(maker, views, path, 0)[:2])
        assert outcomes(maker, views, path, 0, has_large=False)[0] == "need_large"
    maker.limits()
    maker.field = None
    assert set(seen) == {("done", "none"), ("bad", "decode_memory")} and seen == sorted(seen), seen


def test_warnings_count_once(maker, alone, tmp_path):
    """Bytes that do not belong there, before a progressive file's second scan."""
    path = tmp_path / "odd.jpg"
    out = io.BytesIO()
    reference.load(sorted(DATA.glob("imagenet-sample/*.JPEG"))[5]).save(out, "JPEG", progressive=True)
    data = out.getvalue()
    second = data.index(b"\xff\xc4", data.index(b"\xff\xda"))
    path.write_bytes(data[:second] + bytes(range(1, 101)) + data[second:])
    lone = alone.run(VIEWS[0], path, SEED, EPOCH, 0)
    assert lone.code == "done" and lone.warnings > 0
    assert {a.warnings for a in maker.run_views(VIEWS, TARGETS, path, SEED, EPOCH, 0)} == {lone.warnings}


def test_numbers(maker, tmp_path):
    """A number in two dtypes; one that only one of them holds is bad in both."""
    path = tmp_path / "label"
    path.write_text("100")
    rows = maker.integers(("int64", "int8", "uint16"), (1, 0, 2, 2, 0), path)
    assert [(a.code, int(a.row), a.row.dtype.name) for a in rows] == [
        ("done", 100, t) for t in ("int8", "int64", "uint16", "uint16", "int64")]
    path.write_text("200")
    for targets in ((0,), (1,), (0, 2), (2, 1, 0)):
        assert {(a.code, a.cause) for a in maker.integers(("int64", "int8", "uint16"), targets, path)} == {
            ("bad", maker.integer("int8", path).cause)}


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__, "-q", "-s", "-p", "no:cacheprovider"]))
