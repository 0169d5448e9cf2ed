# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""A real daemon on a private socket, over shards whose samples say who they are.

RINGFEED_BIN names the binary. Sample i of a scene is a PNG of one colour made from i and a label made from i, packed by
Python's tarfile; after resize and crop the colour is still the same, so that a swapped or stale row is seen at once.
"""
import io
import os
import pathlib
import signal
import subprocess
import tarfile
import time

from PIL import Image

import ringfeed

BINARY = os.environ.get("RINGFEED_BIN", "")


def missing():
    """Why no daemon can be started, or ''."""
    if not BINARY:
        return "RINGFEED_BIN does not name a ringfeed binary"
    said = subprocess.run([BINARY, "help"], capture_output=True, text=True)
    return "" if "serve" in said.stdout + said.stderr else f"{BINARY} has no serve command"


def colour(i):
    return (i * 7 % 256, i * 31 % 256, i % 256)


def label(i):
    return i * 1000003 - 500


def write_shards(folder, counts, first=0):
    """Tars with so many samples each; the samples' numbers go on from one to the next."""
    folder.mkdir(parents=True, exist_ok=True)
    i = first
    for n, count in enumerate(counts):
        with tarfile.open(folder / f"part-{n:04}.tar", "w") as tar:
            for _ in range(count):
                png = io.BytesIO()
                Image.new("RGB", (12, 10), colour(i)).save(png, "PNG")
                for extension, data in (("png", png.getvalue()), ("cls", str(label(i)).encode())):
                    info = tarfile.TarInfo(f"s{i:06}.{extension}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
                i += 1
    return i - first


class Daemon:
    """`ringfeed serve` on folder/sock with one feed, train; feed= adds YAML lines to it."""

    def __init__(self, folder, shards, batch="{size: 4}", order="{shuffle: full, seed: 7}", slots=3, workers=1, extra=""):
        self.folder = pathlib.Path(folder)
        self.socket = self.folder / "sock"
        self.config = self.folder / "ringfeed.yaml"
        self.process = None
        self.config.write_text(f"""
daemon:
  socket: {self.socket}
  memory: 256MiB
  workers: {workers}
{extra}
feeds:
  train:
    source: {{format: webdataset, shards: {shards}/part-*.tar, reads: buffered}}
    order: {order}
    batch: {batch}
    slots: {slots}
    limits: {{decode_memory: 4MiB}}
    fields:
      image:
        from: [png]
        decode: image
        transform:
          - resize: {{size: 8}}
          - center_crop: {{size: 8}}
        dtype: uint8
        layout: hwc
      label: {{from: cls, decode: integer, dtype: int64}}
""")

    def start(self):
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen([BINARY, "serve", "-c", str(self.config)], stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while True:
            try:
                ringfeed.status(self.socket)
                return self
            except ringfeed.DaemonGone:
                assert self.process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < deadline, (self.folder / "log").read_text()
                time.sleep(0.02)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(10)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def loader(self, **other):
        other.setdefault("reconnect", 10)
        return ringfeed.Loader("train", socket=self.socket, timeout=20, **other)


def check_batch(batch):
    """Every row is the sample that index says it is; returns the indexes of the valid rows."""
    for i, image, number, valid in zip(batch.index.tolist(), batch["image"], batch["label"].tolist(), batch.valid):
        assert (image == colour(i)).all() and image.shape == (8, 8, 3), (i, image[0, 0])
        assert number == label(i)
    return [i for i, valid in zip(batch.index.tolist(), batch.valid) if valid]
