# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""`ringfeed top` on a real terminal: what it draws, that it follows size and daemon, and gives the terminal back.

With a path as argument: a picture of two busy trainers is kept there.
"""
import contextlib
import fcntl
import os
import pathlib
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time

try:
    import pyte
except ImportError:
    print("skipped: python3-pyte is not installed")
    sys.exit(77)

import ringfeed
import scene


class Terminal:
    """`ringfeed top` on a pseudo terminal, whose screen pyte draws."""

    def __init__(self, path, columns=110, rows=30, options=(), **environment):
        self.raw = b""
        self.columns, self.rows = columns, rows
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.before = termios.tcgetattr(self.slave)
        environment = {**os.environ, "TERM": "xterm-256color", **environment}
        self.process = subprocess.Popen([scene.BINARY, "top", "--socket", str(path), *options], stdin=self.slave,
                                        stdout=self.slave, stderr=subprocess.PIPE, env=environment, start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))

    def read(self):
        while select.select([self.master], [], [], 0.05)[0]:
            got = os.read(self.master, 65536)
            self.raw += got
            self.stream.feed(got)

    def text(self):
        self.read()
        return "\n".join(line.rstrip() for line in self.screen.display)

    def see(self, *words, seconds=20):
        scene.wait_until(lambda: all(w in self.text() for w in words) or self.process.poll() is not None, seconds=seconds)
        assert all(w in self.text() for w in words), (words, self.text())

    def resize(self, columns, rows):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.screen.resize(rows, columns)

    def given_back(self, code):
        """It has ended with that code, and the terminal is as it was."""
        assert self.process.wait(10) == code, self.process.returncode
        self.read()
        assert self.raw.endswith(b"\x1b[0m\x1b[?25h\x1b[?1049l"), self.raw[-60:]
        assert self.raw.startswith(b"\x1b[?1049h") and self.raw.count(b"\x1b[?1049h") == self.raw.count(b"\x1b[?1049l")
        assert termios.tcgetattr(self.slave) == self.before
        assert self.process.stderr.read() == b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stderr.close()
        os.close(self.master)
        os.close(self.slave)


@contextlib.contextmanager
def training(daemon, *ranks, group="resnet \x1b[31m<50>"):
    """Threads that take batches; (rank, pause) each."""
    stop = threading.Event()

    def train(rank, pause):
        with ringfeed.Loader("train", socket=daemon.socket, group=group, rank=rank, world_size=len(ranks)) as loader:
            while not stop.is_set():
                for batch in loader:
                    batch.release()
                    if stop.wait(pause):
                        break

    threads = [threading.Thread(target=train, args=r) for r in ranks]
    for t in threads:
        t.start()
    try:
        yield
    finally:
        stop.set()
        for t in threads:
            t.join()


def make_config(folder, n=64):
    shards = scene.pack_photos(folder, "in", scene.photos("imagenet-sample")[:n], n)
    made = scene.feed(shards, transform=[{"random_resized_crop": {"size": 64}}], dtype="uint8", size=8)
    return scene.write_config(folder, {"train": made}, memory="256MiB")


def draws(folder):
    """Rates that are right, other sizes, no colours where they are not wanted, q."""
    with scene.Daemon(make_config(folder)) as daemon, training(daemon, (0, 0.01), (1, 0.05)):
        with Terminal(daemon.socket) as t:
            t.see(f"pid {daemon.process.pid}", "feed train", "samples/s", "group resnet ?[31m<50>, world size 2", "limit: ",
                  "workers 2 of 2 up")
            before = daemon.status()["feeds"][0]["due"], time.monotonic()
            time.sleep(3)
            t.see("feed train")
            after = daemon.status()["feeds"][0]["due"], time.monotonic()
            line = next(l for l in t.text().splitlines() if l.startswith("feed train"))
            shown, real = float(line.split()[2]), (after[0] - before[0]) / (after[1] - before[1])
            assert 0.3 * real < shown < 3 * real, (shown, real)
            t.resize(40, 6)
            t.see("feed train")
            scene.wait_until(lambda: len(t.text().splitlines()) == 6 and "limit:" not in t.text())
            t.resize(110, 30)
            t.see("limit: ")
            assert b"\x1b[1m" in t.raw and b"\x1b[31m<50>" not in t.raw
            os.write(t.master, b"xq")
            t.given_back(0)
        with Terminal(daemon.socket, NO_COLOR="1") as t:
            t.see("feed train")
            assert b"\x1b[1m" not in t.raw and b"\x1b[2m" not in t.raw
            os.write(t.master, b"q")
            t.given_back(0)


def ways_out(folder):
    """Ctrl-C, signals, Ctrl-Z and back."""
    with scene.Daemon(make_config(folder, 16)) as daemon:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            with Terminal(daemon.socket) as t:
                t.see("feed train")
                t.process.send_signal(number)
                t.given_back(128 + number)
        with Terminal(daemon.socket) as t:
            t.see("feed train")
            os.write(t.master, b"\x03")
            t.given_back(128 + signal.SIGINT)
        with Terminal(daemon.socket) as t:
            t.see("feed train")
            t.process.send_signal(signal.SIGTSTP)
            scene.wait_until(lambda: " T " in pathlib.Path(f"/proc/{t.process.pid}/stat").read_text())
            t.read()
            assert t.raw.endswith(b"\x1b[?1049l") and termios.tcgetattr(t.slave) == t.before
            t.process.send_signal(signal.SIGCONT)
            scene.wait_until(lambda: (t.read() or t.raw.count(b"\x1b[?1049h") == 2))
            t.see("feed train")
            os.write(t.master, b"q")
            t.given_back(0)


def restarts(folder):
    """A daemon that goes and comes again; none at all; no terminal."""
    config = make_config(folder, 16)
    with scene.Daemon(config) as daemon:
        done = scene.ringfeed("top", "--socket", daemon.socket)
        assert "feed train" in done.stdout and "\x1b" not in done.stdout and done.stderr == ""
        terminal = Terminal(daemon.socket)
        terminal.see(f"pid {daemon.process.pid}")
    with terminal as t:
        t.see("DaemonGone", "looked for again")
        with scene.Daemon(config) as daemon:
            t.see(f"pid {daemon.process.pid}", "feed train")
            os.write(t.master, b"q")
            t.given_back(0)
    done = scene.ringfeed("top", "--socket", daemon.socket, check=False)
    assert done.returncode == 1 and done.stderr.startswith("ringfeed: DaemonGone: no daemon at "), done


def picture(folder):
    shards = scene.pack_photos(folder, "in", scene.photos("imagenet-sample"), 150)
    config = scene.write_config(folder, {"train": scene.feed(shards, size=16), "val": scene.feed(shards, size=16)})
    with scene.Daemon(config) as daemon, training(daemon, (0, 0.2), (1, 0.25), group="resnet50"), Terminal(daemon.socket, columns=120) as t:
        time.sleep(6)
        pathlib.Path(sys.argv[1]).write_text(t.text())
        os.write(t.master, b"q")
        t.given_back(0)


if __name__ == "__main__":
    scene.need_data("imagenet-sample")
    try:
        for end in pty.openpty():
            os.close(end)
    except OSError as error:
        print(f"skipped: no terminal can be made here ({error})")
        raise SystemExit(77)
    scene.main([draws, ways_out, restarts] + ([picture] if len(sys.argv) > 1 else []))
