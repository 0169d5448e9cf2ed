# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Bit-equality of rows with Debian's Pillow and torchvision's definitions (pixels_reference.py).

Runs under Debian's own Python; RINGFEED_MAKE_ROWS names the make-rows program. What is not equal is
listed in EXPECTED with its reason, and the list is exact: an entry that is no longer needed fails.
"""
import fnmatch
import io
import itertools
import os
import pathlib
import random
import warnings
import zlib

import numpy
import PIL
import pytest
from PIL import Image, ImageFile, features

import pixels_reference as reference
from make_rows import Field, Maker

warnings.simplefilter("ignore")
DATA = pathlib.Path(os.environ["RINGFEED_TEST_DATA"])
NORMALIZE = ("normalize", 0.485, 0.456, 0.406, 0.229, 0.224, 0.225)
RESIZE = (("resize", 256, 0, "bilinear"), ("center_crop", 224, 224))
RANDOM = (("random_resized_crop", 224, 224, 0.08, 1.0, 0.75, 4 / 3, "bilinear"),
          ("random_horizontal_flip", 0.5))
PHOTOS = ("imagenet-sample/*.JPEG", "photos-progressive/**/*.jpg", "photos-exif/**/*.jp*g",
          "kodak/*.png", "coco128-train/**/*.jpg")
# (files, what, why): "differs": both decode; "stricter": only Pillow decodes; "laxer": only we do.
EXPECTED = (
    ("*/pngsuite/png/*0g16.png", "differs", "16-bit gray: the high byte, not saturated"),
    ("*/libpng-testpngs/gray-16*.png", "differs", "16-bit gray: the high byte, not saturated"),
    ("*/grayscale_*_sampling2x2.png", "differs", "16-bit gray: the high byte, not saturated"),
    ("*/pngsuite/png/xcsn0g01.png", "stricter", "a wrong checksum of image data"),
    ("*/testimages/*.p?m", "stricter", "PNM is not decoded"),
    ("*id:000385,src:000000,op:int32*", "laxer", "cut behind the last row"),
    ("*id:000564,src:000000,op:havoc*", "laxer", "libjpeg's error lies behind the last row"),
    ("*id:001347,sync:jpeg9,src:001828*", "laxer", "libjpeg's error lies behind the last row"),
    ("*id:001458,src:000531,op:flip4*", "laxer", "libjpeg's error lies behind the last row"),
)


def files(pattern):
    found = sorted(p for p in DATA.glob(pattern) if p.is_file())
    assert found, f"no test data for {pattern}"
    return found


def assert_same(answer, expected, *what):
    assert (answer.code, answer.cause) == ("done", "none"), (*what, answer.detail)
    assert numpy.array_equal(answer.row, expected) or numpy.array_equal(
        answer.row.view(numpy.uint8), expected.view(numpy.uint8)), what


def check(maker, path, image, field, seed=11, epoch=2, position=0):
    assert_same(maker.run(field, path, seed, epoch, position),
                reference.make(image, field, seed, epoch, position), path, field, position)


def noise(rng, width, height):
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), numpy.uint8))


def test_versions():
    print("Pillow", PIL.__version__, "with libjpeg-turbo", features.version("libjpeg_turbo"))
    assert PIL.__version__.startswith("9.4.")


def test_golden_draws(maker):
    field = Field(224, 224, RANDOM)
    assert reference.xxh64(b"image") == 0x050D4627045D5F07
    draws = reference.Draws(7, 3, 5, "image", "0")
    assert reference.resized_crop_box(draws, 500, 375, (0.08, 1.0), (0.75, 4 / 3)) == (41, 245, 179, 202)
    assert maker.draws(field, 7, 3, 5, 500, 375).split("\t")[0] == (
        "image/0=random_resized_crop(top=41,left=245,height=179,width=202)")


@pytest.mark.parametrize("pattern", PHOTOS)
def test_photos(maker, pattern):
    """Every photo, both everyday pipelines, and the draws as text."""
    fields = (Field(224, 224, RESIZE), Field(224, 224, RANDOM))
    for position, path in enumerate(files(pattern)):
        image = reference.load(path)
        assert maker.size(fields[0], path) == ("none", *image.size)
        for field in fields:
            check(maker, path, image, field, position=position)
        assert (maker.draws(fields[1], 11, 2, position, *image.size)
                == reference.transform(image, fields[1], 11, 2, position)[1])


@pytest.mark.parametrize("dtype", ("float16", "bfloat16", "float32"))
def test_dtypes_on_photos(maker, dtype):
    for pattern in PHOTOS:
        for position, path in enumerate(files(pattern)[::20]):
            image = reference.load(path)
            for steps, layout in itertools.product((RESIZE, RANDOM), ("chw", "hwc")):
                check(maker, path, image, Field(224, 224, (*steps, NORMALIZE), dtype, layout),
                      position=position)


def test_every_value(maker, tmp_path):
    """All 256 values of each channel in every dtype, layout and scale, with and without normalize."""
    values = numpy.arange(256, dtype=numpy.uint8).reshape(16, 16)
    image = Image.fromarray(numpy.stack([values, values.T, 255 - values], axis=2))
    path = tmp_path / "values.png"
    image.save(path)
    odd = ("normalize", 0.1, -3.0, 1e-3, 1e-5, 1e5, 3e-7)
    for dtype, layout, scale, norm in itertools.product(
            ("uint8", "float16", "bfloat16", "float32"), ("chw", "hwc"),
            ("divide", "reciprocal", "none"), ((), (NORMALIZE,), (odd,), (NORMALIZE, odd))):
        if dtype == "uint8" and norm:
            continue
        for flip in ((), (("random_horizontal_flip", 1.0),)):
            with numpy.errstate(over="ignore"):
                check(maker, path, image, Field(16, 16, flip + norm, dtype, layout, scale))


def test_random_sizes(maker, tmp_path):
    """Random noise of random sizes through every filter, in both orders of passes."""
    rng, choose = numpy.random.default_rng(5), random.Random(5)
    path = tmp_path / "noise.png"
    for i in range(60):
        w, h = choose.randint(1, 200), choose.randint(1, 200)
        image = noise(rng, w, h)
        image.save(path, compress_level=1)
        to_w, to_h = choose.choice((w, choose.randint(1, 120))), choose.choice((h, choose.randint(1, 120)))
        for which, order in itertools.product(reference.FILTERS, ("pillow", "pillow13")):
            check(maker, path, image, Field(to_h, to_w, (("resize", to_h, to_w, which),), pass_order=order))


def test_extreme_sizes(maker, tmp_path):
    rng = numpy.random.default_rng(6)
    path = tmp_path / "noise.png"
    for w, h in ((1, 1), (1, 300), (300, 1), (2, 3), (3000, 2), (2, 3000)):
        image = noise(rng, w, h)
        image.save(path)
        for which, order in itertools.product(reference.FILTERS, ("pillow", "pillow13")):
            for to_h, to_w in ((1, 1), (5, 7), (1, 400), (400, 1)):
                check(maker, path, image,
                      Field(to_h, to_w, (("resize", to_h, to_w, which),), pass_order=order))
        for size in (1, 4, 33):
            check(maker, path, image, Field(size, size, (("center_crop", size, size),)))


def test_crops_at_every_edge(maker, tmp_path):
    """Every position of small crops of JPEGs of each subsampling: iMCU borders in rows and columns."""
    rng = numpy.random.default_rng(7)
    small = noise(rng, 9, 7).resize((71, 53), Image.Resampling.BICUBIC)
    for sampling, progressive in itertools.product((0, 1, 2), (False, True)):
        path = tmp_path / f"{sampling}{progressive}.jpg"
        small.save(path, quality=90, subsampling=sampling, progressive=progressive)
        image = reference.load(path)
        for ch, cw in ((1, 1), (8, 16), (17, 5), (53, 71), (52, 70)):
            field = Field(ch, cw, (("random_crop", ch, cw, 0, 0, 0, 0, 0),))
            for position in range(150 if cw < 70 else 8):
                check(maker, path, image, field, position=position)


def test_odd_orders(maker, tmp_path):
    flip = ("random_horizontal_flip", 1.0)
    maybe = ("random_horizontal_flip", 0.5)
    crop = ("random_crop", 40, 60, 3, 5, 7, 11, 99)
    pipelines = (
        (flip, ("resize", 50, 50, "bicubic")),
        (("resize", 90, 70, "lanczos"), ("resize", 30, 41, "bilinear")),
        (("resize", 64, 0, "bilinear"), crop, maybe),
        (crop, maybe, ("resize", 31, 33, "hamming"), flip, ("center_crop", 50, 20)),
        (maybe, crop, maybe, ("random_crop", 20, 20, 0, 0, 0, 0, 0), maybe),
        (("center_crop", 130, 40), ("resize", 44, 52, "box"), crop, ("center_crop", 70, 70)),
        (("random_resized_crop", 48, 80, 0.5, 1.0, 0.3, 4.0, "bicubic"), crop,
         ("random_resized_crop", 17, 19, 0.1, 0.6, 1.0, 1.0, "nearest"), maybe),
        (("random_crop", 10, 10, 100, 100, 100, 100, 7), ("resize", 12, 9, "bilinear")),
        (("random_resized_crop", 20, 20, 2.0, 3.0, 3.0, 4.0, "bilinear"),),
        (("random_resized_crop", 20, 20, 2.0, 3.0, 0.1, 0.2, "bilinear"),),
        (flip, flip, maybe, NORMALIZE, maybe),
    )
    rng = numpy.random.default_rng(8)
    path = tmp_path / "noise.png"
    for (w, h), steps, order in itertools.product(((97, 83), (50, 120), (61, 45)), pipelines,
                                                  ("pillow", "pillow13")):
        image = noise(rng, w, h)
        image.save(path)
        for position in range(6):
            probe = Field(1, 1, steps, pass_order=order)
            got_h, got_w, _ = reference.transform(image, probe, 11, 2, position)[0].shape
            dtype = "float32" if NORMALIZE in steps else "uint8"
            field = Field(got_h, got_w, steps, dtype, pass_order=order)
            check(maker, path, image, field, position=position)
            assert maker.draws(field, 11, 2, position, w, h) == reference.transform(
                image, field, 11, 2, position)[1]


def test_pads_vertical_flips_and_gray(maker, tmp_path):
    """Alone, at the end, before a resize and between the others, on PNG and JPEG, turned ones as well."""
    up, sideways, gray = ("random_vertical_flip", 1.0), ("random_horizontal_flip", 1.0), ("grayscale",)
    maybe_up, maybe = ("random_vertical_flip", 0.5), ("random_horizontal_flip", 0.5)
    pad, border = ("pad", 3, 5, 7, 11, 99), ("pad", 0, 40, 1, 0, 0)
    crop, cut = ("random_crop", 40, 30, 0, 0, 0, 0, 0), ("random_resized_crop", 31, 44, 0.08, 1.0, 0.75, 4 / 3, "bilinear")
    square = ("resize", 48, 52, "bicubic")
    pipelines = ((square, up), (square, pad), (square, gray), (up, square), (gray, square), (pad, square),
                 (square, up, sideways), (square, sideways, up, sideways), (up, up, square, maybe_up),
                 (cut, maybe, maybe_up), (maybe_up, cut, gray, pad, maybe_up), (pad, up, crop, border, gray, maybe),
                 (pad, gray, maybe_up, cut, border, up, square, maybe_up), (cut, gray, up, NORMALIZE),
                 (cut, pad, up, pad, maybe), (up, pad, cut), (cut, NORMALIZE, maybe_up, maybe))
    rng = numpy.random.default_rng(11)
    kinds = ("png", {}), ("jpg", {"quality": 90}), ("jpg", {"exif": tiff("little", [(0x0112, 3, 1, b"\6\0\0\0")])})
    for (kind, more), (w, h), exif in itertools.product(kinds, ((97, 83), (50, 120)), (False, True)):
        path = tmp_path / f"noise.{kind}"
        noise(rng, w, h).save(path, **more)
        image = reference.load(path, exif)
        for steps, layout, position in itertools.product(pipelines, ("hwc", "chw"), range(4)):
            dtype = "float32" if NORMALIZE in steps else "uint8"
            got_h, got_w, _ = reference.transform(image, Field(1, 1, steps), 11, 2, position)[0].shape
            field = Field(got_h, got_w, steps, dtype, layout, exif=exif)
            check(maker, path, image, field, position=position)
            assert maker.draws(field, 11, 2, position, *image.size) == reference.transform(
                image, field, 11, 2, position)[1]


def test_gray_of_every_colour(maker, tmp_path):
    """Pillow's L for a fine grid of all colours: sums at every place between two results."""
    side = numpy.arange(0, 256, 3, numpy.uint8)
    r, g, b = numpy.meshgrid(side, side, numpy.append(side, [1, 254]).astype(numpy.uint8))
    pixels = numpy.stack([r.ravel(), g.ravel(), b.ravel()], axis=1).reshape(-1, 86, 3)
    image = Image.fromarray(pixels)
    path = tmp_path / "colours.png"
    image.save(path)
    check(maker, path, image, Field(pixels.shape[0], 86, (("grayscale",),)))


