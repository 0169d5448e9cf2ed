# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""What README shows of scripts is what the scripts are."""
import difflib
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
MOVING = ROOT / "tools/moving-in"
README = (ROOT / "README.md").read_text()


def script(name):
    """Without the header that every file has."""
    return (MOVING / name).read_text().split("\n", 2)[2].lstrip("\n").splitlines()


@pytest.mark.parametrize("peer", ["torch", "webdataset", "dali"])
def test_the_diff_is_the_difference(peer):
    before, after = script(f"{peer}-before.py"), script(f"{peer}-after.py")
    lines = list(difflib.unified_diff(before, after, n=100, lineterm=""))[3:]
    assert "\n".join(["```diff", *lines, "```"]) in README, f"the diff of {peer}"


def test_every_command_is_there():
    for command in re.findall(r"^tools/([a-z][a-z/-]*)", README, re.M):
        assert (ROOT / "tools" / command).exists(), command
