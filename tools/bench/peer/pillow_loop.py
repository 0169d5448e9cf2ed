# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""A loop of Pillow, or of Pillow-SIMD in its own environment, with NumPy for the numbers."""
import random

import numpy
import PIL
from PIL import Image

import taking_turns

o = taking_turns.options()
draws = random.Random(1)
mean = (255 * numpy.array(o["mean"], numpy.float32)).reshape(3, 1, 1)
scale = (1 / (255 * numpy.array(o["std"], numpy.float32))).reshape(3, 1, 1)
side = o["side"]
batch = numpy.empty((o["batch"], 3, side, side), numpy.float32)


def epoch():
    for i, path in enumerate(taking_turns.shuffled(o["paths"])):
        with Image.open(path) as file:
            image = file.convert("RGB")
        x, y, w, h = taking_turns.crop_of(draws, *image.size)
        image = image.crop((x, y, x + w, y + h)).resize((side, side), Image.BILINEAR)
        if draws.random() < 0.5:
            image = image.transpose(Image.FLIP_LEFT_RIGHT)
        row = batch[i % len(batch)]
        numpy.subtract(numpy.asarray(image).transpose(2, 0, 1), mean, out=row)
        row *= scale
    return len(o["paths"])


taking_turns.serve(epoch, {"Pillow": PIL.__version__, "NumPy": numpy.__version__})
