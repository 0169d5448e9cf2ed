# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
import torch
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from step import step

transform = v2.Compose([
    v2.RandomResizedCrop(224),
    v2.RandomHorizontalFlip(),
    v2.ToImage(),
    v2.ToDtype(torch.float32, scale=True),
    v2.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
])
dataset = ImageFolder("photos", transform)
loader = torch.utils.data.DataLoader(dataset, batch_size=32, shuffle=True, num_workers=2)

for epoch in range(2):
    for images, labels in loader:
        step(images, labels)
