# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""A feed and two views of it: the same samples at the same places, each row as Pillow makes it with the view's own steps;
one token and one dataset for all; the same bad samples in all; and what the commands say of them."""
import collections
import contextlib
import io
import json
import pathlib
import re
import signal
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "unit" / "shard"))

import compressed
import numpy
import pixels_reference
import ringfeed
import scene
from bad_samples import ledger
from make_rows import Field
from PIL import Image

SEED, N = 42, 120
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NORMALIZE = ("normalize", *MEAN, *STD)


def crop(side):
    return ("random_resized_crop", side, side, 0.08, 1.0, 0.75, 4 / 3, "bilinear")


FLIP = ("random_horizontal_flip", 0.5)
# What each gives, for the reference; and the same as it is configured.
FIELDS = {
    "train": Field(96, 96, (crop(96), FLIP, NORMALIZE), "float32", "chw"),
    "train/small": Field(48, 48, (crop(48), FLIP), "uint8", "hwc"),
    "train/center": Field(64, 80, (("resize", 100, 0, "bilinear"), ("center_crop", 64, 80), NORMALIZE), "float16", "chw"),
}
IMAGE = {"from": ["jpg", "jpeg", "png"], "decode": "image", "dtype": "float32",
         "transform": [{"random_resized_crop": {"size": 96}}, "random_horizontal_flip",
                       {"normalize": {"mean": MEAN, "std": STD}}]}
VIEWS = {
    "small": {"image": {"transform": [{"random_resized_crop": {"size": 48}}, "random_horizontal_flip"], "dtype": "uint8",
                        "layout": "hwc"}, "label": {"dtype": "int32"}},
    "center": {"image": {"transform": [{"resize": {"size": 100}}, {"center_crop": {"size": [64, 80]}},
                                       {"normalize": {"mean": MEAN, "std": STD}}], "dtype": "float16"}},
}
OTHERS = {"label": {"from": "cls", "decode": "integer"}, "key": {"from": "__key__", "decode": "text", "max": "16B"}}


def photos():
    """Of all kinds, progressive and turned ones and PNG among them."""
    return (scene.photos("imagenet-sample")[:N - 40] + scene.photos("photos-progressive")[:20] +
            scene.photos("photos-exif")[:10] + scene.photos("kodak")[:10])


def feed(shards, **more):
    return scene.feed(shards, **{"fields": {"image": IMAGE, **OTHERS}, "views": VIEWS, "slots": 2, "size": 16,
                                 "order": {"shuffle": "full", "seed": SEED}, **more})


def batches(loader):
    """Copies of everything, row by row: position -> (index, valid, fields)."""
    for batch in loader:
        for i, position in enumerate(batch.position.tolist()):
            yield position, (int(batch.index[i]), bool(batch.valid[i]),
                             {name: numpy.array(batch[name][i]) for name in ("image", "label")})
        batch.release()


def attach(daemon, name, **more):
    return ringfeed.Loader(name, socket=daemon.socket, **more)


def check_row(name, row, position, paths, epoch=0):
    index, valid, fields = row
    assert valid and fields["label"] == index and fields["label"].dtype == ("int32" if name == "train/small" else "int64")
    wanted = pixels_reference.make(pixels_reference.load(paths[index]), FIELDS[name], SEED, epoch, position)
    assert fields["image"].dtype == wanted.dtype and numpy.array_equal(fields["image"], wanted), (name, paths[index])


def pixels(folder):
    """All three at once, in different rhythms; every row against Pillow."""
    paths = photos()
    config = scene.write_config(folder, {"train": feed(scene.pack_photos(folder, "in", paths, 50))}, memory="192MiB")
    with scene.Daemon(config) as daemon, contextlib.ExitStack() as stack:
        iterators = {name: batches(stack.enter_context(attach(daemon, name))) for name in FIELDS}
        rows = collections.defaultdict(dict)
        while iterators:
            for name, n in zip(FIELDS, (1, 40, 7)):
                for position, row in (next(iterators[name], (None, None)) for _ in range(n if name in iterators else 0)):
                    if position is None:
                        iterators.pop(name, None)
                        break
                    check_row(name, row, position, paths)
                    rows[position][name] = row[0]
        assert len(rows) == N // 16 * 16
        assert all(len(r) == 3 and len(set(r.values())) == 1 for r in rows.values()), rows
        for name in FIELDS:
            status = next(f for f in daemon.status()["feeds"] if f["name"] == name)
            assert status["delivered"] >= N // 16 * 16 and status["bad"] == 0 and status["slots"]["all"] >= 2, status


def one_decode(folder):
    """Groups that share a pass take different views of it: each sample is made once, in all three ways."""
    paths = photos()
    for share in ("lockstep", {"window": 3}):
        shards = scene.pack_photos(folder, "in", paths, 50)
        config = scene.write_config(folder, {"train": feed(shards, share=share, slots=5)}, memory="256MiB")
        with scene.Daemon(config) as daemon:
            rows = {name: {} for name in FIELDS}
            with attach(daemon, "train") as loader:
                state = loader.state_dict()
            with contextlib.ExitStack() as stack:
                loaders = {name: stack.enter_context(attach(daemon, name, state=state)) for name in FIELDS}
                together = threading.Barrier(len(FIELDS), action=lambda: counts.append(made(daemon)))
                counts = []

                def take(name):
                    for _ in range(2):  # in the first one, what was made before all were there is made again
                        together.wait(60)
                        rows[name] = dict(batches(loaders[name]))
                    together.wait(60)

                threads = [threading.Thread(target=take, args=(name,)) for name in FIELDS]
                for t in threads:
                    t.start()
                for t in threads:
                    t.join()
                epoch = loaders["train"].epoch - 1
            for name in FIELDS:
                assert sorted(rows[name]) == list(range(N // 16 * 16)), (name, len(rows[name]))
                for position, row in rows[name].items():
                    check_row(name, row, position, paths, epoch)
            n_made = counts[2] - counts[1]
            print(f"  {share}: {3 * (N // 16 * 16)} rows of three views, {n_made} samples made")
            assert abs(n_made - N // 16 * 16) <= 5 * 16, counts  # what is made ahead, at either end


def made(daemon):
    return next(f for f in daemon.status()["feeds"] if f["name"] == "train")["made"]


def from_compressed_shards(folder):
    """Units inflate for views as they do for feeds."""
    paths, shards = photos()[:64], []
    for shard in scene.pack_photos(folder, "in", paths, 16):
        shards.append(folder / f"{shard.name}.zst")
        shards[-1].write_bytes(compressed.zstd_program(shard.read_bytes(), "-1"))
    config = scene.write_config(folder, {"train": feed(shards, order={"shuffle": "block", "seed": SEED, "window": 20})},
                                memory="256MiB")
    lines = [line["name"] for line in json.loads(scene.ringfeed("plan", "-c", config, "--json").stdout)["lines"]]
    assert [line for line in lines if line.startswith("inflated")] == ["inflated train"]
    with scene.Daemon(config) as daemon:
        for name in FIELDS:
            with attach(daemon, name) as loader:
                seen = 0
                for position, row in batches(loader):
                    check_row(name, row, position, paths)
                    seen += 1
                assert seen == 64


def one_token(folder):
    """A place in the feed is one in its views: they are the same samples in the same order."""
    paths = photos()[:64]
    config = scene.write_config(folder, {"train": feed(scene.pack_photos(folder, "in", paths, 50))}, memory="192MiB")
    with scene.Daemon(config) as daemon:
        with attach(daemon, "train") as loader:
            first = next(iter(loader)).position.tolist()
            state = loader.state_dict()
        with attach(daemon, "train/small", state=state) as loader:
            rest = dict(batches(loader))
        assert first == list(range(16)) and sorted(rest) == list(range(16, 64))
        with attach(daemon, "train") as loader:
            whole = {position: row[0] for position, row in batches(loader)}
        assert {p: row[0] for p, row in rest.items()} == {p: i for p, i in whole.items() if p >= 16}
        try:
            attach(daemon, "train/smal").__enter__()
        except ringfeed.Error as e:
            assert "there is no feed train/smal; there is train, train/small, train/center" in str(e), e
        else:
            raise AssertionError("a view that is not there")


def png(width, height):
    out = io.BytesIO()
    Image.new("RGB", (width, height), (9, 99, 199)).save(out, "PNG")
    return out.getvalue()


def p12_same_bad_samples(folder):
    """What one view cannot make is bad in all, whoever asks: by size, by bytes cut off behind what another needs, by a
    number that one dtype does not hold. The same cause, the same substitute."""
    paths = scene.photos("imagenet-sample")[:64]
    members = [[("jpg", p.read_bytes()), ("cls", str(i).encode())] for i, p in enumerate(paths)]
    members[5][0] = ("png", png(90, 20))  # the crop of `tall` does not fit
    members[6][0] = ("png", png(90, 40))
    members[17][1] = ("cls", b"1000")  # int8 does not hold it
    cut = members[30][0][1]
    members[30][0] = ("jpg", cut[:len(cut) * 9 // 10])  # the last rows are missing, and `whole` wants them
    views = {"tall": {"image": {"transform": [{"random_crop": {"size": 24}}], "dtype": "uint8"}},
             "whole": {"image": {"transform": [{"resize": {"size": [40, 40]}}], "dtype": "uint8"}, "label": {"dtype": "int8"}}}
    bad = {5: "too_small", 17: "not_an_integer", 30: "damaged_image"}
    for policy in ("mask", "substitute"):
        made = feed(scene.pack(folder, "in", members, 64), views=views,
                    bad_samples={"policy": policy, "limit": "100%"})
        (folder / policy).mkdir()
        config = scene.write_config(folder, {"train": made}, memory="192MiB", ledger=str(folder / policy))
        with scene.Daemon(config) as daemon:
            found = {}
            for name in ("train/whole", "train", "train/tall"):
                with attach(daemon, name) as loader:
                    found[name] = {p: row[:2] for p, row in batches(loader)}
                status = next(f for f in daemon.status()["feeds"] if f["name"] == name)
                assert set(status["bad_samples"]) == set(bad.values()), (name, status)
            assert found["train"] == found["train/whole"] == found["train/tall"]
            if policy == "mask":
                assert {index for index, valid in found["train"].values() if not valid} == set(bad)
            else:
                assert not {index for index, _ in found["train"].values()} & set(bad)
        lines = [line for line in ledger(folder / policy) if line["epoch"] == 0]
        assert sorted((line["feed"], line["key"], line["cause"]) for line in lines) == sorted(
            (name, f"s{i:06d}", cause) for name in found for i, cause in bad.items()), lines
        assert all(("for view train/tall" in line["detail"]) == (line["cause"] == "too_small") for line in lines), lines


def commands(folder):
    paths = photos()[:64]
    shards = scene.pack_photos(folder, "in", paths, 50)
    config = scene.write_config(folder, {"train": feed(shards)}, memory="192MiB", workers=1)
    alone = scene.write_config(folder, {"train": feed(shards, views={"a": {"label": {"dtype": "int32"}}})}, memory="192MiB",
                               workers=1)
    assert "no faults, 1 feed, 2 views" in scene.ringfeed("check", "-c", config).stderr

    said, other = (json.loads(scene.ringfeed("plan", "-c", c, "--json").stdout) for c in (config, alone))
    lines = {line["name"]: line["bytes"] for line in said["lines"]}
    assert len(lines) == len(said["lines"])
    for name in ("index train/small", "index train/center", "order train/small"):
        assert name not in lines, lines
    assert lines["scratch"] == next(l["bytes"] for l in other["lines"] if l["name"] == "scratch") == 8 << 20
    assert [f["name"] for f in said["feeds"]] == list(FIELDS) and [f["view_of"] for f in said["feeds"]] == [
        None, "train", "train"]
    for f in said["feeds"]:
        field = FIELDS[f["name"]]
        n_row = field.height * field.width * 3 * numpy.dtype(field.dtype).itemsize
        assert f["slot_bytes"] >= 16 * n_row and lines[f"slots {f['name']}"] >= f["slots"] * f["slot_bytes"]
        assert f["shuffle"] == said["feeds"][0]["shuffle"] and f["fingerprint"] == said["feeds"][0]["fingerprint"]
    assert "feed train/small: a view: samples, order and reads are those of train" in scene.ringfeed("plan", "-c", config).stdout

    ordered = {name: [json.loads(l) for l in scene.ringfeed("order", "-c", config, name, "--draws", "--json").stdout.splitlines()]
               for name in FIELDS}
    assert [{**r, "draws": None} for r in ordered["train"]] == [{**r, "draws": None} for r in ordered["train/small"]]
    for a, b, c in zip(*ordered.values()):
        assert a["draws"] == b["draws"] and len(a["draws"]) == 2 and not c["draws"]

    digests = {name: json.loads(scene.ringfeed("bench", "-c", config, name, "--epochs", 1, "--digest", "--json").stdout)
               for name in FIELDS}
    assert all(d["samples"] == 64 and d["bad_samples"] == 0 for d in digests.values())
    assert len({d["digest"] for d in digests.values()}) == 3
    sheet = folder / "sheet.png"
    scene.ringfeed("preview", "-c", config, "train/small", "-o", sheet)
    shown = json.loads(Image.open(sheet).text["ringfeed"])
    assert shown["feed"] == "train/small" and shown["tiles"][0]["index"] == ordered["train"][0]["index"]


def reload(folder):
    """A view's key cannot change under a running daemon; told by its path."""
    shards = scene.pack_photos(folder, "in", photos()[:32], 50)
    config = scene.write_config(folder, {"train": feed(shards)}, memory="192MiB")
    with scene.Daemon(config) as daemon:
        for change, told in (
                (lambda v: v["small"]["image"].update(dtype="float16"), "feeds.train.views.small.image.dtype cannot change"),
                (lambda v: v["center"]["image"]["transform"].pop(2), "feeds.train.views.center.image.transform cannot change"),
                (lambda v: v.pop("center"), "feeds.train.views.center cannot change"),
                (lambda v: v.update(new={"label": {"dtype": "int8"}}), "feeds.train.views.new cannot change")):
            made = json.loads(config.read_text())
            change(made["feeds"]["train"]["views"])
            n = (daemon.status()["reload"] or {"refused": 0})["refused"]
            before = config.read_text()
            config.write_text(json.dumps(made))
            daemon.process.send_signal(signal.SIGHUP)
            scene.wait_until(lambda: (daemon.status()["reload"] or {"refused": 0})["refused"] == n + 1)
            assert told in re.sub(r"\s+", " ", daemon.status()["reload"]["text"]), daemon.status()["reload"]
            config.write_text(before)


if __name__ == "__main__":
    scene.need_data("imagenet-sample", "photos-progressive", "photos-exif", "kodak")
    scene.main([pixels, one_decode, from_compressed_shards, one_token, p12_same_bad_samples, commands, reload])
