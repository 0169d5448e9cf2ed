# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Every collected odd file through a real daemon: no crash, no hang, memory within the budget; what is bad is named in the
ledger, what is good is delivered, as Pillow, tarfile and NumPy read it."""
import collections
import io
import json
import shutil
import subprocess
import tarfile
import warnings

import numpy
import PIL
import ringfeed
import scene
from PIL import Image

SIZE = 24
# Files that Pillow reads otherwise, and why. One that is not here fails the scene; so does a row without one.
AFL, BEHIND = "edge-jpeg/afl-edges-only/", "good: what is wrong lies behind the last row, which `ringfeed verify` reads"
EXPECTED = {
    f"{AFL}jpeg/edges-only/images/id:000385,src:000000,op:int32,pos:500,val:-32768,+cov.jpg": BEHIND,
    f"{AFL}jpeg_turbo/edges-only/images/id:000564,src:000000,op:havoc,rep:2.jpg": BEHIND,
    f"{AFL}jpeg_turbo/edges-only/images/id:001347,sync:jpeg9,src:001828,+cov.jpg": BEHIND,
    f"{AFL}jpeg_turbo/edges-only/images/id:001458,src:000531,op:flip4,pos:287.jpg": BEHIND,
    "edge-png/pngsuite/png/xcsn0g01.png": "bad: the checksum of its data is wrong, which Pillow does not compare",
}


def files_of(*names):
    return sorted(p for name in names for p in (scene.DATA / name).rglob("*") if p.is_file() and p.stat().st_size)


def bad_of(folder):
    """(feed, index) -> cause, as the ledger tells of the first epoch; nothing is shuffled, so positions are indices."""
    lines = [json.loads(line) for line in (folder / "ringfeed-bad.jsonl").read_text().splitlines()]
    lines = [line for line in lines if line["epoch"] == 0]
    assert len({(line["feed"], line["position"]) for line in lines}) == len(lines), "named twice"
    return {(line["feed"], line["position"]): line["cause"] for line in lines}


def rows_of(daemon, feed):
    """index -> the row's fields, or None where it is masked; every sample once."""
    rows = {}
    with ringfeed.Loader(feed, socket=daemon.socket) as loader:
        for batch in loader:
            for i, index in enumerate(batch.index.tolist()):
                assert index not in rows
                rows[index] = {name: numpy.array(batch[name][i]) for name in batch} if batch.valid[i] else None
            batch.release()
        assert len(rows) == loader.n_samples
    return rows


def serve(folder, feeds, **more):
    """name -> rows of each feed, name -> index -> cause; the daemon's arithmetic and budget are checked."""
    ledger = folder / "ledger"
    ledger.mkdir()
    config = scene.write_config(folder, feeds, ledger=str(ledger), **more)
    with scene.Daemon(config) as daemon:
        rows = {name: rows_of(daemon, name) for name in feeds}
        status = daemon.status()
        assert status["memory"]["peak_bytes"] <= status["memory"]["budget_bytes"], status["memory"]
        assert daemon.process.poll() is None and daemon.stop() == 0, daemon.log()
    named = collections.defaultdict(dict)
    for (feed, sample), cause in bad_of(ledger).items():
        named[feed][sample] = cause
    for name in feeds:
        masked = {index for index, row in rows[name].items() if row is None}
        assert masked == set(named[name]), f"{name}: masked and not named, or the other way round"
    return rows, named


def pillow(data):
    """The pixels that its user gets, or None."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as image:
                if image.format not in ("JPEG", "PNG", "MPO", "WEBP"):
                    return None
                if image.mode.startswith("I"):  # 16 bits of gray: the high byte, where Pillow saturates
                    image = Image.fromarray((numpy.asarray(image) >> 8).astype(numpy.uint8))
                return numpy.asarray(image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def images(folder):
    paths = files_of("edge-jpeg", "edge-png", "photos-exif")
    members = [[("img", path.read_bytes())] for path in paths]
    shards = scene.pack(folder, "odd", members, 100)
    image = {"image": {"from": ["img"], "decode": "image", "dtype": "uint8", "layout": "hwc",
                       "transform": [{"resize": {"size": [SIZE, SIZE]}}]}}
    feed = scene.feed(shards, size=16, slots=2, order={"shuffle": "none"}, batch={"size": 16, "last": "short"},
                      bad_samples={"policy": "mask", "limit": "100%"}, fields=image)
    rows, named = serve(folder, {"odd": feed}, memory="512MiB")
    differ, n_equal = {}, 0
    for i, path in enumerate(paths):
        ours, theirs = rows["odd"][i], pillow(path.read_bytes())
        name = str(path.relative_to(scene.DATA))
        if (ours is None) != (theirs is None):
            differ[name] = f"bad: {named['odd'][i]}" if ours is None else "good"
        elif ours is not None and not numpy.array_equal(ours["image"], theirs):
            differ[name] = f"pixels, by {int(abs(ours['image'].astype(int) - theirs).max())}"
        else:
            n_equal += 1
    print(f"  {len(paths)} files, {len(named['odd'])} bad by name, {n_equal} as Pillow has it")
    unexplained = {name: what for name, what in differ.items() if name not in EXPECTED}
    assert not unexplained, json.dumps(unexplained, indent=1)
    assert set(EXPECTED) <= set(differ), f"no difference any more: {set(EXPECTED) - set(differ)}"


def tar_keys(path):
    """The keys of the samples that WebDataset's rule makes of the regular members that tarfile lists, in their order."""
    keys = []
    with tarfile.open(path, "r:") as tar:
        for name in (m.name for m in tar.getmembers() if m.isreg()):
            folder, slash, base = name.rpartition("/")
            stem, dot, extension = base.partition(".")
            if dot and extension and (not keys or keys[-1] != folder + slash + stem):
                keys.append(folder + slash + stem)
    return keys


