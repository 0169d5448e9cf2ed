# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""pixels_reference.py, which the other tests believe, beside torchvision itself on PIL images.

soak_torchvision.py BUILD makes an environment with torchvision and runs this file again inside it, so that
both use the Pillow of that environment.
"""
import itertools
import os
import pathlib
import random
import sys
import types

import environment

SIZES, SIDE_MAX = 400, 300


def main_outside():
    python = environment.python_with(sys.argv[1], "torchvision", "torchvision", "numpy", "pillow")
    os.execv(python, [python, __file__])


class Twins:
    """Counts what is compared and what is not equal."""

    def __init__(self):
        self.counts = {}

    def same(self, name, ours, theirs, *what):
        counts = self.counts.setdefault(name, [0, 0])
        counts[0] += 1
        if ours.shape == theirs.shape and ours.dtype == theirs.dtype and ours.tobytes() == theirs.tobytes():
            return
        counts[1] += 1
        if counts[1] <= 5:
            print("not equal:", name, *what)


def draws_giving(top, left, image, height, width):
    """Draws whose below() gives these offsets; torchvision is told them, not its random numbers."""
    wanted = {(0, image.height - height + 1): top, (1, image.width - width + 1): left}
    return types.SimpleNamespace(below=lambda n, m: wanted[n, m])


def geometry(twins, image, choose, what):
    def array(pil):
        return numpy.asarray(pil)

    mode = {name: v2.InterpolationMode(name) for name in reference.FILTERS}
    for which in reference.FILTERS:
        size = choose.randint(1, SIDE_MAX)
        twins.same("resize to a short side", array(reference.resize(image, None, "pillow", size, 0, which)[0]),
                   array(F.resize(image, [size], mode[which], antialias=True)), size, which, *what)
        h, w = choose.randint(1, SIDE_MAX), choose.randint(1, SIDE_MAX)
        twins.same("resize", array(reference.resize(image, None, "pillow", h, w, which)[0]),
                   array(F.resize(image, [h, w], mode[which], antialias=True)), h, w, which, *what)
        ch, cw = choose.randint(1, image.height), choose.randint(1, image.width)
        y, x = choose.randint(0, image.height - ch), choose.randint(0, image.width - cw)
        twins.same("resized crop",
                   array(reference.resize_passes(image.crop((x, y, x + cw, y + ch)), (w, h), which, "pillow")),
                   array(F.resized_crop(image, y, x, ch, cw, [h, w], mode[which], antialias=True)),
                   (y, x, ch, cw), (h, w), which, *what)
    h, w = choose.randint(1, SIDE_MAX), choose.randint(1, SIDE_MAX)
    twins.same("center_crop", array(reference.center_crop(image, None, "pillow", h, w)[0]),
               array(F.center_crop(image, [h, w])), h, w, *what)
    padding, fill = [choose.randint(0, 20) for _ in range(4)], choose.randint(0, 255)
    padded = F.pad(image, padding, fill=(fill,) * 3)
    h, w = choose.randint(1, padded.height), choose.randint(1, padded.width)
    y, x = choose.randint(0, padded.height - h), choose.randint(0, padded.width - w)
    twins.same("random_crop", array(reference.random_crop(image, draws_giving(y, x, padded, h, w), "pillow", h, w,
                                                          *padding, fill)[0]),
               array(F.crop(padded, y, x, h, w)), padding, (y, x, h, w), *what)
    always = types.SimpleNamespace(real=lambda n: 0.0)
    twins.same("random_horizontal_flip", array(reference.random_horizontal_flip(image, always, "pillow", 0.5)[0]),
               array(F.horizontal_flip(image)), *what)


def resized_crop_boxes(twins, choose):
    """RandomResizedCrop's geometry with its random numbers given to it."""
    for _ in range(20 * SIZES):
        w, h = choose.randint(1, SIDE_MAX), choose.randint(1, SIDE_MAX)
        scale = sorted((choose.uniform(0.01, 1.5), choose.uniform(0.01, 1.5)))
        ratio = sorted((choose.uniform(0.2, 4), choose.uniform(0.2, 4)))
        tries = [(choose.uniform(*scale), choose.uniform(*ratio)) for _ in range(10)]
        offsets = iter((choose.random(), choose.random()))
        ours = types.SimpleNamespace(real=lambda n, a, b: tries[n // 2][0],
                                     log_uniform=lambda n, a, b: tries[n // 2][1],
                                     below=lambda n, m: given.setdefault(n, int(next(offsets) * m)))
        given = {}
        y, x, ch, cw = reference.resized_crop_box(ours, w, h, scale, ratio)
        theirs = box_of_torchvision(w, h, scale, ratio, tries, given)
        twins.same("random_resized_crop's box", numpy.array([y, x, ch, cw]), numpy.array(theirs), (w, h), scale, ratio)


def box_of_torchvision(w, h, scale, ratio, tries, given):
    """v2.RandomResizedCrop with torch's random numbers replaced: uniform_ gives area and log of the ratio in
    turn, randint the offsets."""
    numbers = (value for area, aspect in tries for value in (area, math.log(aspect)))
    integers = iter((given.get(20, 0), given.get(21, 0)))

    class Empty:
        def uniform_(self, a, b):
            return torch.tensor([next(numbers)], dtype=torch.float64)

    empty, randint = torch.empty, torch.randint
    torch.empty, torch.randint = lambda *n, **k: Empty(), lambda *a, **k: torch.tensor([next(integers)])
    try:
        crop = v2.RandomResizedCrop(10, scale=scale, ratio=ratio)
        got = crop.make_params([Image.new("RGB", (w, h))])
    finally:
        torch.empty, torch.randint = empty, randint
    return got["top"], got["left"], got["height"], got["width"]


def numbers(twins, rng):
    values = numpy.stack([rng.permutation(256).reshape(16, 16) for _ in range(3)], axis=2).astype(numpy.uint8)
    image = Image.fromarray(values)
    for mean, std in itertools.chain([(None, None), ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))],
                                     ((rng.uniform(-1, 1, 3), rng.uniform(0.01, 2, 3)) for _ in range(200))):
        norm = [] if mean is None else [(*mean, *std)]
        for scale in ("divide", "reciprocal", "none"):
            tensor = {"divide": lambda: v1.to_tensor(image),
                      "reciprocal": lambda: F.to_dtype(F.to_image(image), torch.float32, scale=True),
                      "none": lambda: F.to_dtype(F.to_image(image), torch.float32, scale=False)}[scale]()
            if norm:
                tensor = F.normalize(torch.as_tensor(tensor), list(mean), list(std))
            tensor = torch.as_tensor(tensor)
            for dtype, as_array in (("float32", lambda t: t.numpy()),
                                    ("float16", lambda t: t.to(torch.float16).numpy()),
                                    ("bfloat16", lambda t: t.to(torch.bfloat16).view(torch.int16).numpy().view(numpy.uint16))):
                ours = reference.finish(values, dtype, "chw", scale, norm)
                twins.same(f"numbers, scale {scale}", numpy.ascontiguousarray(ours),
                           numpy.ascontiguousarray(as_array(tensor)), dtype, norm)


