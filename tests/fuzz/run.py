# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Builds the targets for libFuzzer (clang, AddressSanitizer, UBSan) and lets it drive them.

Usage: run.py SOURCE BUILD [--seconds N] [TARGET]...
--seconds: for each target (default 600), three quarters of them as they are and one with failing allocations.
What it learned of tokens is then read by the second implementation, too (token_twin.py).
What is found stays in BUILD/findings; the build and what libFuzzer learned are kept for the next run.
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import seeds

OPTIONS = ["--werror", "-Dfuzz=true", "-Dbuildtype=debugoptimized", "-Db_lundef=false", "-Db_sanitize=address,undefined",
           "-Dc_args=-fsanitize=fuzzer-no-link"]
AT_ONCE = 2
UNIT_S = 5  # wall clock on a machine that does other things, too
LENGTH = 65536
LENGTH_MAX = {"core": 2048, "client": 2048, "daemon": 1024, "token": 600, "npy": 4096, "value": 4096, "config": 4096,
              "image": 16384}  # longer seeds are left out: replays have them
# Whose inputs reach so many edges that libFuzzer's book on rare ones costs more than they do.
UNBOOKED = {"core", "daemon", "image"}
MIB_MAX = {"image": 256, "packed": 256, "npy": 256, "value": 256}  # of what decodes; the sanitizer's own included

TARGETS = sorted(seeds.COLLECTED)


def sh(*words, **more):
    done = subprocess.run([*map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
    if done.returncode:
        print(done.stdout[-8000:])
        sys.exit(f"{' '.join(map(str, words))}: exit {done.returncode}")
    return done.stdout


def has_libfuzzer(folder):
    program = pathlib.Path(folder, "empty.c")
    program.write_text("int LLVMFuzzerTestOneInput(const char *b, unsigned long n) { return 0; }\n")
    return shutil.which("clang") and subprocess.run(
        ["clang", "-fsanitize=fuzzer,address", program, "-o", program.with_suffix("")],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def build(source, folder, targets):
    # meson tells its children about the build it runs in; this one is another.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MESON") and k != "MALLOC_PERTURB_"}
    if not (folder / "build.ninja").exists():
        shutil.rmtree(folder, ignore_errors=True)
        sh("meson", "setup", *OPTIONS, folder, source, env={**environment, "CC": "clang"})
    sh("ninja", "-C", folder, "tests/unit/shard/probe-shard", "tests/fuzz/token-answers", *(f"tests/fuzz/libfuzzer-{t}" for t in targets),
       env=environment)


def fuzz(folder, target, given, seconds, is_starving):
    """A row of the table, and whether nothing was found."""
    learned, found = folder / "learned" / target, folder / "findings" / target
    for path in (learned, found):
        path.mkdir(parents=True, exist_ok=True)
    before = set(found.iterdir())
    environment = {**os.environ, "ASAN_OPTIONS": "quarantine_size_mb=16", "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"}
    environment.pop("RINGFEED_FUZZ_STARVE", None)
    if is_starving:
        environment["RINGFEED_FUZZ_STARVE"] = "1"
    with tempfile.TemporaryDirectory(dir="/tmp") as temporary:
        done = subprocess.run(
            [folder / "tests/fuzz" / f"libfuzzer-{target}", f"-max_total_time={seconds}", f"-timeout={UNIT_S}",
             f"-rss_limit_mb={MIB_MAX.get(target, 512)}", f"-max_len={LENGTH_MAX.get(target, LENGTH)}",
             f"-entropic={int(target not in UNBOOKED)}", "-print_final_stats=1", f"-artifact_prefix={found}/", learned, given],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**environment, "TMPDIR": temporary})
    text = done.stdout.decode(errors="replace")
    log = folder / f"{target}{'-starved' if is_starving else ''}.log"
    log.write_text(text)
    runs = re.findall(r"stat::number_of_executed_units: (\d+)", text) or re.findall(r"^#(\d+)", text, re.M) or ["0"]
    edges = re.findall(r" cov: (\d+)", text) or ["0"]
    new = sorted(set(found.iterdir()) - before)
    row = f"{target:8}{'failing' if is_starving else 'all':9}{int(runs[-1]):12,}{int(edges[-1]):8,}{len(new):10}"
    if done.returncode:
        print("\n".join(text.splitlines()[-60:]), f"\nfindings: {', '.join(map(str, new)) or 'none kept'}; log: {log}", flush=True)
    return row, done.returncode == 0


def take_short(paths, length_max, into):
    """Copies of the files that are not cut when they are read."""
    into.mkdir()
    files = [f for p in paths for f in ([p] if p.is_file() else sorted(p.rglob("*"))) if f.is_file()]
    for i, path in enumerate(files):
        if path.stat().st_size <= length_max:
            shutil.copy(path, into / f"{i}-{path.name}")
    return into


def compare_tokens(folder, probe):
    done = subprocess.run([sys.executable, pathlib.Path(__file__).with_name("token_twin.py"), folder / "tests/fuzz/token-answers",
                           probe, folder / "learned/token"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(f"token beside the second implementation: {done.stdout[-4000:]}", end="", flush=True)
    return done.returncode == 0


def run_target(folder, probe, target, seconds):
    with tempfile.TemporaryDirectory() as temporary:
        made = pathlib.Path(temporary, "made")
        made.mkdir()
        paths, missing = seeds.gather(target, made, probe)
        short = take_short(paths, LENGTH_MAX.get(target, LENGTH), pathlib.Path(temporary, "short"))
        rows = [fuzz(folder, target, short, seconds - seconds // 4, False),
                fuzz(folder, target, short, max(1, seconds // 4), True)]
    good = [is_good for _, is_good in rows] + ([compare_tokens(folder, probe)] if target == "token" else [])
    return [row for row, _ in rows], all(good), missing


def main():
    take = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    take.add_argument("source", type=pathlib.Path)
    take.add_argument("build", type=pathlib.Path)
    take.add_argument("--seconds", type=int, default=600)
    take.add_argument("targets", nargs="*", metavar="TARGET")
    words = take.parse_intermixed_args()
    targets = words.targets or TARGETS
    with tempfile.TemporaryDirectory() as folder:
        if not has_libfuzzer(folder):
            print("skipped: no clang with libFuzzer")
            sys.exit(77)
    folder = words.build.absolute()
    build(words.source.absolute(), folder, targets)
    print(f"{words.seconds} s each of {', '.join(targets)}", flush=True)
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        done = list(pool.map(lambda t: run_target(folder, folder / "tests/unit/shard/probe-shard", t, words.seconds), targets))
    print("target  allocs       executions   edges  findings")
    for rows, _, _ in done:
        print("\n".join(rows))
    for target, (_, _, missing) in zip(targets, done):
        if missing:
            print(f"{target}: {missing}")
    sys.exit(0 if all(is_good for _, is_good, _ in done) else 1)


main()
