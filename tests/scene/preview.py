# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""The contact sheet shows the batch: every pixel against Pillow's, every label, key and draw; and what it refuses."""
import json
import pathlib
import re
import types

import numpy
import pixels_reference
import PIL
import scene
from PIL import Image

SEED = 5
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
NAMES = ["stone wall", "Käse", "third"]
CROP = ("random_resized_crop", 64, 80, 0.08, 1.0, 3 / 4, 4 / 3, "bilinear")
FLIP, UPSIDE = ("random_horizontal_flip", 0.5), ("random_vertical_flip", 0.5)
LETTERS = dict(re.findall(r"^LETTER\('\\?(.)', \"(.*)\"\)$", (scene.ROOT / "src/main/letters.def").read_text(), re.M))
BLUE = (0x00, 0x30, 0x90)

# name: (config, the reference's steps, the most that a pixel may be off)
IMAGES = {
    "image": ({"transform": [{"random_resized_crop": {"size": [64, 80]}}, "random_horizontal_flip",
                             {"normalize": {"mean": MEAN, "std": STD}}], "dtype": "float32", "layout": "chw"},
              [CROP, FLIP], 0),
    "gray": ({"transform": [{"resize": {"size": [120, 110]}}, {"grayscale": {"num_output_channels": 3}},
                            "random_vertical_flip", {"normalize": {"mean": MEAN, "std": STD}}],
              "dtype": "float16", "layout": "hwc"},
             [("resize", 120, 110, "bilinear"), ("grayscale",), UPSIDE], 0),
    "coarse": ({"transform": [{"resize": {"size": [16, 20]}}], "dtype": "bfloat16", "layout": "chw", "scale": "none"},
               [("resize", 16, 20, "bilinear")], 1),
    "plain": ({"transform": [{"resize": {"size": 40}}, {"center_crop": {"size": 32}}], "dtype": "uint8", "layout": "hwc"},
              [("resize", 40, 0, "bilinear"), ("center_crop", 32, 32)], 0),
}
TIMES = {"image": 2, "gray": 1, "coarse": 5, "plain": 3}


def make(folder, bad=(), **feed):
    """The photos and a config over them; samples of these numbers are no images."""
    paths = [p for p in scene.photos("imagenet-sample")[:40]]
    (folder / "names.txt").write_text("".join(f"{n}\n" for n in NAMES))
    samples = [[("jpg", b"no image" if i in bad else p.read_bytes()), ("cls", str(i - 3).encode()),
                ("kind", NAMES[i % 3].encode()), ("txt", f"text of {i}\nline".encode()),
                ("box", json.dumps([i, 0.5]).encode())] for i, p in enumerate(paths)]
    shards = scene.pack(folder, "in", samples, 15)
    fields = {name: {"from": "jpg", "decode": "image", **config} for name, (config, _, _) in IMAGES.items()}
    fields.update({"label": {"from": "cls", "decode": "integer"},
                   "kind": {"from": "kind", "decode": "text", "classes": str(folder / "names.txt")},
                   "caption": {"from": "txt", "decode": "text", "max": "64B"},
                   "corner": {"from": "box", "decode": "json", "shape": [2], "dtype": "float32"}})
    feed = scene.feed(shards, order={"shuffle": "full", "seed": SEED}, batch={"size": 12, "last": "pad"}, fields=fields,
                      **feed)
    return paths, scene.write_config(folder, {"train": feed})


def preview(config, out, *more, **how):
    return scene.ringfeed("preview", "-c", config, "train", "-o", out, *more, **how)


def shown(sheet, box):
    """The box's pixels at their own size; every pixel is a square of equal dots."""
    times = box["times"]
    dots = numpy.asarray(sheet)[box["y"]:box["y"] + box["height"], box["x"]:box["x"] + box["width"]]
    pixels = dots[::times, ::times]
    assert (pixels.repeat(times, 0).repeat(times, 1) == dots).all()
    return pixels


def check_images(sheet, tile, path, epoch):
    image = pixels_reference.load(path)
    for name, (_, steps, slack) in IMAGES.items():
        field = types.SimpleNamespace(steps=steps, pass_order="pillow")
        want, _ = pixels_reference.transform(image, field, SEED, epoch, tile["position"], name)
        box = tile["images"][name]
        assert box["times"] == TIMES[name]
        got = shown(sheet, box)
        assert got.shape == want.shape, (name, got.shape, want.shape)
        off = numpy.abs(got.astype(int) - want).max()
        assert off <= slack, (tile, name, off)


def drawn_text(text):
    """The dots of a line of text, by the letters' own table."""
    dots = numpy.zeros((8, 6 * len(text)), bool)
    for i, letter in enumerate(text):
        for y, row in enumerate(LETTERS[letter].split()):
            dots[y, 6 * i:6 * i + 5] = [dot == "#" for dot in row]
    return dots[:, :-1]


def has_text(sheet, tile, text, colour):
    """Is the text there, dot for dot, below the tile's first image?"""
    box = tile["images"]["image"]
    want = drawn_text(text)
    area = (numpy.asarray(sheet)[box["y"]:, box["x"]:box["x"] + want.shape[1]] == colour).all(2)
    return any((area[y:y + 8] == want).all() for y in range(0, area.shape[0] - 8))


def check_tile(sheet, tile, ordered, path, epoch):
    i = tile["index"]
    assert tile["key"] == f"s{i:06d}" == ordered["key"] and i == ordered["index"]
    assert tile["draws"] == ordered["draws"]
    assert tile["fields"] == {"label": i - 3, "kind": {"number": i % 3, "name": NAMES[i % 3]},
                              "caption": f"text of {i}\nline", "corner": [i, 0.5]}
    check_images(sheet, tile, path, epoch)
    assert has_text(sheet, tile, f"label={i - 3}", BLUE)
    assert has_text(sheet, tile, f"caption=text of {i} line", BLUE)