def main_inside():
    print(f"oracle: torchvision {torchvision.__version__}, torch {torch.__version__}, Pillow {PIL.__version__}",
          flush=True)
    twins, choose, rng = Twins(), random.Random(17), numpy.random.default_rng(17)
    for _ in range(SIZES):
        w, h = choose.randint(1, SIDE_MAX), choose.randint(1, SIDE_MAX)
        geometry(twins, Image.fromarray(rng.integers(0, 256, (h, w, 3), numpy.uint8)), choose, (w, h))
    photos = sorted((pathlib.Path(os.environ["RINGFEED_TEST_DATA"]) / "imagenet-sample").glob("*.JPEG"))
    for path in photos[::10]:
        geometry(twins, reference.load(path), choose, (path.name,))
    resized_crop_boxes(twins, choose)
    numbers(twins, rng)
    for name, (n, wrong) in twins.counts.items():
        print(f"{name}: {n} compared, {wrong} not equal")
    return 1 if any(wrong for _, wrong in twins.counts.values()) else 0


if len(sys.argv) > 1:
    main_outside()
else:
    import math

    import numpy
    import PIL
    import torch
    import torchvision
    from PIL import Image
    from torchvision.transforms import functional as v1, v2
    from torchvision.transforms.v2 import functional as F

    import pixels_reference as reference
    sys.exit(main_inside())
