# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""A private daemon: the `ringfeed` command finds or starts the one of a configuration and a job."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, Union

from . import _errors

Config = Union["os.PathLike[str]", str, "Mapping[str, Any]"]
_EX_CONFIG = 78
_QUOTED_LINES = 5


def _command() -> str:
    """RINGFEED_COMMAND, else the command beside this Python, else the one in PATH."""
    named = os.environ.get("RINGFEED_COMMAND")
    beside = pathlib.Path(sys.executable).with_name("ringfeed")
    found = named or (str(beside) if beside.exists() else shutil.which("ringfeed"))
    if not found:
        raise _errors.Error(
            "config= starts the command ringfeed, which is neither beside this Python nor in PATH; pip installs it "
            "with the package, or set RINGFEED_COMMAND to it")
    return found


class PrivateDaemon:
    """The daemon that serves one configuration to one job on this machine."""

    def __init__(self, config: Config):
        if isinstance(config, Mapping):
            self._path, self._text = "-", json.dumps(config).encode()
        elif isinstance(config, (str, os.PathLike)):
            self._path, self._text = os.fspath(config), None
        else:
            raise TypeError(f"config is the path of a file or a mapping, not {type(config).__name__}")
        self._log = ""

    def ensure(self) -> str:
        """The path of its socket; starts it if it does not run."""
        done = subprocess.run(
            [_command(), "ensure", "-c", self._path], input=b"" if self._text is None else self._text,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        said = done.stderr.decode(errors="replace").strip()
        if done.returncode == _EX_CONFIG:
            raise _errors.BadConfig(said)
        if done.returncode != 0:
            raise _errors.Error(f"the private daemon could not be started: {said or done.returncode}")
        socket, self._log = os.fsdecode(done.stdout).splitlines()
        return socket

    def last_words(self) -> str:
        """The last lines of its log, to go behind a sentence; nothing where there are none."""
        try:
            lines = pathlib.Path(self._log).read_text(errors="replace").splitlines()[-_QUOTED_LINES:]
        except OSError:
            return ""
        return "".join(f"\n  {line}" for line in lines)
