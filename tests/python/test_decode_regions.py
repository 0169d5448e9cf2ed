# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Region decode: every region equals the crop of Pillow's decode of the whole file, for every sampling.

Runs under Debian's own Python; RINGFEED_DECODE_REGIONS names the program.
"""
import itertools
import os

import numpy
import pytest
from PIL import Image

from regions import DATA, SMALL, WIDE, cjpeg, picture, regions, whole  # noqa: F401 (a fixture)

MODES = {"baseline": (), "progressive": ("-progressive",), "arithmetic": ("-arithmetic",),
         "restarts": ("-restart", "3B")}


@pytest.mark.parametrize("mode", MODES)
def test_samplings(regions, tmp_path, mode):  # noqa: F811
    """All pairs of columns and of rows of a photo of each sampling that cjpeg can write."""
    n_files, n_regions = 0, 0
    samplings = SMALL + WIDE if mode in ("baseline", "progressive") else SMALL[::5] + WIDE[::5]
    image = picture(71, 37)
    for sampling in samplings:
        path = tmp_path / f"{sampling}.jpg"
        if not cjpeg(image, path, "-sample", sampling, *MODES[mode]):
            continue
        try:
            pixels = whole(path)
        except OSError:  # Pillow knows no such sampling, or it is no integer ratio
            continue
        regions.use(path, pixels, tmp_path)
        n_regions += regions.sweep(sampling, mode)
        n_files += 1
    print(mode, n_files, "files", n_regions, "regions")
    assert n_files > len(samplings) // 2


def test_gray_and_cmyk(regions, tmp_path):  # noqa: F811
    n_regions = 0
    image = picture(45, 37)
    for factor, progressive in itertools.product(("1x1", "2x1", "1x2", "2x2", "4x4"), ((), ("-progressive",))):
        path = tmp_path / "gray.jpg"
        assert cjpeg(image, path, "-grayscale", "-sample", factor, *progressive)
        regions.use(path, whole(path), tmp_path)
        n_regions += regions.sweep(factor, progressive)
    for progressive in (False, True):
        path = tmp_path / "cmyk.jpg"
        image.convert("CMYK").save(path, progressive=progressive)
        regions.use(path, whole(path), tmp_path)
        n_regions += regions.sweep("cmyk", progressive)
    print(n_regions, "regions")


def test_widths(regions, tmp_path):  # noqa: F811
    """Images whose last iMCU holds one, two, three … pixels."""
    for sampling, width in itertools.product(("1x1", "2x1", "2x2", "1x2", "4x1", "4x1,2x1,1x1", "4x2,1x1,1x1"),
                                             (1, 2, 3, 4, 5, 15, 16, 17, 18, 19, 31, 32, 33, 34, 35, 36)):
        path = tmp_path / "narrow.jpg"
        assert cjpeg(picture(width, 19), path, "-sample", sampling)
        regions.use(path, whole(path), tmp_path)
        regions.sweep(sampling, width, n=100)


@pytest.mark.parametrize("folder", ("edge-jpeg", "photos-exif", "photos-progressive"))
def test_files(regions, tmp_path, folder):  # noqa: F811
    """Random regions of every collected file that Pillow decodes: YCCK and odd samplings among them."""
    n = 0
    for path in sorted(p for p in (DATA / folder).rglob("*") if p.suffix.lower() in (".jpg", ".jpeg")):
        try:
            with Image.open(path) as image:
                pixels = numpy.asarray(image.convert("RGB"))
        except Exception:  # Pillow raises many kinds
            continue
        if regions.ask(f"image {path}").split()[0] != "none":
            continue
        regions.use(path, pixels, tmp_path)
        h, w = pixels.shape[:2]
        rng = numpy.random.default_rng(n)
        for _ in range(12):
            x0, y0 = int(rng.integers(w)), int(rng.integers(h))
            region = (x0, y0, x0 + 1 + int(rng.integers(w - x0)), y0 + 1 + int(rng.integers(h - y0)))
            answer = regions.ask("region %d %d %d %d" % region)
            assert answer == "same" or answer.startswith("bad"), (path, region, answer)
        n += answer == "same"
    print(folder, n, "files equal")
    assert n > 15


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__, "-q", "-p", "no:cacheprovider", "-x", *os.sys.argv[1:]]))
