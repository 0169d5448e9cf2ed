# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Our member list is GNU tar's and Python tarfile's, or the archive is refused with an offset (P16).

Checked on the collected edge cases, on archives of every format that tarfile and GNU tar write, and on
mutations of them. argv: probe-shard [number of mutations].
"""
import io
import os
import pathlib
import random
import re
import subprocess
import sys
import tarfile
import tempfile

import oracle

N_MUTATIONS = int(sys.argv[2]) if len(sys.argv) > 2 else 800
FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def entry(name, data=b"", type=tarfile.REGTYPE, **more):
    info = tarfile.TarInfo(name)
    info.type, info.size = type, len(data)
    for key, value in more.items():
        setattr(info, key, value)
    return info, data


def pack(entries, format=tarfile.PAX_FORMAT, closed=True, **more):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format, encoding="utf-8", errors="surrogateescape", **more) as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
        end = tar.offset
    return out.getvalue() if closed else out.getvalue()[:end]


def fix_checksum(block):
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)


def raw_header(name, size=b"00000000000\0", type=b"0", magic=b"ustar\x0000", prefix=b"", **more):
    block = bytearray(512)
    block[0:len(name)] = name
    block[100:136] = b"0000644\x000000000\x000000000\x00" + size.ljust(12, b"\0")
    block[136:148] = b"00000000000\0"
    block[156:157] = type
    block[257:257 + len(magic)] = magic
    block[345:345 + len(prefix)] = prefix
    fix_checksum(block)
    return bytes(block)


def padded(data):
    return data + bytes(-len(data) % 512)


def octal(n):
    return b"%011o\0" % n


def extension(type, data):
    return raw_header(b"ext", octal(len(data)), type) + padded(data)


def record(keyword, value):
    body = b" " + keyword + b"=" + value + b"\n"
    n = len(body)
    while len(str(n)) + len(body) != n:
        n = len(str(n)) + len(body)
    return str(n).encode() + body


def member(name=b"a.txt", data=b"hello", **more):
    return raw_header(name, octal(len(data)), **more) + padded(data)


END = bytes(1024)
TYPICAL = [
    entry("000/a.jpg", b"x" * 700), entry("000/a.cls", b"7"), entry("000/b.JPG", b"y" * 512), entry("000/b.cls", b""),
    entry("dir/", type=tarfile.DIRTYPE), entry("dir/c.seg.png", b"z" * 513), entry("dir/.hidden.jpg", b"h"),
    entry("__meta__.json", b"{}"), entry("noext", b"n"), entry("dir/c.jpg", b"again"),
    entry("link.jpg", type=tarfile.SYMTYPE, linkname="000/a.jpg"), entry("hard.jpg", type=tarfile.LNKTYPE, linkname="000/a.jpg"),
    entry("fifo", type=tarfile.FIFOTYPE), entry("dev", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
    entry("cont.jpg", b"c" * 100, type=tarfile.CONTTYPE), entry("unié.jpg", "é".encode()), entry("sp ace.t\\x.\nx", b"q"),
    entry("long/" * 30 + "name.jpg", b"long"), entry("last.cls", b"1"), entry("last.cls", b"2"), entry("k.__key__", b"3"),
]
LONG = [entry("d" * 90 + "/" + "e" * 90 + "/" + "f" * 90 + ".jpg", b"1" * 2000), entry("x" * 3000 + ".cls", b"2"),
        entry("l", type=tarfile.SYMTYPE, linkname="t" * 300), entry("s.jpg", b"3")]


def generated():
    """name -> bytes, and whether it must be accepted (True), refused (False) or either (None)."""
    for name, format in FORMATS.items():
        entries = [(i, d) for i, d in TYPICAL if format != tarfile.USTAR_FORMAT or len(i.name) <= 250]
        yield f"typical-{name}", pack(entries, format), True
        yield f"unterminated-{name}", pack(entries, format, closed=False), True
        yield f"one-zero-block-{name}", pack(entries, format, closed=False) + bytes(512), True
        if format != tarfile.USTAR_FORMAT:
            yield f"long-{name}", pack(LONG, format), True
    yield "pax-global", pack(TYPICAL, pax_headers={"comment": "all of it", "mtime": "17"}), True
    yield "many", pack([entry(f"{i:06}.{e}", b"%d" % i) for i in range(4000) for e in ("cls", "txt")]), True
    plain = pack(TYPICAL)
    yield "lone-zero-then-more", member() + bytes(512) + member(b"b.txt") + END, True
    yield "concatenated", plain + plain, True
    yield "trailing-garbage", plain + b"garbage", True
    yield "zeros", bytes(10240), True
    yield "big-pax", pack([entry("a.jpg", b"1", pax_headers={"comment": "c" * 100000, "z": "é" * 1000}), entry("b.jpg", b"2")]), True
    yield "v7", member(magic=b"") + member(b"b.txt", b"", magic=b"") + END, True
    yield "v7-directory", raw_header(b"dir/", type=b"\0", magic=b"") + member() + END, True
    yield "v7-prefix", member(magic=b"", prefix=b"000123") + END, False
    yield "ustar-prefix", member(prefix=b"some/where") + END, True
    yield "old-gnu", member(magic=b"ustar  \0") + END, True
    yield "base-256", raw_header(b"a.txt", b"\x80" + bytes(9) + b"\x02\x01") + bytes(1024) + member(b"b.txt") + END, True
    yield "base-256-negative", raw_header(b"a.txt", b"\xff" * 12) + member() + END, False
    yield "base-256-huge", raw_header(b"a.txt", b"\x80" + b"\xff" * 11) + member() + END, False
    yield "size-blank", raw_header(b"a.txt", b" " * 12) + END, False
    yield "size-zeros", raw_header(b"a.txt", bytes(12)) + member(b"b.txt") + END, True
    yield "size-blank-ended", raw_header(b"a.txt", b"   \0") + member(b"b.txt") + END, True
    yield "size-behind-zero", raw_header(b"a.txt", b"\x0000001000") + bytes(512) + member(b"b.txt") + END, False
    yield "size-words", raw_header(b"a.txt", b"0o17") + END, False
    yield "size-spaces", raw_header(b"a.txt", b"          5 ") + padded(b"hello") + END, True
    block = bytearray(raw_header(b"a\xff\xfe.txt"))
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(b - 256 if b > 127 else b for b in block)
    yield "signed-checksum", bytes(block) + END, True
    yield "bad-checksum", member() + b"X" + member(b"b.txt")[1:] + END, False
    yield "symlink-with-size", raw_header(b"l", octal(5), b"2") + padded(b"hello") + END, False
    yield "hardlink-with-size", raw_header(b"l", octal(5), b"1") + member() + END, True
    yield "hardlink-size-words", raw_header(b"l", b"/", b"1") + member() + END, False
    yield "directory-with-size", raw_header(b"d/", octal(512), b"5") + member() + END, True
    for t in b"DVMNAEIQ":
        yield f"type-{chr(t)}", raw_header(b"odd", octal(5), bytes([t])) + padded(b"hello") + member() + END, None if t in b"MN" else True
    yield "old-sparse", raw_header(b"s", octal(0), b"S") + member() + END, False
    for version, records in {"0.0": record(b"GNU.sparse.size", b"9"), "0.1": record(b"GNU.sparse.map", b"0,5"),
                             "1.0": record(b"GNU.sparse.major", b"1") + record(b"GNU.sparse.minor", b"0")}.items():
        yield f"pax-sparse-{version}", extension(b"x", records) + member() + END, False
    yield "pax-size", extension(b"x", record(b"size", b"600")) + raw_header(b"a.txt", octal(0)) + bytes(1024) + member(b"b.txt") + END, True
    yield "pax-size-twice", extension(b"x", record(b"size", b"9") + record(b"size", b"600")) + raw_header(b"a.txt") + bytes(1024) + END, True
    yield "pax-size-words", extension(b"x", record(b"size", b"-5")) + member() + END, False
    yield "pax-path", extension(b"x", record(b"path", "é.jpg".encode())) + member() + END, True
    yield "pax-path-slash", extension(b"x", record(b"path", b"a.jpg/")) + member() + END, False
    yield "pax-path-empty", extension(b"x", record(b"path", b"")) + member() + END, False
    yield "pax-twice", extension(b"x", record(b"path", b"1")) + extension(b"x", record(b"path", b"2")) + member() + END, False
    yield "pax-solaris", extension(b"X", record(b"path", b"sun.jpg")) + member() + END, True
    yield "pax-malformed", extension(b"x", b"9 path=\n") + member() + END, False
    yield "pax-blank-keyword", extension(b"x", record(b" path", b"v")) + member() + END, False
    yield "pax-too-large", raw_header(b"x", octal(2 << 20), b"x") + bytes(2 << 20) + member() + END, False
    yield "pax-without-member", extension(b"x", record(b"path", b"v")) + END, False
    yield "pax-then-nothing", extension(b"x", record(b"path", b"v")), False
    yield "global-size-same", extension(b"g", record(b"size", b"5")) + member() + END, True
    yield "global-size-other", extension(b"g", record(b"size", b"600")) + member() + bytes(512) + END, False
    yield "global-path-overridden", extension(b"g", record(b"path", b"g")) + extension(b"x", record(b"path", b"x.y")) + member() + END, True
    yield "global-path", extension(b"g", record(b"path", b"g.h")) + member() + END, False
    yield "global-then-nothing", member() + extension(b"g", record(b"comment", b"c")) + END, False
    yield "long-name-and-pax", extension(b"L", b"l.jpg\0") + extension(b"x", record(b"path", b"p.jpg")) + member() + END, False
    yield "long-name-twice", extension(b"L", b"l.jpg\0") + extension(b"L", b"m.jpg\0") + member() + END, False
    yield "long-name-unclosed", extension(b"L", b"l.jpg") + member() + END, True
    yield "long-name-4095", extension(b"L", b"l" * 4091 + b".jpg\0") + member() + END, True
    yield "long-name-too-long", extension(b"L", b"l" * 5000 + b"\0") + member() + END, False
    yield "long-link", extension(b"K", b"k" * 200 + b"\0") + raw_header(b"l", type=b"2") + member() + END, True
    yield "cut-in-payload", member(data=b"x" * 2000)[:1500], False
    yield "cut-in-padding", member()[:600], False
    yield "cut-in-header", member() + member(b"b.txt")[:300], False
    yield "empty", b"", False
    yield "text", b"this is no tar\n" * 100, False
    for magic, name in ((b"\x1f\x8b\x08", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"BZh91AY&SY", "bzip2"), (b"\xfd7zXZ\0", "xz")):
        yield f"magic-{name}", magic + bytes(2000), False


def written_by_gnu_tar(folder):
    source = folder / "source"
    (source / "deep" / ("n" * 120)).mkdir(parents=True)
    for name in ("a.jpg", "a.cls", "deep/b.JPG", f"deep/{'n' * 120}/c.png", "é.txt", "with space.txt"):
        (source / name).write_bytes(name.encode() * 50)
    os.symlink("a.jpg", source / "s.jpg")
    os.link(source / "a.jpg", source / "h.jpg")
    os.mkfifo(source / "fifo")
    for format in ("v7", "oldgnu", "gnu", "ustar", "posix"):
        for more in ([], ["--label=volume"], ["--blocking-factor=1"]):
            path = folder / f"gnu-{format}-{len(more) and more[0][2:4]}.tar"
            subprocess.run(["tar", f"--format={format}", *more, "-cf", path, "-C", source, "--sort=name", "."],
                           stderr=subprocess.DEVNULL)
            if path.exists():  # v7 has no labels
                yield path


def huge(folder):
    """Members of more than 8 GiB and 4 GiB in files of holes: base-256 and pax sizes."""
    for name, format in (("gnu", tarfile.GNU_FORMAT), ("pax", tarfile.PAX_FORMAT)):
        path = folder / f"huge-{name}.tar"
        with open(path, "wb") as out:
            for i, size in enumerate((9 << 30, 7, 5 << 30)):
                info = tarfile.TarInfo(f"{i}.bin")
                info.size = size
                out.write(info.tobuf(format))
                out.seek(size + -size % 512, io.SEEK_CUR)
            out.write(END)
        yield path


def expect(path, scan, wanted, results, bytes_too=True):
    got = oracle.check(path, scan, bytes_too)
    results[got] += 1
    if wanted is not None:
        assert (got == "equal") == wanted, f"{path.name}: {got}: {scan.refused}"


def check_data(results):
    root = oracle.data_folder("edge-tar")
    paths = sorted(p for p in root.rglob("*") if p.is_file())
    paths += sorted(root.parent.joinpath("shards/webdataset-testdata").glob("*.t*"))
    assert len(paths) > 40
    for path, scan in zip(paths, oracle.scan_all(paths)):
        expect(path, scan, None, results)
    return root


def check_cut_out(root, folder, results):
    """Every member of CPython's test archive by itself, without the sparse ones."""
    whole = root / "cpython" / "testtar.tar"
    raw = whole.read_bytes()
    with tarfile.open(whole, encoding="utf-8", errors="surrogateescape") as tar:
        starts = [m.offset for m in tar] + [tar.offset]
        sparse = [m.issparse() for m in tar]
    paths = []
    for i, (a, b) in enumerate(zip(starts, starts[1:])):
        paths.append(folder / f"cut-{i}.tar")
        paths[-1].write_bytes(raw[a:b] + END)
    for path, scan, is_sparse in zip(paths, oracle.scan_all(paths), sparse):
        expect(path, scan, False if is_sparse else None, results)
        assert is_sparse or scan.refused is None or "without its member" in scan.refused, f"{path}: {scan.refused}"


