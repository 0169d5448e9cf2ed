# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Odd files of all formats: pixels or a named cause, the same in every run; images of one pixel; and memory,
which is asked for before the first row (decode-regions ends with a message if it is not).

Runs under Debian's own Python; RINGFEED_DECODE_REGIONS and RINGFEED_MAKE_ROWS name the programs.
"""
import itertools
import os

import pytest

from make_rows import Field, Maker
from regions import DATA, cjpeg, picture, regions, shrunk, whole  # noqa: F401 (a fixture)

# Causes that say it all; the others come with what is wrong.
PLAIN = {"not_an_image", "too_small"}
JPEGS = {"baseline": (), "progressive": ("-progressive",), "arithmetic": ("-arithmetic",),
         "arithmetic progressive": ("-arithmetic", "-progressive"), "restarts": ("-restart", "1"),
         "segments": ("-restart", "1B")}


@pytest.mark.parametrize("folder", ("edge-jpeg", "edge-png", "photos-exif"))
def test_same_verdict(folder):
    """Twice, in two processes, from the first file to the last and back."""
    files = sorted(p for p in (DATA / folder).rglob("*") if p.is_file())
    fields = (Field(20, 20, (("resize", 20, 20, "bilinear"),)),
              Field(9, 7, (("random_resized_crop", 9, 7, 0.1, 0.5, 0.5, 2.0, "bilinear"),)))
    seen, n_bad = {}, 0
    for order in (files, files[::-1]):
        maker = Maker(os.environ["RINGFEED_MAKE_ROWS"])
        maker.limits()
        for field, path in itertools.product(fields, order):
            a = maker.run(field, path, position=3)
            got = (a.code, a.cause, a.detail, a.warnings, None if a.row is None else a.row.tobytes())
            assert seen.setdefault((field, path), got) == got, path
            assert a.code in ("done", "bad") and (a.code == "bad") == (a.cause != "none"), path
            assert a.code == "done" or a.cause in PLAIN or len(a.detail) > 8, (path, a.cause)
            n_bad += a.code == "bad"
        maker.close()
    print(folder, len(files), "files,", n_bad // 4, "bad")


@pytest.mark.parametrize("mode", JPEGS)
def test_small_jpegs(regions, tmp_path, mode):  # noqa: F811
    path = tmp_path / "small.jpg"
    for (w, h), sampling in itertools.product(((1, 1), (1, 2), (2, 1), (3, 3), (8, 8), (9, 9), (16, 16), (17, 17)),
                                              ("1x1", "2x1", "1x2", "2x2", "4x1,1x1,1x1")):
        assert cjpeg(picture(w, h), path, "-sample", sampling, *JPEGS[mode])
        for shrink in (1, 2, 4, 8) if "4" not in sampling else (1,):
            regions.use(path, shrunk(path, shrink) if shrink > 1 else whole(path), tmp_path, shrink)
            regions.sweep(mode, sampling, w, h, shrink, n=20)


@pytest.mark.parametrize("kind", (*JPEGS, "png", "interlaced", "webp"))
def test_memory(regions, tmp_path, kind):  # noqa: F811
    """From far too little to enough, in small steps: refused before the first row, and never a wrong row."""
    path, image, answers = tmp_path / "memory", picture(160, 120), []
    if kind in JPEGS:
        assert cjpeg(image, path, *JPEGS[kind])
    elif kind == "interlaced":
        path = next((DATA / "edge-png").rglob("basi2c08.png"))
    else:
        image.save(path, kind)
    regions.use(path, whole(path), tmp_path)
    w, h = regions.ask(f"image {path}").split()[1:3]
    region = f"region {int(w) // 3} {int(h) // 2} {w} {h}"
    try:
        for limit in itertools.chain(range(0, 60000, 250), range(60000, 1 << 19, 3000)):
            regions.ask(f"limit {limit}")
            answers.append(regions.ask(region))
    finally:
        regions.ask(f"limit {1 << 28}")
    n_bad = sum(a.startswith("bad decode_memory") for a in answers)
    assert n_bad > 2 and answers == answers[:n_bad] + ["same"] * (len(answers) - n_bad)
    # A progressive image keeps two bytes a coefficient of every component.
    assert "progressive" not in kind or n_bad * 250 > 160 * 120 * 1.5 * 2


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__, "-q", "-p", "no:cacheprovider", "-x", *os.sys.argv[1:]]))
