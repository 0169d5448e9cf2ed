# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Builds the tree in another way, every warning an error, and runs what that way is good for.

Usage: builds.py KIND SOURCE BUILD [SCENES]

sanitized  clang, AddressSanitizer and UBSan: the C tests, and scenes with a daemon of that build: an eighth of them, which
           the commit's hash chooses, or those of SCENES (a count of eighths from the first on; 8: all)
threads    clang, ThreadSanitizer: the engine of threads, the C client's tests, and a trainer with several threads beside a
           daemon with threads

The build folder is kept, so that the next run compiles what changed.
"""
import os
import pathlib
import shutil
import subprocess
import sys

KIND, SOURCE, BUILD = sys.argv[1], *map(pathlib.Path, sys.argv[2:4])
N_SLICES = 8
# What measures the daemon's memory, or how a build is installed, says nothing about these.
NOT_SANITIZED = {"memory", "installed", "busy", "cpus", "browser", "top"}
# meson tells its children about the build it runs in; this one is another.
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("MESON") and k != "MALLOC_PERTURB_"}


def run(*words, **more):
    done = subprocess.run([*map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env={**ENVIRONMENT, **more})
    if done.returncode:
        print(done.stdout[-8000:])
        sys.exit(f"{' '.join(map(str, words))}: exit {done.returncode}")
    return done.stdout


def build(options, *targets):
    if not shutil.which("clang"):
        print("skipped: no clang")
        sys.exit(77)
    if not (BUILD / "build.ninja").exists():
        shutil.rmtree(BUILD, ignore_errors=True)
        run("meson", "setup", "--werror", "-Db_lundef=false", "-Dbuildtype=debugoptimized", *options, BUILD, SOURCE, CC="clang")
    run("ninja", "-C", BUILD, *targets)


def scene(name):
    """With the daemon and the programs of this build, and the library of the one that runs the test."""
    done = subprocess.run(["/usr/bin/python3", SOURCE / f"tests/scene/{name}.py"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, env={**ENVIRONMENT, "RINGFEED_BIN": str(BUILD / "src/main/ringfeed"),
                                          "RINGFEED_BUILD": str(BUILD)})
    if done.returncode not in (0, 77):
        print(done.stdout[-8000:])
        sys.exit(f"scene {name} with {BUILD}: exit {done.returncode}")


def scene_names():
    lines = (SOURCE / "tests/scene/meson.build").read_text().splitlines()
    return sorted({line.strip(" ',") for line in lines if line.startswith("  '") and line.endswith("',")} - NOT_SANITIZED)


def slice_of_commit():
    """Which eighth: the last digits of the commit's hash decide; 0 where there is no git."""
    said = subprocess.run(["git", "-C", SOURCE, "rev-parse", "HEAD"], capture_output=True, text=True)
    return int(said.stdout.strip()[-4:] or "0", 16) % N_SLICES if said.returncode == 0 else 0


def sanitized():
    build(["-Db_sanitize=address,undefined"])
    run("meson", "test", "-C", BUILD, "--no-rebuild", "--suite", "unit", "--suite", "fuzz", "--timeout-multiplier", "4")
    chosen = range(int(sys.argv[4])) if len(sys.argv) > 4 else [slice_of_commit()]
    names = [name for i, name in enumerate(scene_names()) if i % N_SLICES in chosen]
    print(f"scenes with a sanitized daemon (of {N_SLICES} slices {', '.join(map(str, chosen))}): {', '.join(names)}", flush=True)
    # Leaks are looked for in the C tests: a daemon's slots live as long as it does.
    ENVIRONMENT["ASAN_OPTIONS"] = "halt_on_error=1:abort_on_error=1:detect_leaks=0"
    for name in names:
        scene(name)


def threads():
    build(["-Db_sanitize=thread"], "src/main/ringfeed", "tests/threads/crossing", "tests/unit/io/test-io-engine",
          "tests/unit/client/test-client-session")
    probe = subprocess.run([BUILD / "src/main/ringfeed", "version"], capture_output=True, text=True)
    if "unexpected memory mapping" in probe.stderr:
        print("skipped: ThreadSanitizer cannot run here: vm.mmap_rnd_bits is more than it knows (28)")
        sys.exit(77)
    run("meson", "test", "-C", BUILD, "--no-rebuild", "io-engine-threads", "io-engine-uring", "client-session",
        "--timeout-multiplier", "4")
    scene("crossing")


{"sanitized": sanitized, "threads": threads}[KIND]()
