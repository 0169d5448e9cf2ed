# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Limits of descriptors, locked memory and address space, and a full disk: it works, or one sentence says what is short; never
a crash, a hang, or other bytes."""
import json
import os
import re
import resource
import shutil
import subprocess
import sys

import ringfeed
import scene
from trainers import Trainer

N_PHOTOS = 64


def make(folder, **daemon):
    shards = scene.pack_photos(folder, "in", scene.photos("imagenet-sample")[:N_PHOTOS], N_PHOTOS // 4)
    feed = scene.feed(shards, size=8, slots=2, transform=[{"resize": {"size": [32, 32]}}], dtype="uint8")
    return scene.write_config(folder, {"train": feed}, **{"memory": "192MiB", **daemon})


def limited(limit, n):
    return lambda: resource.setrlimit(limit, (n, n))


def bench(config, preexec_fn=None, wrap=()):
    return subprocess.run([*map(str, wrap), scene.BINARY, "bench", "-c", str(config), "train", "--epochs", "1", "--digest", "--json"],
                          capture_output=True, text=True, timeout=120, preexec_fn=preexec_fn)


def works_or_says(folder, want, what, limits, *words):
    """Returns of which limits it worked under; every other one was refused in a sentence with one of the words."""
    config, worked = make(folder), []
    for limit, n in limits:
        done = bench(config, limited(limit, n))
        if done.returncode == 0:
            assert json.loads(done.stdout)["digest"] == want, (what, n)
            worked.append(n)
            continue
        assert done.returncode > 0, f"{what} {n}: ended by signal {-done.returncode}: {done.stderr}"
        last = [line for line in done.stderr.splitlines() if line.startswith("ringfeed:")]
        assert last and any(word in done.stderr for word in words), f"{what} {n}: {done.stderr}"
    return worked


def limits_of_the_daemon(folder):
    done = bench(make(folder))
    assert done.returncode == 0, done
    want = json.loads(done.stdout)["digest"]
    few = bench(make(folder), limited(resource.RLIMIT_NOFILE, 100))
    needed = int(re.search(r"(\d+) descriptors are needed, (\d+) of them for the slots", few.stderr)[1])
    files = works_or_says(folder, want, "descriptors", [(resource.RLIMIT_NOFILE, n) for n in (8, 16, 32, 64, 100, needed - 1, needed)],
                          "descriptors are needed")
    assert files == [needed], f"the number that it names works: {files}, {needed}"
    locked = works_or_says(folder, want, "locked memory", [(resource.RLIMIT_MEMLOCK, n) for n in (0, 4096, 65536, 1 << 20)])
    assert len(locked) == 4, locked
    space = works_or_says(folder, want, "address space", [(resource.RLIMIT_AS, n << 20) for n in (16, 48, 96, 192, 384, 768, 4096)],
                          "memory", "Cannot allocate", "address space", "shared object")
    assert 4096 << 20 in space and space == sorted(space), space
    print(f"  works from {files[0]} descriptors and {space[0] >> 20} MiB of address space on, and with no locked memory")


def attach(daemon, limit, n, say):
    """In a process of its own: an epoch, or an exception by name."""
    held = []
    if limit == resource.RLIMIT_NOFILE:
        while len(os.listdir("/proc/self/fd")) < 200:
            held.append(os.open("/dev/null", os.O_RDONLY))
        resource.setrlimit(limit, (len(os.listdir("/proc/self/fd")) - 1 + n,) * 2)
    else:
        now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(limit, (now + n,) * 2)
    try:
        with ringfeed.Loader("train", socket=daemon.socket, timeout=20) as loader:
            rows = sum(batch.index.size for batch in loader)
        say({"rows": int(rows)})
    except (ringfeed.Error, MemoryError) as error:
        say({"error": type(error).__name__, "text": str(error)})


def limits_of_a_trainer(folder):
    """Attaching with few descriptors or little address space left: SystemError by name, and the next one is served."""
    with scene.Daemon(make(folder)) as daemon:
        for limit, numbers in ((resource.RLIMIT_NOFILE, (0, 1, 2, 3, 4, 30)), (resource.RLIMIT_AS, (0, 64 << 10, 2 << 20, 1 << 30))):
            told = []
            for n in numbers:
                with Trainer(lambda say: attach(daemon, limit, n, say)) as trainer:
                    told += trainer.all()
                    assert trainer.wait() == 0, (limit, n)
            assert len(told) == len(numbers), told
            assert told[-1] == {"rows": N_PHOTOS}, told
            assert all("rows" in t or t["text"] for t in told), told
            print("  " + "; ".join(str(t.get("error", "an epoch")) for t in told))
        assert daemon.process.poll() is None
        scene.wait_until(lambda: not any(f["groups"] for f in daemon.status()["feeds"]))


def full_disk(folder):
    """No room for indexes, beside the shards or in the cache: they are made again at each start, which the log says."""
    full, plain = folder / "full", make(folder)
    (full / "cache").mkdir(parents=True)
    want = json.loads(bench(plain).stdout)["digest"]
    text = plain.read_text().replace(f"{folder}/in-", f"{full}/in-").replace('"daemon": {', f'"daemon": {{"index_cache": "{full}/cache", ')
    config = folder / "full.yaml"
    config.write_text(text)
    script = (f'mount -t tmpfs none {full} && cp {folder}/in-*.tar {full} && mkdir {full}/cache && '
              f'mount -o remount,size=$(du -sk {full} | cut -f1)k {full} && exec "$@"')
    mount = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]
    if subprocess.run([*mount, "true"], capture_output=True).returncode:
        print("  skipped: no mount in a namespace of one's own here")
        return
    done = bench(config, wrap=mount)
    assert done.returncode == 0 and json.loads(done.stdout)["digest"] == want, done
    assert done.stderr.count("its index cannot be saved (No space left on device)") == 4, done.stderr


if __name__ == "__main__":
    scene.need_data("imagenet-sample")
    if not shutil.which("unshare"):
        print("skipped: no unshare")
        sys.exit(77)
    scene.main([limits_of_the_daemon, limits_of_a_trainer, full_disk])
