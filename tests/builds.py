# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Builds the tree with clang, every warning an error, under AddressSanitizer and UBSan, and runs its C tests.

Usage: builds.py SOURCE BUILD. The build folder is kept, so that the next run compiles what changed.
"""
import os
import pathlib
import shutil
import subprocess
import sys

SOURCE, BUILD = map(pathlib.Path, sys.argv[1:3])
OPTIONS = ["--werror", "-Db_sanitize=address,undefined", "-Db_lundef=false", "-Dbuildtype=debugoptimized"]


def run(*words, **more):
    done = subprocess.run([*map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
    if done.returncode:
        print(done.stdout[-8000:])
        sys.exit(f"{' '.join(map(str, words))}: exit {done.returncode}")


if not shutil.which("clang"):
    print("skipped: no clang")
    sys.exit(77)
# meson tells its children about the build it runs in; this one is another.
environment = {k: v for k, v in os.environ.items() if not k.startswith("MESON") and k != "MALLOC_PERTURB_"}
if not (BUILD / "build.ninja").exists():
    shutil.rmtree(BUILD, ignore_errors=True)
    run("meson", "setup", *OPTIONS, BUILD, SOURCE, env={**environment, "CC": "clang"})
run("ninja", "-C", BUILD, env=environment)
run("meson", "test", "-C", BUILD, "--no-rebuild", "--suite", "unit", "--suite", "fuzz", "--timeout-multiplier", "4",
    env=environment)
