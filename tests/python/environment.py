# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Makes a virtual environment with packages from pip, for oracles that Debian does not have."""
import pathlib
import subprocess
import sys


def python_with(build, name, *packages):
    """The interpreter of BUILD/oracles/NAME; made and filled on the first call."""
    folder = pathlib.Path(build) / "oracles" / name
    python = folder / "bin/python"
    if not (folder / "done").exists():
        print(f"installing {' '.join(packages)} into {folder}", flush=True)
        subprocess.run(["/usr/bin/python3", "-m", "venv", folder], check=True)
        if subprocess.run([python, "-m", "pip", "install", "-q", *packages]).returncode:
            print(f"pip could not install {' '.join(packages)}; its messages are above")
            sys.exit(1)
        (folder / "done").touch()
    return python
