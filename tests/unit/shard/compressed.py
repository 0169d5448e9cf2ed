# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Compressed files made by other hands: gzip members by Python's zlib, zstd frames by the zstd program or, byte by
byte from the format's page (RFC 8878), of raw and run-length blocks; a seek table by the page of the seekable format."""
import gzip
import struct
import subprocess

import xxhash

MAGIC = struct.pack("<I", 0xFD2FB528)


def low32(data):
    return xxhash.xxh64_intdigest(data) & 0xFFFFFFFF


def gzip_member(data, level=6):
    return gzip.compress(data, level, mtime=0)


def bgzip_member(data):
    """As bgzip writes them: an extra field with the member's own size."""
    plain = gzip.compress(data, 6, mtime=0)
    size = len(plain) + 8 - 1
    return plain[:3] + b"\x04" + plain[4:10] + struct.pack("<HBBHH", 6, 66, 67, 2, size) + plain[10:]


def zstd_frame(data, checksum=True, with_size=True):
    """Raw blocks, and run-length ones where a block is of one byte."""
    descriptor = (4 if checksum else 0) | (0x80 | 0x20 if with_size else 0)
    frame = MAGIC + bytes([descriptor])
    frame += struct.pack("<I", len(data)) if with_size else bytes([7 << 3])  # or a window of 128 KiB
    pieces = [data[i:i + 100000] for i in range(0, len(data), 100000)] or [b""]
    for i, piece in enumerate(pieces):
        runs = len(set(piece)) == 1
        header = (i == len(pieces) - 1) | (2 if runs else 0) | len(piece) << 3
        frame += struct.pack("<I", header)[:3] + (piece[:1] if runs else piece)
    return frame + (struct.pack("<I", low32(data)) if checksum else b"")


def zstd_program(data, *options):
    return subprocess.run(["zstd", "-c", "-q", *options], input=data, stdout=subprocess.PIPE, check=True).stdout


def skippable(data, kind=0):
    return struct.pack("<II", 0x184D2A50 + kind, len(data)) + data


def seek_table(frames, raws, checksum=True):
    entries = b"".join(struct.pack("<II", len(f), len(r)) + (struct.pack("<I", low32(r)) if checksum else b"")
                       for f, r in zip(frames, raws))
    footer = struct.pack("<IBI", len(frames), 0x80 if checksum else 0, 0x8F92EAB1)
    return skippable(entries + footer, 14)


def cut(data, places):
    edges = [0, *sorted(places), len(data)]
    return [data[a:b] for a, b in zip(edges, edges[1:])]
