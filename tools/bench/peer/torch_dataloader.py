# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""PyTorch's DataLoader with one worker and torchvision's v2 transforms: on PIL images, or on tensors that
torchvision.io decodes (way: pil or io)."""
import PIL
import torch
import torchvision
from PIL import Image
from torchvision.io import ImageReadMode, decode_image, read_file
from torchvision.transforms import v2

import taking_turns

o = taking_turns.options()
finish = [v2.RandomResizedCrop(o["side"], antialias=True), v2.RandomHorizontalFlip()]
finish += [v2.ToImage()] if o["way"] == "pil" else []
finish += [v2.ToDtype(torch.float32, scale=True), v2.Normalize(o["mean"], o["std"])]


class Photos(torch.utils.data.Dataset):
    transform = v2.Compose(finish)

    def __len__(self):
        return len(o["paths"])

    def __getitem__(self, i):
        if o["way"] == "io":
            return self.transform(decode_image(read_file(o["paths"][i]), ImageReadMode.RGB))
        with Image.open(o["paths"][i]) as file:
            return self.transform(file.convert("RGB"))


torch.set_num_threads(1)
loader = torch.utils.data.DataLoader(Photos(), o["batch"], shuffle=True, num_workers=1, persistent_workers=True)


def epoch():
    return sum(len(batch) for batch in loader)


taking_turns.serve(epoch, {"torch": torch.__version__, "torchvision": torchvision.__version__,
                           "Pillow": PIL.__version__})