@pytest.mark.parametrize("pattern", PHOTOS)
def test_photos_flipped_and_gray(maker, pattern):
    steps = (("random_vertical_flip", 0.5), RANDOM[0], ("grayscale",), ("pad", 2, 2, 2, 2, 128),
             ("random_vertical_flip", 0.5), NORMALIZE)
    for position, path in enumerate(files(pattern)[::5]):
        check(maker, path, reference.load(path), Field(228, 228, steps, "float32", "chw"), position=position)


def test_too_small(maker, tmp_path):
    path = tmp_path / "small.png"
    Image.new("RGB", (20, 30)).save(path)
    for step in (("random_crop", 31, 20, 0, 0, 0, 0, 0), ("random_crop", 10, 26, 2, 0, 3, 0, 0)):
        answer = maker.run(Field(step[1], step[2], (step,)), path)
        assert (answer.code, answer.cause) == ("bad", "too_small")


def expected(path):
    return next(((pattern, what) for pattern, what, _ in EXPECTED if fnmatch.fnmatch(str(path), pattern)),
                (None, None))


def outcome(maker, path):
    """How we and Pillow agree on a file: "same", "both bad", or one of EXPECTED's words."""
    try:
        image = reference.load(path)
    except Exception:  # Pillow raises many kinds
        answer = maker.run(Field(8, 8, (("resize", 8, 8, "bilinear"),)), path)
        assert (answer.code == "bad") == (answer.cause != "none")
        return "both bad" if answer.code == "bad" else "laxer"
    w, h = image.size
    whole = Field(h, w, (("center_crop", h, w),))
    answer = maker.run(whole, path)
    if answer.code == "bad":
        assert answer.cause != "none"
        return "stricter"
    if not numpy.array_equal(answer.row, numpy.asarray(image)):
        return "differs"
    rng = random.Random(str(path))
    for position in range(4):
        ch, cw = rng.randint(1, h), rng.randint(1, w)
        check(maker, path, image, Field(ch, cw, (("random_crop", ch, cw, 0, 0, 0, 0, 0),)), position=position)
    return "same"


