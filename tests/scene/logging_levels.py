# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""daemon.log: a level for all, levels by topic, slips named."""
import json
import re

import ringfeed
import scene


def make_config(folder, log):
    shards = scene.pack_photos(folder, "in", scene.photos("imagenet-sample")[:16], 16)
    made = scene.feed(shards, transform=[{"random_resized_crop": {"size": 32}}], dtype="uint8", size=4)
    # A sandbox that is not whole (an old kernel, a build with a sanitizer) would warn.
    return scene.write_config(folder, {"train": made}, memory="192MiB", log=log, sandbox="off")


def said(folder, log):
    """(level, topic) of every line of a daemon with one trainer."""
    config = make_config(folder, log)
    socket = json.loads(config.read_text())["daemon"]["socket"]
    process = scene.subprocess.Popen([scene.BINARY, "serve", "-c", str(config)], stderr=scene.subprocess.PIPE, text=True)
    try:
        with ringfeed.Loader("train", socket=socket, reconnect=20, group="\x1b[31m", rank=0, world_size=2) as loader:
            for batch in loader:
                batch.release()
    finally:
        process.terminate()
        lines = process.communicate(timeout=20)[1].splitlines()
    found = [re.match(r"ringfeed: (\w+): (\w+): ", line) for line in lines]
    assert all(found) and "\x1b" not in "".join(lines), lines
    return {(m[1], m[2]) for m in found}


def levels(folder):
    usual = said(folder, "info")
    assert ("info", "sessions") in usual and ("info", "memory") in usual and not any(l == "debug" for l, _ in usual)
    assert said(folder, "warn") == set()
    assert said(folder, {"level": "error"}) == set()
    assert said(folder, {"level": "warn", "sessions": "debug"}) == {("info", "sessions"), ("debug", "sessions")}
    less = said(folder, {"memory": "warn"})
    assert less == {s for s in usual if s[1] != "memory"}, (less, usual)
    assert {("debug", "workers"), ("debug", "sessions")} <= said(folder, "debug")


def slips(folder):
    for log, words in (({"level": "info", "raeds": "debug"}, "daemon.log.raeds: unknown topic; did you mean reads?"),
                       ({"reads": "loud"}, "daemon.log.reads: 'loud' is wrong; accepted: error, warn, info, debug"),
                       ("loud", "daemon.log: 'loud' is wrong"), (["info"], "daemon.log: "),
                       ({"level": ["info"]}, "daemon.log: ")):
        done = scene.ringfeed("check", "-c", make_config(folder, log), check=False)
        assert done.returncode == 78 and words in done.stderr, (log, done)
    config = make_config(folder, "info")
    scene.ringfeed("check", "-c", config, "--set", "daemon.log=debug")
    scene.ringfeed("check", "-c", config, "--set", "daemon.log={level: warn, reads: debug}")
    assert "sessions (trainers that" in " ".join(scene.ringfeed("help", "config").stdout.split())


if __name__ == "__main__":
    scene.need_data("imagenet-sample")
    scene.main([levels, slips])
