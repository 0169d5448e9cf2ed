# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""The reference for pixels: Debian's Pillow with torchvision's definitions, and the draws.

Written from the pages on the order and on exact pixels, not from the C. A step is a tuple whose first
element is its name; see the functions below for the rest.
"""
import math
import struct

import numpy
from PIL import Image, ImageOps

FILTERS = {"nearest": Image.Resampling.NEAREST, "box": Image.Resampling.BOX,
           "bilinear": Image.Resampling.BILINEAR, "hamming": Image.Resampling.HAMMING,
           "bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS}
M = (1 << 64) - 1
P1, P2, P3, P4, P5 = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9,
                      0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5)


class Bad(Exception):
    """The sample is bad; the argument is the cause."""


def rotl(x, r):
    return ((x << r) | (x >> (64 - r))) & M


def xxh_round(acc, lane):
    return rotl((acc + lane * P2) & M, 31) * P1 & M


def xxh64(data):
    """XXH64 with seed 0, from its specification."""
    n, at = len(data), 0
    if n >= 32:
        acc = [(P1 + P2) & M, P2, 0, -P1 & M]
        while n - at >= 32:
            for i in range(4):
                acc[i] = xxh_round(acc[i], struct.unpack_from("<Q", data, at + 8 * i)[0])
            at += 32
        h = (rotl(acc[0], 1) + rotl(acc[1], 7) + rotl(acc[2], 12) + rotl(acc[3], 18)) & M
        for a in acc:
            h = ((h ^ xxh_round(0, a)) * P1 + P4) & M
    else:
        h = P5
    h = (h + n) & M
    while n - at >= 8:
        h = (rotl(h ^ xxh_round(0, struct.unpack_from("<Q", data, at)[0]), 27) * P1 + P4) & M
        at += 8
    if n - at >= 4:
        h = (rotl(h ^ (struct.unpack_from("<I", data, at)[0] * P1 & M), 23) * P2 + P3) & M
        at += 4
    for byte in data[at:]:
        h = rotl(h ^ (byte * P5 & M), 11) * P1 & M
    h = (h ^ (h >> 33)) * P2 & M
    h = (h ^ (h >> 29)) * P3 & M
    return h ^ (h >> 32)


class Draws:
    """The draws of one transform of one sample."""

    def __init__(self, seed, epoch, position, field, path):
        self.head = (1, seed, epoch, 4, position, xxh64(field.encode()), xxh64(path.encode()))

    def number(self, n):
        return xxh64(struct.pack("<8Q", *self.head, n))

    def real(self, n, a=0.0, b=1.0):
        return a + (b - a) * ((self.number(n) >> 11) * 2.0 ** -53)

    def below(self, n, m):
        return self.number(n) * m >> 64

    def log_uniform(self, n, a, b):
        u, result, root = self.number(n), a, b / a
        for k in range(1, 33):
            root = math.sqrt(root)
            if u >> (64 - k) & 1:
                result = result * root
        return result


def resize_passes(image, size, which, pass_order):
    """Pillow's resize, or Pillow 13's order of passes made of one-axis resizes."""
    (w, h), (to_w, to_h) = image.size, size
    if pass_order == "pillow13" and which != "nearest" and h > to_h and h - to_h > 2 * (w - to_w):
        return image.resize((w, to_h), FILTERS[which]).resize((to_w, to_h), FILTERS[which])
    return image.resize(size, FILTERS[which])


def resize(image, draws, pass_order, height, width, which):
    w, h = image.size
    if width:
        size = (width, height)
    elif w <= h:
        size = (height, int(height * h / w))
    else:
        size = (int(height * w / h), height)
    return resize_passes(image, size, which, pass_order), None


def padded(image, left, top, right, bottom, fill):
    out = Image.new("RGB", (image.width + left + right, image.height + top + bottom), (fill,) * 3)
    out.paste(image, (left, top))
    return out


def center_crop(image, draws, pass_order, height, width):
    dw, dh = max(width - image.width, 0), max(height - image.height, 0)
    if dw or dh:
        image = padded(image, dw // 2, dh // 2, (dw + 1) // 2, (dh + 1) // 2, 0)
    top = int(round((image.height - height) / 2.0))
    left = int(round((image.width - width) / 2.0))
    return image.crop((left, top, left + width, top + height)), None


def random_crop(image, draws, pass_order, height, width, left, top, right, bottom, fill):
    image = padded(image, left, top, right, bottom, fill)
    if image.width < width or image.height < height:
        raise Bad("too_small")
    y = draws.below(0, image.height - height + 1)
    x = draws.below(1, image.width - width + 1)
    return image.crop((x, y, x + width, y + height)), f"top={y},left={x}"


def resized_crop_box(draws, width, height, scale, ratio):
    for k in range(10):
        area = width * height * draws.real(2 * k, *scale)
        aspect = draws.log_uniform(2 * k + 1, *ratio)
        w, h = int(round(math.sqrt(area * aspect))), int(round(math.sqrt(area / aspect)))
        if 0 < w <= width and 0 < h <= height:
            return draws.below(20, height - h + 1), draws.below(21, width - w + 1), h, w
    w, h = width, height
    if width / height < ratio[0]:
        h = int(round(width / ratio[0]))
    elif width / height > ratio[1]:
        w = int(round(height * ratio[1]))
    return (height - h) // 2, (width - w) // 2, h, w


def random_resized_crop(image, draws, pass_order, height, width, s0, s1, r0, r1, which):
    y, x, h, w = resized_crop_box(draws, image.width, image.height, (s0, s1), (r0, r1))
    image = image.crop((x, y, x + w, y + h))
    return (resize_passes(image, (width, height), which, pass_order),
            f"top={y},left={x},height={h},width={w}")


def random_horizontal_flip(image, draws, pass_order, p):
    flip = draws.real(0) < p
    if flip:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return image, f"flip={'true' if flip else 'false'}"


def random_vertical_flip(image, draws, pass_order, p):
    flip = draws.real(0) < p
    if flip:
        image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    return image, f"flip={'true' if flip else 'false'}"


def grayscale(image, draws, pass_order):
    return Image.merge("RGB", [image.convert("L")] * 3), None


def pad(image, draws, pass_order, left, top, right, bottom, fill):
    return ImageOps.expand(image, (left, top, right, bottom), (fill,) * 3), None


def bfloat16(values):
    """float32 to the bits of bfloat16, to nearest even, by way of exact arithmetic on neighbours."""
    low = (values.view(numpy.uint32) & 0xFFFF0000).view(numpy.float32)
    high = ((values.view(numpy.uint32) & 0xFFFF0000) + 0x10000).view(numpy.float32)
    to_low = numpy.abs(values.astype(numpy.float64) - low.astype(numpy.float64))
    to_high = numpy.abs(high.astype(numpy.float64) - values.astype(numpy.float64))
    low_bits = low.view(numpy.uint32) >> 16
    up = (to_high < to_low) | ((to_high == to_low) & (low_bits & 1 == 1))
    return (low_bits + up).astype(numpy.uint16)


def finish(pixels, dtype, layout, scale, normalize):
    """uint8 HWC to the field's values."""
    values = pixels if layout == "hwc" else numpy.ascontiguousarray(pixels.transpose(2, 0, 1))
    if dtype == "uint8":
        return values
    values = values.astype(numpy.float32)
    if scale == "divide":
        values = values / numpy.float32(255)
    elif scale == "reciprocal":
        values = values * numpy.float32(1.0 / 255)
    for numbers in normalize:
        shape = (3, 1, 1) if layout == "chw" else (3,)
        mean = numpy.array(numbers[:3], numpy.float32).reshape(shape)
        std = numpy.array(numbers[3:], numpy.float32).reshape(shape)
        values = (values - mean) / std
    assert values.dtype == numpy.float32
    if dtype == "float16":
        return values.astype(numpy.float16)
    return bfloat16(values) if dtype == "bfloat16" else values


STEPS = {f.__name__: f for f in (resize, center_crop, random_crop, random_resized_crop,
                                 random_horizontal_flip, random_vertical_flip, grayscale, pad)}


def transform(image, field, seed, epoch, position, name="image"):
    """An RGB image through a field's steps: uint8 HWC, and the draws as text."""
    notes = []
    for i, step in enumerate(field.steps):
        if step[0] == "normalize":
            continue
        image, note = STEPS[step[0]](image, Draws(seed, epoch, position, name, str(i)),
                                     field.pass_order, *step[1:])
        if note is not None:
            notes.append(f"{name}/{i}={step[0]}({note})")
    return numpy.asarray(image), "\t".join(notes)


def load(path, exif=False):
    image = Image.open(path)
    if exif:
        image = ImageOps.exif_transpose(image)
    return image.convert("RGB")


def make(image, field, seed, epoch, position):
    pixels, _ = transform(image, field, seed, epoch, position)
    normalize = [step[1:] for step in field.steps if step[0] == "normalize"]
    return finish(pixels, field.dtype, field.layout, field.scale, normalize)
