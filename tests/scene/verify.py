# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""verify: good shards pass, and every kind of damage is found under its name: what Pillow cannot decode, bytes flipped
anywhere in a shard that pack wrote, headers, ends, labels; a process that dies costs one sample."""
import contextlib
import gzip
import io
import json
import os
import pathlib
import random
import signal
import subprocess
import tarfile
import time
import warnings
import zlib

from PIL import Image

import scene

PHOTOS = scene.photos("imagenet-sample")


def verify(*arguments, status):
    done = scene.ringfeed("verify", *arguments, "--json", check=False)
    assert done.returncode == status, (arguments, done)
    report = json.loads(done.stdout)
    text = scene.ringfeed("verify", *arguments, check=False)
    assert text.returncode == status and len(text.stdout.splitlines()) == len(report["list"]), text
    for line, fault in zip(text.stdout.splitlines(), report["list"]):
        shard, key, offset, cause = line.split("\t")
        assert shard == fault["shard"] and int(offset) == fault["offset"] and cause.startswith(fault["cause"]), line
        assert key.startswith(fault["key"] or "-"), line
    return report


def pack_members(path, members):
    """(name, bytes) into a tar; returns each one's header offset."""
    offsets = {}
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            offsets.setdefault(name, tar.offset)
            tar.addfile(info, io.BytesIO(data))
    return offsets


def good(folder):
    shards = scene.pack_photos(folder, "in", PHOTOS[:60], 25)
    report = verify(folder / "in-*.tar", status=0)
    assert report["shards"] == 3 and report["samples"] == 60 and report["members"] == 120 and not report["list"]
    assert report["complete"] and report["hashed_shards"] == 0 and report["bad_samples"] == 0
    assert not list(folder.glob("*.rfidx")), "verify writes nothing"
    assert scene.ringfeed("verify", folder / "none-*.tar", check=False).returncode == 1
    assert scene.ringfeed("verify", shards[0], folder / "none.tar", check=False).returncode == 1


def noise(size):
    data = io.BytesIO()
    Image.frombytes("RGB", (size, size), random.Random(7).randbytes(size * size * 3)).save(data, "PNG")
    return data.getvalue()


