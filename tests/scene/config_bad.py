# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Faults of the configuration stop check, plan and serve with exit code 78, file:line:column and what would do; wrong
usage is exit code 2."""
import json
import os
import re
import subprocess

import scene

GOOD = """daemon:
  socket: {folder}/rf.sock
  memory: 192MiB
  workers: 1
feeds:
  train:
    source:
      format: webdataset
      shards: {folder}/in-000000.tar
    batch: {{size: 8}}
    fields:
      image:
        from: [jpg, jpeg, png]
        decode: image
        transform:
          - resize: {{size: [48, 48]}}
      label: {{from: cls, decode: integer}}
"""

# (what is replaced, by what, line, column or None, words of the message)
FAULTS = [
    ("workers: 1", "wrokers: 1", 4, 3, ["wrokers", "workers"]),
    ("192MiB", "192", 3, 11, ["192", "MiB"]),
    ("192MiB", "192MB", 3, 11, ["MiB"]),
    ("workers: 1", "workers: many", 4, 12, ["many", "1 to 1024"]),
    ("workers: 1", "workers: 1\n  workers: 2", 5, 3, ["workers"]),
    ("workers: 1", "workers: &w 1", 4, 12, ["anchor"]),
    ("format: webdataset", "format: webdatset", 8, 15, ["webdataset"]),
    ("size: [48, 48]", "size: [48, 0]", 16, 33, ["1 to 16384"]),
    ("decode: image", "decode: video", 14, 17, ["image"]),
    ("size: [48, 48]", "size: [-48, 48]", 16, 29, ["-48", "1 to 16384"]),
    ("resize: {size: [48, 48]}", "center_crop: {size: 0}", 16, 33, ["1 to 16384"]),
    ("resize: {size: [48, 48]}", "random_crop: {size: -1}", 16, 33, ["-1", "1 to 16384"]),
    ("resize: {size: [48, 48]}", "random_resized_crop: {size: [1, 0]}", 16, 45, ["1 to 16384"]),
    ("{size: 8}", "{size: 8, global: 8}", 10, None, ["global"]),
    ("    batch: {size: 8}\n", "", None, None, ["batch"]),
    ("feeds:", "feeds: [", None, None, []),
    ("resize: {size: [48, 48]}", "random_horizontal_flip", None, None, ["image"]),
    ("/in-000000.tar", "/${NO_SUCH_VARIABLE_HERE}.tar", 9, 15, ["NO_SUCH_VARIABLE_HERE"]),
]


def p27_faults(folder):
    scene.pack_photos(folder, "in", scene.photos("imagenet-sample")[:10], 10)
    path = folder / "config.yaml"
    good = GOOD.format(folder=folder)
    path.write_text(good)
    for command in ("check", "plan"):
        scene.ringfeed(command, "-c", path)
    for old, new, line, column, words in FAULTS:
        assert old in good, old
        path.write_text(good.replace(old, new, 1))
        for command in ("check", "plan", "serve"):
            done = scene.ringfeed(command, "-c", path, check=False)
            assert done.returncode == 78, (command, new, done)
            first = done.stderr.splitlines()[0]
            found = re.match(re.escape(str(path)) + r":(\d+):(\d+): ", first)
            assert found, (new, done.stderr)
            assert line is None or int(found[1]) == line, (new, done.stderr)
            assert column is None or int(found[2]) == column, (new, done.stderr)
            for word in words:
                assert word in first, (word, first)
    path.write_text(good)
    done = scene.ringfeed("check", "-c", path, "--set", "daemon.workers=none", check=False)
    assert done.returncode == 78 and "--set" in done.stderr and "1 to 1024" in done.stderr, done
    path.write_text(good.replace("workers: 1", "wrokers: 1").replace("192MiB", "192"))
    done = scene.ringfeed("check", "-c", path, "--json", check=False)
    faults = json.loads(done.stdout)
    assert done.returncode == 78 and [(f["line"], f["column"]) for f in faults["faults"]] == [(3, 11), (4, 3)], faults


def kernels_that_are_not_there(folder):
    scene.pack_photos(folder, "in", scene.photos("imagenet-sample")[:10], 10)
    path = folder / "config.yaml"
    path.write_text(GOOD.format(folder=folder))
    done = scene.ringfeed("serve", "-c", path, check=False, env={**os.environ, "RINGFEED_KERNELS": "mmx"})
    assert done.returncode == 78, done
    assert re.search(r'RINGFEED_KERNELS is "mmx", this CPU has c\b', done.stderr), done.stderr


def p27_unreadable(folder):
    for command in ("check", "plan", "serve"):
        done = scene.ringfeed(command, "-c", folder / "nowhere.yaml", check=False)
        assert done.returncode == 78 and "nowhere.yaml" in done.stderr and "No such file" in done.stderr, done
        done = scene.ringfeed(command, "-c", folder, check=False)
        assert done.returncode == 78 and str(folder) in done.stderr, done


def check_opens_datasets(folder):
    """check names every shard that cannot be used, and where the config says so."""
    path = folder / "config.yaml"
    path.write_text(GOOD.format(folder=folder))
    done = scene.ringfeed("check", "-c", path, check=False)
    assert done.returncode == 78 and "in-000000.tar" in done.stderr and "No such file" in done.stderr, done
    (folder / "in-000000.tar").write_bytes(b"x" * 2048)
    (folder / "in-000001.tar").write_bytes(b"y" * 2048)
    path.write_text(GOOD.format(folder=folder).replace("in-000000", "in-{000000..000001}"))
    done = scene.ringfeed("check", "-c", path, check=False)
    assert done.returncode == 78 and "in-000000.tar" in done.stderr and "in-000001.tar" in done.stderr, done


def usage(folder):
    for arguments in ((), ("frobnicate",), ("serve",), ("serve", "-c"), ("bench", "-c", "x.yaml"), ("index",),
                      ("status", "--frob"), ("plan", "-c", "x.yaml", "more"), ("inspect",), ("run", "-c", "x.yaml")):
        done = subprocess.run([scene.BINARY, *arguments], capture_output=True, text=True, timeout=30)
        assert done.returncode == 2 and done.stderr and not done.stdout, (arguments, done)


if __name__ == "__main__":
    scene.need_data("imagenet-sample")
    scene.main([p27_faults, p27_unreadable, kernels_that_are_not_there, check_opens_datasets, usage])
