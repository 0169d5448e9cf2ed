# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""One trainer of a sweep with a DataLoader of its own: says "ready", reads its epochs once told to go, and prints the
CPU seconds that it and its workers took."""
import json
import os
import sys

import torch
from PIL import Image
from torchvision.transforms import v2

o = json.load(open(sys.argv[1]))
finish = v2.Compose([v2.RandomResizedCrop(224, antialias=True), v2.RandomHorizontalFlip(), v2.ToImage(),
                     v2.ToDtype(torch.float32, scale=True), v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
                     v2.ToDtype(torch.float16)])


class Photos(torch.utils.data.Dataset):
    def __len__(self):
        return len(o["paths"])

    def __getitem__(self, i):
        with Image.open(o["paths"][i]) as file:
            return finish(file.convert("RGB"))


def seconds():
    t = os.times()
    return t.user + t.system + t.children_user + t.children_system


torch.set_num_threads(1)
print("ready", flush=True)
sys.stdin.readline()
began = seconds()
loader = torch.utils.data.DataLoader(Photos(), o["batch"], shuffle=True, num_workers=2, drop_last=True,
                                     persistent_workers=True)
for epoch in range(o["epochs"]):
    for batch in loader:
        len(batch)
loader._iterator._shutdown_workers()  # so that their CPU time is in
print(seconds() - began, flush=True)
sys.stdin.readline()
