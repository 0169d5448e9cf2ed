# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Photos per CPU second on one core: ours beside a Pillow loop, interleaved, same photos, same crops.

Prints n, median and spread of the rounds for the region decode alone, the whole row, and Pillow.
"""
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "python"))
import numpy
import pixels_reference as reference
from PIL import Image

ROUNDS = 5
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def pillow_round(paths, offset):
    """What a DataLoader worker does: decode, crop, resize, flip, to float, normalise, to CHW."""
    mean = numpy.array(MEAN, numpy.float32)
    std = numpy.array(STD, numpy.float32)
    crops = []
    for i, path in enumerate(paths):
        with Image.open(path) as image:
            size = image.size
        draws = reference.Draws(0, 0, offset + i, "image", "0")
        y, x, h, w = reference.resized_crop_box(draws, *size, (0.08, 1.0), (0.75, 4 / 3))
        flip = reference.Draws(0, 0, offset + i, "image", "1").real(0) < 0.5
        crops.append(((x, y, x + w, y + h), flip))
    start = time.thread_time()
    for path, (box, flip) in zip(paths, crops):
        image = Image.open(path).convert("RGB").crop(box).resize((224, 224), Image.Resampling.BILINEAR)
        if flip:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        values = (numpy.asarray(image).astype(numpy.float32) / numpy.float32(255) - mean) / std
        numpy.ascontiguousarray(values.transpose(2, 0, 1))
    return len(paths) / (time.thread_time() - start)


def main():
    data = pathlib.Path(os.environ.get("RINGFEED_TEST_DATA", "")) / "imagenet-sample"
    paths = sorted(str(p) for p in data.glob("*.JPEG"))
    if not paths:
        print(f"missing: {data}")
        return 77
    rates = {"decode": [], "row": [], "pillow": []}
    for i in range(ROUNDS):
        out = subprocess.run([sys.argv[1], "1", *paths], check=True, capture_output=True, text=True)
        for line in out.stdout.splitlines():
            name, rate = line.split()
            rates[name].append(float(rate))
        rates["pillow"].append(pillow_round(paths[:200], 0))
    print(f"{len(paths)} photos, {ROUNDS} rounds, photos per CPU second, {platform.processor() or platform.machine()}")
    for name, values in rates.items():
        print(f"{name:7} median {statistics.median(values):7.1f}  min {min(values):7.1f}  max {max(values):7.1f}")
    print(f"row / pillow {statistics.median(rates['row']) / statistics.median(rates['pillow']):.2f}, "
          f"row / decode {statistics.median(rates['row']) / statistics.median(rates['decode']):.2f}")
    return 0


sys.exit(main())
