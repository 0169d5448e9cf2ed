# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Every photo through the daemon, bit-equal to Debian's Pillow: resize + center_crop, and
random_resized_crop + flip recomputed from what `ringfeed order --draws` prints. What Pillow cannot
decode must come as valid = false, unless a row of EXPECTED says why not."""
import collections
import io
import json
import re

import numpy
import PIL
import pixels_reference
import ringfeed
import scene
from PIL import Image, ImageOps, features

SIZE = 96
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
NORMALIZE = {"normalize": {"mean": MEAN, "std": STD}}
CROP = [{"random_resized_crop": {"size": SIZE}}, "random_horizontal_flip"]
CENTER = [{"resize": {"size": 112}}, {"center_crop": {"size": SIZE}}]
STEPS = {"crop": CROP, "center": CENTER}
# (file's name, what differs): why. A difference that is not here fails the scene; so does a row without one.
EXPECTED = {}


def field_of(steps, dtype, layout, exif=False):
    floats = dtype != "uint8"
    return {"from": ["jpg", "jpeg", "png"], "decode": {"image": "exact", "exif": exif}, "dtype": dtype,
            "layout": layout, "transform": STEPS[steps] + ([NORMALIZE] if floats else [])}


def fields_for(dtypes, exif=False):
    """One field of every kind of transform, dtype and layout: their draws differ by the field's name."""
    return {f"{steps}-{dtype}-{layout}".replace("-", "_"): field_of(steps, dtype, layout, exif)
            for steps in STEPS for dtype in dtypes for layout in ("chw", "hwc")}


def parse_draws(texts):
    """'crop_uint8_chw/0=random_resized_crop(top=1,left=2,height=3,width=4)' -> {(field, path): {...}}"""
    found = {}
    for text in texts:
        field, path, _, words = re.fullmatch(r"(\w+)/(\d+)=(\w+)\((.*)\)", text).groups()
        found[field, int(path)] = dict(word.split("=") for word in words.split(","))
    return found


def crop_by_draws(image, name, draws):
    """random_resized_crop and flip with the printed numbers."""
    box = {k: int(v) for k, v in draws[name, 0].items()}
    left, top = box["left"], box["top"]
    image = image.crop((left, top, left + box["width"], top + box["height"]))
    image = image.resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    if draws[name, 1]["flip"] == "true":
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return image


def center(image):
    image, _ = pixels_reference.resize(image, None, "pillow", 112, 0, "bilinear")
    return pixels_reference.center_crop(image, None, "pillow", SIZE, SIZE)[0]


def wanted_value(image, name, draws):
    steps, dtype, layout = name.split("_")
    image = crop_by_draws(image, name, draws) if steps == "crop" else center(image)
    normalize = [MEAN + STD] if dtype != "uint8" else []
    return pixels_reference.finish(numpy.asarray(image), dtype, layout, "divide", normalize)


def load(data, exif):
    """As Pillow's users do; None where it cannot."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return (ImageOps.exif_transpose(image) if exif else image).convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def same_bits(got, wanted):
    if got.dtype.itemsize == 2:
        got, wanted = got.view(numpy.uint16), wanted.view(numpy.uint16)
    return got.shape == wanted.shape and got.dtype == wanted.dtype and numpy.array_equal(got, wanted)


def compare_row(batch, i, path, draws, exif):
    """What differs, by name: 'valid', or the fields that do."""
    image = load(path.read_bytes(), exif)
    if bool(batch.valid[i]) != (image is not None):
        return ["valid"]
    if image is None:
        return [name for name in batch if batch[name][i].any()]  # a masked row is zero bytes
    return [name for name in batch if not same_bits(batch[name][i], wanted_value(image, name, draws))]


def compare(folder, paths, dtypes, exif=False):
    """[(name, field)] that differ; every photo once, in a shuffled epoch that is not the first."""
    shards = scene.pack_photos(folder, f"photos-{len(paths)}", paths, 200)
    feed = scene.feed(shards, order={"shuffle": "full", "seed": 11}, batch={"size": 8, "last": "short"},
                      slots=2, bad_samples={"policy": "mask", "limit": "100%"}, fields=fields_for(dtypes, exif))
    config = scene.write_config(folder, {"photos": feed})
    epoch = 3
    lines = scene.ringfeed("order", "-c", config, "photos", "--epoch", epoch, "--draws", "--json").stdout
    printed = {row["position"]: row for row in map(json.loads, lines.splitlines())}
    seen, different = collections.Counter(), []
    with scene.Daemon(config) as daemon, ringfeed.Loader("photos", socket=daemon.socket) as loader:
        loader.set_epoch(epoch)
        for batch in loader:
            for i, (position, index) in enumerate(zip(batch.position.tolist(), batch.index.tolist())):
                assert printed[position]["index"] == index
                seen[index] += 1
                draws = parse_draws(printed[position]["draws"])
                different += [(paths[index].name, what)
                              for what in compare_row(batch, i, paths[index], draws, exif)]
            batch.release()
    assert seen == collections.Counter(range(len(paths)))
    return different


def settle(different, paths):
    """Fails with the list of what is not explained, and for explanations of what does not happen."""
    names = {path.name for path in paths}
    unexplained = sorted(d for d in set(different) if d not in EXPECTED)
    assert not unexplained, f"{len(unexplained)} differ: {unexplained[:40]}"
    stale = [row for row in EXPECTED if row[0] in names and row not in different]
    assert not stale, f"no difference any more: {stale}"


def imagenet(folder):
    paths = scene.photos("imagenet-sample")
    settle(compare(folder, paths, ["uint8", "float32"]), paths)


def other_photos(folder):
    paths = sum((scene.photos(name) for name in ("photos-progressive", "photos-exif", "kodak", "coco128-train")),
                [])
    settle(compare(folder, paths, ["uint8", "float32"]), paths)


def half_floats(folder):
    """The 16-bit dtypes, on every photo as well."""
    paths = sum((scene.photos(name) for name in ("imagenet-sample", "photos-progressive", "photos-exif", "kodak",
                                                 "coco128-train")), [])
    settle(compare(folder, paths, ["float16", "bfloat16"]), paths)


def orientation(folder):
    """decode: {exif: true} turns as ImageOps.exif_transpose does, before everything else."""
    paths = scene.photos("photos-exif")
    settle(compare(folder, paths, ["uint8"], exif=True), paths)


if __name__ == "__main__":
    if not PIL.__version__.startswith("9.4"):
        print(f"skipped: Pillow {PIL.__version__}; the oracle is Debian's 9.4 (python3-pil)")
        raise SystemExit(77)
    print(f"Pillow {PIL.__version__}, its libjpeg-turbo {features.version_feature('libjpeg_turbo')}")
    scene.need_data("imagenet-sample", "photos-progressive", "photos-exif", "kodak", "coco128-train")
    scene.main([orientation, half_floats, other_photos, imagenet])
