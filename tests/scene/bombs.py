# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Bombs of every format: what they cost is bounded before their output, in memory and in CPU time, in a real daemon."""
import io
import json
import struct
import subprocess
import tarfile
import zlib

import numpy
from PIL import Image

import ringfeed
import scene
from bad_samples import encoded, jpeg_header, png_header

MIB = 1 << 20
SECONDS_EACH = 1.5  # of CPU time, on this machine; what a bomb claims would take minutes


def chunk(kind, data):
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def zeros(n):
    """A zlib stream of so many zeros; 100 MiB are 100 KiB."""
    pack = zlib.compressobj(9)
    return b"".join([pack.compress(bytes(MIB)) for _ in range(n // MIB)] + [pack.flush()])


def endless(n):
    """The same but for its end, for any n: a block of a MiB again and again."""
    pack = zlib.compressobj(9)
    head = pack.compress(b"") + pack.flush(zlib.Z_FULL_FLUSH)
    block = pack.compress(bytes(MIB)) + pack.flush(zlib.Z_FULL_FLUSH)
    return head + block * (n // MIB)


def many_scans(n):
    """A progressive JPEG whose last scan comes n times."""
    out = io.BytesIO()
    Image.new("RGB", (4000, 3000), "gray").save(out, "JPEG", progressive=True)
    data = out.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * n + b"\xff\xd9"


def png(width, height, *chunks, interlace=0):
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, interlace)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(k, d) for k, d in ((b"IHDR", head), *chunks, (b"IEND", b"")))


def small_idat():
    return b"IDAT", zlib.compress((b"\0" + b"\x40" * 48) * 16)


def images():
    """(name, extension, bytes, causes allowed; None: the image is good)."""
    bomb = zeros(200 * MIB)
    webp = encoded("RGB", (13000, 13000), "WEBP", lossless=True, quality=0, method=0)
    canvas = bytearray(encoded("RGBA", (64, 64), "WEBP"))
    canvas_size = b"VP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + (16383).to_bytes(3, "little") * 2
    frame = bytes(canvas[12:]) if canvas[12:16] != b"VP8X" else bytes(canvas[30:])
    claims = canvas_size + frame
    return [
        ("a JPEG of 5,000 scans", "jpg", many_scans(5000), {"too_many_scans"}),
        ("a JPEG that claims 65000 x 65000", "jpg", jpeg_header(65000, 65000), {"too_many_pixels"}),
        ("a JPEG that claims 13000 x 13000", "jpg", jpeg_header(13000, 13000), {"damaged_image", "decode_memory"}),
        ("10,000 comments before a JPEG", "jpg", b"\xff\xd8" + (b"\xff\xfe\x03\xe8" + bytes(998)) * 10000 +
         encoded("RGB", (64, 64), "JPEG")[2:], None),
        ("a PNG that claims 30000 x 30000", "png", png_header(30000, 30000), {"too_many_pixels"}),
        ("a PNG of 12000 x 12000 interlaced", "png", png_header(12000, 12000)[:28] + b"\x01" +
         zlib.crc32(png_header(12000, 12000)[12:28] + b"\x01").to_bytes(4, "big") + png_header(12000, 12000)[33:],
         {"decode_memory", "damaged_image"}),
        ("a PNG whose zTXt inflates to 200 MiB", "png", png(16, 16, (b"zTXt", b"a\0\0" + bomb), small_idat()), None),
        ("a PNG whose iCCP inflates to 200 MiB", "png", png(16, 16, (b"iCCP", b"a\0\0" + bomb), small_idat()), None),
        ("a PNG whose iTXt inflates to 200 MiB", "png", png(16, 16, (b"iTXt", b"a\0\1\0\0\0" + bomb), small_idat()), None),
        ("a PNG whose IDAT inflates to 200 MiB", "png", png(16, 16, (b"IDAT", bomb)), {"damaged_image", None}),
        ("a PNG whose IDAT inflates to 8 GiB", "png", png(16, 16, (b"IDAT", endless(8 << 30))), {"damaged_image", None}),
        ("an interlaced one", "png", png(16, 16, (b"IDAT", endless(8 << 30)), interlace=1), {"damaged_image", None}),
        ("a PNG of 13000 x 13000 in 170 kB", "png", png(13000, 13000, (b"IDAT", zeros(3 * 13000 * 13000 + 13000 + MIB))),
         {"damaged_image", "decode_memory", None}),
        ("a PNG whose chunk claims 2 GiB", "png", png(16, 16)[:33] + b"\x7f\xff\xff\xffIDAT" + bytes(100), {"damaged_image"}),
        ("a WebP of 13000 x 13000, lossless", "webp", webp, {"decode_memory"}),
        ("a WebP whose canvas is 16384 x 16384", "webp", b"RIFF" + struct.pack("<I", len(claims) + 4) + b"WEBP" + claims,
         {"too_many_pixels", "damaged_image"}),
    ]


def others():
    """(name, field, bytes, causes)."""
    def npy(shape, body=bytes(100)):
        head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
        return b"\x93NUMPY\1\0" + struct.pack("<H", len(head)) + head.encode() + body

    return [
        ("a .npy of 2^60 elements", "npy", npy("(1152921504606846976,)"), {"wrong_array"}),
        ("a .npy of 2^40 x 2^40", "npy", npy("(1099511627776, 1099511627776)"), {"wrong_array", "not_npy"}),
        ("a .npy whose header claims 4 GiB", "npy", b"\x93NUMPY\2\0\xff\xff\xff\xff" + bytes(1000), {"not_npy"}),
        ("JSON of a million brackets", "json", b"[" * 1000000, {"not_json"}),
        ("JSON of four million elements", "json", b"[" + b"0," * 4000000 + b"0]", {"decode_memory"}),
        ("JSON of a number of a million digits", "json", b"1" * 1000000, {"not_json"}),
        ("JSON of a million keys", "json", b"{" + b",".join(b'"%d":0' % i for i in range(1000000)) + b"}", {"decode_memory"}),
    ]


def run(folder, name, field, extension, data, causes):
    """A shard of the bomb and a good sample before and behind it."""
    good = {"npy": lambda: save_npy(), "json": lambda: b"1.5"}.get(extension, lambda: encoded("RGB", (16, 16), "PNG"))()
    shards = scene.pack(folder, "b", [[(extension, good)], [(extension, data)], [(extension, good)]], 3)
    made = {"source": {"format": "webdataset", "shards": [str(s) for s in shards], "reads": "buffered"},
            "order": {"shuffle": "none"}, "batch": {"size": 3}, "slots": 2,
            "bad_samples": {"policy": "mask", "limit": "100%"}, "fields": {"x": field}}
    with scene.Daemon(scene.write_config(folder, {"train": made}, memory="256MiB", workers=1)) as daemon:
        with ringfeed.Loader("train", socket=daemon.socket, credit=1) as loader:
            before = daemon.status()["cpu_seconds"]
            batch = next(iter(loader))
            valid = batch.valid.tolist()
            batch.release()
            del batch
            status = daemon.status()
            found = next(iter(status["feeds"][0]["bad_samples"]), None)
    used = sum(status["cpu_seconds"].values()) - sum(before.values())
    memory = status["memory"]
    print(f"  {name} ({len(data) / 1000:.0f} kB): {found or 'good'}, {used:.2f} s, {memory['peak_bytes'] / MIB:.0f} MiB")
    assert valid[0] and valid[2], "a good one beside it"
    assert valid[1] == (found is None) and (found in causes if causes else found is None), (name, found, causes)
    assert memory["peak_bytes"] <= memory["budget_bytes"] and status["reads"]["worker_deaths"] == 0, status["reads"]
    assert used < scene.at_most(SECONDS_EACH), used


def save_npy():
    out = io.BytesIO()
    numpy.save(out, numpy.zeros(4, "f4"))
    return out.getvalue()


def p15_bombs_of_images(folder):
    for name, extension, data, causes in images():
        run(folder, name, {"from": extension, "decode": "image", "transform": [{"resize": {"size": [16, 16]}}],
                           "dtype": "uint8"}, extension, data, causes)


def p15_bombs_of_values(folder):
    for name, extension, data, causes in others():
        field = {"npy": {"decode": "npy", "dtype": "float32", "shape": [4]},
                 "json": {"decode": "json", "dtype": "float32"}}[extension]
        run(folder, name, {"from": extension, **field}, extension, data, causes)


def bounded(*command):
    """(exit code, messages, peak MiB, CPU seconds) of a command of its own."""
    program = ("import resource,subprocess,sys;r=subprocess.run(sys.argv[1:],capture_output=True,text=True);"
               "u=resource.getrusage(resource.RUSAGE_CHILDREN);import json;"
               "print(json.dumps([r.returncode,r.stdout+r.stderr,u.ru_maxrss/1024,u.ru_utime+u.ru_stime]))")
    done = subprocess.run(["/usr/bin/python3", "-c", program, *map(str, command)], capture_output=True, text=True, timeout=120)
    return json.loads(done.stdout)


def big_member(n):
    """A tar of one sample of so many zeros."""
    info = tarfile.TarInfo("a.bin")
    info.size = n
    return info.tobuf(tarfile.USTAR_FORMAT)


def p15_bombs_of_shards(folder):
    """Headers of tars that claim gigabytes, compressed shards of high ratio: refused by name, at little cost."""
    def header(kind, size):
        info = tarfile.TarInfo("x")
        info.type, info.size = kind, size
        return info.tobuf(tarfile.GNU_FORMAT)

    pack = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = b"".join([pack.compress(big_member(400 * MIB))] + [pack.compress(bytes(MIB)) for _ in range(401)] + [pack.flush()])
    for name, ending, data in (
            ("a pax header of 8 GB", "tar", header(b"x", 8 << 30) + bytes(4096)),
            ("a global pax header of 1 GB", "tar", header(b"g", 1 << 30) + bytes(4096)),
            ("a long name of 4 GB", "tar", header(b"L", 4 << 30) + bytes(4096)),
            ("a member of 8 EB", "tar", header(b"0", (1 << 63) - 1) + bytes(4096)),
            ("400 MiB in a gzip of 400 kB", "tar.gz", packed),
            ("a zstd window of 2 GiB", "tar.zst", b"\x28\xb5\x2f\xfd\x00" + bytes([21 << 3]) + b"\x01\x00\x00")):
        path = folder / f"bomb.{ending}"
        path.write_bytes(data)
        made = {"source": {"format": "webdataset", "shards": str(path), "reads": "buffered"}, "order": {"shuffle": "none"},
                "batch": {"size": 1}, "fields": {"x": {"from": "bin", "decode": "bytes", "max": "1KiB"}}}
        config = scene.write_config(folder, {"train": made}, memory="192MiB", workers=1)
        code, said, peak, used = bounded(scene.BINARY, "check", "-c", config)
        if code == 0:
            code, said, peak, used = bounded(scene.BINARY, "plan", "-c", config)
        print(f"  {name} ({len(data) / 1000:.0f} kB): {said.strip().splitlines()[-1][-160:]}; {used:.2f} s, {peak:.0f} MiB")
        assert code in (1, 78) and str(path.name) in said or "is needed" in said, (name, code, said)
        assert peak < 192 and used < scene.at_most(SECONDS_EACH), (peak, used)
        path.unlink()


if __name__ == "__main__":
    scene.main([p15_bombs_of_images, p15_bombs_of_values, p15_bombs_of_shards])
