# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""The wheel of tools/wheel: its tags, its files, the licences of what is linked in, nothing needed but glibc; and a training loop in
an environment that has nothing else."""
import re
import subprocess
import sys
import zipfile

import scene

PACKAGE = scene.ROOT / "src/python/ringfeed"
LICENSES = {"LICENSE", "libdeflate.txt", "libjansson.txt", "libjpeg62-turbo.txt", "libpng.txt", "libseccomp.txt", "liburing.txt", "libwebp.txt",
            "libxxhash.txt", "libyaml.txt", "libzstd.txt", "zlib1g.txt"}
TRAINER = """
import sys, ringfeed
with ringfeed.Loader("train", config=sys.argv[1]) as loader:
    seen = sorted(int(i) for batch in loader for i in list(batch.index))
assert seen == list(range(20)), seen
print(ringfeed.__file__)
"""


def build(folder):
    done = subprocess.run([scene.ROOT / "tools/wheel", folder], capture_output=True, text=True, timeout=600)
    if done.returncode and re.search(r"No matching distribution|Could not find a version|connection", done.stderr + done.stdout):
        print("skipped: the tools that build wheels cannot be had (meson-python, auditwheel from PyPI)")
        sys.exit(77)
    assert done.returncode == 0, done
    wheels = list(folder.glob("*.whl"))
    assert len(wheels) == 1, wheels
    return wheels[0]


def needed(path):
    said = subprocess.run(["readelf", "-d", path], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"\(NEEDED\).*\[(.*?)\]", said)), re.findall(r"\((?:RPATH|RUNPATH)\)", said)


def check_files(wheel, folder):
    assert re.search(r"-py3-none-(manylinux_2_\d+_\w+\.?)+\.whl$", wheel.name), wheel
    with zipfile.ZipFile(wheel) as archive:
        names = {n for n in archive.namelist() if not n.endswith("/")}
        archive.extractall(folder / "tree")
        tags = set(re.findall(r"^Tag: (.*)$", next(archive.read(n).decode() for n in names if n.endswith("/WHEEL")), re.M))
    assert all(tag.startswith("py3-none-manylinux_") for tag in tags) and tags
    sources = {f"ringfeed/{p.relative_to(PACKAGE)}" for p in PACKAGE.rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    assert {n for n in names if n.startswith("ringfeed/")} == sources | {"ringfeed/_native/libringfeed.so"}
    assert {n.rsplit("/", 1)[1] for n in names if "/licenses/" in n} == LICENSES
    libc = {"libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
    for pattern in ("tree/ringfeed/_native/libringfeed.so", "tree/*.data/scripts/ringfeed"):
        libraries, paths = needed(next(folder.glob(pattern)))
        assert libraries and libraries <= libc and not paths, (pattern, libraries, paths)


def try_it(wheel, folder):
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    subprocess.run([folder / "venv/bin/pip", "-q", "install", "--no-index", "--no-deps", wheel], check=True)
    shards = scene.pack_photos(folder, "in", scene.photos("imagenet-sample")[:20], 20)
    config = scene.write_config(folder, {"train": scene.feed(shards, size=5, dtype="uint8",
                                                             transform=[{"random_resized_crop": {"size": 32}}])},
                                memory="192MiB")
    env = {"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(folder)}
    done = subprocess.run([folder / "venv/bin/python", "-c", TRAINER, config], env=env, capture_output=True, text=True,
                          timeout=120)
    assert done.returncode == 0 and str(folder / "venv") in done.stdout, done
    said = subprocess.run([folder / "venv/bin/ringfeed", "plan", "-c", config], env=env, capture_output=True, text=True)
    assert said.returncode == 0 and "20 samples" in said.stdout, said


def wheel(folder):
    (folder / "made").mkdir()
    made = build(folder / "made")
    check_files(made, folder)
    try_it(made, folder)


if __name__ == "__main__":
    scene.need_data("imagenet-sample")
    scene.main([wheel])
