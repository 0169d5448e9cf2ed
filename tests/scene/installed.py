# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""`meson install` leaves exactly what belongs to a system, every Python file among it, and what it leaves works together."""
import json
import os
import re
import subprocess
import sys

import scene

BUILD = os.environ["RINGFEED_BUILD"]
EXPECTED = {
    "bin/ringfeed", "include/ringfeed/ringfeed.h", "lib/libringfeed.so", "lib/libringfeed.so.0", "lib/libringfeed.so.VERSION",
    "lib/pkgconfig/ringfeed.pc", "lib/systemd/system/ringfeed.service", "lib/sysusers.d/ringfeed.conf",
    "share/bash-completion/completions/ringfeed", "share/doc/ringfeed/examples/seccomp-profile",
    "share/doc/ringfeed/examples/kubernetes.yaml", "share/doc/ringfeed/examples/slurm.sbatch", "share/doc/ringfeed/examples/torchrun.sh",
    "share/doc/ringfeed/ringfeed.yaml", "share/fish/vendor_completions.d/ringfeed.fish", "share/man/man1/ringfeed.1",
    "share/man/man5/ringfeed.yaml.5", "share/zsh/site-functions/_ringfeed",
}
PACKAGE = scene.ROOT / "src/python/ringfeed"


def version():
    return scene.ringfeed("version").stdout.split()[1]


def install(folder):
    """The prefix inside the root that it is installed to."""
    subprocess.run(["meson", "install", "--no-rebuild", "--quiet", "-C", BUILD, "--destdir", str(folder / "root")], check=True)
    return next((folder / "root").rglob("bin/ringfeed")).parents[1]


def complete(folder):
    prefix = install(folder)
    found, python = set(), set()
    for path in (folder / "root").rglob("*"):
        if path.is_dir() and not path.is_symlink():
            continue
        name = str(path.relative_to(prefix)) if prefix in path.parents else str(path)
        package = re.search(r"/(?:site|dist)-packages/ringfeed/(.*)$", str(path))
        if package:
            python.add(package[1])
        else:
            found.add(re.sub(r"^lib(64|/[a-z0-9_]+-linux-gnu[a-z0-9]*)/", "lib/", name).replace(version(), "VERSION"))
    assert found == EXPECTED, (found - EXPECTED, EXPECTED - found)
    sources = {str(p.relative_to(PACKAGE)) for p in PACKAGE.rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    assert {name for name in python if "__pycache__" not in name} == sources and "py.typed" in sources, python ^ sources
    library = next(prefix.rglob("libringfeed.so.0"))
    assert library.is_symlink() and os.readlink(library) == f"libringfeed.so.{version()}"
    assert f"ExecStart=/{prefix.relative_to(folder / 'root')}/bin/ringfeed serve" in next(prefix.rglob("*.service")).read_text()


def together(folder):
    """The installed package with the installed library and command, a private daemon and all."""
    prefix = install(folder)
    package = next((folder / "root").rglob("ringfeed/__init__.py")).parents[1]
    shards = scene.pack_photos(folder, "in", scene.photos("imagenet-sample")[:20], 20)
    config = scene.write_config(folder, {"train": scene.feed(shards, size=5, dtype="uint8",
                                                             transform=[{"random_resized_crop": {"size": 32}}])},
                                memory="192MiB")
    script = ("import json, sys, ringfeed\n"
              "with ringfeed.Loader('train', config=sys.argv[1]) as loader:\n"
              "    print(json.dumps([ringfeed.__file__, sorted(i for b in loader for i in list(b.index))], default=int))\n")
    env = {k: v for k, v in os.environ.items() if not k.startswith("RINGFEED_")}
    env.update(PYTHONPATH=str(package), PATH=f"{prefix}/bin:/usr/bin:/bin", RINGFEED_COMMAND=f"{prefix}/bin/ringfeed",
               LD_LIBRARY_PATH=str(next(prefix.rglob("libringfeed.so.0")).parent), XDG_RUNTIME_DIR=str(folder))
    done = subprocess.run([sys.executable, "-c", script, config], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done
    where, indexes = json.loads(done.stdout)
    assert where.startswith(str(folder)) and indexes == list(range(20)), done.stdout


if __name__ == "__main__":
    if b"libasan" in subprocess.run(["readelf", "-d", scene.BINARY], capture_output=True).stdout:
        print("skipped: a build with sanitizers is not installed")
        sys.exit(77)
    scene.need_data("imagenet-sample")
    scene.main([complete, together])