@pytest.mark.parametrize("folder", ("edge-jpeg", "edge-png"))
def test_edge_files(maker, folder):
    used, n_same = set(), 0
    for path in files(f"{folder}/**/*"):
        pattern, what = expected(path)
        got = outcome(maker, path)
        assert got == what or (what is None and got in ("same", "both bad")), path
        used.add(pattern)
        n_same += got == "same"
    print(f"{folder}: {n_same} files equal")
    for pattern, _, why in EXPECTED:
        if list(p for p in files(f"{folder}/**/*") if fnmatch.fnmatch(str(p), pattern)):
            assert pattern in used, why


def test_orientation_files(maker):
    for pattern in ("edge-jpeg/exif-orientation/*.jpg", "edge-jpeg/dali-orientation/**/*.jpg",
                    "photos-exif/**/*.jp*g"):
        for position, path in enumerate(files(pattern)):
            image = reference.load(path, exif=True)
            for steps in (RESIZE, RANDOM):
                field = Field(224, 224, steps, exif=True)
                assert maker.size(field, path) == ("none", *image.size)
                check(maker, path, image, field, position=position)


def tiff(order, entries):
    """A TIFF structure with one directory of raw entries (tag, type, count, 4 bytes)."""
    big = order == "big"
    out = b"MM\0*" if big else b"II*\0"
    out += (8).to_bytes(4, order) + len(entries).to_bytes(2, order)
    for tag, kind, count, value in entries:
        out += tag.to_bytes(2, order) + kind.to_bytes(2, order) + count.to_bytes(4, order) + value
    return b"Exif\0\0" + out + bytes(4)


