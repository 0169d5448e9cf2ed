# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Results are the same however reads are split: completions of both engines come short, interrupted and again."""
import gzip
import json
import os
import subprocess

import scene

SHIM = os.environ["RINGFEED_SHORT_READS"]


def bench(config, engine, step=None):
    env = dict(os.environ, RINGFEED_DAEMON__IO=engine)
    if step:
        env.update(LD_PRELOAD=SHIM, SHORT_READS_STEP=str(step),
                   ASAN_OPTIONS="verify_asan_link_order=0:" + os.environ.get("ASAN_OPTIONS", ""))
    done = subprocess.run([scene.BINARY, "bench", "-c", str(config), "train", "--epochs", "1", "--digest", "--json"],
                          capture_output=True, text=True, timeout=120, env=env)
    assert done.returncode == 0, done
    assert (step is None) != ("short-reads: at work" in done.stderr), done.stderr
    report = json.loads(done.stdout)
    assert report["bad_samples"] == 0 and report["delivered"] == report["due"], report
    return report


def p20_read_splits(folder):
    """Plain shards and compressed ones, read directly and through the page cache, by both engines, indexing included."""
    plain = scene.pack_photos(folder, "in", scene.photos("imagenet-sample")[:150], 50)
    packed = [path.with_suffix(".tar.gz") for path in plain]
    for path, to in zip(plain, packed):
        to.write_bytes(b"".join(gzip.compress(path.read_bytes()[at:at + (1 << 20)], 1)
                                for at in range(0, path.stat().st_size, 1 << 20)))
    digests, engines = set(), set()
    for shards in (plain, packed):
        for reads in ("direct", "buffered"):
            made = scene.feed(shards, dtype="float16", size=16)
            made["source"]["reads"] = reads
            config = scene.write_config(folder, {"train": made}, memory="256MiB")
            for engine in ("auto", "threads"):
                for step in (None, 512 if reads == "direct" else 1):
                    for index in folder.glob("*.rfidx"):
                        index.unlink()
                    report = bench(config, engine, step)
                    digests.add(report["digest"])
                    engines.add(report["engine"])
    assert len(digests) == 1, digests
    print(f"  engines: {', '.join(sorted(engines))}; one digest")
    if engines == {"threads"}:
        print("  skipped: io_uring is refused here")


if __name__ == "__main__":
    scene.need_data("imagenet-sample")
    scene.main([p20_read_splits])
