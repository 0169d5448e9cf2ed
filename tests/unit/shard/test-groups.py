# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Grouping is WebDataset's, stated again with its regexes: names of every odd shape, through real tars.

argv: probe-shard
"""
import io
import itertools
import pathlib
import random
import tarfile
import tempfile

import oracle

ATOMS = ["a", "b", ".", "..", "/", "__", "_", "x.jpg", "JPG", "\n", "é", "É", " ", "/.", "./", "A.b", "meta__"]


def names():
    yield from ("a.jpg", "a.JPG", ".x.jpg", "d/.x.jpg", "d.e/.x.jpg", "c/d.e/.x", "noext", "d.e/noext", "a.", "a..jpg", "a.b.c.d",
                "/abs.jpg", "./rel.jpg", "../up.jpg", "__a__", "__a__.jpg", "__a__/b.jpg", "x/__a__.jpg", "__a.b__", "____/x.y",
                "__a__\n", "__a.b__\n", "l\nn.jpg", "d/l\nn.jpg", "l\nd/e.f/.g", "l\nd/.g", "a.j\npg", "a.jpg\n", "//.x", "/.x", ".", "...",
                "k.__key__", "k.__url__", "k.__bad", "ÀB.ÀB", "a.tar.gz", "a.seg.png", " .x", "__x__y__/z.w", "__x/y__.z")
    rng = random.Random(3)
    for n in range(1, 4):
        for parts in itertools.product(ATOMS, repeat=n):
            if n < 3 or rng.random() < 0.3:
                yield "".join(parts)
    for _ in range(4000):  # runs of one key, broken and taken up again
        yield rng.choice(("k1", "k2", "d/k1", "k.1", "__m__")) + rng.choice((".jpg", ".Jpg", ".cls", ".seg.png", "", "."))


def main():
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "names.tar"
        wanted = []
        with tarfile.open(path, "w", format=tarfile.PAX_FORMAT, encoding="utf-8") as tar:
            for i, name in enumerate(names()):
                if name.endswith("/"):
                    continue
                info = tarfile.TarInfo(name)
                info.size = i % 700
                tar.addfile(info, io.BytesIO(bytes(info.size)))
        scan = oracle.scan_one(path)
        assert scan.refused is None, scan.refused
        assert scan.members == oracle.by_tarfile(path)
        wanted, skipped = oracle.group(scan.members)
        got = [(k, f, [m[:3] for m in ms]) for k, f, ms in scan.samples]
        for ours, theirs in zip(got, wanted):
            assert ours == theirs, f"ours {ours}, WebDataset's {theirs}"
        assert len(got) == len(wanted) and scan.end[3] == skipped
        repeated = sum(f for _, f, _ in wanted)
        assert len(wanted) > 1000 and skipped > 100 and repeated > 100
        print(f"{len(scan.members)} names: {len(wanted)} samples, {skipped} skipped, {repeated} repeated")


main()
