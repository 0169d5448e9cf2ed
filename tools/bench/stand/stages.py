# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""bench-bare and bench-pixels on the same crops: the programs beside this file's folder, driven."""
from . import turns

KERNELS = {"c": None, "avx2": "avx2", "avx512": "avx512bw"}  # name -> the CPU flag it needs


class Bare:
    """A plain libjpeg-turbo loop."""

    def __init__(self, programs, paths):
        self.program = turns.Program([programs / "bench-bare", *paths])

    def crops(self, crops):
        self.program.tell(f"crops {len(crops)}", *(f"{photo} {box}" for photo, box in crops))
        self.n = len(crops)

    def seconds(self, command, first=0, n=None):
        """CPU time of a command on n crops from the first-th on; without n, on all that remain."""
        return float(self.program.ask(f"{command} {first} {self.n - first if n is None else n}"))

    def hashes(self):
        self.program.tell("hash")
        return [self.program.hear() for _ in range(self.n)]


class Stages:
    """A worker's stages with one set of kernels."""

    def __init__(self, programs, paths, kernels=None):
        self.program = turns.Program([programs / "bench-pixels", *paths],
                                     {"RINGFEED_KERNELS": kernels} if kernels else None)
        self.kernels = self.program.hear()

    def positions(self, seed, samples):
        """samples: (photo, epoch, position). Returns the crops as text; "- CAUSE" for what cannot be read."""
        self.program.tell(f"positions {seed} {len(samples)}", *("%d %d %d" % sample for sample in samples))
        self.n = len(samples)
        return [self.program.hear() for _ in samples]

    seconds, hashes = Bare.seconds, Bare.hashes


def kernel_sets(programs, paths):
    """One Stages for each set of kernels that this build has and this CPU can run, slowest first."""
    found = {}
    for name, flag in KERNELS.items():
        if flag and not turns.has_flag(flag):
            continue
        try:
            stages = Stages(programs, paths, name)
        except turns.Failed:
            continue
        if stages.kernels.startswith(name) and name not in found:
            found[name] = stages
        else:
            stages.program.close()
    if not found:
        stages = Stages(programs, paths)
        found[stages.kernels] = stages
    return found


def keep_equal(programs, photos):
    """Leaves out, by name, the photos that bare and ringfeed do not decode to the same pixels."""
    stages, bare = Stages(programs, photos.paths), Bare(programs, photos.paths)
    boxes = stages.positions(0, [(i, 0, i) for i in range(len(photos.paths))])
    for path, box in zip(photos.paths[:], boxes):
        if box.startswith("-"):
            photos.leave_out(path, f"ringfeed: {box[2:]}")
    good = [(i, box) for i, box in enumerate(boxes) if not box.startswith("-")]
    paths = {i: path for i, path in zip([i for i, _ in good], photos.paths)}
    stages.positions(0, [(i, 0, i) for i, _ in good])
    bare.crops(good)
    for (i, _), ours, theirs in zip(good, stages.hashes(), bare.hashes()):
        if ours == "-" or theirs == "-":
            photos.leave_out(paths[i], "bare or ringfeed cannot decode it")
        elif ours != theirs:
            photos.leave_out(paths[i], "bare and ringfeed give other pixels")
    stages.program.close()
    bare.program.close()