def check_generated(folder, results):
    cases = list(generated())
    paths = []
    for name, data, _ in cases:
        paths.append(folder / f"{name}.tar")
        paths[-1].write_bytes(data)
    whole = oracle.scan_all(paths)
    for path, scan, (_, _, wanted) in zip(paths, whole, cases):
        expect(path, scan, wanted, results)
    for piece in (512, 1000, 5000):
        for path, scan, other in zip(paths, whole, oracle.scan_all(paths, piece)):
            assert scan._replace(reads=None) == other._replace(reads=None), f"{path.name} in pieces of {piece}"
    by_name = dict(zip((c[0] for c in cases), whole))
    n_plain = len(pack(TYPICAL))
    assert by_name["typical-gnu"].end[1] == 0 and not by_name["typical-gnu"].end[2]
    assert by_name["unterminated-gnu"].end[2]
    assert by_name["concatenated"].end[:2] == (n_plain, n_plain)
    assert by_name["trailing-garbage"].end[:2] == (n_plain, 7)
    assert by_name["lone-zero-then-more"].end[:2] == (1536, 1024 + 1024)
    assert by_name["zeros"].members == [] and by_name["zeros"].end[1] == 0
    for name in ("bzip2", "xz"):
        assert f"compressed with {name}" in by_name[f"magic-{name}"].refused
    for name in ("gzip", "zstd"):  # no such frames
        assert re.search("damaged|cut short", by_name[f"magic-{name}"].refused)
    for path in written_by_gnu_tar(folder):
        expect(path, oracle.scan_one(path), True, results)
    return paths


