# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""SPDL's pipeline with one decoding thread: demux, decode with crop, scale and flip as a filter of FFmpeg,
convert a batch, normalise it with NumPy."""
import random

import numpy
import spdl.io
from spdl.pipeline import PipelineBuilder

import taking_turns

o = taking_turns.options()
draws = random.Random(1)
mean = (255 * numpy.array(o["mean"], numpy.float32)).reshape(3, 1, 1)
scale = (1 / (255 * numpy.array(o["std"], numpy.float32))).reshape(3, 1, 1)
side = o["side"]
ONE_THREAD = spdl.io.decode_config(decoder_options={"threads": "1"})


def decode(path):
    packets = spdl.io.demux_image(path)
    x, y, w, h = taking_turns.crop_of(draws, packets.codec.width, packets.codec.height)
    steps = [f"crop={w}:{h}:{x}:{y}:exact=1", f"scale={side}:{side}:flags=bilinear"]
    steps += ["hflip"] if draws.random() < 0.5 else []
    return spdl.io.decode_packets(packets, filter_desc=",".join([*steps, "format=pix_fmts=rgb24"]),
                                  decode_config=ONE_THREAD)


def convert(frames):
    pixels = spdl.io.to_numpy(spdl.io.convert_frames(frames))
    batch = numpy.empty((len(frames), 3, side, side), numpy.float32)
    for row, image in zip(batch, pixels):
        numpy.subtract(image.transpose(2, 0, 1), mean, out=row)
        row *= scale
    return batch


def epoch():
    pipeline = (PipelineBuilder().add_source(taking_turns.shuffled(o["paths"])).pipe(decode, concurrency=1)
                .aggregate(o["batch"]).pipe(convert, concurrency=1).add_sink(2).build(num_threads=1))
    with pipeline.auto_stop():
        return sum(len(batch) for batch in pipeline)


taking_turns.serve(epoch, {"SPDL": taking_turns.versions("spdl")["spdl"], "NumPy": numpy.__version__})
