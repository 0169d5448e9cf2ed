# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Without io_uring: the same bytes, one line that names the reason and the fix; insisting on it is refused."""
import errno
import itertools
import json
import os
import subprocess

import scene

WITHOUT = os.environ["RINGFEED_WITHOUT_URING"]
# Containers, sysctls, limits and kernels refuse in all of these ways, at the set-up or at the first reads after it.
REFUSALS = list(itertools.product(("setup", "enter", "register"),
                                  (errno.EPERM, errno.ENOSYS, errno.ENOMEM, errno.EINVAL, errno.EOPNOTSUPP)))


def bench(config, *wrap):
    """(report, messages) of one epoch."""
    done = subprocess.run([*map(str, wrap), scene.BINARY, "bench", "-c", str(config), "train", "--epochs", "1", "--digest",
                           "--json"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done
    return json.loads(done.stdout), done.stderr


def make(folder, **daemon):
    shards = scene.pack_photos(folder, "in", scene.photos("imagenet-sample")[:120], 40)
    return scene.write_config(folder, {"train": scene.feed(shards, dtype="float16", size=16)},
                              **{"memory": "256MiB", **daemon})


def p25_fallback(folder):
    want, log = bench(make(folder))
    if want["engine"] != "uring":
        print("  skipped: this machine has no io_uring to take away: " + log)
        return
    assert "reading with threads" not in log
    threads, log = bench(make(folder, io="threads"))
    assert threads["engine"] == "threads" and "reading with threads:" not in log
    assert threads["digest"] == want["digest"] and threads["samples"] == want["samples"] == 112
    told = set()
    for call, number in REFUSALS:
        got, log = bench(make(folder), WITHOUT, call, number)
        assert got["engine"] == "threads" and got["digest"] == want["digest"], (call, number, got, log)
        lines = [line for line in log.splitlines() if "reading with threads:" in line]
        assert len(lines) == 1 and f"io_uring_{call}" in lines[0], log
        told.add(lines[0])
    print("  " + "\n  ".join(sorted(told)))


def p25_insisting(folder):
    config = make(folder, io="uring")
    done = subprocess.run([WITHOUT, "setup", str(errno.EPERM), scene.BINARY, "serve", "-c", str(config)],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 78 and "io_uring" in done.stderr and "daemon.io" in done.stderr, done
    print("  " + done.stderr.splitlines()[-1])


if __name__ == "__main__":
    scene.need_data("imagenet-sample")
    scene.main([p25_fallback, p25_insisting])