def check_sizes(folder, results):
    for path in huge(folder):
        scan = oracle.scan_one(path)
        expect(path, scan, True, results, bytes_too=False)
        assert [m.size for m in scan.members] == [9 << 30, 7, 5 << 30]
        assert scan.reads[0] <= 4 and scan.reads[1] < 1 << 20, scan.reads
        with open(path, "r+b") as file:
            file.truncate((9 << 30) + 100000)
        assert "cut short" in oracle.scan_one(path).refused
    path = folder / "behind.tar"
    path.write_bytes(member() + END)
    os.truncate(path, 5 << 20)
    scan = oracle.scan_one(path)
    assert scan.end[0] + scan.end[1] == 5 << 20 and scan.end[0] == 2048 and scan.reads[1] < 3 << 20, scan.end
    small, large = folder / "small.tar", folder / "large.tar"
    small.write_bytes(pack([entry(f"{i}.txt", b"x" * 100) for i in range(5000)]))
    large.write_bytes(pack([entry(f"{i}.{e}", b"x" * n) for i in range(100) for e, n in (("jpg", 200000), ("cls", 3))]))
    scan = oracle.scan_one(small)
    assert len(scan.members) == 5000 and scan.reads[0] <= 10, scan.reads
    scan = oracle.scan_one(large)
    assert len(scan.members) == 200 and scan.reads[0] <= 110 and scan.reads[1] < 100 * 4096 + (1 << 18), scan.reads


