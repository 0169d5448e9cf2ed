# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""run_lent.py LENT: lent.c against a real daemon; LENT is empty where no CUDA runtime was found at build time."""
import pathlib
import subprocess
import sys
import tempfile

import scene


def main():
    if not sys.argv[1]:
        print("skipped: no CUDA runtime (cudart) was found when this was built")
        return 77
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        scene.write_shards(folder / "shards", [25, 0, 17, 18])
        with scene.Daemon(folder, folder / "shards") as daemon:
            return subprocess.run([sys.argv[1], daemon.socket]).returncode


sys.exit(main())
