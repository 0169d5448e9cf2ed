# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""10,000 flipped bits behind the index's back, where the format has checksums: a row is what it was, or it is bad.

Half of them lie in PNGs, one each (every chunk has a CRC), half in gzip members, one each (CRC32 and length).
With a number as argument: so many.
"""
import gzip
import io
import os
import random
import sys

from PIL import Image

import ringfeed
import scene

N_FLIPS = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
PER_SHARD = 500


def flip(data, at, n, rng):
    place = at + rng.randrange(n)
    data[place] ^= 1 << rng.randrange(8)


def behind_its_back(path, data):
    """Writes the file in place; the index takes it for the one it knows."""
    stat = path.stat()
    with open(path, "r+b") as f:
        f.write(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def feed(shards, field):
    return {
        "source": {"format": "webdataset", "shards": [str(s) for s in shards], "reads": "buffered"},
        "order": {"shuffle": "none"}, "batch": {"size": 50, "last": "short"},
        "bad_samples": {"policy": "mask", "limit": "100%"}, "fields": {"x": field},
    }


def rows(folder, made):
    """(valid, bytes) of every sample, and the counts of bad ones by cause."""
    config = scene.write_config(folder, {"train": made}, memory="192MiB")
    with scene.Daemon(config) as daemon:
        with ringfeed.Loader("train", socket=daemon.socket, credit=1) as loader:
            found = {}
            for batch in loader:
                for i, sample in enumerate(batch.index.tolist()):
                    found[sample] = (bool(batch.valid[i]), batch["x"][i].tobytes())
                batch.release()
            causes = next(f["bad_samples"] for f in daemon.status()["feeds"] if f["name"] == "train")
    return [found[i] for i in range(len(found))], causes


def judge(name, want, got, causes):
    silent = [i for i, (a, b) in enumerate(zip(want, got)) if b[0] and a != b]
    n_bad = sum(not valid for valid, _ in got)
    print(f"  {name}: {len(want)} flips, {n_bad} bad samples ({causes}), "
          f"{len(want) - n_bad} where it changed nothing, {len(silent)} silent")
    assert len(want) == len(got) and all(valid for valid, _ in want) and not silent, silent
    assert n_bad > 0.9 * len(want)


def p17_flips_png(folder):
    rng, n = random.Random(17), N_FLIPS // 2
    members = []
    for i in range(n):
        out = io.BytesIO()
        Image.frombytes("RGB", (8, 8), rng.randbytes(192)).save(out, "PNG")
        members.append([("png", out.getvalue())])
    shards = scene.pack(folder, "png", members, PER_SHARD)
    made = feed(shards, {"from": "png", "decode": "image", "transform": [{"center_crop": {"size": 8}}], "dtype": "uint8"})
    want, _ = rows(folder, made)
    for k, shard in enumerate(shards):
        data, at = bytearray(shard.read_bytes()), 0
        for (_, payload), in members[k * PER_SHARD:(k + 1) * PER_SHARD]:
            at = data.index(payload, at)
            flip(data, at, len(payload), rng)
            at += len(payload)
        behind_its_back(shard, data)
    got, causes = rows(folder, made)
    judge("PNG", want, got, causes)


def p17_flips_gzip(folder):
    rng, n = random.Random(18), N_FLIPS // 2
    members = [[("bin", rng.randbytes(512))] for _ in range(n)]
    plain, places, shards = scene.pack(folder, "gz", members, PER_SHARD), [], []
    for path in plain:
        raw, out, spots = path.read_bytes(), bytearray(), []
        for at in range(0, len(raw), 1024):  # a header and its payload
            member = gzip.compress(raw[at:at + 1024], 1)
            spots.append((len(out), len(member)))
            out += member
        to = path.with_suffix(".tar.gz")
        to.write_bytes(out)
        path.unlink()
        shards.append(to)
        places.append(spots[:PER_SHARD])
    made = feed(shards, {"from": "bin", "decode": "raw", "dtype": "uint8", "shape": [512]})
    want, _ = rows(folder, made)
    for shard, spots in zip(shards, places):
        data = bytearray(shard.read_bytes())
        for at, length in spots:
            flip(data, at, length, rng)
        behind_its_back(shard, data)
    got, causes = rows(folder, made)
    judge("gzip", want, got, causes)


if __name__ == "__main__":
    scene.main([p17_flips_png, p17_flips_gzip])