def order(config, epoch):
    lines = scene.ringfeed("order", "-c", config, "train", "--epoch", epoch, "--draws", "--json").stdout.splitlines()
    return [json.loads(line) for line in lines]


def sheets(folder):
    """The first batch, and one in the middle of another epoch."""
    paths, config = make(folder)
    for epoch, batch, n in ((0, 0, 12), (3, 2, 5)):
        out = folder / f"{epoch}.png"
        done = preview(config, out, "--epoch", epoch, "--batch", batch, "--first", n, "--columns", 2, "--json")
        with Image.open(out) as sheet:
            assert sheet.mode == "RGB"
            said = json.loads(sheet.text["ringfeed"])
            sheet.load()
        assert said == json.loads(done.stdout) and (said["epoch"], said["batch"]) == (epoch, batch)
        assert [t["position"] for t in said["tiles"]] == list(range(12 * batch, 12 * batch + n))
        ordered = order(config, epoch)
        for tile in said["tiles"]:
            assert tile["valid"] and "instead_of" not in tile
            check_tile(sheet, tile, ordered[tile["position"]], paths[tile["index"]], epoch)
    assert len({(t["images"]["image"]["x"], t["images"]["image"]["y"]) for t in said["tiles"]}) == n
    assert len({t["images"]["image"]["x"] for t in said["tiles"]}) == 2
    assert sorted(p.name for p in folder.glob("*.png*")) == ["0.png", "3.png"]


def is_framed(sheet, tile):
    box = tile["images"]["image"]
    return tuple(numpy.asarray(sheet)[box["y"] - 2, box["x"] + 3]) == (0xC0, 0, 0)


def marks(folder):
    """Bad samples, what stands in for them, and padding have a red frame, and nothing else has."""
    for policy in ("mask", "substitute"):
        (folder / policy).mkdir()
        paths, config = make(folder / policy, bad=(2, 7, 19, 30), bad_samples={"policy": policy, "limit": "50%"})
        ordered = order(config, 0)
        bad, padded = 0, 0
        for batch in range(4):
            out = folder / f"{policy}-{batch}.png"
            preview(config, out, "--batch", batch)
            sheet = Image.open(out)
            for tile in json.loads(sheet.text["ringfeed"])["tiles"]:
                is_padding = tile["position"] >= len(paths)
                own = None if is_padding else ordered[tile["position"]]["index"]
                is_bad = own in (2, 7, 19, 30)
                if is_bad and policy == "mask":
                    assert not tile["valid"]
                elif is_bad:
                    assert tile["valid"] and tile["instead_of"] == own != tile["index"]
                    check_images(sheet, tile, paths[tile["index"]], 0)
                elif not is_padding:
                    assert tile["index"] == own and tile["valid"]
                assert is_framed(sheet, tile) == (is_bad or is_padding), tile
                bad, padded = bad + is_bad, padded + is_padding
        assert (bad, padded) == (4, 8)


def a_global_batch(folder):
    """The sheet shows what rank 0 of batch.ranks gets."""
    shards = scene.pack_photos(folder, "in", scene.photos("imagenet-sample")[:24], 24)
    feed = scene.feed(shards, transform=[{"resize": {"size": [32, 32]}}], dtype="uint8",
                      batch={"global": 12, "ranks": 3, "last": "drop"})
    preview(scene.write_config(folder, {"train": feed}), folder / "global.png", "--batch", 1)
    about = json.loads(Image.open(folder / "global.png").text["ringfeed"])
    assert [tile["position"] for tile in about["tiles"]] == [12, 15, 18, 21], about


def refusals(folder):
    paths, config = make(folder)
    out = folder / "sheet.png"
    out.write_bytes(b"mine")
    done = preview(config, out, check=False)
    assert done.returncode == 1 and "sheet.png is there; --force" in done.stderr and out.read_bytes() == b"mine"
    preview(config, out, "--force", "--first", 1)
    assert Image.open(out).format == "PNG"
    for more, code, words in ((["--batch", 4], 2, "an epoch has 4 batches; --batch may be at most 3"),
                              (["--first", 0], 2, "accepted: a whole number, 1 to")):
        done = preview(config, folder / "other.png", *more, check=False)
        assert done.returncode == code and words in done.stderr, done
    done = preview(config, folder / "nowhere" / "other.png", check=False)
    assert done.returncode == 1 and "nowhere: No such file or directory" in done.stderr
    done = scene.ringfeed("preview", "-c", config, "other", "-o", folder / "other.png", check=False)
    assert done.returncode == 78 and "there is train" in done.stderr
    huge = json.loads(pathlib.Path(config).read_text())
    huge["feeds"]["train"]["fields"] = {"image": {"from": "jpg", "decode": "image", "dtype": "uint8",
                                                  "transform": [{"resize": {"size": [4000, 4000]}}]}}
    huge["feeds"]["train"]["batch"]["size"] = 2
    huge["daemon"]["memory"] = "1GiB"
    pathlib.Path(config).write_text(json.dumps(huge))
    done = preview(config, folder / "other.png", "--first", 2, check=False)
    assert done.returncode == 1 and "has room for 1 samples" in done.stderr, done
    assert sorted(p.name for p in folder.glob("*.png*")) == ["sheet.png"]


if __name__ == "__main__":
    if not PIL.__version__.startswith("9.4"):
        print(f"skipped: Pillow {PIL.__version__}; the oracle is Debian's 9.4 (python3-pil)")
        raise SystemExit(77)
    scene.need_data("imagenet-sample")
    scene.main([sheets, marks, a_global_batch, refusals])
