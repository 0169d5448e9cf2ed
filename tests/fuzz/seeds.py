# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""What a target of the fuzzers starts from: its own folder here, the collected edge cases of RINGFEED_TEST_DATA, and
files made here and now, from those or from nothing."""
import gzip
import os
import pathlib
import random
import shutil
import struct
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
DATA = pathlib.Path(os.environ.get("RINGFEED_TEST_DATA", HERE.parents[2] / "shared/data"))
COLLECTED = {"config": [], "core": [], "client": [], "daemon": [], "token": [], "npy": ["npy"], "value": ["npy"],
             "image": ["edge-jpeg", "edge-png"], "index": ["edge-tar"], "packed": ["edge-tar", "edge-zstd"],
             "tar": ["edge-tar"]}


def _tars():
    return sorted(p for p in (DATA / "edge-tar").rglob("*.tar") if p.stat().st_size < 1 << 20)


def _indexes(folder, probe):
    """Saved beside copies of the tars that have one."""
    tars = [shutil.copy(p, folder) for p in _tars()]
    subprocess.run([probe, "save", folder, *tars], check=True, stdout=subprocess.DEVNULL)
    for path in tars:
        os.remove(path)
    assert len(list(folder.glob("*.rfidx"))) > 10


def _zstd(raw):
    return subprocess.run(["zstd", "-qc"], input=raw, stdout=subprocess.PIPE, check=True).stdout


def _packed(folder):
    """The tars as gzip members, cut at random, whole and damaged, and as zstd frames where that program is there."""
    chance = random.Random(3)
    for i, path in enumerate(_tars()):
        raw = path.read_bytes()
        cut = chance.randrange(len(raw) + 1)
        members = gzip.compress(raw[:cut], mtime=0) + gzip.compress(raw[cut:], mtime=0)
        bad = bytearray(members)
        bad[chance.randrange(len(bad))] ^= 1 << chance.randrange(8)
        (folder / f"{i}.gz").write_bytes(members)
        (folder / f"{i}.bad").write_bytes(bad)
        if shutil.which("zstd"):
            (folder / f"{i}.zst").write_bytes(_zstd(raw[:cut]) + _zstd(raw[cut:]))
    # A seek table of no frames: both sizes of its entries fit.
    (folder / "nothing.zst").write_bytes(struct.pack("<IIIBI", 0x184D2A5E, 9, 0, 0, 0x8F92EAB1))


def _schedules(folder):
    """Worlds of the simulator with random tapes; many zeros, since a zero is what seldom happens."""
    chance = random.Random(5)
    for i in range(60):
        tape = bytes(chance.choice([0, chance.randrange(256), chance.randrange(256)]) for _ in range(chance.choice([40, 400, 2000])))
        (folder / f"{i}.tape").write_bytes(struct.pack("<H", i) + tape)


def _fingerprints(probe):
    """Of real shards, each its own dataset, with its number of samples."""
    for path in sorted((DATA / "shards/webdataset-testdata").glob("*.tar")) + _tars():
        said = subprocess.run([probe, "table", "jpg,png,cls,txt,json", path], stdout=subprocess.PIPE).stdout.split(b"\n")
        words = said[-2].decode().split() if len(said) > 1 else []
        if words[:1] == ["end"] and int(words[1]):
            yield words[4], int(words[1])


def _tokens(folder, probe):
    """Of every range of numbers, and of real shards, in the form that ringfeed writes."""
    import sys
    sys.path.insert(0, str(HERE.parent / "python"))
    import order_twin as twin
    for i, (fingerprint, n) in enumerate(_fingerprints(probe)):
        order = twin.order_hash(*[("none", 0, 1), ("full", 0, 1), ("block", 64, 4), ("full", 0, 1, "first", [717, 307])][i % 4])
        (folder / f"real-{i}.json").write_text(twin.token_make(fingerprint, 42 + i, i, n * i // (i + 1), order, i % 3))
    numbers = [0, 1, 42, 2**31, 2**63 - 1, 2**63, 2**64 - 1]
    for i, n in enumerate(numbers):
        text = twin.token_make("%032x" % (n * 7919), n, numbers[-1 - i], n, twin.order_hash("full", 0, 1), i)
        (folder / f"{i}.json").write_text(text)


# Moves of a script (fuzz-client.c). A message is: type, descriptor, number of changes, each of them three bytes.
_SAY, _BYTES, _HANG_UP, _NEXT, _RELEASE, _RETURN, _EPOCH, _BATCH, _LOAD, _RECONNECT, _LOOK, _STATUS = range(12)
_WELCOME, _ATTACHED, _FIELD, _SLOT, _LENT, _END, _SOUGHT, _FAILED, _PEER, _STATUS_TEXT, _TRACE_TEXT, _HELLO = range(12)


def _say(kind, descriptor=0, changes=()):
    return bytes([_SAY, kind, descriptor, len(changes)]) + b"".join(struct.pack("<HB", *c) for c in changes)


_ATTACH = (bytes([_RECONNECT]) + _say(_WELCOME) + bytes([_RECONNECT]) +
           b"".join(_say(k) for k in (_ATTACHED, _FIELD, _FIELD, _SLOT, _SLOT)) + bytes([_RECONNECT, _LOOK]))
_TURN = _say(_LENT) + bytes([_NEXT, _LOOK, _RELEASE, 0])


def _talks(folder):
    """What a daemon says that is in its right mind, and where it stops being that."""
    talks = {
        "epoch": _ATTACH + _TURN * 5 + _say(_END) + bytes([_NEXT]) + _TURN,
        "seek": _ATTACH + _TURN + bytes([_EPOCH, 3]) + _say(_LENT) + _say(_SOUGHT) + bytes([_EPOCH, 3]) + _TURN,
        "resize": _ATTACH + _TURN + bytes([_BATCH, 2]) + _say(_SOUGHT) + bytes([_BATCH, 2]) + _TURN,
        "token": _ATTACH + _TURN + bytes([_LOAD, 0]) + _say(_SOUGHT) + bytes([_LOAD, 0]) + _TURN,
        "again": _ATTACH + _say(_LENT) + bytes([_NEXT, _HANG_UP, _NEXT]) + _ATTACH + _TURN + bytes([_RELEASE, 0]),
        "refused": bytes([_RECONNECT]) + _say(_WELCOME) + bytes([_RECONNECT]) + _say(_FAILED) + bytes([_RECONNECT]),
        "died": _ATTACH + _say(_PEER) + bytes([_NEXT]) + _TURN + _say(_FAILED) + bytes([_NEXT, _LOOK]),
        "status": bytes([_STATUS, 2]) + _say(_WELCOME)[1:] + _say(_STATUS_TEXT, 0, [(8, 5), (12, 1)])[1:] * 2,
        "status-refused": bytes([_STATUS, 1]) + _say(_WELCOME)[1:] + _say(_FAILED)[1:],
        "trace": _ATTACH + _TURN + bytes([_STATUS, 2]) + _say(_WELCOME)[1:] + _say(_TRACE_TEXT, 0, [(16, 5)])[1:] * 2,
        "bytes": _ATTACH + bytes([_BYTES, 9]) + b"123456789" + bytes([_NEXT]),
    }
    for kind in range(1, 7):
        talks[f"slot-{kind}"] = _ATTACH.replace(_say(_SLOT), _say(_SLOT, kind)) + _TURN
        talks[f"bell-{kind}"] = _ATTACH.replace(_say(_ATTACHED), _say(_ATTACHED, kind)) + _TURN * 2
    for how in (0x00, 0x02, 0x80, 0x93, 0xff):
        for name, talk in talks.items():
            (folder / f"{name}-{how:02x}").write_bytes(bytes([how]) + talk)


# Moves of a script of fuzz-daemon.c: the move, and 12 times the client (or the worker).
(_D_CONNECT, _D_SAY, _D_BYTES, _D_HEAR, _D_RELEASE, _D_RING, _D_HANG_UP, _D_EXIT, _D_TURN, _D_WORK, _D_LIE,
 _D_DIE) = range(12)
_HELLO_TO, _ATTACH_TO, _RELEASE_TO, _SEEK_TO, _STATUS_TO, _DETACH_TO, _TRACE_TO = range(7)


def _visits(folder):
    """Clients and workers that are in their right mind, one or two at a time."""
    def say(who, *rest):
        return bytes([_D_SAY + 12 * who, *rest, 0])

    def enter(who, which, place=0):
        return bytes([_D_CONNECT + 12 * who]) + say(who, _HELLO_TO) + say(who, _ATTACH_TO, which, place)

    work = bytes([_D_TURN, _D_TURN, _D_WORK, _D_WORK + 12, _D_WORK, _D_WORK + 12])

    def turns(who, n):
        return (work + bytes([_D_HEAR + 12 * who, _D_RELEASE + 12 * who, 0])) * n

    visits = {
        "own": enter(0, 0) + turns(0, 12) + say(0, _DETACH_TO),
        "token": enter(0, 0, 5) + turns(0, 3) + say(0, _SEEK_TO, 0, 2) + turns(0, 3) + say(0, _SEEK_TO, 2, 0) + turns(0, 2),
        "bell": enter(0, 0) + (work + bytes([_D_HEAR, _D_RING, 1, 0, _D_RING, 2, 0])) * 4,
        "pair": enter(0, 0x45) + enter(1, 0x4d) + (turns(0, 1) + turns(1, 1)) * 4,
        "shared": enter(0, 0x42) + turns(0, 2) + enter(1, 0x82) + (turns(0, 1) + turns(1, 1)) * 3,
        "replicas": enter(0, 0x52) + enter(1, 0x62) + (turns(0, 1) + turns(1, 1)) * 3,
        "death": enter(0, 0) + work + bytes([_D_HEAR, _D_HANG_UP, _D_TURN, _D_EXIT, 0, _D_TURN]) + enter(1, 0) + turns(1, 2),
        "looks": enter(0, 0) + say(0, _STATUS_TO) + bytes([_D_HEAR]) + say(0, _TRACE_TO) + turns(0, 2) + say(0, _TRACE_TO),
        "lies": enter(0, 0) + bytes([_D_TURN, _D_TURN, _D_LIE, 1, 0, 0, 9, _D_TURN, _D_LIE + 12, 1, 24, 0, 1]) + turns(0, 4),
        "dead-worker": enter(0, 1) + bytes([_D_TURN, _D_TURN, _D_DIE, _D_TURN, _D_DIE + 12]) + turns(0, 5),
        "bytes": bytes([_D_BYTES, 9]) + b"123456789" + bytes([_D_HEAR, _D_BYTES, 0, _D_TURN]) + enter(0, 3),
        "deaf": enter(0, 0) + say(0, _STATUS_TO) * 60 + turns(0, 1),
    }
    for name, visit in visits.items():
        (folder / name).write_bytes(visit)


def make(target, folder, probe):
    """Files for a target; True, or False where the edge cases that some are made from are missing."""
    if target in ("index", "packed") and not (DATA / "edge-tar").is_dir():
        return False
    {"index": lambda f: _indexes(f, probe), "packed": _packed, "core": _schedules, "token": lambda f: _tokens(f, probe),
     "client": _talks, "daemon": _visits}.get(target, lambda f: None)(folder)
    return True


def gather(target, folder, probe):
    """The paths of all of it, and a line on what is missing, or None."""
    collected = [DATA / name for name in COLLECTED[target]]
    paths = [p for p in (HERE / target, folder, *collected) if p.exists()]
    missing = [str(p) for p in collected if not p.exists()]
    if not make(target, folder, probe):
        missing.append("what is made of edge-tar")
    if target == "config":
        paths.append(HERE.parents[1] / "config/ringfeed.yaml")
    return paths, f"missing: {', '.join(missing)}" if missing else None
