# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Nobody reads the daemon's stderr: trainers go on, lines are lost and counted, and the flags of the file, which
others may share, stay as they were. For a pipe, a stream socket (systemd's journal is one) and a terminal."""
import contextlib
import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import tty

import ringfeed
import scene

SMALL = 16384


def a_pipe():
    reads, writes = os.pipe()
    fcntl.fcntl(writes, fcntl.F_SETPIPE_SZ, SMALL)
    return reads, writes


def a_socket():
    reads, writes = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    writes.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
    return reads.detach(), writes.detach()


def a_terminal():
    reads, writes = os.openpty()
    tty.setraw(writes)
    return reads, writes


def daemon_of(config, writes):
    return subprocess.Popen([scene.BINARY, "serve", "-c", str(config)], stderr=writes)


def come_and_go(path, n):
    """Each leaves lines; returns the longest epoch."""
    slowest = 0.0
    for _ in range(n):
        began = time.monotonic()
        with ringfeed.Loader("train", socket=path, timeout=20, reconnect=20) as loader:
            assert sum(1 for batch in loader if batch.release() is None) == 4
        slowest = max(slowest, time.monotonic() - began)
    return slowest


def read_all(fd, into):
    with contextlib.suppress(OSError):
        while got := os.read(fd, 1 << 16):
            into.append(got)


def full(folder, name, make):
    shards = scene.pack_photos(folder, name, scene.photos("imagenet-sample")[:16], 16)
    made = scene.feed(shards, transform=[{"random_resized_crop": {"size": 32}}], dtype="uint8", size=4)
    config = scene.write_config(folder, {"train": made}, memory="192MiB", log="debug")
    path = json.loads(config.read_text())["daemon"]["socket"]
    reads, writes = make()
    flags = fcntl.fcntl(writes, fcntl.F_GETFL)
    process, said = daemon_of(config, writes), []
    try:
        slowest = come_and_go(path, 90)  # more lines than fit in there
        assert fcntl.fcntl(writes, fcntl.F_GETFL) == flags
        reader = threading.Thread(target=read_all, args=(reads, said))
        reader.start()
        time.sleep(0.2)
        come_and_go(path, 1)  # its lines are read again
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
        os.close(writes)
        reader.join(20)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(reads)
    lines = b"".join(said).decode().splitlines()
    whole = re.compile(r"ringfeed: (error|warn|info|debug): \w+: .")
    assert all(whole.match(line) for line in lines), [line for line in lines if not whole.match(line)]
    lost = [int(m[1]) for line in lines if (m := re.search(r"(\d+) lines? of this log (?:was|were) lost", line))]
    assert lost and sum(lost) > 5, lines
    assert "ending on signal" in lines[-1], lines[-3:]
    print(f"  {name}: {len(lines)} lines read, {sum(lost)} lost, slowest epoch {slowest * 1000:.0f} ms")


def unread_stderr(folder):
    full(folder, "pipe", a_pipe)
    full(folder, "socket", a_socket)
    try:
        os.close(os.open("/dev/ptmx", os.O_RDWR))
    except OSError as error:
        print(f"  skipped: no terminal can be made here ({error})")
        return
    full(folder, "terminal", a_terminal)


if __name__ == "__main__":
    scene.need_data("imagenet-sample")
    scene.main([unread_stderr])