FIELDS = [(0, 100), (100, 8), (108, 8), (124, 12), (136, 12), (156, 1), (257, 8), (329, 8), (345, 155)]
VALUES = [b"", b" ", b"\0", b"\xff" * 12, b"\x80" + bytes(11), b"00000001000\0", b"0000005", b"1234567\0", b"x", b"a/", b"/",
          b"-5", b"+5", b"7 7", b"ustar\x0000", b"ustar  \0", b"00000000000 ", b"12\0junk", b"999", b"0o5", b"1_0"]


def mutate(data, rng):
    blocks = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if len(blocks) < 1024:
            break
        at = rng.randrange(len(blocks) // 512) * 512
        block = blocks[at:at + 512]
        is_header = block[257:262] == b"ustar"
        kind = rng.randrange(8)
        if kind <= 3 and is_header:
            where, n = rng.choice(FIELDS)
            value = rng.choice(VALUES)[:n]
            block[where:where + len(value)] = value
            if rng.random() < 0.5:
                block[where:where + n] = value.ljust(n, b"\0")
        elif kind == 4 and is_header:
            block[156] = rng.choice(b"01234567xgLKXSDVMN\0AZ")
        elif kind == 5:
            block[rng.randrange(512)] = rng.randrange(256)
        elif kind == 6:
            del blocks[at:at + 512]
            continue
        else:
            other = rng.randrange(len(blocks) // 512) * 512
            blocks[at:at] = blocks[other:other + 512]
            continue
        if is_header and rng.random() < 0.97:
            fix_checksum(block)
        blocks[at:at + 512] = block
    return bytes(blocks)


def check_mutations(folder, results):
    rng = random.Random(5)
    bases = [d for name, d, _ in generated() if 512 < len(d) < 50000 and len(d) % 512 == 0 and d[257:262] == b"ustar"]
    paths = []
    for i in range(N_MUTATIONS):
        paths.append(folder / f"m{i}.tar")
        paths[-1].write_bytes(mutate(rng.choice(bases), rng))
    for path, scan in zip(paths, oracle.scan_all(paths)):
        expect(path, scan, None, results)
        path.unlink()


def main():
    results = {"equal": 0, "refused": 0}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        root = check_data(results)
        print("data:", results)
        check_cut_out(root, folder, results)
        check_generated(folder, results)
        check_sizes(folder, results)
        print("generated:", results)
        mutations = {"equal": 0, "refused": 0}
        check_mutations(folder, mutations)
        print("mutations:", mutations)
    assert mutations["equal"] > N_MUTATIONS / 8 and mutations["refused"] > N_MUTATIONS / 8


main()
