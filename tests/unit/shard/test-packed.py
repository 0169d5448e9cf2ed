# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Compressed shards: members as in the plain tar, frames as they were cut, units as their definition says by a search
through all of them, and what comes out of each; damage is refused with its offset.

argv: probe-shard. Needs Debian's python3-xxhash and the zstd program.
"""
import io
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zlib

try:
    import xxhash
    import compressed
except ImportError:
    print("skipped: python3-xxhash is missing")
    sys.exit(77)
import oracle

if not shutil.which("zstd"):
    print("skipped: the zstd program is missing")
    sys.exit(77)

UNIT = 1 << 20
FIELDS = "jpg,png;cls"


def make_tar(rng, sizes, format=tarfile.GNU_FORMAT, long_names=False):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as tar:
        for i, size in enumerate(sizes):
            data = rng.randbytes(size // 2) + bytes(size - size // 2)
            name = f"{'d' * 200 if long_names and i % 7 == 0 else 'd'}/s{i:05}"
            for extension, content in (("jpg", data), ("cls", str(i).encode())):
                info = tarfile.TarInfo(f"{name}.{extension}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def scan(folder, data, name="x.tar.any", piece=0):
    path = folder / name
    path.write_bytes(data)
    return oracle.probe("scan", piece, path)


def told(lines):
    """What the scan says of the tar: without reads, frames and packing."""
    return [l for l in lines if l.split(" ")[0] in ("member", "sample", "refused", "end")]


def frames_of(lines):
    return [tuple(map(int, l.split(" ")[1:6])) + (int(l.split(" ")[6], 16),) for l in lines if l.startswith("frame")]


def wanted_frames(parts, raws, gaps, with_table):
    """parts: bytes of each frame; gaps: how many bytes lie in front of each."""
    at = raw_at = 0
    wanted = []
    for part, raw, gap in zip(parts, raws, gaps):
        at += gap
        if raw:
            wanted.append((at, len(part), raw_at, len(raw), int(with_table), compressed.low32(raw) if with_table else 0))
        at += len(part)
        raw_at += len(raw)
    return wanted


def check_frames(folder, rng):
    tar = make_tar(rng, [rng.choice((0, 1, 511, 512, 3000, rng.randrange(40000))) for _ in range(60)])
    plain = told(scan(folder, tar))
    for turn in range(40):
        raws = compressed.cut(tar, rng.sample(range(1, len(tar)), rng.choice((0, 1, 5, 50))))
        if turn % 4 == 0:
            raws.insert(rng.randrange(len(raws) + 1), b"")
        table = tail = b""
        gaps, sizes = [0] * len(raws), rng.random() < 0.5
        if turn % 2:
            parts = [compressed.gzip_member(r) if turn % 4 == 1 else compressed.bgzip_member(r) for r in raws]
            tail = bytes(rng.choice((0, 1, 10000)))
        else:
            checksum = rng.random() < 0.7
            parts = [compressed.zstd_frame(r, checksum, sizes) if rng.random() < 0.9 else compressed.zstd_program(r, "-1")
                     for r in raws]
            if turn % 3 == 0:
                gaps = [len(compressed.skippable(bytes(g))) if g else 0 for g in (rng.choice((0, 0, 1, 100)) for _ in raws)]
            elif turn % 3 == 1:
                table = compressed.seek_table(parts, raws, turn % 8 != 4)
        data = b"".join((compressed.skippable(bytes(g - 8)) if g else b"") + p for g, p in zip(gaps, parts)) + table + tail
        for piece in (0, rng.choice((1, 7, 1000, 99999))):
            lines = scan(folder, data, piece=piece)
            assert told(lines) == plain, (turn, piece, told(lines)[:3])
            assert frames_of(lines) == wanted_frames(parts, raws, gaps, bool(table) and turn % 8 != 4), turn
            assert f"packed {'gzip' if turn % 2 else 'zstd'} {len(tar)}" in lines
    for level in ("-1", "-19", "--fast=3", "--long=27"):
        lines = scan(folder, compressed.zstd_program(tar, level))
        assert told(lines) == plain and len(frames_of(lines)) == 1
    lines = scan(folder, compressed.zstd_program(make_tar(rng, [3 << 20]), "--long=28", "--zstd=wlog=28"))
    assert told(lines)[0].startswith("refused") or len(frames_of(lines)) == 1, lines[:2]


def check_ends(folder, rng):
    """Trailing bytes, no end marker, cuts: as of the plain tar of those bytes."""
    tar = make_tar(rng, [700, 5000, 100, 0, 2000], tarfile.PAX_FORMAT, True)
    variants = [tar.rstrip(b"\0") + bytes(-len(tar.rstrip(b"\0")) % 512), tar + b"behind", tar + bytes(3 << 20),
                tar + bytes(3 << 20) + b"x", tar + bytes(1 << 20), tar[:512], tar[:100], b"", b"abc" * 400, tar + tar]
    variants += [tar[:rng.randrange(len(tar))] for _ in range(60)]
    for i, raw in enumerate(variants):
        plain = told(scan(folder, raw, "same.tar"))
        for packed in (compressed.gzip_member(raw), compressed.zstd_frame(raw)):
            lines = told(scan(folder, packed, "same.tar", rng.choice((0, 100))))
            lines = [l.replace("same.tar, inflated,", "same.tar,") for l in lines]
            # a member that is cut short is known only at the end
            if plain[-1].startswith("refused"):
                assert lines[-1] == plain[-1] and [l for l in lines if l in plain] == plain, (i, plain, lines)
            else:
                assert lines == plain, (i, plain, lines)


def refused(folder, data, *parts):
    lines = told(scan(folder, data))
    assert lines[-1].startswith("refused") and "offset " in lines[-1], (parts, lines)
    assert all(p in lines[-1] for p in parts), (parts, lines[-1])


def check_damage(folder, rng):
    tar = make_tar(rng, [9000] * 10)
    raws = compressed.cut(tar, [30000, 60000])
    gz = [compressed.gzip_member(r) for r in raws]
    zs = [compressed.zstd_frame(r) for r in raws]
    table = compressed.seek_table(zs, raws)
    whole = b"".join(zs) + table
    assert not told(scan(folder, whole))[-1].startswith("refused")
    for data in (b"".join(gz), b"".join(zs), whole):
        for _ in range(100):
            bad = bytearray(data)
            bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
            lines = told(scan(folder, bytes(bad)))
            same = told(scan(folder, data))
            # a bit of a gzip header's time or of a reserved place says nothing of the bytes
            assert lines[-1].startswith("refused") or lines == same, lines[-1]
        for n in (len(data) - 1, len(data) // 2, 5, 12):
            refused(folder, data[:n])
    refused(folder, b"".join(gz) + b"x", f"offset {len(b''.join(gz))}", "gzip member")
    refused(folder, b"".join(gz) + bytes(5) + b"x", f"offset {len(b''.join(gz)) + 5}", "1 bytes")
    refused(folder, b"".join(zs) + b"trailing", f"offset {len(b''.join(zs))}", "8 bytes")
    off = bytearray(zs[1])
    off[-1] ^= 1
    refused(folder, zs[0] + bytes(off) + zs[2], "XXH64", f"{compressed.low32(raws[1]):08x}")
    off = bytearray(gz[1])
    off[-8] ^= 1
    refused(folder, gz[0] + bytes(off) + gz[2], "CRC-32", f"{zlib.crc32(raws[1]):08x}")
    refused(folder, b"".join(zs) + compressed.seek_table(zs, [raws[0], raws[1][::-1], raws[2]]), "seek table", f"offset {len(zs[0])}:")
    refused(folder, b"".join(zs) + compressed.seek_table(zs[:2], raws[:2]), "seek table of 2 frames")
    refused(folder, b"".join(zs) + compressed.seek_table([zs[0] + b"x", *zs[1:]], raws), "seek table", "offset 0:")
    assert not told(scan(folder, b"".join(zs) + compressed.skippable(table[8:-1], 14)))[-1].startswith("refused"), "no footer"


def check_golden():
    """zstd's own edge cases, which hold no tar: what the zstd program takes is inflated, the rest is refused."""
    root = oracle.data_folder("edge-zstd")
    n = [0, 0]
    for path in sorted(p for p in root.rglob("*.zst") if p.is_file()):
        good = subprocess.run(["zstd", "-dqc", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).returncode == 0
        for piece in (0, 1, 5):
            last = told(oracle.probe("scan", piece, path))[-1]
            is_inflated = ", inflated," in last or last.startswith("end ")  # zeros are a tar's end
            assert is_inflated == good, (path, good, last)
        n[good] += 1
    assert min(n) > 0, n


# ---- units: the definition, slowly ----

def units_by_search(frames, extents):
    """Every cut tried by looking at every extent."""
    edge = lambda k: frames[k][2]
    across = lambda k: [e for e in extents if e[0] < edge(k) < e[1]]
    holds = lambda raw: next(i for i, f in enumerate(frames) if f[2] <= raw < f[2] + f[3])
    units, begin = set(), 0
    for k in range(1, len(frames)):
        crossing = across(k)
        size = frames[k][2] + frames[k][3] - frames[begin][2]
        if crossing and size <= UNIT:
            continue
        units.add((begin, k - 1))
        if crossing:
            units.add((min(holds(e[0]) for e in crossing), max(holds(e[1] - 1) for e in crossing)))
        begin = k
    units.add((begin, len(frames) - 1))
    return units


def check_units(folder, rng):
    for turn in range(24):
        sizes = [rng.choice((100, 5000, rng.randrange(300000))) for _ in range(rng.choice((3, 30)))]
        if turn % 4 == 0:
            sizes[rng.randrange(len(sizes))] = 5 << 20
        tar = make_tar(rng, sizes, rng.choice((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)), turn % 3 == 0)
        cuts = rng.sample(range(1, len(tar)), rng.choice((0, 1, 7, 90)))
        if turn % 5 == 0:  # on blocks
            cuts = sorted({c // 512 * 512 for c in cuts} - {0})
        raws = compressed.cut(tar, cuts)
        pack = compressed.gzip_member if turn % 2 else compressed.zstd_frame
        data = b"".join(pack(r) for r in raws)
        path = folder / f"u{turn}.tar"
        path.write_bytes(data)
        frames = frames_of(oracle.probe("scan", 0, path))
        lines = oracle.probe("units", rng.choice((1000, 65536, 1 << 19)), FIELDS, path)
        units = [l.split(" ") for l in lines if l.startswith("unit ")]
        extents = [tuple(map(int, l.split(" ")[2:])) for l in lines if l.startswith("extent")]
        clipped = [(a, min(b, len(tar))) for a, b, _ in extents]
        got = [tuple(map(int, u[2:6])) for u in units]
        assert got == sorted(got, key=lambda u: (u[2], u[3])) and len(set(got)) == len(got)
        wanted = {(frames[a][0], frames[b][0] + frames[b][1] - frames[a][0], frames[a][2],
                   frames[b][2] + frames[b][3] - frames[a][2]) for a, b in units_by_search(frames, clipped)}
        needed = set()
        for (start, end), (_, _, unit) in zip(clipped, extents):
            holding = [w for w in wanted if w[2] <= start and w[2] + w[3] >= end]
            assert holding, (turn, start, end)
            shortest = min(w[3] for w in holding)
            assert got[unit] in holding and got[unit][3] == shortest, (turn, got[unit], shortest)
            needed.add(got[unit])
        assert set(got) == needed <= wanted, turn
        for u, words in zip(got, units):
            assert words[6] == f"{xxhash.xxh64_intdigest(tar[u[2]:u[2] + u[3]]):016x}", (turn, u, words)
        most = max(len({e[2] for e in extents[i:i + 2]}) for i in range(0, len(extents), 2))
        assert lines[-1] == f"units {len(frames)} {max(u[3] for u in got)} {most}", (lines[-1], most)


def check_inflating_damage(folder, rng):
    """Flipped behind the index's back: the units of those frames are damaged, the others whole."""
    tar = make_tar(rng, [50000] * 20)
    raws = compressed.cut(tar, range(60000, len(tar), 60000))
    for pack in (compressed.gzip_member, compressed.zstd_frame):
        parts = [pack(r) for r in raws]
        data = b"".join(parts) + (compressed.seek_table(parts, raws) if pack == compressed.zstd_frame else b"")
        path = folder / "flip.tar"
        path.write_bytes(data)
        before = path.stat()
        assert oracle.probe("save", "-", path)[0] == "result 0 "
        for _ in range(30):
            i = rng.randrange(len(parts))
            at = sum(map(len, parts[:i])) + 20 + rng.randrange(len(parts[i]) - 20)
            bad = bytearray(data)
            bad[at] ^= 1 << rng.randrange(8)
            path.write_bytes(bad)
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
            lines = oracle.probe("saved-units", rng.choice((777, 1 << 19)), FIELDS, path)
            n_damaged = 0
            for words in (l.split(" ", 6) for l in lines if l.startswith("unit ")):
                offset, n = int(words[2]), int(words[3])
                n_damaged += offset <= at < offset + n
                assert words[6].startswith("damaged offset ") == (offset <= at < offset + n), (at, words)
            assert n_damaged > 0
        path.with_name("flip.tar.rfidx").unlink()


def main():
    rng = random.Random(5)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for check in (check_frames, check_ends, check_damage, check_units, check_inflating_damage):
            check(folder, rng)
            print("ok", check.__name__, flush=True)
    check_golden()


main()
