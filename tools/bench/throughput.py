#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Samples per CPU second: the whole daemon (one worker) against a loop of Pillow on the same core.

    tools/bench/throughput.py PHOTOS [--rounds 5] [--binary build/src/main/ringfeed] [--json]

PHOTOS is a folder of JPEG or PNG photos. Both sides do random_resized_crop 224, flip and normalise to
float32 CHW, batches of 64, from warm storage. They take turns, so that a machine whose speed drifts
treats both alike; the ratio is taken round by round. Needs Debian's python3-pil and python3-numpy.
"""
import argparse
import io
import json
import math
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time

import numpy
import PIL
from PIL import Image

MEAN = numpy.array([0.485, 0.456, 0.406], numpy.float32)
STD = numpy.array([0.229, 0.224, 0.225], numpy.float32)


def draw_crop(draws, width, height):
    """torchvision's RandomResizedCrop with its defaults."""
    for _ in range(10):
        area = width * height * draws.uniform(0.08, 1.0)
        ratio = math.exp(draws.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return draws.randint(0, width - w), draws.randint(0, height - h), w, h
    side = min(width, height)
    return (width - side) // 2, (height - side) // 2, side, side


def pillow_loop(photos, draws):
    """One epoch; returns samples per CPU second."""
    batch = numpy.empty((64, 3, 224, 224), numpy.float32)
    began = time.process_time()
    for i, data in enumerate(photos):
        image = Image.open(io.BytesIO(data)).convert("RGB")
        x, y, w, h = draw_crop(draws, *image.size)
        image = image.crop((x, y, x + w, y + h)).resize((224, 224), Image.BILINEAR)
        if draws.random() < 0.5:
            image = image.transpose(Image.FLIP_LEFT_RIGHT)
        pixels = (numpy.asarray(image, numpy.float32) / 255 - MEAN) / STD
        batch[i % 64] = pixels.transpose(2, 0, 1)
    return len(photos) / (time.process_time() - began)


def pack(photos, folder):
    for first in range(0, len(photos), 150):
        with tarfile.open(folder / f"photos-{first // 150:06d}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
            for i, (path, data) in enumerate(photos[first:first + 150], first):
                info = tarfile.TarInfo(f"{i:06d}{path.suffix.lower()}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def ringfeed(binary, config, epochs):
    """The report of `ringfeed bench`."""
    done = subprocess.run([binary, "bench", "-c", config, "train", "--epochs", str(epochs), "--json"],
                          stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def cpu_model():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return "unknown CPU"


def measure(options, folder):
    photos = [(p, p.read_bytes()) for p in sorted(options.photos.rglob("*"))
              if p.suffix.lower() in (".jpg", ".jpeg", ".png")]
    pack(photos, folder)
    config = folder / "bench.yaml"
    config.write_text(json.dumps({
        "daemon": {"memory": "512MiB", "workers": 1, "log": "warn"},
        "feeds": {"train": {
            "source": {"format": "webdataset", "shards": str(folder / "photos-*.tar")},
            "order": {"shuffle": "full", "seed": 1},
            "batch": {"size": 64, "last": "drop"},
            "fields": {"image": {"from": ["jpg", "jpeg", "png"], "decode": "image", "transform": [
                {"random_resized_crop": {"size": 224}}, "random_horizontal_flip",
                {"normalize": {"mean": MEAN.tolist(), "std": STD.tolist()}}],
                "dtype": "float32", "layout": "chw"}}}}}))
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    draws = random.Random(1)
    data = [d for _, d in photos]
    pillow_loop(data[:64], draws)
    rounds = []
    for i in range(options.rounds):
        ours = ringfeed(options.binary, config, 3)
        theirs = pillow_loop(data, draws)
        cpu = ours["cpu_seconds"]
        rounds.append({"ringfeed": ours["samples_per_cpu_second"], "pillow": theirs,
                       "ratio": ours["samples_per_cpu_second"] / theirs,
                       "core_share": cpu["core"] / cpu["total"]})
        print(f"round {i + 1}: ringfeed {rounds[-1]['ringfeed']:.0f}, Pillow {theirs:.0f} samples per CPU "
              f"second, ratio {rounds[-1]['ratio']:.2f}, core {100 * rounds[-1]['core_share']:.1f} %",
              file=sys.stderr)
    return {"cpu": cpu_model(), "pillow_version": PIL.__version__, "photos": len(photos), "rounds": rounds,
            **{key: {"median": statistics.median(r[key] for r in rounds),
                     "least": min(r[key] for r in rounds), "most": max(r[key] for r in rounds)}
               for key in ("ringfeed", "pillow", "ratio", "core_share")}}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--binary", default="build/src/main/ringfeed")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = measure(options, pathlib.Path(folder))
    if options.json:
        print(json.dumps(report, indent=1))
        return
    print(f"{report['cpu']}, Pillow {report['pillow_version']}, {report['photos']} photos, {options.rounds} rounds")
    for key, unit in (("ringfeed", "samples per CPU second"), ("pillow", "samples per CPU second"),
                      ("ratio", "times Pillow"), ("core_share", "of all CPU time in the core process")):
        r = report[key]
        print(f"{key:10} {r['median']:8.2f} {unit} (least {r['least']:.2f}, most {r['most']:.2f})")


main()
