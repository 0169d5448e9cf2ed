# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
from ringfeed.torch import Loader

from step import step

loader = Loader("train", config="feed.yaml")

for epoch in range(2):
    for batch in loader:
        images, labels = batch["image"], batch["label"]
        step(images, labels)
