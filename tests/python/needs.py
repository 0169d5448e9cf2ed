# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""needs.py MODULES FILE: runs pytest on the file, or says which of the modules is missing (exit 77); `gpu` is one
that torch can use.

Tests that need torch run in the interpreter that RINGFEED_TORCH_PYTHON names, where it is set.
"""
import importlib.util
import os
import sys


def main():
    other = os.environ.pop("RINGFEED_TORCH_PYTHON", None)
    if other and "torch" in sys.argv[1].split(","):
        os.execv(other, [other, *sys.argv])
    needed = sys.argv[1].split(",")
    missing = [name for name in needed if name != "gpu" and importlib.util.find_spec(name) is None]
    if missing:
        print(f"skipped: this Python has no {', '.join(missing)}")
        return 77
    if "gpu" in needed and not importlib.import_module("torch").cuda.is_available():
        print("skipped: torch sees no GPU")
        return 77
    import pytest  # not before: the interpreter may be another one
    return pytest.main(["-q", "-p", "no:cacheprovider", *sys.argv[2:]])


if __name__ == "__main__":
    sys.exit(main())
