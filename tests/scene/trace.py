# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""What trainers were given, in a form that can be compared: a row or a batch with the hash of its bytes."""
import collections
import hashlib

Row = collections.namedtuple("Row", "index valid digest")
Step = collections.namedtuple("Step", "epoch step positions indices valid digest")


def hash_arrays(arrays):
    total = hashlib.blake2b(digest_size=16)
    for array in arrays:
        total.update(repr((array.shape, str(array.dtype))).encode())
        total.update(array.tobytes())
    return total.hexdigest()


def step_of(batch):
    """A whole batch: every field's bytes, index, position and valid."""
    positions, indices = batch.position.tolist(), batch.index.tolist()
    return Step(batch.epoch, batch.step, positions, indices, batch.valid.tolist(),
                hash_arrays([batch[name] for name in batch] + [batch.index, batch.position, batch.valid]))


def steps(loader, most=None):
    """The batches of one pass, or of its beginning."""
    if most == 0:
        return []
    seen = []
    for batch in loader:
        seen.append(step_of(batch))
        batch.release()
        if len(seen) == most:
            break
    return seen


def rows(loader):
    """position -> Row of one pass; a position twice is an error."""
    seen = {}
    for batch in loader:
        numbers = zip(batch.position.tolist(), batch.index.tolist(), batch.valid.tolist())
        for i, (position, index, valid) in enumerate(numbers):
            assert position not in seen, f"position {position} twice"
            seen[position] = Row(index, valid, hash_arrays([batch[name][i] for name in batch]))
        batch.release()
    return seen