def tars(folder):
    """Each alone: every sample of it is delivered under its key, or the shard is refused by name."""
    field = {"key": {"from": "__key__", "decode": "text", "max": "4KiB"}}
    refused, n_samples, n_served = [], 0, 0
    for number, path in enumerate(p for p in files_of("edge-tar") if p.suffix == ".tar"):
        feed = scene.feed([path], size=4, slots=2, order={"shuffle": "none"}, batch={"size": 4, "last": "short"},
                          bad_samples={"policy": "mask", "limit": "100%"}, fields=field)
        own = folder / str(number)
        own.mkdir()
        config = scene.write_config(own, {"odd": feed}, memory="128MiB", index_cache=str(own))
        done = scene.ringfeed("plan", "-c", config, check=False)
        if done.returncode:
            assert done.returncode == 78 and len(done.stderr.splitlines()) == 1, (path, done)
            if "hold no samples" in done.stderr:
                assert tar_keys(path) == [], path
                continue
            assert str(path) in done.stderr, (path, done)
            refused.append(f"{path.name}: {done.stderr.strip().rpartition(str(path))[2][2:]}")
            continue
        with scene.Daemon(config) as daemon:
            with ringfeed.Loader("odd", socket=daemon.socket) as loader:
                keys = []
                for batch in loader:
                    assert batch.valid.all()
                    keys += list(batch["key"])
                    batch.release()
            assert daemon.stop() == 0, daemon.log()
        assert keys == tar_keys(path), (path, keys, tar_keys(path))
        n_samples += len(keys)
        n_served += 1
    print(f"  {n_samples} samples of {n_served} tars; refused by name:", *refused, sep="\n    ")
    assert n_samples and refused


def zstd_content(path):
    return subprocess.run(["zstd", "-dc", path], stdout=subprocess.PIPE, check=True).stdout


def zstd(folder):
    """Damaged, no zstd at all, or not a tar inside: refused by name; nothing but zeros inside is a tar without samples."""
    paths, n_empty = files_of("edge-zstd"), 0
    for path in paths:
        feed = scene.feed([path], size=4, slots=2)
        for command in ("plan", "serve"):
            done = scene.ringfeed(command, "-c", scene.write_config(folder, {"odd": feed}, index_cache=str(folder)), check=False)
            said = [line for line in done.stderr.splitlines() if not line.startswith(("ringfeed: info: ", "ringfeed: warn: "))]
            assert done.returncode == 78 and len(said) == 1, (path, done)
            if path.name in said[0]:
                continue
            assert "hold no samples" in done.stderr and not zstd_content(path).strip(b"\0"), (path, done)
            n_empty += 1
    print(f"  {len(paths) - n_empty // 2} files refused by name, {n_empty // 2} that hold zeros or nothing")


def loaded(data):
    try:
        return numpy.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, OSError, EOFError):
        return None


DTYPES = ("bool", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64")


def arrays(folder):
    """Every .npy in a feed of each dtype and shape that one of them has: only those that NumPy says have it are good."""
    paths = [p for p in files_of("npy") if p.suffix == ".npy"]
    theirs = [loaded(path.read_bytes()) for path in paths]
    shards = scene.pack(folder, "arrays", [[("npy", path.read_bytes())] for path in paths], 1000)
    kinds = sorted({(str(a.dtype), a.shape) for a in theirs if isinstance(a, numpy.ndarray) and str(a.dtype) in DTYPES and
                    len(a.shape) <= 4 and a.dtype.isnative})
    feeds = {}
    for number, (dtype, shape) in enumerate(kinds):
        field = {"array": {"from": "npy", "decode": "npy", "dtype": dtype, **({"shape": list(shape)} if shape else {})}}
        feeds[f"kind-{number}"] = scene.feed(shards, slots=2, order={"shuffle": "none"}, batch={"size": 4, "last": "short"},
                                             bad_samples={"policy": "mask", "limit": "100%"}, fields=field)
    rows, named = serve(folder, feeds, memory="1GiB")
    n_good = 0
    for number, (dtype, shape) in enumerate(kinds):
        for i, wanted in enumerate(theirs):
            got = rows[f"kind-{number}"][i]
            fits = isinstance(wanted, numpy.ndarray) and (str(wanted.dtype), wanted.shape) == (dtype, shape)
            if got is not None:
                assert fits and got["array"].tobytes() == numpy.ascontiguousarray(wanted).tobytes(), (paths[i], dtype, shape)
                n_good += 1
            elif fits:
                # Columns first: refused by name, never transposed in silence.
                assert wanted.flags.f_contiguous and not wanted.flags.c_contiguous, (paths[i], named[f"kind-{number}"][i])
    print(f"  {len(paths)} files in {len(kinds)} feeds: {n_good} rows as NumPy has them, the others named")
    assert n_good >= len(kinds) - 1


if __name__ == "__main__":
    if not PIL.__version__.startswith("9.4"):
        print(f"skipped: Pillow {PIL.__version__}; the oracle is Debian's 9.4 (python3-pil)")
        raise SystemExit(77)
    scene.need_data("edge-jpeg", "edge-png", "edge-tar", "edge-zstd", "npy", "photos-exif")
    if not shutil.which("zstd"):
        print("skipped: the zstd program is missing")
        raise SystemExit(77)
    scene.main([images, tars, zstd, arrays])
