# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Peak memory is at most daemon.memory, on any data, or the daemon refuses with the number that works.

With a number as argument: so many epochs of the large photos (20) at every budget.
"""
import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys

import scene
from bad_samples import encoded, jpeg_header, png_header

N_EPOCHS = int(sys.argv[1]) if len(sys.argv) > 1 else 1
MIB = 1 << 20
DOWN = scene.TRAIN


def bench(config, *options):
    done = scene.ringfeed("bench", "-c", config, "train", "--json", *options)
    return json.loads(done.stdout)


def within(name, report):
    peak, budget = report["peak_memory_bytes"], report["budget_bytes"]
    print(f"  {name}: peak {peak / MIB:.1f} of {budget / MIB:.0f} MiB ({peak / budget:.3f}), "
          f"{report['samples']} samples", flush=True)
    assert 0 < peak <= budget, (name, peak, budget)
    assert peak > budget / 8, "that is no measurement"


def p23_photos(folder):
    """Budgets of 192 MiB, 512 MiB and 2 GiB, batch 64, float16, 2 workers, on small and on large photos."""
    small = scene.pack_photos(folder, "small", scene.photos("imagenet-sample"), 150)
    large = scene.pack_photos(folder, "large", scene.photos("photos-progressive"), 10)
    for budget in ("192MiB", "512MiB", "2GiB"):
        for name, shards, epochs in (("imagenet-sample", small, 1), ("photos-progressive", large, N_EPOCHS)):
            made = scene.feed(shards, dtype="float16", size=64, batch={"size": 64, "last": "pad"})
            config = scene.write_config(folder, {"train": made}, memory=budget, workers=2)
            options = ("--epochs", str(epochs)) if budget == "192MiB" or N_EPOCHS > 1 else ("--batches", "3")
            report = bench(config, *options)
            within(f"{name}, {budget}", report)
            assert report["bad_samples"] == 0 and report["due"] == report["delivered"], report


def p23_refused_budget(folder):
    """Too small is refused with the number needed; that number works, one less does not."""
    shards = scene.pack_photos(folder, "in", scene.photos("photos-progressive")[:12], 12)
    for workers, size in ((1, 8), (4, 16)):
        made = scene.feed(shards, dtype="float32", size=size, batch={"size": size, "last": "pad"})

        def config(memory):
            return scene.write_config(folder, {"train": made}, memory=f"{memory}MiB", workers=workers)

        needed = set()
        for command in ("plan", "serve"):
            done = scene.ringfeed(command, "-c", config(32), check=False)
            assert done.returncode == 78, done
            sentence = done.stderr.splitlines()[-1]
            needed.add(int(re.search(r"(\d+)MiB is needed", sentence)[1]))
        assert len(needed) == 1, needed
        least = needed.pop()
        print(f"  {workers} workers, batch {size}: {least} MiB is needed")
        scene.ringfeed("plan", "-c", config(least))
        within(f"{workers} workers on the least budget", bench(config(least), "--epochs", "2"))
        for command in ("plan", "serve"):
            done = scene.ringfeed(command, "-c", config(least - 1), check=False)
            assert done.returncode == 78 and f"{least}MiB is needed" in done.stderr, done


def new_cgroup():
    """(folder, name of its limit) of a memory cgroup below ours (version 2 or 1), or None where none can be made."""
    ours = dict(line.split(":")[1:] for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines())
    for above, limit in ((pathlib.Path("/sys/fs/cgroup" + ours.get("", "/")), "memory.max"),
                         (pathlib.Path("/sys/fs/cgroup/memory" + ours.get("memory", "/")), "memory.limit_in_bytes")):
        group = above / f"ringfeed-scene-{os.getpid()}"
        with contextlib.suppress(OSError):
            if (above / "cgroup.procs").exists():
                group.mkdir()
                if (group / limit).exists():
                    return group, limit
                group.rmdir()
    return None


@contextlib.contextmanager
def memory_cgroup(n_bytes):
    """A new cgroup with that limit, or None."""
    made = new_cgroup()
    if not made:
        yield None
        return
    group, limit = made
    try:
        (group / limit).write_text(str(n_bytes))
        yield group
    finally:
        scene.wait_until(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()


def killed_in(group):
    """How many processes the kernel has killed there for want of memory."""
    text = "".join((group / name).read_text() for name in ("memory.events", "memory.oom_control") if (group / name).exists())
    return int(re.search(r"^oom_kill (\d+)", text, re.M)[1])


def p23_cgroup(folder):
    """In a memory cgroup: a budget that does not fit is refused by the cgroup's name; one that fits is enough, page cache included."""
    shards = scene.pack_photos(folder, "in", scene.photos("imagenet-sample"), 150)
    made = scene.feed(shards, dtype="float16", size=64, batch={"size": 64, "last": "pad"})
    with memory_cgroup(256 * MIB) as group:
        if not group:
            print("  skipped: no memory cgroup can be made here")
            return
        inside = ["sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh"]
        for memory, fits in ((400, False), (240, True)):
            config = scene.write_config(folder, {"train": made}, memory=f"{memory}MiB", workers=2)
            done = subprocess.run([*inside, scene.BINARY, "bench", "-c", config, "train", "--json", "--epochs", "3"],
                                  capture_output=True, text=True, timeout=300)
            assert killed_in(group) == 0, done.stderr
            if fits:
                assert done.returncode == 0, done.stderr
                within("in a cgroup of 256 MiB", json.loads(done.stdout))
            else:
                assert done.returncode == 78 and group.name in done.stderr, (done.returncode, done.stderr)


def p15_bombs(folder):
    """Headers that claim 900 megapixels, images at the limit of decode_memory: bounded before the first byte."""
    photo = [("jpg", encoded("RGB", (400, 300), "JPEG")), ("cls", b"1")]
    big = encoded("RGB", (5200, 5200), "JPEG", progressive=True, quality=30)
    bombs = [png_header(30000, 30000), jpeg_header(30000, 30000), jpeg_header(65000, 65000), png_header(2**31 - 1, 1),
             big, encoded("RGB", (3000, 3300), "JPEG", progressive=True), encoded("RGB", (13000, 13000), "PNG"),
             encoded("L", (1, 60000), "PNG"), encoded("L", (60000, 1), "JPEG")]
    members = []
    for i, bomb in enumerate(bombs * 2):
        members += [photo, [("png" if bomb[:1] == b"\x89" else "jpg", bomb), ("cls", b"2")]]
    shards = scene.pack(folder, "bomb", members, 18)
    made = scene.feed(shards, transform=[{"resize": {"size": [64, 64]}}], dtype="uint8", size=6,
                      batch={"size": 6, "last": "short"}, bad_samples={"policy": "mask", "limit": "100%"})
    for workers in (1, 3):
        config = scene.write_config(folder, {"train": made}, memory="224MiB", workers=workers)
        report = bench(config, "--epochs", "1")
        within(f"bombs, {workers} workers", report)
        assert report["due"] == report["delivered"] + report["bad_samples"], report
        assert report["bad_samples"] >= 2 * 4, report


if __name__ == "__main__":
    scene.need_data("imagenet-sample", "photos-progressive")
    scene.main([p23_photos, p23_refused_budget, p23_cgroup, p15_bombs])
