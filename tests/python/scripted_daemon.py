# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""A peer for the client library that says exactly what a test tells it to, true or not.

It is for what a real daemon never does: wrong sizes, garbage, dying in the middle of a message. Messages are
packed from the table proto/messages.def, in Python, so that a mistake in wire.h does not hide itself.
"""
import fcntl
import json
import os
import pathlib
import re
import select
import socket
import struct
import threading

import order_twin

ROOT = pathlib.Path(__file__).resolve().parents[2]
F_ADD_SEALS, F_SEAL_SHRINK, F_SEAL_GROW = 1033, 2, 4
MAGIC, VERSION = 0x64656672, 4
FINGERPRINT, SEED, ORDER_HASH = "0123456789abcdef" * 2, (1 << 63) + 5, 0x0123456789abcde
DTYPES = {"uint8": 0, "int64": 1, "float16": 2, "bfloat16": 3, "float32": 4}


def read_table():
    """Message name -> (number, [(value, struct code)])."""
    text = re.sub(r"/\*.*?\*/", "", (ROOT / "proto/messages.def").read_text(), flags=re.S)
    codes = {"U32": "I", "U64": "Q", "I32": "i"}
    table = {}
    for name, number, body in re.findall(r"MESSAGE\((\w+), (\d+), \w+\)(.*?)END\(\1\)", text, re.S):
        values = []
        for kind, arguments in re.findall(r"(U32|U64|I32|TEXT)\(([^)]*)\)", body):
            parts = [part.strip() for part in arguments.split(",")]
            values.append((parts[0], f"{parts[1]}s" if kind == "TEXT" else codes[kind]))
        table[name] = (int(number), values)
    return table


TABLE = read_table()
NAMES = {number: name for name, (number, _) in TABLE.items()}


def pack(name, /, **values):
    number, columns = TABLE[name]
    body = struct.pack("<" + "".join(code for _, code in columns),
                       *[values.pop(column, b"" if code.endswith("s") else 0) for column, code in columns])
    assert not values, values
    return struct.pack("<II", number, 8 + len(body)) + body


def unpack(packet):
    number, n_bytes = struct.unpack_from("<II", packet)
    assert n_bytes == len(packet)
    name = NAMES[number]
    columns = TABLE[name][1]
    values = struct.unpack_from("<" + "".join(code for _, code in columns), packet, 8)
    return name, {column: value.split(b"\0")[0] if isinstance(value, bytes) else value
                  for (column, _), value in zip(columns, values)}


def token(epoch, position, bad=0):
    """What the client has to make of ATTACHED and a place, by the twin."""
    return order_twin.token_make(FINGERPRINT, SEED, epoch, position, f"{ORDER_HASH:016x}", bad)


def place(text, default=(0, 0)):
    """(epoch, position) of a token that a client sent; an empty one: the default."""
    if not text:
        return default
    values = json.loads(text)
    return values["epoch"], values["position"]


class HungUp(Exception):
    pass


class Peer:
    """One connection, from the daemon's side."""

    def __init__(self, connection):
        self.connection = connection
        self.fds = []  # of slots and the bell; closed with the connection
        self.bell = None
        connection.settimeout(20)

    def make_slot(self, n_bytes, seals=F_SEAL_SHRINK | F_SEAL_GROW):
        fd = os.memfd_create("scripted-slot", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        self.fds.append(fd)
        os.ftruncate(fd, n_bytes)
        if seals:
            fcntl.fcntl(fd, F_ADD_SEALS, seals)
        return fd

    def make_bell(self):
        self.bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.fds.append(self.bell)
        return self.bell

    def rung(self):
        """The slots whose bits were rung."""
        try:
            bits = os.eventfd_read(self.bell) if self.bell is not None else 0
        except BlockingIOError:
            return []
        return [i for i in range(64) if bits >> i & 1]

    def send(self, name, /, **values):
        self.connection.send(pack(name, **values))

    def send_raw(self, packet, fds=()):
        if fds:
            socket.send_fds(self.connection, [packet], list(fds))
        else:
            self.connection.send(packet)

    def receive(self, *names):
        try:
            packet = self.connection.recv(4096)
        except ConnectionResetError:
            packet = b""
        if not packet:
            raise HungUp
        name, values = unpack(packet)
        assert not names or name in names, f"{name} came, {names} was due"
        return name, values

    def welcome(self):
        _, hello = self.receive("HELLO")
        assert (hello["magic"], hello["version"]) == (MAGIC, VERSION)
        self.send("WELCOME", version=VERSION, pid=os.getpid(), release=b"scripted")


class Feed:
    """n_samples int64 labels and a field of each other kind, in batches of n_rows for one rank, `last: drop`.

    Sample s of epoch e is position s; every byte of a batch follows from both, so that a swapped or stale slot
    is seen at once. After position p its tokens count p // 8 bad samples.
    """

    FIELDS = [("image", "float16", (3, 2, 2)), ("label", "int64", ()), ("mask", "uint8", (5,)),
              ("soft", "bfloat16", (2,)), ("weight", "float32", ())]
    SIZES = {"uint8": 1, "int64": 8, "float16": 2, "bfloat16": 2, "float32": 4}

    def __init__(self, n_samples=20, n_rows=4, n_slots=3):
        self.n_samples, self.n_rows, self.n_slots = n_samples, n_rows, n_slots
        self.at, self.lengths_at, at = {}, {}, 0
        for name, dtype, dims in self.FIELDS:
            self.at[name] = at
            at += (self.row_bytes(dtype, dims) * n_rows + 255) // 256 * 256
        self.index_at, self.position_at, self.valid_at = at, at + 256, at + 512
        self.slot_bytes = (at + 768 + 4095) // 4096 * 4096
        self.attaches = []  # what each ATTACH said
        self.n_released = 0
        self.n_sent = 0
        self.is_shared = 0
        self.has_bell = True
        self.n_rung = 0  # slots given back by the bell
        self.deaths = {}  # after so many batches sent: (rank, replica) of whoever died

    def row_bytes(self, dtype, dims):
        n = self.SIZES[dtype]
        for dim in dims:
            n *= dim
        return n

    def attached(self, epoch=0, position=0, **other):
        values = dict(
            n_fields=len(self.FIELDS), n_slots=self.n_slots, n_rows=self.n_rows, serial=7,
            slot_bytes=self.slot_bytes, index_at=self.index_at, position_at=self.position_at,
            valid_at=self.valid_at, n_samples=self.n_samples,
            n_batches=(self.n_samples - position) // self.n_rows, epoch=epoch, position=position,
            is_shared=self.is_shared, bad=position // 8, fingerprint=FINGERPRINT.encode(), seed=SEED,
            order_hash=ORDER_HASH)
        values.update(other)
        return values

    def field(self, i, **other):
        name, dtype, dims = self.FIELDS[i]
        values = dict(dtype=DTYPES[dtype], n_dims=len(dims), at=self.at[name],
                      row_bytes=self.row_bytes(dtype, dims), name=name.encode())
        values.update({f"dim{k}": dim for k, dim in enumerate(dims)})
        if name in self.lengths_at:
            values.update(kind=2, lengths_at=self.lengths_at[name])
        values.update(other)
        return values

    def write(self, fd, epoch, position):
        """The batch that starts there, as bytes at their offsets."""
        rows = range(position, position + self.n_rows)
        values = {
            "image": struct.pack(f"<{12 * self.n_rows}e", *[t + k / 16 for t in rows for k in range(12)]),
            "label": struct.pack(f"<{self.n_rows}q", *[1000 * epoch + t for t in rows]),
            "mask": bytes((t + epoch) % 256 for t in rows for _ in range(5)),
            "soft": struct.pack(f"<{2 * self.n_rows}H", *[0x3f80 + t for t in rows for _ in range(2)]),
            "weight": struct.pack(f"<{self.n_rows}f", *[t / 4 for t in rows])}
        for name, value in values.items():
            os.pwrite(fd, value, self.at[name])
        os.pwrite(fd, struct.pack(f"<{self.n_rows}q", *[2 * t for t in rows]), self.index_at)
        os.pwrite(fd, struct.pack(f"<{self.n_rows}q", *rows), self.position_at)
        os.pwrite(fd, bytes([1] * (self.n_rows - 1) + [0]), self.valid_at)

    def attach(self, peer):
        """WELCOME to the last SLOT; returns the slots' memfds and where to start."""
        peer.welcome()
        _, said = peer.receive("ATTACH")
        self.attaches.append(said)
        epoch, position = place(said["token"])
        bell = [peer.make_bell()] if self.has_bell and not self.is_shared else []
        peer.send_raw(pack("ATTACHED", **self.attached(epoch, position)), bell)
        for i in range(len(self.FIELDS)):
            peer.send("FIELD", **self.field(i))
        fds = [peer.make_slot(self.slot_bytes) for _ in range(self.n_slots)]
        for i, fd in enumerate(fds):
            peer.send_raw(pack("SLOT", slot=i, n_bytes=self.slot_bytes), [fd])
        return fds, epoch, position

    def serve(self, peer, n_batches=None, delay=0.0):
        """Lends batches ahead, across epochs, until the trainer leaves or n_batches were sent."""
        fds, epoch, position = self.attach(peer)
        credit = min(self.attaches[-1]["credit"] or self.n_slots, self.n_slots)
        serial, lease, lent, free = 7, 100, {}, list(range(self.n_slots))
        while n_batches is None or self.n_sent < n_batches:
            while position + self.n_rows > self.n_samples:
                epoch, position = epoch + 1, 0
                peer.send("EPOCH_END", serial=serial, epoch=epoch - 1, n_batches=self.n_samples // self.n_rows)
            if len(lent) < credit and free:
                slot, lease = free.pop(0), lease + 1
                if delay:
                    threading.Event().wait(delay)
                self.write(fds[slot], epoch, position)
                step = position // self.n_rows
                position += self.n_rows
                after = (epoch, position) if position + self.n_rows <= self.n_samples else (epoch + 1, 0)
                lent[lease] = slot
                peer.send("BATCH", slot=slot, n_rows=self.n_rows, serial=serial, lease=lease, epoch=epoch,
                          step=step, read_ns=1, decode_ns=2, slots_ns=3, trainer_ns=4,
                          epoch_after=after[0], position_after=after[1], bad=after[1] // 8)
                self.n_sent += 1
                for rank, replica in self.deaths.get(self.n_sent, ()):
                    peer.send("PEER_GONE", rank=rank, replica=replica + 1)
                continue
            if peer.bell is not None:
                ready = select.select([peer.connection, peer.bell], [], [])[0]
                for slot in peer.rung():
                    lent = {lease: other for lease, other in lent.items() if other != slot}
                    os.pwrite(fds[slot], b"\xee" * self.slot_bytes, 0)
                    free.append(slot)
                    self.n_released += 1
                    self.n_rung += 1
                if peer.connection not in ready:
                    continue
            name, said = peer.receive("RELEASE", "SEEK", "DETACH")
            if name == "RELEASE":
                slot = lent.pop(said["lease"])
                os.pwrite(fds[slot], b"\xee" * self.slot_bytes, 0)
                free.append(slot)
                self.n_released += 1
            elif name == "SEEK":
                serial = said["serial"]
                epoch, position = place(said["token"], (said["epoch"], 0))
                for rank, replica in self.deaths.get("seek", ()):
                    peer.send("PEER_GONE", rank=rank, replica=replica + 1)
                peer.send("SOUGHT", serial=serial, epoch=epoch, position=position, bad=position // 8,
                          n_batches=(self.n_samples - position) // self.n_rows)
            else:
                return


class Daemon:
    """Listens; the n-th connection is talked to by the n-th script (the last one again after that)."""

    def __init__(self, path, *scripts):
        self.path, self.scripts = str(path), scripts
        self.faults = []
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(self.path)
        self.listener.listen(8)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.n_connections = 0

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            script = self.scripts[min(self.n_connections, len(self.scripts) - 1)]
            self.n_connections += 1
            peer = Peer(connection)
            try:
                with connection:
                    script(peer)
            except (HungUp, BrokenPipeError, ConnectionResetError):
                pass
            except Exception as fault:  # shown by __exit__
                self.faults.append(fault)
            finally:
                for fd in peer.fds:
                    os.close(fd)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, *_):
        self.stop()
        self.thread.join(10)
        if kind is None:
            assert not self.thread.is_alive(), "the script did not end"
            if self.faults:
                raise self.faults[0]

    def stop(self):
        """No new connections; the path is gone."""
        if os.path.exists(self.path):
            os.unlink(self.path)
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
