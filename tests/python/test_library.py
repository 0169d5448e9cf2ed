# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""libringfeed.so as others link it: its name, what it needs, what it exports."""
import os
import pathlib
import re
import subprocess

import pytest

LIBRARY = os.environ["RINGFEED_LIBRARY"]
ROOT = pathlib.Path(__file__).resolve().parents[2]


def readelf(*arguments):
    return subprocess.run(["readelf", "-W", *arguments, LIBRARY], check=True, capture_output=True, text=True).stdout


def test_needs_libc_alone():
    dynamic = readelf("-d")
    needed = set(re.findall(r"\(NEEDED\).*\[(.*?)\]", dynamic))
    if any("san" in name for name in needed):
        pytest.skip("a build with sanitizers needs their libraries")
    assert needed <= {"libc.so.6", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
    assert re.findall(r"\(SONAME\).*\[(.*?)\]", dynamic) == ["libringfeed.so.0"]


def test_exports_what_the_header_declares():
    header = (ROOT / "include/ringfeed/ringfeed.h").read_text()
    declared = set(re.findall(r"^RF_API [^;]*?\b(rf_\w+)\(", header, re.M))
    exported = {line.split()[7].split("@")[0] for line in readelf("--dyn-syms").splitlines()
                if re.match(r"\s*\d+:", line) and line.split()[6] != "UND" and line.split()[4] == "GLOBAL"}
    assert exported == declared and len(declared) > 25


def test_header_stands_alone(tmp_path):
    for language, compiler in (("c", "cc -std=c11"), ("c++", "c++ -std=c++11")):
        source = tmp_path / "t.c"
        source.write_text("#include <ringfeed/ringfeed.h>\nint main(void) { return rf_version() == 0; }\n")
        subprocess.run([*compiler.split(), "-x", language, "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only",
                        f"-I{ROOT}/include", str(source)], check=True)


def test_header_form():
    """Every exported function has its comment, and every whole comment its tail."""
    header = (ROOT / "include/ringfeed/ringfeed.h").read_text()
    for comment, name in re.findall(r"(/\*\*(?:(?!\*/).)*\*/)\nRF_API [^;]*?\b(rf_\w+)\(", header, re.S):
        if comment.count("\n") > 1:
            for word in ("Threads:", "Blocks:", "Fork:", "Since:"):
                assert f" * {word}" in comment, f"{name} does not say {word}"
    assert len(re.findall(r"\*/\nRF_API ", header)) == len(re.findall(r"^RF_API ", header, re.M))


@pytest.mark.skipif("RINGFEED_BUILD" not in os.environ, reason="RINGFEED_BUILD does not name a build folder")
def test_installed(tmp_path):
    """What `meson install` leaves is enough to build and run a program with pkg-config alone."""
    if any("san" in name for name in re.findall(r"\(NEEDED\).*\[(.*?)\]", readelf("-d"))):
        pytest.skip("a build with sanitizers needs their libraries")
    root = tmp_path / "root"
    subprocess.run(["meson", "install", "--no-rebuild", "--quiet", "-C", os.environ["RINGFEED_BUILD"], "--destdir", str(root)],
                   check=True)
    pc = next(root.rglob("ringfeed.pc"))
    env = {**os.environ, "PKG_CONFIG_PATH": str(pc.parent), "PKG_CONFIG_SYSROOT_DIR": str(root)}
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "ringfeed"], check=True, env=env, capture_output=True,
                           text=True).stdout.split()
    source = tmp_path / "t.c"
    source.write_text("#include <ringfeed/ringfeed.h>\n#include <stdio.h>\nint main(void) { puts(rf_version()); return 0; }\n")
    subprocess.run(["cc", str(source), "-o", str(tmp_path / "t"), *flags], check=True)
    said = subprocess.run([str(tmp_path / "t")], check=True, capture_output=True, text=True,
                          env={**os.environ, "LD_LIBRARY_PATH": str(next(root.rglob("libringfeed.so.0")).parent)})
    version = subprocess.run(["pkg-config", "--modversion", "ringfeed"], check=True, env=env, capture_output=True, text=True)
    assert said.stdout == version.stdout


def test_every_module_is_installed():
    folder = ROOT / "src/python"
    listed = set(re.findall(r"'ringfeed/([\w.]+)'", (folder / "meson.build").read_text()))
    assert listed == {path.name for path in (folder / "ringfeed").iterdir() if path.is_file()}
