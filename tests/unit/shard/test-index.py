# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Saved indexes, DALI's, and the table of samples, each recomputed here from tarfile's reading.

argv: probe-shard. Needs Debian's python3-xxhash.
"""
import io
import os
import pathlib
import random
import struct
import subprocess
import sys
import tarfile
import tempfile

try:
    import xxhash
except ImportError:
    print("skipped: python3-xxhash is missing")
    sys.exit(77)
import oracle

STALE, ABSENT = 1, 2
MISSING, REPEATED = 0xFFFFFFFF, 0xFFFFFFFE


def make(path, names, rng, format=tarfile.GNU_FORMAT):
    with tarfile.open(path, "w", format=format) as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = rng.choice((0, 1, 511, 512, 513, rng.randrange(5000)))
            tar.addfile(info, io.BytesIO(rng.randbytes(info.size)))


def headers(path):
    """By tarfile: first header block of each member, by payload offset."""
    with tarfile.open(path) as tar:
        return {m.offset_data: m.offset for m in tar if m.isreg()}


def parse_saved(raw):
    """proto/index.md, read from the page alone."""
    magic, version, n_header = struct.unpack_from("<8sII", raw)
    size, mtime, n_samples, n_members, n_text, places, at, n_behind, skipped = struct.unpack_from("<9Q", raw, 16)
    flags, packing, content, n_raw, n_frames = struct.unpack_from("<IIQQQ", raw, 88)
    assert (magic, version, n_header, packing) == (b"RFINDEX\0", 2, 128, 0) and (n_raw, n_frames) == (size, 0)
    assert struct.unpack_from("<Q", raw, 120)[0] == xxhash.xxh64_intdigest(raw[:120])
    assert content == xxhash.xxh64_intdigest(raw[128:])
    members_at = 128 + 24 * n_samples
    text_at = members_at + 32 * n_members
    text = raw[text_at:]
    assert len(text) == n_text
    string = lambda offset: text[offset:text.index(b"\0", offset)]
    samples = []
    for i in range(n_samples):
        key, first, n, flag, none = struct.unpack_from("<QIIII", raw, 128 + 24 * i)
        rows = [struct.unpack_from("<QQQII", raw, members_at + 32 * m) for m in range(first, first + n)]
        assert none == 0 and all(r[4] == i for r in rows)
        samples.append((string(key), flag, [(string(r[3]), r[1], r[2], r[0]) for r in rows]))
    return size, mtime, samples, places, (at, n_behind, skipped, flags)


def places_hash(samples):
    return xxhash.xxh64_intdigest(b"".join(struct.pack("<QQ", p, s) for _, _, ms in samples for _, p, s, *_ in ms))


def wanted_samples(path):
    where = headers(path)
    samples, skipped = oracle.group(oracle.by_tarfile(path))
    return [(k, f, [(e, p, s, where[p]) for e, p, s in ms]) for k, f, ms in samples], skipped


def load(how, cache, path):
    lines = oracle.probe(how, cache, path)
    words = lines[0].split(" ", 2)
    return int(words[1]), words[2] if len(words) > 2 else "", oracle.parse_scan(lines[1:])


def check_saved(folder, path):
    wanted, skipped = wanted_samples(path)
    saved = pathlib.Path(f"{path}.rfidx")
    assert load("load", "-", path)[0] == ABSENT
    assert load("save", "-", path)[0] == 0 and saved.is_file()
    raw = saved.read_bytes()
    size, mtime, samples, places, rest = parse_saved(raw)
    assert samples == wanted and size == path.stat().st_size and mtime == path.stat().st_mtime_ns
    assert places == places_hash(wanted) and rest == (size, 0, skipped, 0)
    result, _, scan = load("load", "-", path)
    assert result == 0 and scan.samples == wanted and scan.end == (size, 0, False, skipped, f"{places:016x}")
    for i in (0, len(wanted) // 2, len(wanted) - 1):
        lines = oracle.probe("key", "-", path, i)
        assert lines == ["result 0", wanted[i][0].hex()], lines
    assert oracle.probe("key", "-", path, len(wanted)) == [f"result {STALE}"]
    check_damage(saved, raw, path)
    saved.unlink()
    check_cache(folder, path, wanted)


def check_damage(saved, raw, path):
    rng = random.Random(1)
    for n in (0, 1, 127, 128, len(raw) - 1):
        saved.write_bytes(raw[:n])
        assert load("load", "-", path)[0] == STALE, n
    for _ in range(40):
        bad = bytearray(raw)
        bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
        saved.write_bytes(bad)
        assert load("load", "-", path)[0] == STALE
    saved.write_bytes(raw + b"\0")
    assert load("load", "-", path)[0] == STALE
    saved.write_bytes(raw)
    times = path.stat()
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns + 1))
    assert load("load", "-", path)[0] == STALE
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert load("load", "-", path)[0] == 0


def save_as_nobody(cache, path):
    """Root may write anywhere, so as nobody."""
    nobody = {"user": 65534} if os.geteuid() == 0 else {}
    done = subprocess.run([oracle.PROBE, "save", cache, path], capture_output=True, text=True, **nobody)
    assert done.stdout.startswith("result 0"), done
    assert not pathlib.Path(f"{path}.rfidx").exists()


def check_cache(folder, path, wanted):
    """Beside the shard wherever that can be written, also with a cache folder; else there, or the user's."""
    beside = pathlib.Path(f"{path}.rfidx")
    name = f"{xxhash.xxh64_hexdigest(os.fsencode(os.path.realpath(path)))}-{path.name}.rfidx"
    cache, home = folder / "cache", folder / "home"
    for made in (cache, home):
        made.mkdir()
        made.chmod(0o777)
    os.environ["XDG_CACHE_HOME"] = str(home)
    assert load("save", cache / "deep", path)[0] == 0 and beside.is_file() and not list(cache.iterdir())
    assert load("load", cache / "deep", path)[2].samples == wanted
    beside.unlink()
    folder.chmod(0o755)
    path.parent.chmod(0o555)
    path.chmod(0o444)
    for option, where in ((cache / "deep", cache / "deep"), ("-", home / "ringfeed")):
        assert load("load", option, path)[0] == ABSENT
        save_as_nobody(option, path)
        assert [p.name for p in where.iterdir()] == [name]
        assert load("load", option, path)[2].samples == wanted
        assert oracle.probe("key", option, path, 0)[0] == "result 0"
    path.parent.chmod(0o755)


