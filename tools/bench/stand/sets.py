# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Sets of photos: which files, which of them all sides can read, and packed into tar shards."""
import dataclasses
import io
import os
import pathlib
import tarfile
import warnings

SUFFIXES = (".jpg", ".jpeg", ".png")
# Sets of the test data, by name: folder, and how many files at most (evenly taken).
KNOWN = {"imagenet-sample": ("imagenet-sample", 600), "photos-progressive": ("photos-progressive", 600),
         "coco128-train": ("coco128-train/images", 600), "kodak": ("kodak", 600),
         "cifar10-png": ("cifar10-png", 1000)}
SHARD = 150


@dataclasses.dataclass
class PhotoSet:
    name: str
    paths: list
    left_out: dict  # path -> why
    megapixels: float = 0.0
    bits_per_pixel: float = 0.0

    def leave_out(self, path, why):
        self.paths.remove(path)
        self.left_out[str(path)] = why

    def described(self):
        return {"photos": len(self.paths), "megapixels": self.megapixels,
                "bits_per_pixel": self.bits_per_pixel, "left_out": self.left_out}


class Missing(Exception):
    """There is no such set; the argument names what was looked for."""


def test_data():
    default = pathlib.Path(__file__).resolve().parents[4] / "shared" / "data"
    return pathlib.Path(os.environ.get("RINGFEED_TEST_DATA") or default)


def folder_of(text):
    """NAME, NAME=FOLDER or FOLDER: name, folder and how many files at most."""
    if "=" in text:
        name, folder = text.split("=", 1)
        return name, pathlib.Path(folder), None
    if text in KNOWN:
        return text, test_data() / KNOWN[text][0], KNOWN[text][1]
    return pathlib.Path(text).resolve().name, pathlib.Path(text), None


def open_set(text):
    """Every photo of the folder and those below it that Pillow decodes; the others are left out by name."""
    from PIL import Image  # Debian's; the peers' environments need not have it
    name, folder, most = folder_of(text)
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not paths:
        raise Missing(f"no photos in {folder}")
    if most and len(paths) > most:
        paths = [paths[i * len(paths) // most] for i in range(most)]
    photos = PhotoSet(name, paths[:], {})
    n_pixels = n_bytes = 0
    for path in paths:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with Image.open(path) as image:
                    image.convert("RGB")
        except Exception as why:  # Pillow raises many kinds
            photos.leave_out(path, f"Pillow: {why}")
            continue
        n_pixels += image.width * image.height
        n_bytes += path.stat().st_size
    if not photos.paths:
        raise Missing(f"Pillow reads no photo of {folder}")
    photos.megapixels = n_pixels / len(photos.paths) / 1e6
    photos.bits_per_pixel = 8 * n_bytes / n_pixels
    return photos


def repeated(photos, least):
    """The photos' paths, all of them as often as it takes to be at least so many."""
    return photos.paths * -(-least // len(photos.paths))


def pack(paths, folder):
    """Shards of photos under running numbers as keys; returns the pattern that finds them."""
    for first in range(0, len(paths), SHARD):
        with tarfile.open(folder / f"photos-{first // SHARD:06d}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
            for i, path in enumerate(paths[first:first + SHARD], first):
                info = tarfile.TarInfo(f"{i:06d}{path.suffix.lower()}")
                data = path.read_bytes()
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return str(folder / "photos-*.tar")
