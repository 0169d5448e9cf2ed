# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""needs.py MODULES FILE: runs pytest on the file, or says which of the modules is missing (exit 77)."""
import importlib.util
import sys

import pytest


def main():
    missing = [name for name in sys.argv[1].split(",") if importlib.util.find_spec(name) is None]
    if missing:
        print(f"skipped: this Python has no {', '.join(missing)}")
        return 77
    return pytest.main(["-q", "-p", "no:cacheprovider", *sys.argv[2:]])


if __name__ == "__main__":
    sys.exit(main())