def test_orientation_made(maker, tmp_path):
    """All eight, both byte orders, JPEG and PNG, with crops; odd entries as Pillow takes them."""
    small = noise(numpy.random.default_rng(9), 9, 7).resize((70, 51), Image.Resampling.BICUBIC)
    cases = [tiff(order, [(0x0112, 3, 1, v.to_bytes(2, order) + bytes(2))])
             for order in ("big", "little") for v in range(10)]
    cases += [tiff("little", [(0x0112, 4, 1, (6).to_bytes(4, "little"))]),
              tiff("little", [(0x0112, 1, 1, b"\6\0\0\0")]),
              tiff("little", [(0x0112, 3, 2, b"\6\0\6\0")]),
              tiff("little", [(0x0112, 3, 3, (26).to_bytes(4, "little"))]) + b"\5\0\6\0\7\0",
              tiff("little", [(0x0112, 3, 30, (26).to_bytes(4, "little"))]),
              tiff("big", [(0x010f, 3, 1, b"\0\1\0\0"), (0x0112, 3, 1, b"\0\3\0\0")])]
    for n, (exif, kind) in enumerate(itertools.product(cases, ("jpg", "png"))):
        path = tmp_path / f"{n}.{kind}"
        small.save(path, exif=exif, **({"subsampling": 2} if kind == "jpg" else {}))
        image = reference.load(path, exif=True)
        fields = [Field(40, 45, (("random_crop", 40, 45, 0, 0, 0, 0, 0),), exif=True),
                  Field(33, 44, (("resize", 33, 44, "bilinear"),), exif=True)]
        for field, position in itertools.product(fields, range(3)):
            assert maker.size(field, path) == ("none", *image.size), (exif, kind)
            check(maker, path, image, field, position=position)


