# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""The demo's dataset: readable by others, the same every time, and not to be told by its colours.

usage: test_pictures.py DEMO_PICTURES
Reads the tars with Python's tarfile and GNU tar and the pictures with Pillow.
"""
import collections
import hashlib
import io
import pathlib
import subprocess
import sys
import tarfile
import tempfile

try:
    import numpy as np
    from PIL import Image
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

N_TRAIN, N_TEST, N_SHARDS, N_CLASSES = 1000, 500, 5, 10


def make(program, out, seed=1):
    subprocess.run([program, "--out", out, "--train", str(N_TRAIN), "--test", str(N_TEST),
                    "--shards", str(N_SHARDS), "--seed", str(seed)],
                   check=True, stderr=subprocess.DEVNULL)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(out.iterdir())}


def samples(paths):
    """(key, extension, file, label) of each sample; fails where a shard is not as WebDataset wants it."""
    for path in paths:
        with tarfile.open(path) as tar:
            members = [(m.name, tar.extractfile(m).read()) for m in tar]
        listed = subprocess.run(["tar", "tf", path], check=True, capture_output=True, text=True)
        assert listed.stdout.split() == [name for name, _ in members], path
        for (name, file), (label_name, label) in zip(members[::2], members[1::2]):
            key, extension = name.split(".")
            assert label_name == key + ".cls", (path, name, label_name)
            yield key, extension, file, int(label)


def look(paths):
    """Mean colours and labels of all pictures; fails where a picture is not as announced."""
    colours, labels, kinds, keys = [], [], collections.Counter(), []
    for key, extension, file, label in samples(paths):
        image = Image.open(io.BytesIO(file))
        image.load()
        assert image.format == {"jpg": "JPEG", "png": "PNG"}[extension], key
        assert image.mode == "RGB" and all(72 <= side <= 160 for side in image.size), (key, image.size)
        if extension == "jpg":
            kinds["4:4:4" if image.layer[0][1:3] == (1, 1) else "4:2:0"] += 1
            kinds["progressive"] += "progressive" in image.info
        kinds[extension] += 1
        keys.append(key)
        colours.append(np.asarray(image, np.float64).mean((0, 1)))
        labels.append(label)
    assert len(set(keys)) == len(keys)
    assert set(labels) == set(range(N_CLASSES))
    for kind in ("jpg", "png", "4:4:4", "4:2:0", "progressive"):
        assert kinds[kind] > 0, f"no {kind} among {dict(kinds)}"
    return np.array(colours), np.array(labels)


def linear_accuracy(train, train_labels, test, test_labels):
    """Least squares on one-hot labels with a little ridge; the highest output wins."""
    mean, std = train.mean(0), train.std(0)

    def features(colours):
        scaled = (colours - mean) / std
        return np.hstack([scaled, np.ones((len(scaled), 1))])

    a = features(train)
    weights = np.linalg.solve(a.T @ a + 1e-3 * np.eye(a.shape[1]), a.T @ np.eye(N_CLASSES)[train_labels])
    return ((features(test) @ weights).argmax(1) == test_labels).mean()


def main():
    program = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        first = make(program, folder / "a")
        assert first == make(program, folder / "b"), "the same seed gave other bytes"
        assert first != make(program, folder / "c", seed=2), "another seed gave the same bytes"
        assert [name for name in first if name.startswith("train")] == [
            f"train-{i:06d}.tar" for i in range(N_SHARDS)]

        train = look(sorted((folder / "a").glob("train-*.tar")))
        test = look(sorted((folder / "a").glob("test-*.tar")))
        assert len(train[1]) == N_TRAIN and len(test[1]) == N_TEST
        share = linear_accuracy(*train, *test)
        print(f"a linear model on mean colours is right about {share:.1%} of held-out pictures")
        assert share < 0.40

        # The check itself must be able to fail: colours that do tell the class are found out.
        turns = [labels * 2 * np.pi / N_CLASSES for _, labels in (train, test)]
        told = [colours + 300 * np.stack([np.cos(turn), np.sin(turn), 0 * turn], 1)
                for (colours, _), turn in zip((train, test), turns)]
        assert linear_accuracy(told[0], train[1], told[1], test[1]) > 0.40

        gone = subprocess.run([program, "--out", "/proc/no/where"], capture_output=True, text=True)
        assert gone.returncode == 1 and "/proc/no/where" in gone.stderr, gone
        wrong = subprocess.run([program, "--out", "x", "--train", "many"], capture_output=True, text=True)
        assert wrong.returncode == 2 and "--train many" in wrong.stderr, wrong


main()
