# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
import torch
import webdataset
from torchvision.transforms import v2

from step import step

transform = v2.Compose([
    v2.RandomResizedCrop(224),
    v2.RandomHorizontalFlip(),
    v2.ToImage(),
    v2.ToDtype(torch.float32, scale=True),
    v2.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
])
dataset = (
    webdataset.WebDataset("shards/photos-{000000..000003}.tar", shardshuffle=4)
    .shuffle(1000)
    .decode("pil")
    .to_tuple("jpg;jpeg;png", "cls")
    .map_tuple(transform, int)
    .batched(32)
)
loader = webdataset.WebLoader(dataset, batch_size=None, num_workers=2)

for epoch in range(2):
    for images, labels in loader:
        step(images, torch.as_tensor(labels))
