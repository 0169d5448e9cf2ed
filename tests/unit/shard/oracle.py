# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""What other readers make of a tar: Python's tarfile, GNU tar, and WebDataset's grouping by `re`."""
import collections
import gzip
import os
import pathlib
import re
import subprocess
import sys
import tarfile

Member = collections.namedtuple("Member", "name payload size")
Scan = collections.namedtuple("Scan", "members headers samples refused end reads differs")
PROBE = sys.argv[1] if len(sys.argv) > 1 else None


def data_folder(*parts):
    root = pathlib.Path(os.environ.get("RINGFEED_TEST_DATA", "../shared/data")).joinpath(*parts)
    if not root.is_dir():
        print(f"skipped: no test data at {root}")
        sys.exit(77)
    return root


def unhex(word):
    return b"" if word == "-" else bytes.fromhex(word)


def probe(*args):
    done = subprocess.run([PROBE, *map(str, args)], capture_output=True)
    if done.returncode != 0:
        raise AssertionError(f"probe {args}: exit {done.returncode}: {done.stderr[-2000:]!r}")
    return done.stdout.decode("utf-8", "surrogateescape").splitlines()


def parse_sample(words):
    members = []
    for word in words[3:]:
        header, payload, size, extension = word.split(":")
        members.append((unhex(extension), int(payload), int(size), int(header)))
    return unhex(words[2]), int(words[1]), members


def parse_scan(lines):
    members, headers, samples, refused, end, reads, differs = [], [], [], None, None, None, False
    for line in lines:
        words = line.split(" ")
        if words[0] == "member":
            members.append(Member(unhex(words[4]), int(words[2]), int(words[3])))
            headers.append(int(words[1]))
            differs |= len(words) > 5
        elif words[0] == "sample":
            samples.append(parse_sample(words))
        elif words[0] == "refused":
            refused = line[8:]
        elif words[0] == "end":
            end = (int(words[1]), int(words[2]), words[3] == "1", int(words[4]), words[5])
        elif words[0] == "reads":
            reads = (int(words[1]), int(words[2]))
    return Scan(members, headers, samples, refused, end, reads, differs)


def scan_all(paths, piece=0):
    """Our reading of many archives at once."""
    scans, lines = [], None
    for start in range(0, len(paths), 500):
        for line in probe("scan", piece, *paths[start:start + 500]):
            if line.startswith("archive "):
                if lines is not None:
                    scans.append(parse_scan(lines))
                lines = []
            else:
                lines.append(line)
        scans.append(parse_scan(lines))
        lines = None
    assert len(scans) == len(paths)
    return scans


def scan_one(path, piece=0):
    return scan_all([path], piece)[0]


def is_gzip(path):
    with open(path, "rb") as file:
        return file.read(2) == b"\x1f\x8b"


def by_tarfile(path):
    """(regular members, or None where tarfile raises)."""
    members = []
    try:
        with tarfile.open(path, "r:gz" if is_gzip(path) else "r:", encoding="utf-8", errors="surrogateescape") as tar:
            for m in tar:
                if m.isreg() and not m.name.endswith("/"):
                    name = m.name.encode("utf-8", "surrogateescape")
                    members.append(Member(name, m.offset_data, m.size))
    except (tarfile.TarError, ValueError, EOFError, OverflowError, RecursionError, IndexError):
        return None
    return members


LISTED = re.compile(rb"([-C])\S+ +\S+ +(\d+) ")


def unescape(text):
    names = {b"n": b"\n", b"t": b"\t", b"\\": b"\\", b"a": b"\a", b"b": b"\b", b"f": b"\f",
             b"r": b"\r", b"v": b"\v", b" ": b" ", b'"': b'"'}
    return re.sub(rb"\\([0-7]{3}|.)", lambda m: names[m[1]] if len(m[1]) == 1 else bytes([int(m[1], 8)]), text)


def list_lines(path, *options):
    env = {**os.environ, "LC_ALL": "C", "TZ": "UTC"}
    done = subprocess.run(["tar", "--list", "--quoting-style=escape", *options, "-f", path],
                          capture_output=True, env=env, stdin=subprocess.DEVNULL)
    return done.stdout.split(b"\n")[:-1], done.returncode


def by_gnu_tar(path):
    """([(name, size)] of regular members, whether all types are POSIX's). Sizes stand in the long listing,
    names alone in the short one."""
    names, _ = list_lines(path)
    rows, _ = list_lines(path, "-v", "--numeric-owner")
    assert len(names) == len(rows), f"{path}: {names} {rows}"
    members = []
    for name, row in zip(names, rows):
        match = LISTED.match(row)
        if match and not name.endswith(b"/"):
            members.append((unescape(name), int(match[2])))
    return members, all(row[:1] in b"-dlhbcpC" for row in rows)


def gnu_payloads(path):
    return subprocess.run(["tar", "--extract", "--to-stdout", "-f", path], capture_output=True,
                          stdin=subprocess.DEVNULL).stdout


SPLIT = re.compile(r"^((?:.*/|)[^.]+)[.]([^/]*)$")
META = re.compile(r"__[^/]*__($|/)")


def ascii_lower(text):
    return "".join(c.lower() if c.isascii() else c for c in text)


def group(members):
    """WebDataset's tariterators on (name, payload, size): [(key, flags, [(extension, payload, size)])]."""
    samples, skipped = [], 0
    for name, payload, size in members:
        text = name.decode("utf-8", "surrogateescape")
        match = None
        if not META.match(text) and not ("/" not in text and text.startswith("__") and text.endswith("__")):
            match = SPLIT.match(text)
        if not match:
            skipped += 1
            continue
        key, extension = match[1], ascii_lower(match[2])
        if not samples or samples[-1][0] != key:
            samples.append([key, 0, []])
        taken = {e for e, _, _ in samples[-1][2]} | {"__key__", "__url__"}
        samples[-1][1] |= extension in taken
        samples[-1][2].append((extension, payload, size))
    encode = lambda s: s.encode("utf-8", "surrogateescape")
    return [(encode(k), f, [(encode(e), p, s) for e, p, s in m]) for k, f, m in samples], skipped


def check(path, scan, bytes_too=True):
    """One archive: refused with an offset, or equal to both readers and to WebDataset's grouping."""
    if scan.refused is not None:
        assert re.search(r"offset \d+", scan.refused), scan.refused
        return "refused"
    assert not scan.differs, f"{path}: a header read back differs from the scan"
    theirs = by_tarfile(path)
    assert theirs == scan.members, f"{path}: tarfile {theirs} ours {scan.members}"
    gnu, is_posix = by_gnu_tar(path)
    ours = [(m.name, m.size) for m in scan.members]
    assert gnu == ours, f"{path}: GNU tar {gnu}, ours {ours}"
    if bytes_too and is_posix:  # it writes out types that nobody knows
        raw = pathlib.Path(path).read_bytes()
        raw = gzip.decompress(raw) if is_gzip(path) else raw
        assert gnu_payloads(path) == b"".join(raw[m.payload:m.payload + m.size] for m in scan.members), path
    samples, skipped = group(scan.members)
    got = [(k, f, [m[:3] for m in ms]) for k, f, ms in scan.samples]
    assert got == samples, f"{path}: groups {samples}, ours {got}"
    assert scan.end[3] == skipped, path
    return "equal"
