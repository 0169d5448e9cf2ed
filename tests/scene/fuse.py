# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""A file system whose reads go wrong on demand: a small FUSE server, spoken to the kernel directly.

The files of one folder, read-only. What a file does wrong stands in `faults` (name -> Fault) and may change at any
time; requests that are not answered stay open until the fault is gone. It needs /dev/fuse and the right to mount, and
nothing else: no library, no helper.

Threads: one of its own, from mount to the end; `faults` is read by it and set by the scene."""
import contextlib
import ctypes
import dataclasses
import errno
import heapq
import os
import pathlib
import select
import stat
import struct
import sys
import tempfile
import threading
import time

LOOKUP, FORGET, GETATTR, OPEN, READ, STATFS, RELEASE, FLUSH, INIT = 1, 2, 3, 14, 15, 17, 18, 25, 26
OPENDIR, READDIR, RELEASEDIR, ACCESS, INTERRUPT, DESTROY, BATCH_FORGET = 27, 28, 29, 34, 36, 38, 42
DIRECT_IO = 1  # of an open file: each read comes as it is asked for
MNT_DETACH = 2
libc = ctypes.CDLL(None, use_errno=True)


@dataclasses.dataclass
class Fault:
    error: int = 0  # each read fails
    is_mute: bool = False  # no read is answered
    delay: float = 0.0  # seconds before each answer
    wrong: dict = dataclasses.field(default_factory=dict)  # offset -> bits that are flipped in that byte
    is_once: bool = False  # each of them in one answer, and not in those that follow


class Refused(Exception):
    """Why there can be no such file system here."""


def need():
    """Skips the scene by name where there can be none."""
    try:
        with tempfile.TemporaryDirectory(prefix="rf-") as probe:
            (pathlib.Path(probe) / "empty").mkdir()
            FileSystem(pathlib.Path(probe) / "empty", pathlib.Path(probe) / "at").close()
    except Refused as why:
        print(f"skipped: no FUSE file system can be made here: {why}")
        sys.exit(77)


class FileSystem:
    def __init__(self, source, at, is_cached=False):
        """is_cached: what was read stays in the page cache as long as the file is open, but for direct reads."""
        self.source, self.at, self.faults, self.is_cached = source, at, {}, is_cached
        self.names = sorted(p.name for p in source.iterdir())
        self.late = []
        self.files = {name: open(source / name, "rb") for name in self.names}
        try:
            self.fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise Refused(f"/dev/fuse: {error.strerror}") from None
        at.mkdir()
        data = f"fd={self.fd},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()},allow_other"
        if libc.mount(b"fuse", os.fsencode(at), b"fuse", 7, data.encode()) < 0:  # 7: read-only, no suid, no devices
            os.close(self.fd)
            raise Refused(f"mounting FUSE: {os.strerror(ctypes.get_errno())}")
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def close(self):
        libc.umount2(os.fsencode(self.at), MNT_DETACH)
        self.is_over = True
        os.close(self.fd)  # requests that are open fail now
        self.thread.join(5)
        for file in self.files.values():
            file.close()

    is_over = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- the kernel's requests ----

    def serve(self):
        while not self.is_over:
            try:
                self.answer_late()
                if select.select([self.fd], [], [], 0.02)[0]:
                    self.take(os.read(self.fd, 1 << 20))
            except BlockingIOError:
                pass
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.EINTR):
                    return  # unmounted

    def reply(self, unique, data=b"", error=0):
        with contextlib.suppress(FileNotFoundError):  # the request was interrupted
            os.write(self.fd, struct.pack("<IiQ", 16 + len(data), -error, unique) + data)

    def take(self, request):
        _, opcode, unique, node = struct.unpack_from("<IIQQ", request)
        body = request[40:]
        if opcode == INIT:
            major, minor, ahead = struct.unpack_from("<III", body)
            self.reply(unique, struct.pack("<IIIIHHIIHHI", 7, min(minor, 31), ahead, 0, 64, 48, 1 << 17, 1, 0, 0, 0)
                       + bytes(28))
        elif opcode == LOOKUP:
            self.look_up(unique, body.split(b"\0")[0].decode())
        elif opcode == GETATTR:
            self.reply(unique, struct.pack("<QII", 0, 0, 0) + self.attributes(node))
        elif opcode in (OPEN, OPENDIR):
            self.reply(unique, struct.pack("<QII", 0, DIRECT_IO if opcode == OPEN and not self.is_cached else 0, 0))
        elif opcode == READ:
            _, offset, size = struct.unpack_from("<QQI", body)
            heapq.heappush(self.late, (time.monotonic(), unique, node, offset, size))
        elif opcode == READDIR:
            self.reply(unique, self.listing(struct.unpack_from("<QQ", body)[1]))
        elif opcode == STATFS:
            self.reply(unique, bytes(80))
        elif opcode in (RELEASE, RELEASEDIR, FLUSH, ACCESS, DESTROY):
            self.reply(unique)
        elif opcode not in (FORGET, BATCH_FORGET, INTERRUPT):
            self.reply(unique, error=errno.ENOSYS)

    def fault(self, node):
        return self.faults.get(self.names[node - 2], Fault())

    def attributes(self, node):
        if node == 1:
            mode, size, mtime = stat.S_IFDIR | 0o555, 0, 0
        else:
            of = os.fstat(self.files[self.names[node - 2]].fileno())
            mode, size, mtime = stat.S_IFREG | 0o444, of.st_size, int(of.st_mtime)
        return struct.pack("<QQQQQQIIIIIIIIII", node, size, (size + 511) // 512, mtime, mtime, mtime, 0, 0, 0, mode, 1,
                           0, 0, 0, 4096, 0)

    def look_up(self, unique, name):
        if name not in self.names:
            self.reply(unique, error=errno.ENOENT)
            return
        node = self.names.index(name) + 2
        self.reply(unique, struct.pack("<QQQQII", node, 0, 0, 0, 0, 0) + self.attributes(node))

    def listing(self, offset):
        found = b""
        for i, name in enumerate(self.names[offset:], offset):
            entry = struct.pack("<QQII", i + 2, i + 1, len(name), 8) + name.encode()
            found += entry + bytes(-len(entry) % 8)
        return found[:4000] if len(found) <= 4000 else b""

    def answer_late(self):
        """Reads whose time has come."""
        waiting, self.late = self.late, []
        for entry in waiting:
            since, unique, node, offset, size = entry
            fault = self.fault(node)
            if fault.is_mute or time.monotonic() - since < fault.delay:
                self.late.append(entry)
            elif fault.error:
                self.reply(unique, error=fault.error)
            else:
                self.reply(unique, self.read(node, size, offset, fault))

    def read(self, node, size, offset, fault):
        data = bytearray(os.pread(self.files[self.names[node - 2]].fileno(), size, offset))
        for at in [at for at in fault.wrong if offset <= at < offset + len(data)]:
            data[at - offset] ^= fault.wrong[at]
            if fault.is_once:
                del fault.wrong[at]
        return bytes(data)