def truncated_rows(data, width, height):
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        return numpy.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False


def is_missing(cut, whole, top, bottom):
    return not numpy.array_equal(cut[top:bottom], whole[top:bottom])


@pytest.mark.parametrize("sampling,progressive", itertools.product((0, 1, 2), (False, True)))
def test_truncated(maker, tmp_path, sampling, progressive):
    """Bad exactly when a row that the crop needs is not the whole file's row. A cut photo shows by its
    pixels which rows lack bytes: what libjpeg fills in does not look like the photo."""
    photo = reference.load(files("imagenet-sample/*.JPEG")[0]).resize((200, 150))
    out = io.BytesIO()
    photo.save(out, "JPEG", quality=92, subsampling=sampling, progressive=progressive)
    data = out.getvalue()
    whole = numpy.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    header = data.index(b"\xff\xda") + 20
    path = tmp_path / "cut.jpg"
    seen = set()
    for i in range(40):
        n = len(data) - 3 * i if i < 8 else len(data) - (len(data) - header) * (i - 7) // 33
        for tail in (b"", b"\xff\xd9"):
            path.write_bytes(data[:n] + tail)
            cut = truncated_rows(data[:n] + b"\xff\xd9", *photo.size)
            for ch in (20, 60, 150):
                field = Field(ch, 30, (("random_crop", ch, 30, 0, 0, 0, 0, 0),))
                text = maker.draws(field, 0, 0, i, *photo.size)
                top = int(text.split("top=")[1].split(",")[0])
                answer = maker.run(field, path, 0, 0, i)
                if progressive:
                    # Scans that lack are known to lack only where the file has no end marker.
                    if answer.code == "done":
                        left = int(text.split("left=")[1].rstrip(")"))
                        assert numpy.array_equal(answer.row, cut[top:top + ch, left:left + 30])
                        assert tail or not is_missing(cut, whole, top, top + ch)
                else:
                    missing = is_missing(cut, whole, top, top + ch)
                    assert (answer.code == "bad") == missing, (n, len(data), tail, top, ch, answer)
                seen.add(answer.code)
                if answer.code == "bad":
                    assert answer.cause == "damaged_image" and answer.detail
    assert seen == {"done", "bad"}


