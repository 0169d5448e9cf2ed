# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Decoding at 1/2, 1/4 and 1/8: every region equals the crop of Pillow's draft() of the whole file, whatever
the memory held before (decode-regions fills it with other bytes for each decode).

Runs under Debian's own Python; RINGFEED_DECODE_REGIONS names the program.
"""
import itertools
import os
import random

import numpy
import pytest
from PIL import Image

from regions import DATA, SMALL, WIDE, cjpeg, picture, regions, shrunk, whole  # noqa: F401 (a fixture)

SHRINKS = (2, 4, 8)


@pytest.mark.parametrize("mode", ("baseline", "progressive"))
def test_samplings(regions, tmp_path, mode):  # noqa: F811
    """All pairs of columns and of rows, for every sampling that may be shrunk."""
    image, n_regions, n_files = picture(147, 67), 0, 0
    for sampling in SMALL if mode == "baseline" else SMALL[::3]:
        path = tmp_path / f"{sampling}.jpg"
        if not cjpeg(image, path, "-sample", sampling, *(("-progressive",) if mode == "progressive" else ())):
            continue
        try:
            whole(path)
        except OSError:  # Pillow knows no such sampling
            continue
        n_files += 1
        for shrink in SHRINKS:
            regions.use(path, shrunk(path, shrink), tmp_path, shrink)
            n_regions += regions.sweep(sampling, mode, shrink)
    print(mode, n_files, "files", n_regions, "regions")
    assert n_files > (50 if mode == "baseline" else 16)


def test_gray_and_cmyk(regions, tmp_path):  # noqa: F811
    image = picture(101, 67)
    for factor, progressive in itertools.product(("1x1", "2x1", "1x2", "2x2"), ((), ("-progressive",))):
        path = tmp_path / "gray.jpg"
        assert cjpeg(image, path, "-grayscale", "-sample", factor, *progressive)
        for shrink in SHRINKS:
            regions.use(path, shrunk(path, shrink), tmp_path, shrink)
            regions.sweep(factor, progressive, shrink)
    path = tmp_path / "cmyk.jpg"
    image.convert("CMYK").save(path)
    for shrink in SHRINKS:
        regions.use(path, shrunk(path, shrink), tmp_path, shrink)
        regions.sweep("cmyk", shrink)


def test_widths(regions, tmp_path):  # noqa: F811
    for sampling, width, shrink in itertools.product(("1x1", "2x1", "2x2", "1x2"), (*range(1, 20), 31, 32, 33, 34, 35),
                                                     SHRINKS):
        path = tmp_path / "narrow.jpg"
        assert cjpeg(picture(width, 19), path, "-sample", sampling)
        regions.use(path, shrunk(path, shrink), tmp_path, shrink)
        regions.sweep(sampling, width, shrink, n=50)


def test_what_cannot_shrink(regions, tmp_path):  # noqa: F811
    """Samplings beyond two, and other formats, say 1."""
    image, n = picture(40, 40), 0
    for sampling in WIDE:
        path = tmp_path / "wide.jpg"
        if cjpeg(image, path, "-sample", sampling):
            assert regions.ask(f"image {path}").split() == ["none", "40", "40", "1"], sampling
            n += 1
    path = tmp_path / "plain.png"
    image.save(path)
    assert n > 10 and regions.ask(f"image {path}").split() == ["none", "40", "40", "1"]


def test_draft(tmp_path):
    """The reference is what Pillow's own draft() gives where that chooses the same size."""
    path = tmp_path / "draft.jpg"
    picture(160, 96).save(path, subsampling=2)
    for shrink in SHRINKS:
        with Image.open(path) as image:
            image.draft("RGB", (160 // shrink, 96 // shrink))
            assert numpy.array_equal(numpy.asarray(image.convert("RGB")), shrunk(path, shrink))


@pytest.mark.parametrize("pattern", ("imagenet-sample/*.JPEG", "coco128-train/**/*.jpg", "photos-progressive/**/*.jpg",
                                     "photos-exif/**/*.jp*g", "edge-jpeg/**/*.jp*g"))
def test_photos(regions, tmp_path, pattern):  # noqa: F811
    n, rng = 0, random.Random(3)
    files = sorted(DATA.glob(pattern))
    for path in files if len(files) < 200 else files[::5]:
        for shrink in SHRINKS:
            regions.ask(f"shrink {shrink}")
            answer = regions.ask(f"image {path}").split()
            if answer[0] != "none" or int(answer[3]) < shrink:
                continue
            try:
                pixels = shrunk(path, shrink)
            except Exception:  # Pillow raises many kinds
                continue
            regions.use(path, pixels, tmp_path, shrink)
            h, w = pixels.shape[:2]
            for _ in range(4):
                x0, y0 = rng.randrange(w), rng.randrange(h)
                region = (x0, y0, rng.randint(x0 + 1, w), rng.randint(y0 + 1, h))
                answer = regions.ask("region %d %d %d %d" % region)
                assert answer == "same" or answer.startswith("bad"), (path, shrink, region, answer)
                n += answer == "same"
    print(pattern, n, "regions equal")
    assert n > 200


@pytest.mark.parametrize("sampling,shrink", itertools.product((0, 1, 2), SHRINKS))
def test_truncated(regions, tmp_path, sampling, shrink):  # noqa: F811
    """A row that lacks bytes is bad, a row above is not: the photo's own rows tell which is which."""
    path = tmp_path / "cut.jpg"
    picture(200, 150).save(path, quality=92, subsampling=sampling)
    data, pixels, seen = path.read_bytes(), shrunk(path, shrink), set()
    regions.use(path, pixels, tmp_path, shrink)
    h, w = pixels.shape[:2]
    header = data.index(b"\xff\xda") + 20
    for n in range(header, len(data), (len(data) - header) // 40):
        path.write_bytes(data[:n])
        regions.ask(f"image {path}")
        answers = [regions.ask(f"region 0 {y} {w} {y + 1}") for y in range(h)]
        assert all(a == "same" or a.startswith("bad damaged_image: the bytes end before row") for a in answers)
        n_same = answers.count("same")
        assert all(a == "same" for a in answers[:n_same]), (n, answers)
        # As many rows as there are bytes for, give or take two iMCUs.
        assert abs(n_same / h - (n - header) / (len(data) - header)) < 0.3, (n, n_same)
        seen.add(n_same > 0)
    assert seen == {False, True}


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__, "-q", "-p", "no:cacheprovider", "-x", *os.sys.argv[1:]]))
