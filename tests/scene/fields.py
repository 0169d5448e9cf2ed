# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Every kind of field through the daemon, compared with what Pillow, NumPy and Python's own float, json and struct
make of the same bytes."""
import collections
import ctypes
import io
import json
import os

import numpy
import pixels_reference
import ringfeed
import scene
from make_rows import Field

SEED, EPOCH = 11, 2
CUT = {"size": 96}
VIEWS = {  # the feed's steps, and the same for pixels_reference
    "left": ([{"random_resized_crop": CUT}, "random_vertical_flip", "random_horizontal_flip",
              {"pad": {"padding": [1, 2, 3, 4], "fill": 9}}],
             (("random_resized_crop", 96, 96, 0.08, 1.0, 0.75, 4 / 3, "bilinear"), ("random_vertical_flip", 0.5),
              ("random_horizontal_flip", 0.5), ("pad", 1, 2, 3, 4, 9))),
    "right": ([{"random_vertical_flip": {"p": 0.7}}, {"random_resized_crop": CUT},
               {"grayscale": {"num_output_channels": 3}}],
              (("random_vertical_flip", 0.7),
               ("random_resized_crop", 96, 96, 0.08, 1.0, 0.75, 4 / 3, "bilinear"), ("grayscale",)))}


def batches(folder, shards, fields, **more):
    """Every batch of epoch EPOCH of one feed, released after the caller has looked at it."""
    feed = scene.feed(shards, fields=fields, **{"order": {"shuffle": "full", "seed": SEED},
                                                "batch": {"size": 8, "last": "short"}, "slots": 2, **more})
    config = scene.write_config(folder, {"all": feed})
    with scene.Daemon(config) as daemon, ringfeed.Loader("all", socket=daemon.socket) as loader:
        loader.set_epoch(EPOCH)
        for batch in loader:
            yield batch
            batch.release()


def masked(folder, shards, fields):
    """{sample: (cause, detail)} of the bad ones, as the ledger names them; with `policy: mask` their rows are zero
    bytes, and no others are."""
    feed = scene.feed(shards, fields=fields, batch={"size": 8, "last": "short"}, slots=2,
                      bad_samples={"policy": "mask", "limit": "100%"})
    ledger = folder / f"ledger-{len(list(folder.iterdir()))}"
    ledger.mkdir()
    config, rows_bad = scene.write_config(folder, {"all": feed}, ledger=str(ledger)), set()
    with scene.Daemon(config) as daemon, ringfeed.Loader("all", socket=daemon.socket) as loader:
        for batch in loader:
            rows = numpy.flatnonzero(~batch.valid)
            rows_bad |= set(batch.index[rows].tolist())
            for column in batch.values():
                for array in (column.values, column.lengths) if isinstance(column, ringfeed.Ragged) else (column,):
                    assert not array[rows].any()
            batch.release()
    lines = [json.loads(line) for line in (ledger / "ringfeed-bad.jsonl").read_text().splitlines()]
    bad = {int(line["key"][1:]): (line["cause"], line["detail"]) for line in lines if line["epoch"] == 0}
    assert set(bad) == rows_bad
    return bad


def two_views(folder):
    """Two fields from one image, each with draws of its own."""
    paths = scene.photos("imagenet-sample")[:120]
    shards = scene.pack_photos(folder, "photos", paths, 50)
    fields = {name: {"from": ["jpg", "jpeg"], "decode": "image", "transform": steps, "layout": "hwc"}
              for name, (steps, _) in VIEWS.items()}
    seen = collections.Counter()
    for batch in batches(folder, shards, fields):
        for i, (position, index) in enumerate(zip(batch.position.tolist(), batch.index.tolist())):
            image = pixels_reference.load(paths[index])
            seen[index] += 1
            for name, (_, steps) in VIEWS.items():
                wanted, _ = pixels_reference.transform(image, Field(1, 1, steps), SEED, EPOCH, position, name)
                assert numpy.array_equal(batch[name][i], wanted), (paths[index], name)
    assert seen == collections.Counter(range(len(paths)))


INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "bfloat16", "float32",
            "float64", "bool")


def integers(folder):
    """The same number in every dtype; one that a dtype cannot hold is a bad sample by name."""
    numbers = [(i * 37 + 1) % 120 for i in range(96)]
    shards = scene.pack(folder, "integers", [[("cls", b" %d\n" % n), ("bit", b"%d" % (n % 2))] for n in numbers], 40)
    fields = {f"as_{dtype}": {"from": "bit" if dtype == "bool" else "cls", "decode": "integer", "dtype": dtype}
              for dtype in INTEGERS}
    for batch in batches(folder, shards, fields):
        wanted = numpy.array(numbers)[batch.index]
        for dtype in INTEGERS:
            got = batch[f"as_{dtype}"]
            if dtype == "bfloat16":
                got = (got.view(numpy.uint16).astype(numpy.uint32) << 16).view(numpy.float32)
            else:
                assert got.dtype == numpy.dtype(dtype)
            assert numpy.array_equal(got, wanted % 2 if dtype == "bool" else wanted), dtype
    shards = scene.pack(folder, "large", [[("cls", b"%d" % n)] for n in range(248, 264)], 40)
    bad = masked(folder, shards, {"x": {"from": "cls", "decode": "integer", "dtype": "uint8"}})
    assert bad == {n - 248: ("not_an_integer", f'"{n}"') for n in range(256, 264)}


def numbers(folder):
    """float, json, raw and npy: good samples as Python and NumPy read them, bad ones by name."""
    rng = numpy.random.default_rng(5)
    boxes, grids = rng.normal(size=(60, 2, 4)), rng.integers(-999, 999, (60, 3, 5)).astype(numpy.int16)
    planes = rng.random((60, 4, 6)).astype(numpy.float32)
    members = []
    for i in range(60):
        out = io.BytesIO()
        numpy.save(out, planes[i])
        members.append([("flt", repr(boxes[i, 0, 0]).encode()),
                        ("json", json.dumps({"w": i, "boxes": [{"at": boxes[i].tolist()}]}).encode()),
                        ("bin", grids[i].astype("<i2").tobytes()), ("npy", out.getvalue())])
    fields = {"value": {"from": "flt", "decode": "float", "dtype": "float64"},
              "half": {"from": "flt", "decode": "float", "dtype": "float16"},
              "width": {"from": "json", "decode": "json", "key": "w", "dtype": "int32"},
              "box": {"from": "json", "decode": "json", "key": "boxes.0.at", "dtype": "float32", "shape": [2, 4]},
              "grid": {"from": "bin", "decode": "raw", "dtype": "int16", "shape": [3, 5]},
              "plane": {"from": "npy", "decode": "npy", "dtype": "float32", "shape": [4, 6]}}
    n = 0
    for batch in batches(folder, scene.pack(folder, "numbers", members, 25), fields):
        at = batch.index
        wanted = {"value": boxes[at, 0, 0], "half": boxes[at, 0, 0].astype(numpy.float16), "width": at.astype(numpy.int32),
                  "box": boxes[at].astype(numpy.float32), "grid": grids[at], "plane": planes[at]}
        for name, array in wanted.items():
            assert batch[name].dtype == array.dtype and numpy.array_equal(batch[name], array), name
        n += len(at)
    assert n == 60
    fortran, objects = io.BytesIO(), io.BytesIO()
    numpy.save(fortran, numpy.asfortranarray(planes[0]))
    numpy.save(objects, numpy.array([[None] * 6] * 4, object))
    bad = [("flt", b"1.5 m", "not_a_number"), ("json", b"{]", "not_json"), ("json", b'{"w": 1.5}', "wrong_value"),
           ("json", b'{"w": 1, "boxes": [{"at": [1, 2]}]}', "wrong_value"), ("bin", b"abc", "wrong_length"),
           ("npy", b"abc", "not_npy"), ("npy", fortran.getvalue(), "wrong_array"),
           ("npy", objects.getvalue(), "object_array"), ("flt", None, "missing_field")]
    for i, (extension, data, _) in enumerate(bad):
        members[i] = [(e, data if e == extension else d) for e, d in members[i] if e != extension or data is not None]
    got = masked(folder, scene.pack(folder, "bad", members, 25), fields)
    assert {i: cause for i, (cause, _) in got.items()} == {i: cause for i, (_, _, cause) in enumerate(bad)}, got


def words(i):
    """Text of every length from nothing on, in characters of one to four bytes."""
    return ("aé€😀" * i)[:i]


def texts(folder):
    """Text, bytes, the key, the shard's path and names of classes, lent and copied; bad ones by name."""
    rng, names = numpy.random.default_rng(6), ["cat", "dog", "straße", "new york"]
    blobs = [rng.bytes(i % 33) for i in range(70)]
    members = [[("txt", words(i % 40).encode()), ("bin", blobs[i]), ("name", f" {names[i % 4]}\r\n".encode()),
                ("cls", b"%d" % i)] for i in range(70)]
    (folder / "classes.txt").write_text("\n".join(names) + "\n")
    fields = {"key": {"from": "__key__", "decode": "text", "max": "16B"},
              "number": {"from": "cls", "decode": "integer"},
              "caption": {"from": "txt", "decode": "text", "max": "100B"},
              "blob": {"from": "bin", "decode": "bytes", "max": "32B"},
              "shard": {"from": "__url__", "decode": "text", "max": "4KiB"},
              "label": {"from": "name", "decode": "text", "classes": str(folder / "classes.txt"), "dtype": "uint8"},
              "also": {"from": "__key__", "decode": "bytes", "max": "7B"}}
    c_lengths = ctypes.CDLL(os.environ["RINGFEED_LIBRARY"]).rf_batch_lengths
    c_lengths.restype, c_lengths.argtypes = ctypes.POINTER(ctypes.c_int64), [ctypes.c_void_p, ctypes.c_char_p]
    shards, seen = scene.pack(folder, "texts", members, 30), 0
    for batch in batches(folder, shards, fields):
        at = batch.index.tolist()
        assert batch["number"].tolist() == at
        assert list(batch["key"]) == [f"s{i:06d}" for i in at]
        assert list(batch["also"]) == [b"s%06d" % i for i in at]
        assert list(batch["shard"]) == [str(shards[i // 30]) for i in at]
        assert list(batch["caption"]) == [words(i % 40) for i in at]
        assert batch["blob"][:] == [blobs[i] for i in at] and batch["blob"][-1] == blobs[at[-1]]
        assert batch["label"].dtype == numpy.uint8 and batch["label"].tolist() == [i % 4 for i in at]
        in_c = c_lengths(batch._lease.handle, b"blob")
        assert in_c[:len(at)] == [len(blobs[i]) for i in at] and not c_lengths(batch._lease.handle, b"number")
        values, lengths = batch["blob"].values, batch["blob"].lengths
        assert values.shape == (len(at), 32) and lengths.tolist() == [len(blobs[i]) for i in at]
        assert values.tobytes() == b"".join(blobs[i].ljust(32, b"\0") for i in at)
        seen += len(at)
    assert seen == 70
    bad = [("txt", b"\xc3", "not_utf8"), ("txt", b"\xed\xa0\x80", "not_utf8"), ("txt", b"x" * 101, "too_long"),
           ("bin", b"x" * 33, "too_long"), ("name", b"Cat", "unknown_class"), ("name", b"", "unknown_class"),
           ("txt", None, "missing_field")]
    for i, (extension, data, _) in enumerate(bad):
        members[i] = [(e, data if e == extension else d) for e, d in members[i] if e != extension or data is not None]
    got = masked(folder, scene.pack(folder, "bad", members, 30), fields)
    assert {i: cause for i, (cause, _) in got.items()} == {i: cause for i, (_, _, cause) in enumerate(bad)}, got


def names_alone(folder):
    """A feed of keys and paths alone, copied; and batches without rows."""
    shards = scene.pack(folder, "names", [[("bin", bytes(100000)), ("txt", b"x")] for _ in range(9)], 4)
    feed = scene.feed(shards, fields={"key": {"from": "__key__", "decode": "text", "max": "1KiB"},
                                      "number": {"from": "__key__", "decode": "bytes", "max": "1KiB"}},
                      batch={"size": 4, "last": "short"}, order={"shuffle": "none"}, slots=2)
    config = scene.write_config(folder, {"all": feed})
    with scene.Daemon(config) as daemon, ringfeed.Loader("all", socket=daemon.socket, copy=True) as loader:
        kept = list(loader)
        assert [row for batch in kept for row in batch["key"]] == [f"s{i:06d}" for i in range(9)]
        assert kept[1]["number"][1:3] == [b"s000005", b"s000006"]
        assert kept[2]["key"].values.tobytes() == b"s000008".ljust(1024, b"\0") and kept[2]["key"].lengths.tolist() == [7]
    with scene.Daemon(config) as daemon:  # rank 1 of 2 gets no row of the last batch
        loaders = [ringfeed.Loader("all", socket=daemon.socket, rank=rank, world_size=2, local_world_size=2, group="g")
                   for rank in (0, 1)]
        rows = []
        for batch in loaders[1]:
            rows.append(list(batch["key"]))
            batch.release()
        assert rows == [[f"s{i:06d}" for i in (1, 3, 5, 7)], []], rows
        for loader in loaders:
            loader.close()


def check_says(folder):
    """What `check` says about files of classes, with line and column of the configuration."""
    shard = scene.pack(folder, "one", [[("txt", b"cat")]], 1)
    for text, said in ((None, "No such file or directory"), (b"", "it has 0 lines"), (b"a\n\nb\n", "line 2 is empty"),
                       (b"a\nb\n a \n", "line 3 has the name of line 1"), (b"a\n" * 2, "line 2 has the name of line 1")):
        path = folder / "names.txt"
        if text is not None:
            path.write_bytes(text)
        config = folder / "c.yaml"
        config.write_text(f"feeds:\n  a:\n    source: {{format: webdataset, shards: {shard[0]}}}\n    batch: {{size: 1}}\n"
                          f"    fields:\n      l:\n        from: txt\n        decode: text\n        classes: {path}\n")
        done = scene.ringfeed("check", "-c", config, check=False)
        assert done.returncode == 78 and f"{config}:9:18: feeds.a.fields.l.classes: {path}: {said}" in done.stderr, done
    path.write_bytes(b"dog\ncat")
    assert scene.ringfeed("check", "-c", config).returncode == 0


if __name__ == "__main__":
    scene.need_data("imagenet-sample")
    scene.main([two_views, integers, numbers, texts, names_alone, check_says])
