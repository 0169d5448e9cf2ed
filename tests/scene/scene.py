# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""What scenes share: shards made from real photos, a real daemon on a private socket, trainers as processes.

A scene is a Python program run by Debian's Python with the package of this tree; it checks bytes and
counters. Nothing here is ringfeed's own code but the package under test.
"""
import contextlib
import io
import json
import os
import pathlib
import signal
import subprocess
import sys
import tarfile
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ["RINGFEED_BIN"]
DATA = pathlib.Path(os.environ["RINGFEED_TEST_DATA"])
IS_SANITIZED = os.environ.get("RINGFEED_ODD_BUILD") == "sanitized"  # the daemon (builds.py)
IMAGES = (".jpg", ".jpeg", ".png")


def need_data(*names):
    """Skips the scene by name where the test data is missing."""
    for name in names:
        if not (DATA / name).is_dir():
            print(f"skipped: no test data {DATA / name} (RINGFEED_TEST_DATA)")
            sys.exit(77)


def photos(name):
    return sorted(p for p in (DATA / name).rglob("*") if p.suffix.lower() in IMAGES)


def pack(folder, prefix, members, per_shard):
    """members: lists of (extension, bytes), one list a sample. Returns the shards; keys are s000000, s000001 …"""
    shards = []
    for first in range(0, len(members), per_shard):
        path = pathlib.Path(folder) / f"{prefix}-{first // per_shard:06d}.tar"
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
            for i, sample in enumerate(members[first:first + per_shard], first):
                for extension, data in sample:
                    info = tarfile.TarInfo(f"s{i:06d}.{extension}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
        shards.append(path)
    return shards


def pack_photos(folder, prefix, paths, per_shard):
    """Label of photo i: i."""
    return pack(folder, prefix, [[(p.suffix.lower()[1:], p.read_bytes()), ("cls", str(i).encode())]
                                 for i, p in enumerate(paths)], per_shard)


TRAIN = [{"random_resized_crop": {"size": 224}}, "random_horizontal_flip",
         {"normalize": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}}]


def feed(shards, *, transform=TRAIN, dtype="float32", size=64, **more):
    """One feed of a config, as JSON is YAML; `more` is merged over it by key."""
    made = {
        "source": {"format": "webdataset", "shards": [str(s) for s in shards]},
        "order": {"shuffle": "full", "seed": 42},
        "batch": {"size": size, "last": "drop"},
        "fields": {
            "image": {"from": ["jpg", "jpeg", "png"], "decode": "image", "transform": transform,
                      "dtype": dtype, "layout": "chw"},
            "label": {"from": "cls", "decode": "integer", "dtype": "int64"},
        },
    }
    made.update(more)
    return made


def write_config(folder, feeds, **daemon):
    daemon = {"memory": "512MiB", "workers": 2, **daemon}
    daemon.setdefault("socket", str(pathlib.Path(folder) / "rf.sock"))
    path = pathlib.Path(folder) / f"config-{time.monotonic_ns()}.yaml"
    path.write_text(json.dumps({"daemon": daemon, "feeds": feeds}))
    return path


def ringfeed(*arguments, check=True, **more):
    """Runs the command; returns the finished process with text output."""
    done = subprocess.run([BINARY, *map(str, arguments)], capture_output=True, text=True, timeout=300, **more)
    if check and done.returncode != 0:
        raise AssertionError(f"ringfeed {arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


class Daemon:
    """A running `ringfeed serve`; log() is its stderr so far."""

    def __init__(self, config, *options, wrap=()):
        self.socket = json.loads(pathlib.Path(config).read_text())["daemon"]["socket"]
        self.errors = tempfile.NamedTemporaryFile("w+", suffix=".log")
        self.process = subprocess.Popen([*map(str, wrap), BINARY, "serve", "-c", str(config), *options],
                                        stderr=self.errors)
        deadline = time.monotonic() + 60
        while "ready on" not in self.log():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError("the daemon did not get ready:\n" + self.log())
            time.sleep(0.01)

    def log(self):
        return pathlib.Path(self.errors.name).read_text()

    def status(self):
        return json.loads(ringfeed("status", "--json", "--socket", self.socket).stdout)

    def ranks(self, name):
        """Every rank of every group of the feed, as status tells."""
        return [r for f in self.status()["feeds"] if f["name"] == name for g in f["groups"] for r in g["ranks"]]

    def slots(self, name):
        return next(f["slots"] for f in self.status()["feeds"] if f["name"] == name)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(timeout=10)

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def at_most(seconds):
    """A promised time. Tests share their machine with others, so they allow ten times as much and print what they
    measured; RINGFEED_STRICT=1 (tools/soak, on a quiet machine) takes the promise at its word, but for a daemon that a
    sanitizer slows down."""
    return seconds if os.environ.get("RINGFEED_STRICT") and not IS_SANITIZED else 10 * seconds


def wait_until(what, seconds=10.0, pause=0.005):
    """Waits for what() to be true; returns how long it took."""
    began = time.monotonic()
    while not what():
        if time.monotonic() - began > seconds:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(pause)
    return time.monotonic() - began


def main(scenes):
    """Runs every scene in a fresh folder; a failing one ends the program with a traceback."""
    for scene in scenes:
        with tempfile.TemporaryDirectory(prefix="rf-") as folder:
            began = time.monotonic()
            scene(pathlib.Path(folder))
            print(f"ok {scene.__name__} ({time.monotonic() - began:.1f} s)", flush=True)
