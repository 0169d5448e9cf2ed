# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""NVIDIA DALI on one CPU thread, without a GPU: its fused decode of a random crop."""
import nvidia.dali
from nvidia.dali import fn, pipeline_def, types

import taking_turns

o = taking_turns.options()


@pipeline_def(batch_size=o["batch"], num_threads=1, device_id=None, seed=1)
def photos():
    files, _ = fn.readers.file(files=o["paths"], random_shuffle=True, name="files")
    images = fn.decoders.image_random_crop(files, device="cpu", output_type=types.RGB, random_area=[0.08, 1.0],
                                           random_aspect_ratio=[3 / 4, 4 / 3], num_attempts=10,
                                           adjust_orientation=False)
    images = fn.resize(images, size=[o["side"], o["side"]], interp_type=types.INTERP_LINEAR)
    return fn.crop_mirror_normalize(images, mirror=fn.random.coin_flip(probability=0.5), dtype=types.FLOAT,
                                    output_layout="CHW", mean=[255 * m for m in o["mean"]],
                                    std=[255 * s for s in o["std"]])


pipeline = photos()
pipeline.build()


def epoch():
    n = 0
    for _ in range(-(-len(o["paths"]) // o["batch"])):
        batch, = pipeline.run()
        n += len(batch)
    return n


taking_turns.serve(epoch, {"DALI": nvidia.dali.__version__})