def wds2idx(path, version="v1.2"):
    """DALI's tools/wds2idx.py in short."""
    samples, last = [], None
    with tarfile.open(path) as tar:
        for m in tar:
            if not m.isreg():
                continue
            if "." not in m.name:
                continue
            dot = m.name.find(".", m.name.rfind("/") + 1)
            key, extension = m.name[:dot], m.name[dot + 1:]
            if not key or key.endswith("/"):
                continue
            if key != last:
                samples.append([])
                last = key
            samples[-1].append(f"{extension} {m.offset_data} {m.size}" + (f" {m.name}" if version == "v1.2" else ""))
    text = f"{version} {len(samples)}\n" + "".join(" ".join(s) + "\n" for s in samples)
    path.with_suffix(".idx").write_text(text)
    return text


def check_dali(folder, rng):
    path = folder / "dali.tar"
    idx = path.with_suffix(".idx")
    plain = [f"d/{i:04}.{e}" for i in range(50) for e in ("jpg", "CLS", "seg.png")]
    make(path, plain, rng)
    assert load("dali", "-", path)[0] == ABSENT
    text = wds2idx(path)
    result, why, scan = load("dali", "-", path)
    assert result == 0, why
    assert scan.samples == oracle.scan_one(path).samples == wanted_samples(path)[0]
    assert scan.end == oracle.scan_one(path).end

    def stale(part):
        result, why, _ = load("dali", "-", path)
        assert result == STALE and part in why and "scanned" in why, (result, why)

    for bad in (text[:-20], text.replace("v1.2 50", "v1.2 51"), text.replace("v1.2", "v1.3"), "", "v1.2", "v1.2 0\n",
                text.replace(" 512 ", " 1024 ", 1), text.replace("0003.jpg", "0003"), text.replace("jpg", "png", 1),
                text.replace("d/0000.jpg", "d/000x.jpg"), text + "jpg 99999999 5 d/z.jpg\n", text + "\n", text[:40] + "\xe9" * 300 + text[40:]):
        idx.write_text(bad)
        stale("")
    wds2idx(path, "v1.1")
    stale("v1.2")
    wds2idx(path)
    times = path.stat()
    os.utime(idx, ns=(0, times.st_mtime_ns - 1))
    stale("older")
    for names, format, part in ((plain + ["README"], tarfile.GNU_FORMAT, "behind"), (["README"] + plain, tarfile.GNU_FORMAT, "header"),
                                (["x" * 120 + ".jpg"], tarfile.GNU_FORMAT, "100"), (["a.jpg", "é.jpg"], tarfile.PAX_FORMAT, "header"),
                                (["a.jpg", "b c.jpg"], tarfile.GNU_FORMAT, "")):
        make(path, names, rng, format)
        wds2idx(path)
        stale(part)
    make(path, plain, rng)
    wds2idx(path)
    with open(path, "ab") as file:
        file.write(path.read_bytes())
    os.utime(path, ns=(0, 0))
    stale("behind")


