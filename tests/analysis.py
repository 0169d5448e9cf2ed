# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""gcc's static analysis of src/: what it finds is mended, or stands in analysis.txt with the reason why it is not so.

Usage: analysis.py SOURCE BUILD. Another gcc finds other things: the list is that of GCC 12, Debian 12's.
"""
import collections
import os
import pathlib
import re
import shutil
import subprocess
import sys

SOURCE, BUILD = map(pathlib.Path, sys.argv[1:3])
GCC = "12"


def reviewed():
    lines = (SOURCE / "tests/analysis.txt").read_text().splitlines()
    return [line.split(":", 1)[0] for line in lines if line and not line.startswith("#")]


def findings(output):
    """"FILE FUNCTION WARNING" -> the lines that say so."""
    found, function = collections.defaultdict(list), "?"
    for line in output.splitlines():
        if said := re.match(r"\S+: In function .(\w+).:", line):
            function = said[1]
        elif said := re.match(r"(?:\.\./)*(?:.*/)?src/(\S+?):\d+:\d+: warning: .*\[-Wanalyzer-([\w-]+)\]", line):
            found[f"{said[1]} {function} {said[2]}"].append(line)
        elif "warning:" in line or "error:" in line:
            found[line].append(line)
    return found


version = subprocess.run(["gcc", "-dumpversion"], capture_output=True, text=True).stdout.strip()
if version.split(".")[0] != GCC:
    print(f"skipped: gcc is {version}, the list of findings is that of GCC {GCC}")
    sys.exit(77)
environment = {**{k: v for k, v in os.environ.items() if not k.startswith("MESON")}, "CC": "gcc", "LC_ALL": "C"}
shutil.rmtree(BUILD, ignore_errors=True)
subprocess.run(["meson", "setup", "-Dtests=disabled", "-Dc_args=-fanalyzer", BUILD, SOURCE], env=environment, check=True,
               stdout=subprocess.DEVNULL)
done = subprocess.run(["ninja", "-C", BUILD], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
found, known = findings(done.stdout), reviewed()
assert len(known) == len(set(known)), "a finding is listed twice"
new = [line for name, lines in found.items() if name not in known for line in lines]
gone = [name for name in known if name not in found]
print(f"{sum(map(len, found.values()))} findings, {len(known)} kinds reviewed, {len(new)} new")
if done.returncode or new or gone:
    print(*new, *(f"tests/analysis.txt: no longer found: {name}" for name in gone), sep="\n")
    sys.exit(done.returncode or 1)
