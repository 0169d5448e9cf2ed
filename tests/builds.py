# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Builds the tree in another way, every warning an error, and runs what that way is good for.

Usage: builds.py KIND SOURCE BUILD [SCENES]

sanitized  clang, AddressSanitizer and UBSan: the C tests, and scenes with a daemon of that build: an eighth of them, which
           the commit's hash chooses, or those of SCENES (a count of eighths from the first on; 8: all)
threads    clang, ThreadSanitizer: the engine of threads, the C client's tests, and a trainer with several threads beside a
           daemon with threads
coverage   gcc, gcov: the unit tests, a slice of the simulator and a few scenes; prints the lines reached in each room of src/
           and fails where a room falls below its floor

The build folder is kept, so that the next run compiles what changed.
"""
import collections
import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess
import sys

from commit import commit_hash

KIND, SOURCE, BUILD = sys.argv[1], *(pathlib.Path(path).resolve() for path in sys.argv[2:4])
N_SLICES = 8
# What limits or measures memory and time, or needs what is installed, says nothing about these; nor does valgrind with them.
NOT_SANITIZED = {"exhausted", "memory", "installed", "busy", "cpus", "browser", "top", "valgrind"}
# meson tells its children about the build it runs in; this one is another.
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("MESON") and k != "MALLOC_PERTURB_"}


def run(*words, **more):
    done = subprocess.run([*map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env={**ENVIRONMENT, **more})
    if done.returncode:
        print(done.stdout[-8000:])
        sys.exit(f"{' '.join(map(str, words))}: exit {done.returncode}")
    return done.stdout


def build(options, *targets, compiler="clang"):
    if not shutil.which(compiler):
        print(f"skipped: no {compiler}")
        sys.exit(77)
    if not (BUILD / "build.ninja").exists():
        shutil.rmtree(BUILD, ignore_errors=True)
        run("meson", "setup", "--werror", "-Db_lundef=false", "-Dbuildtype=debugoptimized", *options, BUILD, SOURCE, CC=compiler)
    run("ninja", "-C", BUILD, *targets)


def scene(name):
    """With the daemon and the programs of this build, and the library of the one that runs the test. Did it pass?"""
    done = subprocess.run(["/usr/bin/python3", SOURCE / f"tests/scene/{name}.py"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, env={**ENVIRONMENT, "RINGFEED_BIN": str(BUILD / "src/main/ringfeed"),
                                          "RINGFEED_BUILD": str(BUILD), "RINGFEED_ODD_BUILD": KIND,
                                          # Inside it a daemon could not write what it counted.
                                          **({"RINGFEED_DAEMON__SANDBOX": "off"} if KIND == "coverage" else {})})
    if done.returncode not in (0, 77):
        print(f"{done.stdout[-8000:]}\nscene {name} with {BUILD}: exit {done.returncode}", flush=True)
    return done.returncode in (0, 77)


def scene_names():
    lines = (SOURCE / "tests/scene/meson.build").read_text().splitlines()
    return sorted({line.strip(" ',") for line in lines if line.startswith("  '") and line.endswith("',")} - NOT_SANITIZED)


def slice_of_commit():
    """Which eighth: the last digits of the commit's hash decide."""
    return int(commit_hash()[-4:], 16) % N_SLICES


def sanitized():
    build(["-Db_sanitize=address,undefined"])
    run("meson", "test", "-C", BUILD, "--no-rebuild", "--suite", "unit", "--suite", "fuzz", "--timeout-multiplier", "4")
    chosen = range(int(sys.argv[4])) if len(sys.argv) > 4 else [slice_of_commit()]
    names = [name for i, name in enumerate(scene_names()) if i % N_SLICES in chosen]
    print(f"scenes with a sanitized daemon (of {N_SLICES} slices {', '.join(map(str, chosen))}): {', '.join(names)}", flush=True)
    # Leaks are looked for in the C tests: a daemon's slots live as long as it does.
    ENVIRONMENT["ASAN_OPTIONS"] = "halt_on_error=1:abort_on_error=1:detect_leaks=0"
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        failed = [name for name, is_good in zip(names, pool.map(scene, names)) if not is_good]
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


def threads():
    build(["-Db_sanitize=thread"], "src/main/ringfeed", "tests/threads/crossing", "tests/unit/io/test-io-engine",
          "tests/unit/client/test-client-session")
    probe = subprocess.run([BUILD / "src/main/ringfeed", "version"], capture_output=True, text=True)
    if "unexpected memory mapping" in probe.stderr:
        print("skipped: ThreadSanitizer cannot run here: vm.mmap_rnd_bits is more than it knows (28)")
        sys.exit(77)
    run("meson", "test", "-C", BUILD, "--no-rebuild", "io-engine-threads", "io-engine-uring", "client-session",
        "--timeout-multiplier", "4")
    sys.exit(0 if scene("crossing") else 1)


# Percent of the lines of a room that the tests named below reach, less a little for what chance decides. What a daemon's
# workers reach is not counted: they are killed, and may open no file. The client is counted in its C tests alone. The
# sandbox is off: a process inside of it could not write what it counted.
FLOORS = {"base": 88, "batch": 95, "client": 86, "config": 85, "core": 97, "decode": 90, "io": 92, "main": 66, "order": 94,
          "pack": 84, "serve": 80, "sandbox": 5, "shard": 92, "transform": 90, "watch": 90, "worker": 50}


def coverage():
    if not shutil.which("gcovr"):
        print("skipped: no gcovr")
        sys.exit(77)
    # Processes that end by _exit() write what they counted, too.
    build(["-Db_coverage=true", f"-Dc_args=-include {SOURCE}/tests/coverage.h"], compiler="gcc")
    for path in BUILD.rglob("*.gcda"):
        path.unlink()
    run("meson", "test", "-C", BUILD, "--no-rebuild", "--suite", "unit", "--suite", "fuzz", "--no-suite", "long",
        "--timeout-multiplier", "4")
    run(BUILD / "tests/sim/sim", "--seeds", "1..1000", "--steps", "2000", "--jobs", os.cpu_count())
    names = ("exactly_once", "compressed", "clients_bad", "misuse", "sharing_kinds", "tracing", "plan", "preview", "pack", "verify",
             "metrics", "no_uring")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        good = all(list(pool.map(scene, names)))
    run("gcovr", "--root", SOURCE, "--filter", f"{SOURCE}/src/", "--object-directory", BUILD, "--json-summary", BUILD / "coverage.json",
        "--gcov-ignore-parse-errors", BUILD)
    rooms = collections.defaultdict(lambda: [0, 0])
    for file in json.loads((BUILD / "coverage.json").read_text())["files"]:
        room = pathlib.Path(file["filename"]).parts[1]
        rooms[room][0] += file["line_covered"]
        rooms[room][1] += file["line_total"]
    low = []
    for room, (reached, lines) in sorted(rooms.items()):
        percent = 100 * reached / lines
        low += [room] if percent < FLOORS[room] else []
        print(f"  {room:10} {percent:5.1f} % of {lines} lines (floor {FLOORS[room]})")
    low += sorted(set(FLOORS) - set(rooms))
    sys.exit(f"below their floor: {', '.join(low)}" if low else 0 if good else 1)


{"sanitized": sanitized, "threads": threads, "coverage": coverage}[KIND]()