def test_damaged_in_the_middle(maker, tmp_path):
    """Wrong bytes inside a scan: what libjpeg makes of them, with its warnings counted, or bad by name."""
    photo = reference.load(files("imagenet-sample/*.JPEG")[1]).resize((160, 120))
    rng, n_warned, n_bad = random.Random(1), 0, 0
    path = tmp_path / "damaged.jpg"
    for i in range(120):
        out = io.BytesIO()
        photo.save(out, "JPEG", quality=90, subsampling=i % 3, progressive=i % 4 == 0)
        data = bytearray(out.getvalue())
        for _ in range(rng.randint(1, 4)):
            data[rng.randint(data.index(b"\xff\xda") + 20, len(data) - 3)] = rng.randint(0, 255)
        path.write_bytes(data)
        try:
            image = reference.load(path)
        except Exception:  # Pillow raises many kinds
            image = None
        field = Field(50, 40, (("random_crop", 50, 40, 0, 0, 0, 0, 0),))
        answer = maker.run(field, path, position=i)
        if answer.code == "bad":
            assert answer.cause == "damaged_image" and answer.detail
            n_bad += 1
        elif image is not None:
            assert_same(answer, reference.make(image, field, 0, 0, i), i)
            n_warned += answer.warnings > 0
    assert n_warned > 20 and n_bad < 60, (n_warned, n_bad)


def test_nothing_is_left_behind(maker, tmp_path):
    """A JPEG without its own tables must not find those of the one before."""
    whole, bare = tmp_path / "whole.jpg", tmp_path / "bare.jpg"
    noise(numpy.random.default_rng(2), 32, 32).save(whole, optimize=True)
    field = Field(32, 32, (("center_crop", 32, 32),))
    for marker, word in ((b"\xff\xdb", "Quantization"), (b"\xff\xc4", "")):
        data = whole.read_bytes()
        while marker in data[:data.index(b"\xff\xda")]:
            at = data.index(marker)
            data = data[:at] + data[at + 2 + int.from_bytes(data[at + 2:at + 4], "big"):]
        bare.write_bytes(data)
        fresh = Maker(os.environ["RINGFEED_MAKE_ROWS"])
        alone = fresh.run(field, bare)
        fresh.close()
        assert maker.run(field, whole).code == "done"
        after = maker.run(field, bare)
        assert (after.code, after.detail) == (alone.code, alone.detail) and word in after.detail
        assert after.row is None or numpy.array_equal(after.row, alone.row)


def test_limits(maker, tmp_path):
    path = tmp_path / "limits.jpg"
    noise(numpy.random.default_rng(3), 64, 48).save(path, progressive=True)
    n_scans = path.read_bytes().count(b"\xff\xda")
    field = Field(8, 8, (("resize", 8, 8, "bilinear"),))
    for limits, cause in (({"max_pixels": 64 * 48}, "none"), ({"max_pixels": 64 * 48 - 1}, "too_many_pixels"),
                          ({"max_scans": n_scans}, "none"), ({"max_scans": n_scans - 1}, "too_many_scans")):
        maker.limits(**limits)
        maker.field = None
        assert maker.run(field, path).cause == cause, limits
    maker.limits()
    maker.field = None