def bad_members(folder):
    photo, png = PHOTOS[5].read_bytes(), noise(60)
    flipped = bytearray(png)
    flipped[len(png) // 2] ^= 1
    bomb = bytearray(png)
    bomb[16:24] = (60000).to_bytes(4, "big") * 2
    bomb[29:33] = zlib.crc32(bomb[12:29]).to_bytes(4, "big")
    webp = io.BytesIO()
    Image.frombytes("RGB", (60, 60), noise(60)[100:100 + 60 * 60 * 3]).save(webp, "WEBP", lossless=True)
    cases = [
        ("ok.jpg", photo, None), ("cut.jpg", photo[:len(photo) // 2], "damaged_image"),
        ("head.jpg", photo[:20], "damaged_image"), ("text.jpg", b"no picture at all", "not_an_image"),
        ("empty.jpg", b"", "not_an_image"), ("flip.png", bytes(flipped), "damaged_image"),
        ("cut.png", png[:-200], "damaged_image"), ("cut.webp", webp.getvalue()[:-2000], "damaged_image"),
        ("bomb.png", bytes(bomb), "too_many_pixels"), ("name.png", photo, None),
        ("l1.cls", b"7", None), ("l2.cls", b"seven", "not_an_integer"), ("l3.cls", b"", "not_an_integer"),
        ("j1.json", b'{"a": [1]}', None), ("j2.json", b'{"a": [1}', "not_json"), ("any.txt", b"\xff\xfe", None),
    ]
    # the same names within one key would be one sample
    members = [(f"{i:02d}-{name}", data) for i, (name, data, _) in enumerate(cases)]
    members += [("twice.jpg", photo), ("twice.txt", b""), ("twice.jpg", photo)]
    offsets = pack_members(folder / "in.tar", members)
    report = verify(folder / "in.tar", status=1)
    expected = [(f"{i:02d}-{name}".split(".")[0], offsets[f"{i:02d}-{name}"], cause)
                for i, (name, _, cause) in enumerate(cases) if cause]
    expected.append(("twice", offsets["twice.jpg"], "repeated_extension"))
    assert [(f["key"], f["offset"], f["cause"]) for f in report["list"]] == expected, report["list"]
    assert report["bad_samples"] == len(expected) and report["bad_shards"] == 1 and report["samples"] == 17
    # the same in a compressed shard
    subprocess.run(["zstd", "-q", folder / "in.tar"], check=True)
    (folder / "in.tgz").write_bytes(gzip.compress((folder / "in.tar").read_bytes()))
    for f in report["list"]:
        del f["shard"]
    for name in ("in.tar.zst", "in.tgz"):
        inside = verify(folder / name, status=1)
        for f in inside["list"]:
            del f["shard"]
        assert inside == report, (inside, report)


def decodes(path):
    """Whether Pillow can decode it all."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(path) as image:
                image.convert("RGB")
        except Exception:  # whatever it throws
            return False
    return True


def as_pillow(folder):
    """On files made to be difficult, verify and Pillow agree on what can be decoded, but for the checksum of a PNG's
    pixels, which Pillow does not look at."""
    files = [p for name in ("edge-png/pngsuite", "edge-jpeg/go", "edge-jpeg/exif-orientation", "photos-exif")
             for p in scene.photos(name)]
    pack_members(folder / "in.tar", [(f"{i:04d}{p.suffix.lower()}", p.read_bytes()) for i, p in enumerate(files)])
    bad = {f["key"] for f in verify(folder / "in.tar", status=1)["list"] if not f["is_warning"]}
    expected = {f"{i:04d}" for i, p in enumerate(files) if not decodes(p) or p.name == "xcsn0g01.png"}
    assert bad == expected, [(files[int(k)].name, k in bad) for k in bad ^ expected]
    print(f"{len(files)} files, {len(bad)} of them bad")


def bad_shards(folder):
    path = scene.pack_photos(folder, "in", PHOTOS[:20], 20)[0]
    whole = path.read_bytes()
    with tarfile.open(path) as tar:
        headers = [m.offset for m in tar]

    def report_of(data, status=1):
        path.write_bytes(data)
        return verify(path, status=status)

    flipped = bytearray(whole)
    flipped[headers[10] + 3] ^= 1
    report = report_of(bytes(flipped))
    assert [(f["key"], f["offset"], f["cause"]) for f in report["list"]] == [(None, headers[10], "damaged_tar")], report
    assert report["samples"] == 5 and "checksum" in report["list"][0]["detail"]
    report = report_of(whole[:headers[31] + 700])
    assert report["list"][0]["cause"] == "damaged_tar" and "cut short" in report["list"][0]["detail"], report
    assert report["list"][0]["offset"] == headers[31] or report["samples"] == 15, report
    report = report_of(whole[:headers[30]])
    assert [(f["cause"], f["offset"]) for f in report["list"]] == [("no_end_marker", headers[30])], report
    end = headers[-1] + 1024
    report = report_of(whole[:end] + bytes(1024) + whole[:end])
    assert [(f["cause"], f["offset"]) for f in report["list"]] == [("trailing_bytes", end + 1024)], report
    assert report_of(b"")["list"][0]["cause"] == "damaged_tar"
    assert report_of(b"\x1f\x8b" + bytes(600))["list"][0]["detail"].count("gzip") == 1
    path.unlink()
    os.mkfifo(path)
    assert verify(path, status=1)["list"][0]["cause"] == "unreadable"


def flips(folder):
    """One flipped bit anywhere in a shard that pack wrote is found."""
    photos = folder / "photos" / "c"
    photos.mkdir(parents=True)
    for photo in PHOTOS[:12]:
        (photos / photo.name).symlink_to(photo)
    scene.ringfeed("pack", folder / "photos", folder / "out", "--name", "in")
    shard = folder / "out" / "in-000000.tar"
    whole, chance = shard.read_bytes(), random.Random(3)
    assert verify(shard, status=0)["hashed_shards"] == 1
    for _ in range(25):
        data = bytearray(whole)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        shard.write_bytes(data)
        causes = [f["cause"] for f in json.loads(scene.ringfeed("verify", shard, "--json", check=False).stdout)["list"]]
        assert "other_hash" in causes, causes
    shard.write_bytes(whole[:-10240])
    assert "other_size" in [f["cause"] for f in verify(shard, status=1)["list"]]
    shard.write_bytes(whole)
    verify(shard, status=0)


def compressed(folder):
    """What pack compresses passes; a flipped bit, a cut and a damaged tar inside are found without any manifest."""
    photos = folder / "photos" / "c"
    photos.mkdir(parents=True)
    for photo in PHOTOS[:40]:
        (photos / photo.name).symlink_to(photo)
    scene.ringfeed("pack", folder / "photos", folder / "out", "--name", "in", "--zstd")
    shard = folder / "out" / "in-000000.tar.zst"
    report = verify(shard, status=0)
    assert (report["samples"], report["members"], report["hashed_shards"]) == (40, 80, 1), report
    (folder / "out" / "in-pack.jsonl").unlink()
    whole, chance = shard.read_bytes(), random.Random(5)
    n_frames = int.from_bytes(whole[-9:-5], "little")
    for _ in range(15):
        data = bytearray(whole)
        data[chance.randrange(len(data) - 17 - 12 * n_frames)] ^= 1 << chance.randrange(8)
        shard.write_bytes(data)
        causes = [f["cause"] for f in verify(shard, status=1)["list"]]
        assert causes in (["damaged_zstd"], ["damaged_tar"]), causes
    shard.write_bytes(whole[:len(whole) // 2])
    fault, = verify(shard, status=1)["list"]
    assert fault["cause"] == "damaged_zstd" and "cut short" in fault["detail"], fault
    raw = bytearray(subprocess.run(["zstd", "-dc"], input=whole, capture_output=True, check=True).stdout)
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        offset = tar.getmembers()[20].offset
    raw[offset + 5] ^= 1
    shard.write_bytes(subprocess.run(["zstd", "-c"], input=raw, capture_output=True, check=True).stdout)
    report = verify(shard, status=1)
    assert [(f["cause"], f["offset"]) for f in report["list"]] == [("damaged_tar", offset)] and report["samples"] == 10


def children(pid):
    return [int(n) for n in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def deaths(folder):
    """Processes that are killed cost the sample that each was on; Ctrl-C ends it all."""
    data = [[("jpg", p.read_bytes()), ("cls", b"1")] for p in PHOTOS]
    scene.pack(folder, "in", data * 6, 900)
    process = subprocess.Popen([scene.BINARY, "verify", str(folder / "in-*.tar"), "--json"], stdout=subprocess.PIPE,
                               text=True)
    n = 0
    while n < 3 and process.poll() is None:
        time.sleep(0.06)
        for child in children(process.pid)[:1]:
            with contextlib.suppress(ProcessLookupError):  # it has just come to its end
                os.kill(child, signal.SIGKILL)
                n += 1
    report = json.loads(process.communicate(timeout=60)[0])
    assert process.returncode == 1 and n == 3 and report["complete"]
    assert 1 <= len(report["list"]) <= 3 and {f["cause"] for f in report["list"]} == {"worker_died"}, report["list"]
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        process = subprocess.Popen([scene.BINARY, "verify", str(folder / "in-*.tar")], stderr=subprocess.PIPE)
        scene.wait_until(lambda p=process: children(p.pid))
        mine = children(process.pid)
        process.send_signal(number)
        assert process.wait(timeout=10) == code and b"stopped" in process.stderr.read()
        process.stderr.close()
        assert not [c for c in mine if pathlib.Path(f"/proc/{c}").exists()]


if __name__ == "__main__":
    scene.need_data("imagenet-sample", "edge-png", "edge-jpeg", "photos-exif")
    scene.main([good, bad_members, as_pillow, bad_shards, flips, compressed, deaths])