def check_table(folder, rng):
    fields = [["jpg", "jpeg", "png"], ["cls"], ["seg.png", "nothing"]]
    paths, rows, starts, fingerprint, extents = [], [], [], xxhash.xxh3_128(), []
    for i in range(4):
        names = [f"{'deep/' * (40 * (k % 13 == 0))}{k}.{e}" for k in range(30 * (i != 2))
                 for e in rng.sample(["png", "jpeg", "jpg", "CLS", "txt", "seg.png"], rng.randrange(1, 6))]
        if i == 1:
            names += ["twice.jpg", "twice.cls", "twice.JPG", "noext", "k.__key__"]
        paths.append(folder / f"table-{i}.tar")
        make(paths[-1], names, rng, (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)[i % 2])
        samples, _ = wanted_samples(paths[-1])
        starts.append(len(rows))
        longest, sizes = 0, []
        for _, flag, members in samples:
            row = []
            for extensions in fields:
                found = [next((m for m in members if m[0] == e.encode()), None) for e in extensions]
                found = next((m for m in found if m), None)
                if flag:
                    row.append((REPEATED, 0))
                elif not found:
                    row.append((MISSING, MISSING))
                else:
                    row.append((found[3] // 512, found[2]))
                    longest = max(longest, found[1] - found[3])
                    sizes.append(found[2])
            rows.append(row)
        extents += [longest + s for s in sizes]
        starts[-1] = (starts[-1], longest)
        fingerprint.update(paths[-1].name.encode() + b"\0")
        fingerprint.update(struct.pack("<QQQ", paths[-1].stat().st_size, len(samples), places_hash(samples)))
    lines = oracle.probe("table", ";".join(",".join(f) for f in fields), *paths)
    got = [[tuple(map(int, w.split(":"))) for w in l.split(" ")[1:]] for l in lines if l.startswith("row")]
    assert got == rows, "the table differs"
    assert [tuple(map(int, l.split(" ")[1:])) for l in lines if l.startswith("shard")] == starts
    assert lines[-1] == f"end {len(rows)} {max(extents)} {sum(extents)} {fingerprint.hexdigest()}", lines[-1]
    flat = [c for r in rows for c in r]
    assert (REPEATED, 0) in flat and (MISSING, MISSING) in flat and len(set(l for _, l in starts)) > 1


def check_limits(folder):
    path = folder / "large.tar"
    with open(path, "wb") as out:
        for name, size in (("a.cls", 3), ("a.jpg", (4 << 30) - 1)):
            info = tarfile.TarInfo(name)
            info.size = size
            out.write(info.tobuf(tarfile.GNU_FORMAT))
            out.seek(size + -size % 512, io.SEEK_CUR)
        out.write(bytes(1024))
    refused = oracle.probe("table", "jpg", path)[0]
    assert refused.startswith("refused") and "offset 1024" in refused and str((4 << 30) - 1) in refused, refused
    assert oracle.probe("table", "cls", path)[0] == "row 0:3"


def main():
    rng = random.Random(11)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "shards").mkdir()
        path = folder / "shards" / "some.tar"
        make(path, [f"{'n' * (i % 150)}{i}.{e}" for i in range(200) for e in ("jpg", "cls")] + ["README", "a.x", "a.X"], rng)
        check_saved(folder, path)
        check_dali(folder, rng)
        check_table(folder, rng)
        check_limits(folder)
    print(f"xxhash {xxhash.VERSION}: saved, DALI's, table and fingerprint agree")


main()