@pytest.mark.parametrize("which", ("baseline.jpg", "progressive.jpg", "plain.png", "interlaced.png"))
def test_decode_memory(maker, tmp_path, which):
    """Whether a sample fits depends on decode_memory alone; the scratch only says when to ask for more."""
    image = noise(numpy.random.default_rng(4), 300, 200)
    path = tmp_path / which
    if which == "interlaced.png":
        path = next(p for p in files("edge-png/pngsuite/png/basi2c08.png"))
    else:
        image.save(path, **({"progressive": True} if which == "progressive.jpg" else {}))
    field = Field(50, 50, (("resize", 50, 50, "bilinear"),))

    def run(memory, scratch, has_large):
        maker.limits(decode_memory=memory, scratch=scratch)
        maker.field = None
        return maker.run(field, path, has_large=has_large)

    low, high = 1, 16 << 20  # low does not do, high does
    good = run(high, high, False)
    assert good.code == "done"
    while high - low > 64:
        middle = (low + high) // 2
        if run(middle, middle, False).code == "done":
            high = middle
        else:
            low = middle
    for scratch in (0, 1000, low, high):
        assert run(low, scratch, True).cause == "decode_memory"
        answer = run(high, scratch, True)
        assert answer.code == "done" and numpy.array_equal(answer.row, good.row)
        without = run(high, scratch, False)
        assert without.code == ("done" if scratch >= high else "need_large")
    assert run(low, low, False).cause == "decode_memory"
    maker.limits()
    maker.field = None


def test_pixels_bomb(maker, tmp_path):
    """A header that promises 60000 x 60000 pixels is refused from the header."""
    for kind in ("png", "jpg"):
        path = tmp_path / f"bomb.{kind}"
        Image.new("L", (16, 16)).save(path)
        data = bytearray(path.read_bytes())
        if kind == "png":
            data[16:24] = (60000).to_bytes(4, "big") * 2
            data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
        else:
            sof = data.index(b"\xff\xc0")
            data[sof + 5:sof + 9] = (60000).to_bytes(2, "big") * 2
        path.write_bytes(data)
        answer = maker.run(Field(8, 8, (("resize", 8, 8, "nearest"),)), path)
        assert (answer.code, answer.cause) == ("bad", "too_many_pixels")


INTEGERS = ("0", "7", " 12\n", "-3", "+4", "007", "-0", "9223372036854775807", "-9223372036854775808",
            "9223372036854775808", "-9223372036854775809", "255", "256", "2048", "2049", "65504", "65536",
            "16777216", "16777217", "-300", "", " ", "-", "+-1", "1.0", "0x10", "1 2", "\t5\v\f\r", "abc",
            "12a", "99999999999999999999999", "512", "257", "\0", "1\0", "1", "127", "128", "-128", "-129", "32767", "32768",
            "-32768", "-32769", "65535", "2147483647", "2147483648", "-2147483648", "-2147483649", "4294967295",
            "4294967296", "18446744073709551615", "18446744073709551616", "9007199254740992", "9007199254740993")
RANGES = {name: (int(numpy.iinfo(name).min), int(numpy.iinfo(name).max)) for name in (
    "uint8", "int64", "int32", "int8", "int16", "uint16", "uint32", "uint64")}
RANGES["bool"] = (0, 1)
SIGNIFICANT = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}


def holds(dtype, value):
    if dtype in RANGES:
        return RANGES[dtype][0] <= value <= RANGES[dtype][1]
    if dtype == "bfloat16":
        return not value or (abs(value) >> max(abs(value).bit_length() - 8, 0)
                             << max(abs(value).bit_length() - 8, 0)) == abs(value)
    return abs(value) <= (65504 if dtype == "float16" else 1 << 64) and int(
        numpy.dtype(dtype).type(value)) == value


@pytest.mark.parametrize("dtype", (*RANGES, *SIGNIFICANT))
def test_integers(maker, tmp_path, dtype):
    path = tmp_path / "cls"
    for text in INTEGERS:
        path.write_text(text)
        answer = maker.integer(dtype, path)
        try:
            value = int(text.encode())
        except ValueError:
            value = None
        if value is None or abs(value) >= 2 ** 64 or not holds(dtype, value):
            assert (answer.code, answer.cause) == ("bad", "not_an_integer"), text
            assert answer.detail.startswith('"') and answer.detail.endswith('"')
            continue
        assert answer.code == "done", text
        if dtype == "bfloat16":
            got = int((answer.row.reshape(1).astype(numpy.uint32) << 16).view(numpy.float32)[0])
        else:
            got = int(answer.row)
        assert got == value, text


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__, "-q", "-p", "no:cacheprovider", "-x", *os.sys.argv[1:]]))
