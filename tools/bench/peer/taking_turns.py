# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""The peers' side of taking turns. Needs nothing but Python.

A peer reads its options, a line of JSON on stdin. It sets itself up, runs one epoch that nobody
counts, says {"versions": …} and then answers each line N on stdin by whole epochs of at least N images:
{"images": n}. What it prints by itself goes to standard error.
"""
import importlib.metadata
import json
import math
import os
import random
import sys
import traceback


def end(kind, value, trace):
    """Some libraries leave threads or children that keep a failed program from ending."""
    traceback.print_exception(kind, value, trace)
    sys.stderr.flush()
    os._exit(1)


sys.excepthook = end


def options():
    return json.loads(sys.stdin.readline())


def versions(*packages):
    return {name: importlib.metadata.version(name) for name in packages}


def crop_of(draws, width, height):
    """torchvision's RandomResizedCrop with its defaults: left, top, width, height."""
    for _ in range(10):
        area = width * height * draws.uniform(0.08, 1.0)
        ratio = math.exp(draws.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return draws.randint(0, width - w), draws.randint(0, height - h), w, h
    ratio = width / height
    w = round(height * 4 / 3) if ratio > 4 / 3 else width
    h = round(width / (3 / 4)) if ratio < 3 / 4 else height
    return (width - w) // 2, (height - h) // 2, w, h


def shuffled(paths, draws=random.Random(1)):
    paths = list(paths)
    draws.shuffle(paths)
    return paths


def serve(epoch, found):
    """epoch() runs one and returns how many images it gave; found: the versions."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if epoch() <= 0:
        raise RuntimeError("an epoch without images")
    print(json.dumps({"versions": found}), file=out, flush=True)
    while line := sys.stdin.readline():
        n = 0
        while n < int(line):
            n += epoch()
        print(json.dumps({"images": n}), file=out, flush=True)
    os._exit(0)
