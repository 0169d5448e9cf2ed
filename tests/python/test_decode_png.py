# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""PNG as Pillow's convert("RGB") sees it: every filter, colour type and way to cut the data into chunks, every
region, and damage.

Runs under Debian's own Python; RINGFEED_DECODE_REGIONS names the program.
"""
import itertools
import os
import random
import zlib

import numpy
import pytest
from PIL import Image

from regions import DATA, picture, regions, whole  # noqa: F401 (a fixture)

TYPES = {"gray": 0, "rgb": 2, "palette": 3, "rgba": 6}
CHANNELS = {0: 1, 2: 3, 3: 1, 6: 4}


def chunk(name, data):
    return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")


def predict(kind, left, up, corner):
    if kind == 4:
        p = left.astype(int) + up - corner
        a, b, c = abs(p - left), abs(p - up), abs(p - corner)
        return numpy.where((a <= b) & (a <= c), left, numpy.where(b <= c, up, corner))
    return (0, left, up, (left.astype(int) + up) // 2)[kind]


def filtered(samples, kinds):
    """Rows of samples with those filters before them, cycling."""
    h, w, n = samples.shape
    padded = numpy.zeros((h + 1, w + 1, n), numpy.uint8)
    padded[1:, 1:] = samples
    out = bytearray()
    for y in range(h):
        kind = kinds[y % len(kinds)]
        left, up, corner = padded[y + 1, :-1], padded[y, 1:], padded[y, :-1]
        out.append(kind)
        out += (samples[y].astype(int) - predict(kind, left, up, corner)).astype(numpy.uint8).tobytes()
    return bytes(out)


def png(samples, kind, rows=None, n_parts=1, before=b"", n_colors=256, compress=lambda rows: zlib.compress(rows, 6)):
    h, w, _ = samples.shape
    data = compress(filtered(samples, (0, 1, 2, 3, 4)) if rows is None else rows)
    head = w.to_bytes(4, "big") + h.to_bytes(4, "big") + bytes((8, kind, 0, 0, 0))
    palette = chunk(b"PLTE", numpy.random.default_rng(3).integers(0, 256, 3 * n_colors, numpy.uint8).tobytes())
    cuts = [len(data) * i // n_parts for i in range(n_parts + 1)]
    parts = b"".join(chunk(b"IDAT", data[a:b]) for a, b in zip(cuts, cuts[1:]))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + before + (palette if kind == 3 else b"") + parts
            + chunk(b"IEND", b""))


def samples(kind, width, height, seed=1):
    image = numpy.asarray(picture(width, height, seed))
    alpha = numpy.random.default_rng(seed).integers(0, 256, (height, width, 1), numpy.uint8)
    return numpy.concatenate([image, alpha], axis=2)[:, :, :CHANNELS[kind]]


@pytest.mark.parametrize("kind", TYPES)
def test_filters(regions, tmp_path, kind):  # noqa: F811
    """All pairs of columns and of rows, each filter alone and all of them mixed, on noise and on a photo."""
    path, n = tmp_path / "filters.png", 0
    noise = numpy.random.default_rng(5).choice((0, 1, 127, 128, 254, 255, 33), (41, 39, 4)).astype(numpy.uint8)
    for kinds in ((0,), (1,), (2,), (3,), (4,), (4, 3, 1, 2, 0, 4, 4, 3)):
        for values in (samples(TYPES[kind], 39, 41), noise[:, :, :CHANNELS[TYPES[kind]]]):
            path.write_bytes(png(values, TYPES[kind], filtered(values, kinds)))
            regions.use(path, whole(path), tmp_path)
            n += regions.sweep(kind, kinds)
    print(kind, n, "regions")


def test_sizes_and_chunks(regions, tmp_path):  # noqa: F811
    path = tmp_path / "sizes.png"
    for kind, (w, h), n_parts in itertools.product(TYPES.values(), ((1, 1), (1, 9), (9, 1), (2, 2), (3, 5), (5, 3)),
                                                   (1, 2, 7, 40)):
        path.write_bytes(png(samples(kind, w, h), kind, n_parts=n_parts))
        regions.use(path, whole(path), tmp_path)
        regions.sweep(kind, w, h, n_parts, n=30)
    for n_colors in (1, 2, 100, 255):  # indexes beyond a short palette
        path.write_bytes(png(samples(3, 20, 20), 3, n_colors=n_colors))
        regions.use(path, whole(path), tmp_path)
        regions.sweep(n_colors)


def packed(window, level=9):
    def compress(rows):
        c = zlib.compressobj(level, zlib.DEFLATED, window)
        return c.compress(rows) + c.flush()
    return compress


def test_streams(regions, tmp_path):  # noqa: F811
    """Every window, stored blocks, and ancillary chunks of all kinds before the data."""
    path, values = tmp_path / "stream.png", samples(2, 150, 90)
    extra = (b"", chunk(b"gAMA", b"\0\0\xb1\x8f"), chunk(b"tEXt", b"Comment\0hello"), chunk(b"tRNS", b"\0\1\0\2\0\3"),
             chunk(b"PLTE", bytes(range(30))), chunk(b"abCd", b"?" * 3000), chunk(b"gAMA", b"nonsense"))
    for window, level, before in itertools.product(range(9, 16), (0, 1, 9), extra):
        path.write_bytes(png(values, 2, before=before, compress=packed(window, level)))
        regions.use(path, whole(path), tmp_path)
        for region in ("0 0 150 90", "7 3 20 89", "149 80 150 81", "0 0 150 1", "30 0 60 30"):
            assert regions.ask(f"region {region}") == "same", (window, level, before, region)


@pytest.mark.parametrize("pattern", ("kodak/*.png", "cifar10-png/**/*.png", "edge-png/**/*.png"))
def test_files(regions, tmp_path, pattern):  # noqa: F811
    rng, n = random.Random(2), 0
    for path in sorted(DATA.glob(pattern)):
        try:
            image = Image.open(path)
            pixels = numpy.asarray(image.convert("RGB"))
        except Exception:  # Pillow raises many kinds
            continue
        if image.mode.startswith("I") or regions.ask(f"image {path}").split()[0] != "none":
            continue  # 16 bits are not as Pillow
        regions.use(path, pixels, tmp_path)
        h, w = pixels.shape[:2]
        for _ in range(5):
            x0, y0 = rng.randrange(w), rng.randrange(h)
            region = (x0, y0, rng.randint(x0 + 1, w), rng.randint(y0 + 1, h))
            assert regions.ask("region %d %d %d %d" % region) == "same", (path, region)
            n += 1
    print(pattern, n, "regions")
    assert n > 100


def test_damage(regions, tmp_path):  # noqa: F811
    """What is wrong in the data is bad from the row on where it shows, and by its name; rows above are good,
    whether libpng stops above or the whole image had to be tried first."""
    path, values = tmp_path / "bad.png", samples(2, 60, 50)
    good = filtered(values, (4, 1, 3))
    path.write_bytes(png(values, 2, good))
    pixels = whole(path)
    broken = bytearray(good)
    broken[181 * 35] = 5  # no such filter in row 35
    files = {
        "unknown filter": png(values, 2, bytes(broken)),
        "short": png(values, 2, good[:181 * 35 + 40]),
        "cut": png(values, 2, good, compress=lambda rows: zlib.compress(rows)[:-900]),
        "checksum of the stream": png(values, 2, good, compress=lambda rows: zlib.compress(rows)[:-4] + b"abcd"),
        "too long": png(values, 2, good + b"more of it"),
        "garbage behind": png(values, 2, good, compress=lambda rows: zlib.compress(rows) + b"garbage"),
        "dictionary": png(values, 2, good, compress=lambda rows: b"\x78\xbb" + zlib.compress(rows)[2:]),
        "another chunk between": png(values, 2, good, n_parts=2).replace(
            chunk(b"IEND", b""), b""),
    }
    between = files["another chunk between"]
    second = between.rindex(b"IDAT") - 4
    files["another chunk between"] = between[:second] + chunk(b"tEXt", b"a\0b") + between[second:] + chunk(b"IEND", b"")
    bad = {"unknown filter": 35, "short": 35, "cut": None, "dictionary": 0, "another chunk between": None,
           "checksum of the stream": 49}
    for name, data in files.items():
        path.write_bytes(data)
        regions.use(path, pixels, tmp_path)
        answers = [regions.ask(f"region 3 {max(y - 3, 0)} 50 {y + 1}") for y in range(50)]
        n_same = answers.count("same")
        assert all(a == "same" for a in answers[:n_same]), name
        assert all(a.startswith("bad damaged_image: libpng:") for a in answers[n_same:]), (name, answers[-1])
        if name in bad:
            assert n_same < 50 and bad[name] in (None, n_same), (name, n_same)
        else:
            assert n_same == 50, name


def test_memory(regions, tmp_path):  # noqa: F811
    """Where the whole image does not fit, its rows still do."""
    path, values = tmp_path / "memory.png", samples(2, 300, 400)
    path.write_bytes(png(values, 2, n_parts=3))
    regions.use(path, whole(path), tmp_path)
    low, high = 1, 1 << 24
    try:
        while high - low > 64:
            middle = (low + high) // 2
            regions.ask(f"limit {middle}")
            answer = regions.ask("region 5 100 290 400")
            assert answer == "same" or answer.startswith("bad decode_memory"), answer
            low, high = (low, middle) if answer == "same" else (middle, high)
        for more in range(0, 800000, 5000):
            regions.ask(f"limit {high + more}")
            assert regions.ask("region 5 100 290 400") == "same"
    finally:
        regions.ask(f"limit {1 << 28}")
    print("needs", high)
    assert high < 100000


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__, "-q", "-p", "no:cacheprovider", "-x", *os.sys.argv[1:]]))
