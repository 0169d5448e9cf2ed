# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""The systemd unit: systemd calls its exposure at most 1.5, and a working daemon makes no call that its filter refuses."""
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import ringfeed
import scene

UNIT = scene.ROOT / "config/ringfeed.service.in"


def unit():
    return UNIT.read_text().replace("@bindir@", "/usr/bin")


def settings():
    """Of each key all its values, in order; an empty one takes back those before."""
    found = {}
    for line in unit().splitlines():
        if line and not line.startswith(("#", "[", ";")):
            key, value = line.split("=", 1)
            found.setdefault(key, []).append(value)
    return found


def exposure(folder):
    path = folder / "ringfeed.service"
    path.write_text(unit())
    said = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=15", path],
                          capture_output=True, text=True)
    last = said.stdout.strip().splitlines()[-1]
    print("  " + last)
    assert said.returncode == 0, said
    assert float(re.search(r": ([0-9.]+) ", last)[1]) <= 1.5
    # Only what is not on this machine may be wrong: the binary, its user, its pages.
    checked = subprocess.run(["systemd-analyze", "verify", path], capture_output=True, text=True)
    other = [line for line in checked.stderr.splitlines() if not re.search(r"is not executable|Command 'man ", line)]
    assert not other, other


def keys(folder):
    has = settings()
    for key, value in {"Type": "notify", "ExecReload": "kill -HUP $MAINPID", "RuntimeDirectory": "ringfeed",
                       "LimitMEMLOCK": "infinity", "RestartPreventExitStatus": "78"}.items():
        assert has[key] == [value], key
    words = has["ExecStart"][0].split()
    assert words[0] == "/usr/bin/ringfeed" and words[1:3] == ["serve", "-c"]
    assert words[-2:] == ["--socket", "/run/ringfeed/ringfeed.sock"]


def members(name):
    """The calls of a group, groups inside it as well."""
    said = subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager", name], capture_output=True, text=True, check=True)
    found = set()
    for line in said.stdout.splitlines()[1:]:
        word = line.strip()
        if word.startswith("@"):
            found |= members(word)
        elif word and not word.startswith("#"):
            found.add(word)
    return found


def allowed_calls():
    """As systemd reads the lines: the first one allows, later ones add and, with ~, take away."""
    calls = members("@default")
    for line in settings()["SystemCallFilter"]:
        takes = line.startswith("~")
        for word in line.lstrip("~").split():
            named = members(word) if word.startswith("@") else {word}
            calls = calls - named if takes else calls | named
    return calls


def make(folder):
    shards = scene.pack_photos(folder, "in", scene.photos("imagenet-sample")[:60], 30)
    (folder / "ledger").mkdir()
    more = {"ledger": str(folder / "ledger"), "index_cache": str(folder), "nice": 3, "cpus": "0", "workers": 2}
    if re.search(r"^ +(# )?metrics:", scene.ringfeed("help", "config").stdout, re.M):
        more["metrics"] = "127.0.0.1:0"
    return scene.write_config(folder, {"train": scene.feed(shards, size=10, dtype="uint8",
                                                           transform=[{"random_resized_crop": {"size": 64}}])},
                              memory="256MiB", **more)


def calls_made(folder, config, *options):
    """The system calls of a daemon from start to end, under a trainer, a question, a reload and a lost worker."""
    log = folder / "calls"
    wrap = ["strace", "-f", "-qq", "-o", log, "-e", "signal=none"]
    with scene.Daemon(config, *options, wrap=wrap) as daemon:
        status = daemon.status()
        with ringfeed.Loader("train", socket=daemon.socket, timeout=60) as loader:
            for batch in loader:
                batch.release()
        os.kill(status["workers"][0]["pid"], signal.SIGKILL)
        time.sleep(0.5)
        daemon.status()
        os.kill(status["pid"], signal.SIGTERM)
        daemon.process.wait(20)
    return set(re.findall(r"^\d+ +([a-z_0-9]+)\(", log.read_text(), re.M)), status["engine"]


def filtered(folder):
    if not shutil.which("strace"):
        print("  skipped: no strace (Debian's strace)")
        return
    calls = allowed_calls()
    assert {"io_uring_setup", "io_uring_enter", "io_uring_register", "memfd_create"} <= calls and "chown" not in calls
    config = make(folder)
    for options in ([], ["--set", "daemon.io=threads"]):
        made, engine = calls_made(folder, config, *options)
        assert len(made) > 40 and made <= calls, sorted(made - calls)
        if engine == "uring":
            assert "io_uring_enter" in made
        print(f"  {engine}: {len(made)} different calls, all allowed")


if __name__ == "__main__":
    if not shutil.which("systemd-analyze"):
        print("skipped: no systemd-analyze (Debian's systemd)")
        sys.exit(77)
    scene.need_data("imagenet-sample")
    scene.main([keys, exposure, filtered])
