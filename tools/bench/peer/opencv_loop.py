# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""A loop of OpenCV on one thread, bilinear without antialiasing as cv2.resize has it."""
import random

import cv2
import numpy

import taking_turns

cv2.setNumThreads(0)
o = taking_turns.options()
draws = random.Random(1)
mean = (255 * numpy.array(o["mean"], numpy.float32)).reshape(3, 1, 1)
scale = (1 / (255 * numpy.array(o["std"], numpy.float32))).reshape(3, 1, 1)
side = o["side"]
batch = numpy.empty((o["batch"], 3, side, side), numpy.float32)
FLAGS = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION


def epoch():
    for i, path in enumerate(taking_turns.shuffled(o["paths"])):
        image = cv2.imdecode(numpy.fromfile(path, numpy.uint8), FLAGS)
        x, y, w, h = taking_turns.crop_of(draws, image.shape[1], image.shape[0])
        image = cv2.resize(image[y:y + h, x:x + w], (side, side), interpolation=cv2.INTER_LINEAR)
        if draws.random() < 0.5:
            image = cv2.flip(image, 1)
        row = batch[i % len(batch)]
        for channel, plane in enumerate(cv2.split(image)):
            numpy.subtract(plane, mean[channel], out=row[channel])
        row *= scale
    return len(o["paths"])


taking_turns.serve(epoch, {"OpenCV": cv2.__version__, "NumPy": numpy.__version__})
