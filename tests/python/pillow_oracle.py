# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Another Pillow as an oracle: runs in an environment of its own and answers on stdout. Needs Pillow alone.

A question is a line of JSON on stdin, {"size", "box", "to", "filter"} followed by the RGB bytes of an image
of that size, answered by the bytes of the box resized; or {"decode": PATH}, answered by a line of JSON with
the size and the bytes of the image as RGB.
"""
import json
import sys

import PIL
from PIL import Image, features


def answer(question):
    if "decode" in question:
        with Image.open(question["decode"]) as file:
            image = file.convert("RGB")
        return json.dumps({"size": image.size}).encode() + b"\n" + image.tobytes()
    w, h = question["size"]
    image = Image.frombytes("RGB", (w, h), sys.stdin.buffer.read(3 * w * h)).crop(question["box"])
    return image.resize(question["to"], Image.Resampling[question["filter"].upper()]).tobytes()


def main():
    hello = {"Pillow": PIL.__version__, "libjpeg-turbo": features.version("libjpeg_turbo")}
    sys.stdout.buffer.write(json.dumps(hello).encode() + b"\n")
    sys.stdout.buffer.flush()
    while line := sys.stdin.buffer.readline():
        sys.stdout.buffer.write(answer(json.loads(line)))
        sys.stdout.buffer.flush()


main()
