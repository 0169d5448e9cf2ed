# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""pack against Python: shards read by tarfile and grouped by WebDataset's regex; labels; the same bytes however often it
is killed; what is refused and what is left out, by name."""
import csv
import errno
import hashlib
import io
import json
import os
import random
import re
import resource
import signal
import struct
import subprocess
import tarfile
import time

from PIL import Image, ImageOps
import xxhash

import scene

GROUPING = re.compile(r"^((?:.*/|)[^.]+)[.]([^/]*)$")
PHOTOS = scene.photos("imagenet-sample")


def groups(shards):
    """What a WebDataset reader makes of the shards: (key, {extension: bytes}), and every member's header."""
    samples, headers = [], []
    for shard in shards:
        key = None
        with tarfile.open(shard, "r|") as tar:
            for member in tar:
                headers.append(member)
                found = GROUPING.match(member.name)
                assert found and member.isreg(), member.name
                if found[1] != key:
                    key = found[1]
                    samples.append((key, {}))
                assert found[2] not in samples[-1][1], member.name
                samples[-1][1][found[2].lower()] = tar.extractfile(member).read()
    return samples, headers


def shards_of(folder, name="in"):
    return sorted(folder.glob(f"{name}-*.tar"))


def digests(folder, name="in"):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in shards_of(folder, name)}


def make_tree(folder, n, classes=5):
    """n photos as links below class folders; returns {key: (path, class)}."""
    expected = {}
    for i, photo in enumerate(PHOTOS[:n]):
        group = f"class {i * 7 % classes:02d}.x"
        path = folder / group / ("deep.er" if i % 3 == 0 else ".") / f"{i:04d}.{photo.stem}.{'JPG' if i % 2 else 'jpeg'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(photo)
        inside = path.relative_to(folder)
        expected[str(inside.parent / inside.stem.replace(".", "_"))] = (photo, group)
    return expected


def pack(*arguments, status=0):
    done = scene.ringfeed("pack", *arguments, check=False)
    assert done.returncode == status and not done.stdout, (arguments, done)
    return done.stderr


def no_parts(folder):
    assert not list(folder.glob("*.part")), list(folder.iterdir())


def tree(folder):
    expected = make_tree(folder / "photos", 120)
    said = pack(folder / "photos", folder / "out", "--name", "in", "--samples", "50")
    assert "120 samples, 3 shards, 5 classes" in said, said
    samples, headers = groups(shards_of(folder / "out"))
    classes = (folder / "out" / "classes.txt").read_text().splitlines()
    assert classes == sorted({group for _, group in expected.values()})
    assert [key for key, _ in samples] == sorted(expected, key=str.encode)
    for key, members in samples:
        photo, group = expected[key]
        extension = "jpg" if "jpg" in members else "jpeg"
        assert members == {extension: photo.read_bytes(), "cls": str(classes.index(group)).encode()}, key
    for h in headers:
        assert (h.mtime, h.uid, h.gid, h.mode, h.uname, h.gname) == (0, 0, 0, 0o644, "", ""), h
    for shard in shards_of(folder / "out"):
        assert shard.stat().st_size % 10240 == 0 and shard.read_bytes()[257:265] == b"ustar\x0000"
    # another run elsewhere, from the same source, gives the same bytes
    pack(folder / "photos", folder / "again", "--name", "in", "--samples", "50")
    assert digests(folder / "out") == digests(folder / "again")
    # each index beside a shard is what a scan of that shard gives
    for shard in shards_of(folder / "out"):
        index = shard.with_name(shard.name + ".rfidx")
        ours = index.read_bytes()
        assert scene.ringfeed("index", shard).stdout.strip().endswith("saved")
        index.unlink()
        assert scene.ringfeed("index", shard).stdout.strip().endswith("scanned")
        assert index.read_bytes() == ours, shard


