# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""systemd's watchdog, heard at a socket of our own: fed while the loop gets through its work, and not otherwise."""
import contextlib
import os
import signal
import socket
import time

import ringfeed
import scene
from trainers import Trainer, reading

USEC = 400_000
EVERY = USEC / 2e6


class Listener:
    """Where systemd would hear; an abstract name or a path."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.name = address.replace("\0", "@", 1)

    def hear(self, seconds):
        """(when, what) of all that comes within so long."""
        heard, deadline = [], time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.socket.settimeout(left)
            with contextlib.suppress(TimeoutError):
                heard.append((time.monotonic(), self.socket.recv(4096).decode()))
        return heard


def make_config(folder):
    shards = scene.pack_photos(folder, "in", scene.photos("imagenet-sample")[:64], 32)
    return scene.write_config(folder, {"train": scene.feed(shards, size=8, slots=4)}, memory="192MiB")


@contextlib.contextmanager
def environment(**values):
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values:
            del os.environ[name]


def feeds_in(heard):
    return [when for when, what in heard if what == "WATCHDOG=1"]


def gaps(times):
    return [b - a for a, b in zip(times, times[1:])]


def p13_watchdog(folder):
    """Idle and busy it is fed every half of its time; a loop that is stopped feeds it no more, and again when it goes on."""
    for address in ("\0rf-watchdog-%d" % os.getpid(), str(folder / "notify")):
        listener = Listener(address)
        with environment(NOTIFY_SOCKET=listener.name, WATCHDOG_USEC=str(USEC)), scene.Daemon(make_config(folder)) as daemon:
            idle = listener.hear(1.5)
            assert idle[0][1] == "READY=1" and len(feeds_in(idle)) >= 5, idle
            with Trainer(reading("train", 1000, report=False, socket=daemon.socket)) as trainer:
                scene.wait_until(lambda: daemon.ranks("train"))
                listener.hear(0)
                busy = feeds_in(listener.hear(2))
                assert len(busy) >= 6, busy
                daemon.process.send_signal(signal.SIGSTOP)
                listener.hear(0.2)
                stopped = listener.hear(1.5)
                daemon.process.send_signal(signal.SIGCONT)
                assert not stopped, stopped
                assert feeds_in(listener.hear(0.6)), "it is not fed any more"
                trainer.kill()
            longest = max(gaps(feeds_in(idle)) + gaps(busy))
            print(f"  fed every {EVERY * 1000:.0f} ms, {longest * 1000:.0f} ms at most")
            assert longest < USEC / 1e6, longest
        assert listener.hear(0.2)[-1][1] == "STOPPING=1"


def p13_not_ours(folder):
    """Without WATCHDOG_USEC, with nonsense in it, or where it waits for somebody else, nobody is fed."""
    listener = Listener("\0rf-watchdog-%d" % os.getpid())
    for values in ({}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "-5"}, {"WATCHDOG_USEC": "1s"}, {"WATCHDOG_USEC": "9" * 30},
                   {"WATCHDOG_USEC": str(USEC), "WATCHDOG_PID": str(os.getpid())},
                   {"WATCHDOG_USEC": str(USEC), "WATCHDOG_PID": ""}):
        with environment(NOTIFY_SOCKET=listener.name, **values), scene.Daemon(make_config(folder)):
            assert [what for _, what in listener.hear(0.5)] == ["READY=1"], values
        listener.hear(0.1)


def p13_ours(folder):
    """WATCHDOG_PID is the daemon's: it is fed."""
    listener = Listener("\0rf-watchdog-%d" % os.getpid())
    wrap = ("sh", "-c", 'WATCHDOG_PID=$$ exec "$@"', "sh")
    with environment(NOTIFY_SOCKET=listener.name, WATCHDOG_USEC=str(USEC)), scene.Daemon(make_config(folder), wrap=wrap):
        assert feeds_in(listener.hear(0.7))


if __name__ == "__main__":
    scene.need_data("imagenet-sample")
    scene.main([p13_watchdog, p13_not_ours, p13_ours])
