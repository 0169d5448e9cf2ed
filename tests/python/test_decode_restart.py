# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""JPEGs with restart markers, of which only the segments around a region are decoded: the pixels are those
of Pillow's whole decode, and damage is judged as where nothing is left out.

Runs under Debian's own Python; RINGFEED_DECODE_REGIONS names the program.
"""
import io
import itertools
import os
import random
import re
import subprocess

import numpy
import pytest
from PIL import Image, ImageFile

from regions import DATA, cjpeg, picture, regions, shrunk, whole  # noqa: F401 (a fixture)

INTERVALS = ("1B", "2B", "3B", "4B", "5B", "7B", "9B", "10B", "100B", "1", "2", "3")
SAMPLINGS = ("1x1", "2x1", "1x2", "2x2", "4x1", "2x2,1x1,2x1")


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_intervals(regions, tmp_path, sampling):  # noqa: F811
    """Intervals that divide a row of MCUs, that do not, and that are longer than one."""
    path, n = tmp_path / "restart.jpg", 0
    for interval, shrink in itertools.product(INTERVALS, (1, 2, 4, 8)):
        if shrink > 1 and "4" in sampling:
            continue
        assert cjpeg(picture(*((71, 53) if shrink < 4 else (145, 77))), path, "-sample", sampling, "-restart", interval)
        regions.use(path, shrunk(path, shrink) if shrink > 1 else whole(path), tmp_path, shrink)
        n += regions.sweep(sampling, interval, shrink)
    print(sampling, n, "regions")


def test_gray(regions, tmp_path):  # noqa: F811
    path = tmp_path / "gray.jpg"
    for interval, factor in itertools.product(INTERVALS, ("1x1", "2x2")):
        assert cjpeg(picture(53, 45), path, "-grayscale", "-sample", factor, "-restart", interval)
        regions.use(path, whole(path), tmp_path)
        regions.sweep("gray", factor, interval)


def jpegtran(path, to, *options):
    with open(to, "wb") as out:
        subprocess.run(["jpegtran", "-copy", "all", *options, str(path)], stdout=out, check=True)


def photos(folder):
    if folder != "kodak":
        yield from sorted((DATA / folder).rglob("*.[jJ]*"))[::12]
        return
    for path in sorted((DATA / folder).glob("*.png"))[::4]:
        out = io.BytesIO()
        Image.open(path).convert("RGB").save(out, "JPEG", quality=90, subsampling=2)
        yield out.getvalue()


@pytest.mark.parametrize("folder", ("imagenet-sample", "coco128-train", "kodak"))
def test_photos(regions, tmp_path, folder):  # noqa: F811
    rng, n = random.Random(5), 0
    for photo in photos(folder):
        path = tmp_path / "photo.jpg"
        path.write_bytes(photo if isinstance(photo, bytes) else photo.read_bytes())
        for interval in ("1", "8B", "4B", "7B", "3", "1B"):
            marked = tmp_path / "marked.jpg"
            jpegtran(path, marked, "-restart", interval)
            pixels = whole(path)
            regions.use(marked, pixels, tmp_path)
            h, w = pixels.shape[:2]
            for _ in range(8):
                x0, y0 = rng.randrange(w), rng.randrange(h)
                region = (x0, y0, rng.randint(x0 + 1, w), rng.randint(y0 + 1, h))
                assert regions.ask("region %d %d %d %d" % region) == "same", (photo, interval, region)
                n += 1
    print(folder, n, "regions")


def segments(data):
    """The header, and the entropy-coded segments, each with the marker behind it."""
    at = data.index(b"\xff\xda")
    at += 2 + int.from_bytes(data[at + 2:at + 4], "big")
    parts = re.split(rb"(?<=\xff[\xd0-\xd9])", data[at:])
    return data[:at], [part for part in parts if part]


def tolerant(data):
    """What libjpeg makes of it by way of Pillow, whatever is missing; None when it gives up."""
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        return numpy.asarray(Image.open(io.BytesIO(data + b"\xff\xd9")).convert("RGB"))
    except Exception:  # Pillow raises many kinds
        return None
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False


def spoilt(data, rng):
    """Copies of a file with one thing wrong each, and what it is."""
    head, parts = segments(data)
    n = len(parts)
    for i in (*rng.sample(range(n), min(n, 10)), n - 1):
        rest = parts[:]
        del rest[i]
        yield "lost segment", head + b"".join(rest)
        yield "doubled segment", head + b"".join(parts[:i] + [parts[i]] + parts[i:])
        rest = parts[:]
        rest[i] = rest[i][:-2]
        yield "lost marker", head + b"".join(rest)
        rest[i] = parts[i][:-1] + bytes([0xd0 + rng.randrange(8)])
        yield "other marker", head + b"".join(rest)
        rest[i] = parts[i][:len(parts[i]) // 2] + parts[i][-2:]
        yield "short segment", head + b"".join(rest)
        rest[i] = bytes(rng.randrange(255) for _ in parts[i][2:]) + parts[i][-2:]
        yield "noise", head + b"".join(rest)
        rest[i] = parts[i][:-2] + b"\xff" + parts[i][-2:]
        yield "fill byte", head + b"".join(rest)
        rest[i] = parts[i][:4] + b"\xff\xd9" + parts[i][4:]
        yield "early end", head + b"".join(rest)
        yield "cut in a segment", head + b"".join(parts[:i]) + parts[i][:len(parts[i]) // 2]
        yield "cut at a marker", head + b"".join(parts[:i])
        yield "cut in a marker", head + b"".join(parts[:i + 1])[:-1]
        if i + 1 < n:
            rest = parts[:]
            rest[i], rest[i + 1] = rest[i + 1], rest[i]
            yield "swapped segments", head + b"".join(rest)


@pytest.mark.parametrize("sampling,interval", itertools.product(("1x1", "2x1", "2x2"), ("1", "2B", "3B", "11B")))
def test_damage(regions, tmp_path, sampling, interval):  # noqa: F811
    """A region is bad exactly if all of its rows and those above are, which leaves nothing out; if it is
    not, its pixels are the ones that libjpeg makes of the whole file."""
    rng, path, raw = random.Random(6), tmp_path / "spoilt.jpg", tmp_path / "reference.raw"
    assert cjpeg(picture(96, 90), path, "-sample", sampling, "-restart", interval)
    seen = {}
    for what, data in spoilt(path.read_bytes(), rng):
        pixels = tolerant(data)
        path.write_bytes(data)
        assert regions.ask(f"image {path}") == "none 96 90 8"
        if pixels is None:
            continue
        raw.write_bytes(pixels.tobytes())
        regions.ask(f"reference {raw}")
        for _ in range(25):
            x0, y0 = rng.randrange(96), rng.randrange(90)
            x1, y1 = rng.randint(x0 + 1, 96), rng.randint(y0 + 1, 90)
            plain = regions.ask(f"region 0 0 96 {y1}")
            cut = regions.ask(f"region {x0} {y0} {x1} {y1}")
            assert cut.split(":")[0] == plain.split(":")[0], (what, (x0, y0, x1, y1), plain, cut)
            assert cut == "same" or cut.startswith("bad damaged_image: the bytes end before row"), (what, cut)
            seen.setdefault(what, set()).add(cut.split(" ")[0])
    assert len(seen) == 12 and sum("bad" in verdicts for verdicts in seen.values()) >= 3, seen


@pytest.mark.parametrize("interval", (2, 3, 5, 8, 11))
def test_nothing_else_is_decoded(regions, tmp_path, interval):  # noqa: F811
    """Segments around the region are not looked at: what is wrong there gives no warning."""
    path = tmp_path / "noise.jpg"
    assert cjpeg(picture(128, 96), path, "-sample", "2x2", "-restart", f"{interval}B")
    head, parts = segments(path.read_bytes())
    assert len(parts) == (48 + interval - 1) // interval  # 8 iMCUs of 16 x 16 a row
    for i in range(len(parts)):
        spoiled = parts[:]
        spoiled[i] = b"\xfe" * 9 + parts[i][-2:]
        path.write_bytes(head + b"".join(spoiled))
        regions.use(path, tolerant(path.read_bytes()), tmp_path)
        for y, x in itertools.product(range(5), range(8)):
            # One pixel inside an iMCU that needs no neighbour, in the middle of its rows.
            at = (16 * x + 5, 16 * y + 5)
            assert regions.ask("region %d %d %d %d" % (*at, at[0] + 1, at[1] + 1)) == "same"
            assert (int(regions.ask("warnings")) > 0) == (i == (8 * y + x) // interval), (i, y, x)
    regions.ask("region 0 0 128 96")
    assert int(regions.ask("warnings")) > 0


def test_memory(regions, tmp_path):  # noqa: F811
    """Where the copy does not fit, the file is read as it lies."""
    path, plain = tmp_path / "marked.jpg", tmp_path / "plain.jpg"
    image = picture(200, 400)
    assert cjpeg(image, path, "-sample", "2x2", "-restart", "1") and cjpeg(image, plain, "-sample", "2x2")
    region = "region 3 200 180 390"
    least = []
    try:
        for file in (plain, path):
            regions.use(file, whole(file), tmp_path)
            low, high = 1, 1 << 24
            while high - low > 64:
                middle = (low + high) // 2
                regions.ask(f"limit {middle}")
                answer = regions.ask(region)
                assert answer == "same" or answer.startswith("bad decode_memory")
                low, high = (low, middle) if answer == "same" else (middle, high)
            for more in range(0, 300000, 1000):
                regions.ask(f"limit {high + more}")
                assert regions.ask(region) == "same"
            least.append(high)
    finally:
        regions.ask(f"limit {1 << 28}")
    print("with and without markers:", *least)
    assert least[1] <= least[0] + 16384


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__, "-q", "-p", "no:cacheprovider", "-x", *os.sys.argv[1:]]))