def sizes(folder):
    """No shard above --shard-size, none that could have taken the next sample; nor does a daemon mind."""
    make_tree(folder / "photos", 100)
    pack(folder / "photos", folder / "out", "--name", "in", "--shard-size", "2MiB")
    shards = shards_of(folder / "out")
    assert len(shards) > 3 and all(s.stat().st_size <= 2 << 20 for s in shards)
    firsts = [sum(512 + -(-len(d) // 512) * 512 for d in groups([s])[0][0][1].values()) for s in shards]
    for shard, following in zip(shards, firsts[1:]):
        used = sum(512 + -(-h.size // 512) * 512 for h in groups([shard])[1])
        assert -(-(used + following + 1024) // 10240) * 10240 > 2 << 20, shard
    config = scene.write_config(folder, {"train": scene.feed(shards, size=10)})
    assert "100 samples" in scene.ringfeed("plan", "-c", config).stdout


def lists(folder):
    rows = [(f"{i:03d}.v1.jpg", photo) for i, photo in enumerate(PHOTOS[:30])]
    (folder / "data").mkdir()
    for name, photo in rows:
        (folder / "data" / name).symlink_to(photo)
    words = ["owl, great", 'the "cat"', "12", "été"]
    random.Random(4).shuffle(rows)
    with open(folder / "list.csv", "w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "label", "path"])
        writer.writerows([i, words[i % 4], f"data/{name}"] for i, (name, _) in enumerate(rows))
    pack(folder / "list.csv", folder / "csv", "--name", "in")
    classes = (folder / "csv" / "classes.txt").read_text(encoding="utf-8").splitlines()
    assert classes == sorted(words, key=str.encode), classes
    samples, _ = groups(shards_of(folder / "csv"))
    assert [(key, m["cls"], m["jpg"]) for key, m in samples] == [
        (f"data/{name[:3]}_v1", str(classes.index(words[i % 4])).encode(), photo.read_bytes())
        for i, (name, photo) in enumerate(rows)]
    with open(folder / "list.jsonl", "w") as file:
        for i, (name, _) in enumerate(rows):
            file.write(json.dumps({"path": str(folder / "data" / name), "label": 40 - i * 3, "more": [i]}) + "\n")
    pack(folder / "list.jsonl", folder / "jsonl", "--name", "in", "--shuffle", "3")
    samples, _ = groups(shards_of(folder / "jsonl"))
    expected = {f"{folder}/data/{name[:3]}_v1".lstrip("/"): str(40 - i * 3).encode() for i, (name, _) in enumerate(rows)}
    assert {key: m["cls"] for key, m in samples} == expected and len(samples) == 30
    assert [key for key, _ in samples] not in (list(expected), sorted(expected))  # shuffled
    assert not (folder / "jsonl" / "classes.txt").exists()
    # the numbers of another pack's classes
    made = pack(folder / "list.csv", folder / "csv", "--name", "val", "--classes", folder / "csv" / "classes.txt")
    assert "4 classes" in made and (folder / "csv" / "val-000000.tar").exists()
    (folder / "three.txt").write_text("12\n\xe9t\xe9\nowl, great\n", encoding="utf-8")
    said = pack(folder / "list.csv", folder / "three", "--name", "in", "--classes", folder / "three.txt", status=1)
    assert said.count('its class is not in the list of classes: the "cat"') == len(rows[1::4]), said
    assert {m["cls"] for _, m in groups(shards_of(folder / "three"))[0]} == {b"0", b"1", b"2"}
    for text, name, words in (
            ("file,label\na.jpg,1\n", "x.csv", "x.csv:1: the first line must name the columns path and label"),
            ('path,label\n"a.jpg,1\n', "x.csv", "x.csv:2: a quote that does not close"),
            ("path,label\na.jpg\n", "x.csv", "x.csv:2: the row has too few columns"),
            ("path,label\na.jpg,\n", "x.csv", "x.csv:2: path or label is empty"),
            ('{"path": "a.jpg"}\n', "x.jsonl", "x.jsonl:1: no object with"),
            ('{"path": "data/000.v1.jpg", "label": 1}\n{"path": "data/001.v1.jpg", "label": "1"}\n', "x.jsonl",
             "some labels are strings, some are integers"),
            ('{"path"', "x.jsonl", "x.jsonl:1: ")):
        (folder / name).write_text(text)
        assert words in pack(folder / name, folder / "bad", "--name", "in", status=1)
        assert not (folder / "bad").exists()
    # lists that are nonsense are refused, or rows of them left out
    chance, good = random.Random(11), {name: (folder / f"list.{name}").read_bytes() for name in ("csv", "jsonl")}
    for i in range(60):
        name = ("csv", "jsonl")[i % 2]
        data = bytearray(good[name])
        for _ in range(chance.randrange(1, 9)):
            at = chance.randrange(len(data))
            strange = bytes(chance.choice(b'",\n\r\0{}:x\xff/.') for _ in range(chance.randrange(3)))
            data[at:at + chance.randrange(3)] = strange
        (folder / f"nonsense.{name}").write_bytes(data)
        done = scene.ringfeed("pack", folder / f"nonsense.{name}", folder / f"nonsense-{i}", "--name", "in", check=False)
        assert done.returncode in (0, 1) and done.stderr, (bytes(data), done)


def tars(folder):
    """Tars cut anew keep every sample, member for member."""
    old = scene.pack_photos(folder, "old", PHOTOS[:90], 40)
    with tarfile.open(folder / "old-more.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in (("s000000.jpg", b"another s000000"), ("s000000.txt", b""), ("x/y.seg.png", b"\0" * 3000000)):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.pax_headers = {"comment": "long" * 200}
            tar.addfile(info, io.BytesIO(data))
    pack(folder / "old-*.tar", folder / "new", "--name", "in", "--samples", "25")
    before, _ = groups([*old, folder / "old-more.tar"])
    after, _ = groups(shards_of(folder / "new"))
    assert before == after and len(shards_of(folder / "new")) == 4
    (folder / "broken.tar").write_bytes(old[0].read_bytes()[:200000])
    said = pack(folder / "{old-000001,broken}.tar", folder / "half", "--name", "in", status=1)
    assert "broken.tar" in said and "cut short" in said and len(groups(shards_of(folder / "half"))[0]) == 40


def left_out(folder):
    photos = folder / "photos"
    make_tree(photos, 6, classes=2)
    good = photos / "class 00.x"
    (good / "a.jpg").symlink_to(PHOTOS[10])
    (good / "a.png").symlink_to(PHOTOS[11])           # the same key
    (good / "empty.jpg").touch()
    (good / "text.jpg").write_text("no picture, in spite of its name")
    (good / "line\nbreak.jpg").symlink_to(PHOTOS[12])
    (good / "gone.jpg").symlink_to("nowhere")
    (good / ("n" * 101 + ".jpg")).symlink_to(PHOTOS[13])
    (photos / "loose.jpg").symlink_to(PHOTOS[14])     # in no class folder
    (good / "loop").symlink_to(photos)
    os.mkfifo(good / "pipe.jpg")
    (good / "notes.txt").write_text("notes")
    reasons = {"a.png": "same key", "empty.jpg": "empty", "text.jpg": "first bytes", "line?break.jpg": "control characters",
               "gone.jpg": "No such file", "n" * 101: "too long", "loose.jpg": "class folder", "loop": "a link to a folder",
               "pipe.jpg": "not a regular file", "notes.txt": "not an image"}
    said = pack(photos, folder / "out", "--name", "in", status=1)
    for name, reason in reasons.items():
        assert any(name in line and reason in line for line in said.splitlines()), (name, said)
    assert said.count("left out: /") == len(reasons) and "left out: 8 images, 2 other files" in said, said
    first = digests(folder / "out")
    samples, _ = groups(shards_of(folder / "out"))
    assert len(samples) == 7 and pack(photos, folder / "out", "--name", "in", "--skip-bad")
    assert digests(folder / "out") == first
    no_parts(folder / "out")
    if os.geteuid() != 0:
        (good / "secret.jpg").write_bytes(PHOTOS[15].read_bytes())
        (good / "secret.jpg").chmod(0)
        assert "Permission denied" in pack(photos, folder / "out2", "--name", "in", status=1)
    # folders without classes: no labels, and that is said
    flat = folder / "flat"
    flat.mkdir()
    (flat / "b.jpg").symlink_to(PHOTOS[0])
    assert "no labels" in pack(flat, folder / "out3", "--name", "in")
    assert groups(shards_of(folder / "out3"))[0] == [("b", {"jpg": PHOTOS[0].read_bytes()})]


def refusals(folder):
    make_tree(folder / "photos", 20)
    out = folder / "out"
    pack(folder / "photos", out, "--name", "in", "--samples", "7")
    first, times = digests(out), {p: p.stat().st_mtime_ns for p in out.iterdir()}
    assert "3 of the shards were there already" in pack(folder / "photos", out, "--name", "in", "--samples", "7")
    make_tree(folder / "other", 9)
    for arguments, words in (
            ((folder / "photos", out, "--name", "in", "--samples", "8"), "other options"),
            ((folder / "photos", out, "--name", "in", "--samples", "7", "--shuffle", "5"), "other options"),
            ((folder / "other", out, "--name", "in", "--samples", "7"), f"{folder}/photos"),
            ((folder / "photos", folder / "photos"), "cannot lie in the folder"),
            ((folder / "nowhere" / "x.csv", out), "No such file"),
            ((folder / "nothing" / "*.tar", out), "nothing")):
        said = pack(*arguments, status=1)
        assert words in said, (arguments, said)
    (folder / "photos" / "class 00.x" / "more.jpg").symlink_to(PHOTOS[50])
    assert "the source has changed" in pack(folder / "photos", out, "--name", "in", "--samples", "7", status=1)
    assert digests(out) == first, (digests(out), first)
    assert all(p.stat().st_mtime_ns == t for p, t in times.items())
    pack(folder / "other", out, "--name", "in", "--samples", "7", "--force")
    assert len(groups(shards_of(out))[0]) == 9 and len(shards_of(out)) == 2
    assert sorted(p.name for p in out.iterdir()) == ["classes.txt", "in-000000.tar", "in-000000.tar.rfidx",
                                                     "in-000001.tar", "in-000001.tar.rfidx", "in-pack.jsonl"]
    strange = folder / "strange"
    strange.mkdir()
    (strange / "in-000005.tar").write_bytes(b"precious")
    assert "--force" in pack(folder / "other", strange, "--name", "in", status=1)
    assert [p.name for p in strange.iterdir()] == ["in-000005.tar"]
    for words in (["--name", "a/b"], ["--name", "a b"], ["--shard-size", "12"], ["--samples", "0"], ["--name", "{1..3}"]):
        pack(folder / "other", folder / "x", *words, status=2)


def start(*arguments):
    return subprocess.Popen([scene.BINARY, "pack", *map(str, arguments)], stderr=subprocess.PIPE, text=True)


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(n) for n in file.read().split()]
    except FileNotFoundError:
        return []


def whole(folder):
    """Every shard under its final name is a whole one."""
    for shard in shards_of(folder):
        groups([shard])
        assert shard.read_bytes()[-1024:] == bytes(1024)


def killed(folder):
    """Killed at random points until it is through; and stopped by Ctrl-C."""
    n = int(os.environ.get("RINGFEED_SCENE_KILLS", "5"))
    make_tree(folder / "photos", 600)
    arguments = [folder / "photos", folder / "out", "--name", "in", "--shard-size", "4MiB", "--shuffle", "9"]
    began = time.monotonic()
    pack(folder / "photos", folder / "whole", *arguments[2:])
    lasted = time.monotonic() - began
    expected, chance, n_cut, n_tried = digests(folder / "whole"), random.Random(n), 0, 0
    while n_cut < n and n_tried < 10 * n:
        n_tried += 1
        process = start(*arguments)
        time.sleep(chance.random() * lasted)
        process.kill()
        n_cut += process.wait() == -signal.SIGKILL
        process.stderr.close()
        whole(folder / "out")
        if len(digests(folder / "out")) == len(expected):
            for path in shards_of(folder / "out")[chance.randrange(len(expected)):]:
                path.unlink()  # it was through: some are lost
    said = pack(*arguments)
    assert digests(folder / "out") == expected, said
    no_parts(folder / "out")
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        out = folder / f"stopped-{code}"
        process = start(folder / "photos", out, *arguments[2:])
        scene.wait_until(lambda folder=out: shards_of(folder) or process.poll() is not None)
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
        if process.returncode:
            assert process.returncode == code and "the same command goes on" in said, (process.returncode, said)
        no_parts(out)
        whole(out)
        pack(folder / "photos", out, *arguments[2:])
        assert digests(out) == expected
    assert n_cut == n
    print(f"{n_cut} of {n_tried} kills cut it short; {len(expected)} shards in {lasted:.2f} s")


def one_at_a_time(folder):
    """Two packs into one name: one does it, the other is refused or finds it done."""
    make_tree(folder / "photos", 300)
    arguments = [folder / "photos", folder / "out", "--name", "in", "--shard-size", "4MiB"]
    both = [start(*arguments) for _ in range(2)]
    ends = [(p.communicate(timeout=60)[1], p.returncode) for p in both]
    assert 0 in [code for _, code in ends], ends
    for said, code in ends:
        assert code == 0 or "another ringfeed pack is at work" in said, ends
    pack(folder / "photos", folder / "alone", *arguments[2:])
    assert digests(folder / "out") == digests(folder / "alone")


def full_disk(folder):
    """A shard that cannot be written is one clear error, nothing of it stays, and the pack goes on when there is room."""
    def no_large_files():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 20, 3 << 20))

    make_tree(folder / "photos", 100)
    arguments = [folder / "photos", folder / "out", "--name", "in", "--shard-size", "4MiB"]
    done = scene.ringfeed("pack", *arguments, check=False, preexec_fn=no_large_files)
    assert done.returncode == 1 and "in-000000.tar.part: File too large" in done.stderr, done
    no_parts(folder / "out")
    assert not shards_of(folder / "out")
    pack(*arguments)
    # and without io_uring the bytes are the same
    wrap = [os.environ["RINGFEED_WITHOUT_URING"], "setup", str(errno.EPERM)]
    without = subprocess.run([*wrap, scene.BINARY, "pack", str(arguments[0]), str(folder / "threads"), *arguments[2:]],
                             capture_output=True, text=True)
    assert without.returncode == 0 and digests(folder / "threads") == digests(folder / "out"), without


def large(folder):
    """A file of several pieces, and one that ends on a block's edge."""
    Image.frombytes("RGB", (1400, 1100), random.Random(1).randbytes(1400 * 1100 * 3)).save(folder / "noise.png")
    data = (folder / "noise.png").read_bytes()
    assert len(data) > 4 << 20
    (folder / "c").mkdir()
    (folder / "c" / "large.png").write_bytes(data)
    (folder / "c" / "round.png").write_bytes(data[:1 << 20])
    pack(folder / "c", folder / "out", "--name", "in")
    assert groups(shards_of(folder / "out"))[0] == [("large", {"png": data}), ("round", {"png": data[:1 << 20]})]


def compressed(folder):
    """--zstd: the same tars inside, for zstd and tar as for who reads by the seek table; each frame holds whole samples."""
    make_tree(folder / "photos", 60)
    noise = folder / "photos" / "class 00.x" / "noise.png"
    Image.frombytes("RGB", (1500, 1400), random.Random(1).randbytes(1500 * 1400 * 3)).save(noise)
    options = ["--name", "in", "--shard-size", "7MiB", "--shuffle", "5"]
    pack(folder / "photos", folder / "plain", *options)
    pack(folder / "photos", folder / "out", *options, "--zstd")
    n_frames = 0
    for shard in sorted((folder / "out").glob("*.tar.zst")):  # the index it leaves is the one that a scan makes
        saved = (folder / "out" / (shard.name + ".rfidx"))
        written = saved.read_bytes()
        saved.unlink()
        scene.ringfeed("index", shard)
        assert saved.read_bytes() == written
    for plain in shards_of(folder / "plain"):
        shard = folder / "out" / (plain.name + ".zst")
        data, whole = shard.read_bytes(), plain.read_bytes()
        assert subprocess.run(["zstd", "-dc", shard], capture_output=True, check=True).stdout == whole
        assert subprocess.run(["tar", "--zstd", "-tf", shard], capture_output=True, check=True).stdout == \
            subprocess.run(["tar", "-tf", plain], capture_output=True, check=True).stdout
        n, flags, magic = struct.unpack("<IBI", data[-9:])
        assert (flags, magic) == (0x80, 0x8F92EAB1)
        table = len(data) - 9 - 12 * n
        assert struct.unpack("<II", data[table - 8:table]) == (0x184D2A5E, 12 * n + 9)
        with tarfile.open(plain) as tar:
            keys = [(m.offset, m.offset_data + -(-m.size // 512) * 512, GROUPING.match(m.name)[1]) for m in tar]
        starts = {min(begin for begin, _, other in keys if other == key) for _, _, key in keys}
        inside = {b for begin, end, _ in keys if end - begin > 2 << 20 for b in range(begin, end, 512)}
        packed_at = raw_at = 0
        for i in range(n):
            n_packed, n_raw, checksum = struct.unpack("<III", data[table + 12 * i:table + 12 * i + 12])
            frame = data[packed_at:packed_at + n_packed]
            raw = subprocess.run(["zstd", "-dc"], input=frame, capture_output=True, check=True).stdout
            assert raw == whole[raw_at:raw_at + n_raw] and checksum == xxhash.xxh64_intdigest(raw) & 0xFFFFFFFF
            assert raw_at in starts or raw_at in inside or raw_at >= keys[-1][1], (shard, raw_at)
            packed_at, raw_at = packed_at + n_packed, raw_at + n_raw
        assert packed_at == table - 8 and raw_at == len(whole)
        n_frames += n
    assert n_frames > 10
    assert "with other options" in pack(folder / "photos", folder / "out", *options, status=1)
    pack(folder / "photos", folder / "out", *options, "--force")
    assert not list(folder.glob("out/*.zst")) and digests(folder / "out") == digests(folder / "plain")


def resized(folder):
    """--long-side against Pillow: the very pixels of exif_transpose, resize by LANCZOS and save with quality 95; what is
    small enough stays byte for byte."""
    photos = folder / "photos" / "c"
    photos.mkdir(parents=True)
    sources = PHOTOS[:30] + [p for p in scene.photos("photos-exif")][:20] + scene.photos("edge-jpeg/exif-orientation")
    sources += scene.photos("kodak")[:2]
    for i, source in enumerate(sources):
        (photos / f"{i:03d}{source.suffix.lower()}").symlink_to(source)
    (photos / "cut.jpg").write_bytes(PHOTOS[3].read_bytes()[:20000])
    said = pack(folder / "photos", folder / "out", "--name", "in", "--long-side", "320", "--samples", "40", status=1)
    assert "cut.jpg: the image cannot be decoded" in said and "left out: 1 image," in said, said
    samples, n_same = groups(shards_of(folder / "out"))[0], 0
    assert [key for key, _ in samples] == [f"c/{i:03d}" for i in range(len(sources))]
    for (key, members), source in zip(samples, sources):
        with Image.open(source) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
        width, height = upright.size
        assert members.pop("cls") == b"0"
        (extension, data), = members.items()
        if max(width, height) <= 320:
            n_same += 1
            assert data == source.read_bytes() and extension == source.suffix.lower()[1:], key
            continue
        longer, expected = max(width, height), io.BytesIO()
        size = tuple(max(1, (side * 320 * 2 + longer) // (longer * 2)) for side in (width, height))
        upright.resize(size, Image.LANCZOS).save(expected, "JPEG", quality=95)
        with Image.open(expected) as a, Image.open(io.BytesIO(data)) as b:
            assert extension == "jpg" and b.size == size and a.tobytes() == b.tobytes(), (key, source)
    assert 0 < n_same < len(sources)
    first = digests(folder / "out")
    pack(folder / "photos", folder / "again", "--name", "in", "--long-side", "320", "--samples", "40", "--skip-bad")
    assert digests(folder / "again") == first
    assert "other options" in pack(folder / "photos", folder / "out", "--name", "in", "--samples", "40", status=1)
    # killed in the middle, and its processes too
    make_tree(folder / "many", 200)
    options = ["--name", "in", "--long-side", "100", "--samples", "20"]
    pack(folder / "many", folder / "whole", *options)
    process = start(folder / "many", folder / "cut", *options)
    scene.wait_until(lambda: shards_of(folder / "cut"))
    mine = children(process.pid)
    process.kill()
    process.wait()
    process.stderr.close()
    scene.wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in mine))
    assert mine and 0 < len(shards_of(folder / "cut")) < 10
    process = start(folder / "many", folder / "cut", *options)
    scene.wait_until(lambda: children(process.pid))
    os.kill(children(process.pid)[0], signal.SIGKILL)
    said = process.communicate(timeout=60)[1]
    n_blamed = said.count("the process that decoded it died")  # none, if it was just between two
    assert n_blamed < 2 and process.returncode == n_blamed, said
    pack(folder / "many", folder / "cut", *options)
    assert digests(folder / "cut") == digests(folder / "whole")


if __name__ == "__main__":
    scene.need_data("imagenet-sample", "photos-exif", "edge-jpeg", "kodak")
    scene.main([tree, sizes, lists, tars, left_out, refusals, killed, one_at_a_time, full_disk, large, compressed, resized])
