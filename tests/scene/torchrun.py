# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""config/torchrun.sh for real: two machines of two trainers, each with a daemon of its own."""
import os
import subprocess
import sys
import time

import launchers
import scene

PYTHON = os.environ.get("RINGFEED_TORCH_PYTHON", "")


def torchrun_script(folder):
    """Two machines of two trainers each, torchrun for real; their gradients' group and the feed agree on the ranks."""
    config, trainer, said = launchers.make_run(folder)
    trainer.write_text("import torch.distributed as dist\n" + launchers.TRAINER + """
dist.init_process_group("gloo")
first = [None] * dist.get_world_size()
dist.all_gather_object(first, seen[0][0][0])
assert [t % len(first) for t in first] == list(range(len(first))), first
dist.destroy_process_group()
""")
    (folder / "bin").mkdir()
    (folder / "bin" / "torchrun").write_text(f"#!/bin/sh\nexec {PYTHON} -m torch.distributed.run \"$@\"\n")
    (folder / "bin" / "torchrun").chmod(0o755)
    env = launchers.plain_environment(folder, OMP_NUM_THREADS="1")
    began = time.monotonic()
    where = ["--nnodes", "2", "--master-addr", "127.0.0.1", "--master-port", str(20000 + os.getpid() % 10000)]
    runs = [subprocess.Popen([launchers.CONFIG / "torchrun.sh", config, *where, "--node-rank", str(node), "--nproc-per-node", "2",
                              trainer, said],
                             env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for node in range(2)]
    texts = [run.communicate(timeout=200)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], texts
    runs = launchers.check_union(said, 4)
    assert len({run["group"] for run in runs}) == 2  # one a machine: nobody has to agree across
    assert not launchers.processes_of(folder), launchers.processes_of(folder)
    print(f"  2 x 2 trainers under torchrun in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    if not PYTHON:
        print("skipped: RINGFEED_TORCH_PYTHON names no interpreter with torch")
        sys.exit(77)
    scene.main([torchrun_script])
