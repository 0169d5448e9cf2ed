# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""FFCV with one worker: on the photos' own bytes (way: same; JPEG only), or on its own encoding with
quality 90 (way: own). The dataset is written before anything is measured. Its tensors are CHW by shape and
HWC in memory, as FFCV's own pipelines have them; another copy would make it a third slower."""
import pathlib
import random

import cv2
import ffcv
import numba
import numpy
import torch
from ffcv.fields import RGBImageField
from ffcv.fields.decoders import RandomResizedCropRGBImageDecoder
from ffcv.fields.rgb_image import IMAGE_MODES
from ffcv.loader import Loader, OrderOption
from ffcv.transforms import NormalizeImage, RandomHorizontalFlip, ToTensor, ToTorchImage
from ffcv.writer import DatasetWriter

import taking_turns

o = taking_turns.options()


class OwnBytes(RGBImageField):
    """Stores the JPEG as it is; FFCV itself would encode it anew."""

    def encode(self, destination, image, malloc):
        data, pixels = image
        destination["mode"] = IMAGE_MODES["jpg"]
        destination["height"], destination["width"] = pixels.shape[:2]
        destination["data_ptr"], storage = malloc(len(data))
        storage[:] = numpy.frombuffer(data, numpy.uint8)


class Photos:
    def __len__(self):
        return len(o["paths"])

    def __getitem__(self, i):
        data = pathlib.Path(o["paths"][i]).read_bytes()
        pixels = cv2.imdecode(numpy.frombuffer(data, numpy.uint8), cv2.IMREAD_COLOR_RGB
                              | cv2.IMREAD_IGNORE_ORIENTATION)
        return ((data, pixels) if o["way"] == "same" else pixels,)


# Not left to the writer: what its workers raise, it waits for without end.
if o["way"] == "same" and not all(pathlib.Path(path).read_bytes()[:2] == b"\xff\xd8" for path in o["paths"]):
    raise ValueError("FFCV stores the bytes of JPEGs only")
field = OwnBytes() if o["way"] == "same" else RGBImageField(write_mode="jpg", jpeg_quality=90)
dataset = str(pathlib.Path(o["scratch"]) / f"{o['way']}.beton")
DatasetWriter(dataset, {"image": field}, num_workers=1).from_indexed_dataset(Photos())
random.seed(1)
torch.set_num_threads(1)
numba.set_num_threads(1)
loader = Loader(dataset, batch_size=o["batch"], num_workers=1, order=OrderOption.RANDOM, os_cache=True,
                drop_last=False, custom_fields={"image": type(field)}, pipelines={"image": [
                    RandomResizedCropRGBImageDecoder((o["side"], o["side"])), RandomHorizontalFlip(),
                    NormalizeImage(255 * numpy.array(o["mean"]), 255 * numpy.array(o["std"]), numpy.float32),
                    ToTensor(), ToTorchImage()]})


def epoch():
    return sum(len(batch) for batch, in loader)


taking_turns.serve(epoch, {"FFCV": taking_turns.versions("ffcv")["ffcv"], "torch": torch.__version__,
                           "Numba": numba.__version__, "OpenCV": cv2.__version__})
