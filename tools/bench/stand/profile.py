# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Where a worker's time goes, by perf record on bench-pixels.

Our own functions have names. libjpeg's have none where its debug symbols are not installed; then each
64 bytes of its code are told apart by what else runs them: they belong to the entropy coding if reading
coefficients alone runs them, to the inverse DCT if decoding to planes does, else to upsampling and colour.
"""
import collections
import re
import shutil
import subprocess

from . import stages, turns

LINE = 64
GROUPS = ("entropy decoding", "inverse DCT", "upsampling, colours", "inflate", "PNG filters", "horizontal pass",
          "vertical pass", "convert, flip, normalise", "filter weights", "rest")
SYMBOLS = ((r"huff|decode_mcu|fill_bit|arith|jpeg_fill|decompress_onepass|decompress_smooth|consume_data",
            "entropy decoding"),
           (r"idct", "inverse DCT"),
           (r"upsample|ycc_rgb|rgb_convert|color|merged", "upsampling, colours"))
OWN = ((r"decode_mcu|table_make|_careful$|look_long", "entropy decoding"), (r"filter|undo|png_plain", "PNG filters"),
       (r"horizontal", "horizontal pass"), (r"vertical", "vertical pass"), (r"convert|split|^lift|^lower|flip|table", "convert, flip, normalise"),
       (r"taps|prepare|weights|sinc|bilinear", "filter weights"))


def usable():
    """None, or why perf cannot be used."""
    if not shutil.which("perf"):
        return "perf is not installed (Debian: linux-perf)"
    done = subprocess.run(["perf", "record", "-q", "-e", "cpu-clock", "-o", "/dev/null", "true"],
                          capture_output=True, text=True)
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or ["perf record fails"])[0]


def samples(data):
    """(file, symbol or address) -> samples of a perf.data."""
    done = subprocess.run(["perf", "report", "-i", str(data), "--stdio", "--no-children", "--percent-limit", "0",
                           "-g", "none", "-F", "sample,dso,sym", "-t", ";"], capture_output=True, text=True,
                          check=True)
    counts = collections.Counter()
    for line in done.stdout.splitlines():
        parts = [part.strip() for part in line.split(";")]
        if len(parts) == 3 and parts[0].isdigit():
            counts[parts[1], parts[2]] += int(parts[0])
    return counts


def recorded(program_class, programs, paths, prepare, command, data):
    """Samples of a program while it carries out one command."""
    program = program_class(programs, paths)
    prepare(program)
    perf = subprocess.Popen(["perf", "record", "-q", "-F", "4000", "-o", str(data), "-p",
                             str(program.program.process.pid)], stderr=subprocess.DEVNULL)
    try:
        subprocess.run(["sleep", "0.5"], check=True)  # perf says nowhere that it has begun
        program.seconds(command)
    finally:
        perf.send_signal(2)
        perf.wait()
        program.program.close()
    return samples(data)


def jpeg_lines(counts):
    """Samples by line of code of the libjpeg functions without names."""
    lines = collections.Counter()
    for (dso, symbol), n in counts.items():
        address = re.search(r"0x([0-9a-f]+)$", symbol)
        if dso.startswith("libjpeg") and address:
            lines[int(address[1], 16) // LINE] += n
    return lines


def group_of(dso, symbol, lines):
    name = re.sub(r"^\[.\]\s*", "", symbol)
    if dso.startswith("libjpeg"):
        if name.startswith("0x"):
            line = int(name, 16) // LINE
            return next((group for group, known in lines if line in known), "upsampling, colours")
        return next((group for pattern, group in SYMBOLS if re.search(pattern, name)), "rest")
    if dso.startswith(("libz", "libdeflate")):
        return "inflate"
    if dso.startswith("libpng"):
        return "PNG filters"
    if dso == "bench-pixels":
        return next((group for pattern, group in OWN if re.search(pattern, name)), "rest")
    return "rest"


def shares(programs, paths, wanted, folder):
    """Group -> share of a worker's time on float32 rows, and the number of samples."""
    boxes, kernels = [], []

    def prepare(program):
        kernels.append(program.kernels)
        boxes[:] = program.positions(0, wanted)
        program.seconds("float32")

    def prepare_bare(program):
        program.crops([(photo, box) for (photo, _, _), box in zip(wanted, boxes)])

    rows = recorded(stages.Stages, programs, paths, prepare, "float32", folder / "rows.data")
    lines = []
    if any(dso.startswith("libjpeg") and "0x" in symbol for dso, symbol in rows):
        for group, command in (("entropy decoding", "coefficients"), ("inverse DCT", "raw")):
            known = jpeg_lines(recorded(stages.Bare, programs, paths, prepare_bare, command,
                                        folder / f"{command}.data"))
            lines.append((group, known))
    total = sum(rows.values())
    if not total:
        raise turns.Failed("perf took no samples")
    groups = collections.Counter()
    for (dso, symbol), n in rows.items():
        groups[group_of(dso, symbol, lines)] += n
    return {"samples": total, "kernels": kernels[0], "shares": {group: groups[group] / total for group in GROUPS}}
