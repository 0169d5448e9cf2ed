# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""The whole daemon with one worker on packed photos: random_resized_crop 224, flip, normalise, float32
CHW, batches of 64, shuffle full."""
import json
import os
import subprocess

from . import sets, turns

BATCH = 64
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Feed:
    def __init__(self, binary, paths, folder, memory="512MiB"):
        self.binary, self.paths = str(binary), paths
        self.config = folder / "bench.yaml"
        self.config.write_text(json.dumps({
            "daemon": {"memory": memory, "workers": 1, "log": "warn"},
            "feeds": {"train": {
                "source": {"format": "webdataset", "shards": sets.pack(paths, folder)},
                "order": {"shuffle": "full", "seed": 0},
                "batch": {"size": BATCH, "last": "short"},
                "fields": {"image": {"from": ["jpg", "jpeg", "png"], "decode": "image", "transform": [
                    {"random_resized_crop": {"size": 224}}, "random_horizontal_flip",
                    {"normalize": {"mean": MEAN, "std": STD}}],
                    "dtype": "float32", "layout": "chw"}}}}}))

    def run(self, *arguments, environment=None):
        done = subprocess.run([self.binary, *arguments], text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env={**os.environ, **(environment or {})})
        if done.returncode:
            raise turns.Failed((done.stderr.strip().splitlines() or ["ringfeed failed"])[-1])
        return done.stdout

    def order(self, seed, epoch):
        """The sample at each position of the epoch."""
        lines = self.run("order", "-c", self.config, "train", "--epoch", str(epoch),
                         "--set", f"feeds.train.order.seed={seed}").splitlines()
        return [int(line.split("\t")[3]) for line in lines]

    def bench(self, seed, epochs, environment=None):
        """The report of `ringfeed bench`: of the daemon's processes, counted from the third batch on."""
        return json.loads(self.run("bench", "-c", self.config, "train", "--epochs", str(epochs), "--json",
                                   "--set", f"feeds.train.order.seed={seed}", environment=environment))
