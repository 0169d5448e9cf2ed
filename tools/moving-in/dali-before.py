# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
from nvidia.dali import fn, pipeline_def, types
from nvidia.dali.plugin.base_iterator import LastBatchPolicy
from nvidia.dali.plugin.pytorch import DALIGenericIterator

from step import step


@pipeline_def(batch_size=32, num_threads=2, device_id=None, seed=42)
def photos():
    files, labels = fn.readers.file(file_root="photos", random_shuffle=True, pad_last_batch=True, name="files")
    images = fn.decoders.image_random_crop(files, random_area=[0.08, 1.0], random_aspect_ratio=[3 / 4, 4 / 3])
    images = fn.resize(images, size=[224, 224])
    images = fn.crop_mirror_normalize(
        images, mirror=fn.random.coin_flip(), dtype=types.FLOAT, output_layout="CHW",
        mean=[0.485 * 255, 0.456 * 255, 0.406 * 255], std=[0.229 * 255, 0.224 * 255, 0.225 * 255])
    return images, labels


loader = DALIGenericIterator(photos(), ["image", "label"], reader_name="files",
                             last_batch_policy=LastBatchPolicy.PARTIAL, auto_reset=True)

for epoch in range(2):
    for batch in loader:
        images, labels = batch[0]["image"], batch[0]["label"].squeeze(1).long()
        step(images, labels)
