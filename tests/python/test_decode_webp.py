# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""WebP as Pillow's convert("RGB") sees it: lossy, lossless, with alpha, animated; every region, damage, memory.

Runs under Debian's own Python; RINGFEED_DECODE_REGIONS and RINGFEED_MAKE_ROWS name the programs.
"""
import io
import itertools
import os
import random

import numpy
import pytest
from PIL import Image, features

import pixels_reference as reference
from make_rows import Field, Maker
from regions import DATA, picture, regions, whole  # noqa: F401 (a fixture)

KINDS = {"lossy": {"quality": 80}, "poor": {"quality": 5}, "fine": {"quality": 100, "method": 6},
         "lossless": {"lossless": True}, "palette": {"lossless": True}, "exact": {"lossless": True, "exact": True},
         "alpha": {"quality": 70}}


def make(kind, width, height, seed=7):
    image = picture(width, height, seed)
    if kind == "palette":
        return image.quantize(9).convert("RGB")
    if kind in ("alpha", "exact"):
        image.putalpha(Image.fromarray(numpy.asarray(picture(width, height, seed + 1))[:, :, 0] // 128 * 255))
    return image


def test_versions():
    print("Pillow's libwebp", features.version("webp"))
    assert features.check("webp_anim")


@pytest.mark.parametrize("kind", KINDS)
def test_regions(regions, tmp_path, kind):  # noqa: F811
    """All pairs of columns and of rows, at sizes that end inside a macroblock, and random regions."""
    n = 0
    for width, height in ((71, 53), (33, 17), (16, 16), (1, 1), (2, 3), (1, 40), (40, 1)):
        path = tmp_path / "image.webp"
        make(kind, width, height).save(path, **KINDS[kind])
        regions.use(path, whole(path), tmp_path)
        n += regions.sweep(kind, width, height)
    print(kind, n, "regions")


@pytest.mark.parametrize("pattern", ("imagenet-sample/*.JPEG", "kodak/*.png"))
def test_photos(regions, tmp_path, pattern):  # noqa: F811
    rng = random.Random(4)
    for n, source in enumerate(sorted(DATA.glob(pattern))[::8][:30]):
        path = tmp_path / "photo.webp"
        image = Image.open(source).convert("RGB")
        image.save(path, **(KINDS["lossless"] if n % 4 == 3 else {"quality": 50 + n, "method": n % 7}))
        regions.use(path, whole(path), tmp_path)
        w, h = image.size
        assert regions.ask(f"region 0 0 {w} {h}") == "same", source
        for _ in range(5):
            x0, y0 = rng.randrange(w), rng.randrange(h)
            region = (x0, y0, rng.randint(x0 + 1, w), rng.randint(y0 + 1, h))
            assert regions.ask("region %d %d %d %d" % region) == "same", (source, region)


def chunk(tag, data):
    return tag + len(data).to_bytes(4, "little") + data + bytes(len(data) % 2)


def riff(*chunks):
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def animation(canvas, frames):
    """An animation of (x, y, image, options of Pillow's save) on a canvas of that size."""
    out = [chunk(b"VP8X", bytes([0x12, 0, 0, 0]) + b"".join((n - 1).to_bytes(3, "little") for n in canvas)),
           chunk(b"ANIM", b"\x40\x80\xc0\xff\0\0")]
    for x, y, image, options in frames:
        data = io.BytesIO()
        image.save(data, "WEBP", **options)
        data = data.getvalue()[12:]
        while data[:4] not in (b"VP8 ", b"VP8L", b"ALPH"):
            data = data[8 + int.from_bytes(data[4:8], "little"):]
        head = b"".join(n.to_bytes(3, "little") for n in (x // 2, y // 2, image.width - 1, image.height - 1, 100))
        out.append(chunk(b"ANMF", head + b"\0" + data))
    return riff(*out)


def test_animations(regions, tmp_path):  # noqa: F811
    """The first frame, wherever it lies on its canvas; Pillow's own animations too."""
    path = tmp_path / "animation.webp"
    for kind, place in itertools.product(KINDS, ((0, 0), (6, 4), (20, 30))):
        second = (0, 0, make("lossy", 64, 60, 3), KINDS["lossy"])
        path.write_bytes(animation((64, 60), [(*place, make(kind, 37, 29), KINDS[kind]), second]))
        regions.use(path, whole(path), tmp_path)
        regions.sweep(kind, place, n=100)
    make("alpha", 40, 30).save(path, save_all=True, append_images=[make("lossy", 40, 30, 2)], duration=50,
                               lossless=True)
    regions.use(path, whole(path), tmp_path)
    regions.sweep("Pillow's")


def test_orientation(tmp_path):
    maker = Maker(os.environ["RINGFEED_MAKE_ROWS"])
    path = tmp_path / "turned.webp"
    for value, kind, prefix in itertools.product(range(10), ("lossy", "lossless", "alpha"), (True, False)):
        exif = Image.Exif()
        exif[0x0112] = value
        data = exif.tobytes()
        make(kind, 50, 34).save(path, exif=data if prefix else data[6:], **KINDS[kind])
        image = reference.load(path, exif=True)
        field = Field(30, 31, (("random_crop", 30, 31, 0, 0, 0, 0, 0),), exif=True)
        assert maker.size(field, path) == ("none", *image.size), (value, kind)
        for position in range(3):
            answer = maker.run(field, path, 1, 1, position)
            assert answer.code == "done", answer.detail
            assert numpy.array_equal(answer.row, reference.make(image, field, 1, 1, position)), (value, kind)
    maker.close()


def pillow(path):
    try:
        return whole(path)
    except Exception:  # Pillow raises many kinds
        return None


@pytest.mark.parametrize("kind", ("lossy", "lossless", "alpha"))
def test_truncated(regions, tmp_path, kind):  # noqa: F811
    """Cut anywhere, it is bad, as it is for Pillow, and says so in words."""
    path = tmp_path / "cut.webp"
    make(kind, 50, 40).save(path, **KINDS[kind])
    data, pixels = path.read_bytes(), whole(path)
    regions.use(path, pixels, tmp_path)
    for n in range(12, len(data), max(len(data) // 150, 1)):
        path.write_bytes(data[:n])
        answer = regions.ask(f"image {path}")
        assert answer.startswith("damaged_image") and pillow(path) is None, n
    # The container made to fit: it is the frame that is too short.
    seen = set()
    for n in range(40, len(data) - 1, max(len(data) // 100, 1)):
        at = data.index(b"VP8L" if kind == "lossless" else b"VP8 ")
        if n < at + 20:
            continue
        short = data[12:at] + chunk(data[at:at + 4], data[at + 8:n])
        path.write_bytes(riff(short))
        answer = regions.ask(f"image {path}")
        if answer.startswith("none"):
            answer = regions.ask("region 0 0 50 40")
        expected = pillow(path)
        if expected is None:
            assert "damaged_image" in answer, (n, answer)
        else:
            assert answer == "same" and numpy.array_equal(expected, pixels), (n, answer)
        seen.add(answer)
    assert any("too early" in answer or "damaged" in answer for answer in seen)


@pytest.mark.parametrize("kind", ("lossy", "lossless", "alpha", "palette", "animation"))
def test_damaged(regions, tmp_path, kind):  # noqa: F811
    """Wrong bytes anywhere: what Pillow makes of them, or bad by name where Pillow gives up."""
    rng, path, raw, counts = random.Random(9), tmp_path / "damaged.webp", tmp_path / "reference.raw", [0, 0, 0, 0]
    if kind == "animation":
        path.write_bytes(animation((64, 60), [(6, 4, make("lossy", 37, 29), KINDS["lossy"])] * 2))
    else:
        make(kind, 50, 40).save(path, **KINDS[kind])
    data = path.read_bytes()
    # Bytes that make no pixels of ours are left alone: the alpha, all but the first frame's pixels.
    alpha, frame = data.find(b"ALPH"), data.find(b"VP8 ")
    kept = [slice(alpha + 8, alpha + 8 + int.from_bytes(data[alpha + 4:alpha + 8], "little"))] if alpha > 0 else []
    if kind == "animation":
        kept = [slice(0, frame + 8),
                slice(frame + 8 + int.from_bytes(data[frame + 4:frame + 8], "little"), len(data))]
    for i in range(500):
        spoilt = bytearray(data)
        for _ in range(rng.randint(1, 3)):
            spoilt[rng.randrange(12, 70 if i % 3 == 0 else len(data))] = rng.choice((0, 255, rng.randrange(256)))
        for part in kept:
            spoilt[part] = data[part]
        path.write_bytes(spoilt)
        expected, answer = pillow(path), regions.ask(f"image {path}").split()
        ours = answer[0]
        if ours == "none" and expected is not None:
            assert expected.shape == (int(answer[2]), int(answer[1]), 3), i
        if ours == "none":
            raw.write_bytes((expected if expected is not None else numpy.zeros(
                (int(answer[2]), int(answer[1]), 3), numpy.uint8)).tobytes())
            regions.ask(f"reference {raw}")
            ours = regions.ask(f"region 0 0 {answer[1]} {answer[2]}")
        good = ours == "same" or (expected is None and ours.startswith("differs"))
        assert not ours.startswith("differs") or expected is None, (i, ours)
        counts[2 * good + (expected is not None)] += 1
    print(kind, "both bad, only Pillow good, only we good, same:", *counts)
    assert counts[1] == 0, counts
    assert counts[2] < 10 and counts[0] > 5, counts


@pytest.mark.parametrize("kind", ("lossy", "lossless", "alpha"))
def test_memory(regions, tmp_path, kind):  # noqa: F811
    """All that libwebp asks for is the arena's: a smaller one is said to be too small, never overrun."""
    path = tmp_path / "memory.webp"
    make(kind, 120, 90).save(path, **KINDS[kind])
    regions.use(path, whole(path), tmp_path)
    low, high, least = 1, 1 << 24, 3 * 120 * 90
    try:
        while high - low > 64:
            middle = (low + high) // 2
            regions.ask(f"limit {middle}")
            answer = regions.ask("region 0 0 120 90")
            assert answer == "same" or answer.startswith("bad decode_memory"), (middle, answer)
            low, high = (low, middle) if answer == "same" else (middle, high)
    finally:
        regions.ask(f"limit {1 << 28}")
    print(kind, "needs", high)
    # The pixels, and what libwebp must have beside them: all of a lossless image as 32-bit values.
    assert high > least + (4 * 120 * 90 if kind == "lossless" else 5000)


def test_pixels_bomb(tmp_path):
    maker, path = Maker(os.environ["RINGFEED_MAKE_ROWS"]), tmp_path / "bomb.webp"
    make("lossless", 8, 8).save(path, lossless=True)
    data = bytearray(path.read_bytes())
    at = data.index(b"VP8L") + 9
    data[at:at + 4] = (16382 | 16382 << 14).to_bytes(4, "little")
    path.write_bytes(data)
    maker.limits()
    answer = maker.run(Field(8, 8, (("resize", 8, 8, "nearest"),)), path)
    assert (answer.code, answer.cause) == ("bad", "too_many_pixels")
    maker.limits(max_pixels=1 << 30)
    maker.field = None
    answer = maker.run(Field(8, 8, (("resize", 8, 8, "nearest"),)), path)
    assert (answer.code, answer.cause) == ("bad", "decode_memory")
    maker.close()


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__, "-q", "-p", "no:cacheprovider", "-x", *os.sys.argv[1:]]))
