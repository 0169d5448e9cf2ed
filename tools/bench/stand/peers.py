# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""The peers: what each is, its environment, and taking turns with it.

An environment is a folder made by venv and filled by pip; steps that fail leave their message in
NAME.failed beside it. The programs themselves are in tools/bench/peer.
"""
import dataclasses
import json
import os
import pathlib
import re
import select
import subprocess

from . import feed, turns

HERE = pathlib.Path(__file__).resolve().parents[1]
DEBIAN_PYTHON = "/usr/bin/python3"
PATIENCE = 240  # s; setting up or a turn


@dataclasses.dataclass(frozen=True)
class Peer:
    name: str
    title: str
    program: str  # in tools/bench/peer
    environment: str = ""  # none: Debian's Python
    way: str = ""  # one program may have several
    needs: str = ""  # a step of the environment other than its first


ALL = (
    Peer("pillow", "Pillow loop (Debian's)", "pillow_loop.py"),
    Peer("pillow-simd", "Pillow-SIMD loop", "pillow_loop.py", "pillow-simd"),
    Peer("opencv", "OpenCV loop", "opencv_loop.py", "opencv"),
    Peer("dataloader-pil", "PyTorch DataLoader + torchvision v2, PIL", "torch_dataloader.py", "torch", "pil"),
    Peer("dataloader-io", "PyTorch DataLoader + torchvision v2, torchvision.io", "torch_dataloader.py",
         "torch", "io"),
    Peer("dali", "NVIDIA DALI on CPU", "dali_pipeline.py", "dali"),
    Peer("ffcv-same", "FFCV on the same bytes", "ffcv_loader.py", "torch", "same", "ffcv"),
    Peer("ffcv-own", "FFCV on its own q90 encoding", "ffcv_loader.py", "torch", "own", "ffcv"),
    Peer("spdl", "SPDL", "spdl_pipeline.py", "spdl"),
)
NAMED = {peer.name: peer for peer in ALL}
# environment -> steps: name, pip's arguments, variables for the build
ENVIRONMENTS = {
    "pillow-simd": (("pillow-simd", ["setuptools", "numpy"], {}),
                    ("pillow-simd", ["--no-binary", "pillow-simd", "pillow-simd"], {"CC": "cc -mavx2"})),
    "opencv": (("opencv", ["opencv-python-headless", "numpy"], {}),),
    "torch": (("torch", ["torchvision", "numpy", "pillow", "setuptools"], {}),
              ("ffcv", ["--no-build-isolation", "ffcv"], {})),
    "dali": (("dali", ["nvidia-dali-cuda120", "numpy"], {}),),
    "spdl": (("spdl", ["spdl", "numpy"], {}),),
}
PACKAGES = ("python3-venv", "python3-dev", "python3-pil", "python3-numpy", "gcc", "g++", "pkg-config",
            "libjpeg62-turbo-dev", "zlib1g-dev", "libopencv-dev", "libturbojpeg0-dev", "libavdevice59")


def failure(folder, step):
    return folder / f"{step}.failed"


def setup(folder, names, told):
    """Makes the environments of these peers; what is there already stays."""
    folder.mkdir(parents=True, exist_ok=True)
    for environment in dict.fromkeys(NAMED[name].environment for name in names):
        if not environment:
            continue
        if not (folder / environment / "bin/python").exists():
            subprocess.run([DEBIAN_PYTHON, "-m", "venv", folder / environment], check=True)
        wanted = {step for name in names if NAMED[name].environment == environment
                  for step in (environment, NAMED[name].needs)}
        for number, (step, packages, variables) in enumerate(ENVIRONMENTS[environment]):
            done = folder / environment / f"{number}-{step}.done"
            if step not in wanted or done.exists():
                continue
            told(f"installing {' '.join(packages)} into {folder / environment}")
            log = folder / f"{environment}-{number}.log"
            with open(log, "w") as out:
                code = subprocess.run([folder / environment / "bin/python", "-m", "pip", "install", *packages],
                                      env={**os.environ, **variables}, stdout=out, stderr=out).returncode
            failure(folder, step).unlink(missing_ok=True)
            if code == 0:
                done.touch()
                continue
            errors = [line for line in log.read_text().splitlines() if "error" in line.lower()]
            failure(folder, step).write_text(f"pip install {' '.join(packages)}: "
                                             f"{(errors or ['failed'])[-1].strip()} ({log})")
            told(failure(folder, step).read_text())
            break


def python_of(peer, folder):
    if not peer.environment:
        return DEBIAN_PYTHON
    for step in (peer.environment, peer.needs):
        if step and failure(folder, step).exists():
            raise turns.Failed(failure(folder, step).read_text())
    python = folder / peer.environment / "bin/python"
    if not python.exists():
        raise turns.Failed(f"{folder / peer.environment} is not there: tools/bench/peers --setup")
    return python


class Running:
    """A peer that has been set up and warmed up, and takes turns."""

    def __init__(self, peer, python, options, log):
        self.peer, self.log = peer, log
        # Not through turns.Program: its standard error goes to a file, and its first answer is long in coming.
        with open(log, "w") as errors:
            self.process = subprocess.Popen([str(python), str(HERE / "peer" / peer.program)], text=True,
                                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        self.versions = self.ask(options)["versions"]

    def ask(self, question):
        try:
            self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # the end of its output is seen below
        if not select.select([self.process.stdout], [], [], PATIENCE)[0]:
            turns.kill_tree(self.process)
            raise turns.Failed(f"no answer in {PATIENCE} s")
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            lines = [text for text in self.log.read_text(errors="replace").splitlines() if text.strip()]
            raise turns.Failed(re.sub(r"\s+", " ", (lines or ["it ended without a word"])[-1])[:300])
        return json.loads(line)

    def turn(self, least):
        """Whole epochs until there were so many images; images per CPU second."""
        began = turns.settled_cpu_seconds(self.process.pid)
        images = self.ask(least)["images"]
        return images / (turns.settled_cpu_seconds(self.process.pid) - began)

    def close(self):
        try:
            self.process.stdin.close()
            self.process.wait(20)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            turns.kill_tree(self.process)
        self.process.stdout.close()


def start(peer, folder, paths, scratch):
    """Starts a peer on these photos; Failed if it is not installed or cannot do it."""
    options = {"paths": [str(path) for path in paths], "batch": feed.BATCH, "side": 224, "mean": feed.MEAN,
               "std": feed.STD, "way": peer.way, "scratch": str(scratch)}
    return Running(peer, python_of(peer, folder), options, scratch / f"{peer.name}.log")


def libraries():
    """The libjpeg-turbo and libpng that bare and ringfeed use, and Debian's Pillow."""
    def package(name):
        done = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", name], capture_output=True, text=True)
        return done.stdout or None

    found = {"libjpeg-turbo": package("libjpeg62-turbo"), "libpng": package("libpng16-16"),
             "zlib": package("zlib1g"), "Pillow": package("python3-pil")}
    return ", ".join(f"{name} {version}" for name, version in found.items() if version)


def installed(peer, folder):
    """Every package of the peer's environment with its version."""
    if not peer.environment:
        return {}
    done = subprocess.run([str(folder / peer.environment / "bin/python"), "-m", "pip", "list", "--format", "json",
                           "--disable-pip-version-check"], capture_output=True, text=True)
    return {p["name"]: p["version"] for p in json.loads(done.stdout)} if done.returncode == 0 else {}
