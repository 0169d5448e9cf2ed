# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Clients that talk nonsense, too much, too little or out of turn; the good one beside them feels nothing."""
import contextlib
import itertools
import os
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import ringfeed
import scene
from scripted_daemon import MAGIC, TABLE, VERSION, pack, unpack
from trainers import Trainer, reading, rows_of, witness

N_SAMPLES = 96
SMALL = [{"random_resized_crop": {"size": 64}}]


def make_config(folder, **daemon):
    shards = scene.pack_photos(folder, "in", scene.photos("imagenet-sample")[:N_SAMPLES], 50)
    feeds = {name: scene.feed(shards, transform=SMALL, dtype="uint8", size=8, slots=4) for name in ("train", "eval")}
    return scene.write_config(folder, feeds, **{"memory": "192MiB", **daemon})


class Client:
    """A bare connection that packs its messages itself."""

    def __init__(self, daemon):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(20)
        self.socket.connect(daemon.socket)

    def raw(self, packet):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.send(packet)

    def send(self, name, **values):
        self.raw(pack(name, **values))

    def hear(self):
        """(name, values), or None after the hang-up."""
        try:
            packet, fds, _, _ = socket.recv_fds(self.socket, 65536, 4)
        except ConnectionResetError:
            return None
        for fd in fds:
            os.close(fd)
        return unpack(packet) if packet else None

    def greet(self):
        self.send("HELLO", magic=MAGIC, version=VERSION, release=b"scene")
        assert self.hear()[0] == "WELCOME"
        return self

    def bell(self, **more):
        """Attaches; the eventfd that gives slots back."""
        self.send("ATTACH", **{"rank": 0, "world": 1, "local_world": 1, "feed": b"train", **more})
        packet, fds, _, _ = socket.recv_fds(self.socket, 65536, 4)
        assert unpack(packet)[0] == "ATTACHED" and len(fds) == 1
        return fds[0]

    def attach(self, **more):
        self.send("ATTACH", **{"rank": 0, "world": 1, "local_world": 1, "feed": b"train", **more})
        assert self.hear()[0] == "ATTACHED"
        return self

    def failed(self, name="ProtocolError"):
        """It is told FAILED of that name, and then disconnected. What was under way before is skipped."""
        while (heard := self.hear()) and heard[0] != "FAILED":
            pass
        assert heard and heard[1]["name"].decode() == name, heard
        assert self.hear() is None
        return heard[1]["text"].decode()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def settle(daemon):
    """All slots come back."""
    def is_quiet():
        return all(f["slots"]["free"] == f["slots"]["all"] and not f["groups"]
                   for f in ringfeed.status(daemon.socket)["feeds"])

    scene.wait_until(is_quiet)


def n_fds(daemon):
    return len(os.listdir(f"/proc/{daemon.process.pid}/fd"))


def in_a_process(work):
    """What was lent to a process that hung up is free at its end; so those who attach end with one."""
    with Trainer(lambda say: work()) as trainer:
        assert trainer.all() == [] and trainer.wait() == 0


def talk_nonsense_attached(daemon, packet):
    with Client(daemon).greet().attach() as c:
        c.raw(packet)
        c.failed()


def p06_nonsense(folder):
    rng = random.Random(3)
    hello = pack("HELLO", magic=MAGIC, version=VERSION, release=b"scene")
    attach = pack("ATTACH", world=1, local_world=1, feed=b"train")
    before = [b"\0", b"x" * 7, b"\0" * 8, b"\xff" * 64, b"A" * 5000, b"B" * 100000, hello[:-1], hello + b"\0",
              attach, pack("STATUS"), pack("RELEASE", lease=1), pack("HELLO", magic=1, version=VERSION),
              pack("WELCOME"), pack("BATCH"), pack("STATUS_TEXT")]
    before += [rng.randbytes(rng.randrange(1, 3000)) for _ in range(200)]
    before += [bytes((number, 0, 0, 0)) + rng.randbytes(rng.randrange(0, 60)) for number in range(20)]
    after = [hello, pack("RELEASE", lease=1), pack("SEEK", serial=1), pack("DETACH"), pack("WELCOME"),
             pack("ATTACHED"), attach[:-8], pack("ATTACH", world=1, local_world=1, feed=b"f" * 64),
             pack("ATTACH", world=1, local_world=1, feed=b"train", group=b"g" * 256),
             pack("ATTACH", world=1, local_world=1, feed=b"train", start=2), pack("PEER_GONE"),
             pack("ATTACH", world=1, local_world=1, feed=b"train", start=3),
             pack("ATTACH", world=1, local_world=1, feed=b"train", token=b"t" * 520)]
    attached = [hello, attach, pack("RELEASE", lease=1 << 63), pack("RELEASE", lease=2**64 - 1),
                pack("SEEK", serial=7), pack("SEEK", serial=0), b"\0" * 4096]
    with scene.Daemon(make_config(folder)) as daemon, witness("train", socket=daemon.socket):
        base = n_fds(daemon)
        for packet in before:
            with Client(daemon) as c:
                c.raw(packet)
                c.failed()
        for packet in after:
            with Client(daemon).greet() as c:
                c.raw(packet)
                c.failed()
        in_a_process(lambda: [talk_nonsense_attached(daemon, packet) for packet in attached])
        for token in (b"nonsense", b"{}", b"[" * 500, b'{"version":1}', b"\xff\xfe"):
            with Client(daemon).greet() as c:
                c.send("ATTACH", world=1, local_world=1, feed=b"train", token=token)
                c.failed("TokenError")
        with Client(daemon).greet() as c:  # descriptors are not taken
            with open("/dev/null") as f:
                socket.send_fds(c.socket, [pack("STATUS")], [f.fileno()] * 3)
            assert c.hear()[0] == "STATUS_TEXT"
        for world, rank, local in ((0, 0, 0), (1, 1, 1), (2, 0, 3), (2**32 - 1, 2**32 - 2, 1), (2**32 - 1, 0, 2**32 - 1)):
            with Client(daemon).greet() as c:
                c.send("ATTACH", world=world, rank=rank, local_world=local, feed=b"train")
                c.failed("Refused")
        scene.wait_until(lambda: n_fds(daemon) <= base, 2.0)


def converse(daemon, rng):
    with Client(daemon) as c:
        if rng.random() < 0.9:
            c.greet()
        for _ in range(rng.randrange(1, 12)):
            name = rng.choice(["HELLO", "ATTACH", "ATTACH", "RELEASE", "SEEK", "STATUS", "DETACH"])
            values = {column: rng.choice((0, 1, 2, 3, 2**31, 2**32 - 1))
                      for column, code in TABLE[name][1] if not code.endswith("s")}
            if name == "ATTACH":
                values.update(feed=rng.choice((b"train", b"eval", b"")), group=rng.choice((b"", b"x")))
            c.send(name, **values)
            while select.select([c.socket], [], [], 0)[0] and c.hear():
                pass


def p06_twisted_conversations(folder):
    """Random sequences of well-formed messages with random values: each ends or goes on, the daemon lives."""
    with scene.Daemon(make_config(folder)) as daemon, witness("train", socket=daemon.socket):
        for seed in range(15):
            in_a_process(lambda: [converse(daemon, random.Random(10 * seed + i)) for i in range(10)])
            assert daemon.process.poll() is None, daemon.log()


def ring(daemon, bits):
    """Rings what is lent, again and again; then these bits, which are not."""
    with Client(daemon).greet() as c:
        bell, leases = c.bell(), []
        while len(leases) < 40:
            heard = c.hear()
            if heard[0] == "BATCH":
                leases.append(heard[1]["lease"])
                os.eventfd_write(bell, 1 << heard[1]["slot"])
        assert len(set(leases)) == 40
        scene.wait_until(lambda: not select.select([bell], [], [], 0)[0])
        os.eventfd_write(bell, bits)
        assert "not lent" in c.failed()
        os.close(bell)


def p06_bells(folder):
    """The eventfd that gives slots back: bits of slots that are not lent, or that nobody has."""
    with scene.Daemon(make_config(folder)) as daemon, witness("train", socket=daemon.socket):
        base = n_fds(daemon)
        for bits in (1 << 4, 1 << 62, 1 << 63, 2**64 - 2, 1 << 20 | 1):
            in_a_process(lambda: ring(daemon, bits))
        scene.wait_until(lambda: n_fds(daemon) <= base, 2.0)


def p05_floods(folder):
    """Floods, one who never reads, 200 silent connections: status answers within 100 ms all the while."""
    with scene.Daemon(make_config(folder)) as daemon, witness("train", socket=daemon.socket):
        slowest = 0.0

        def ask():
            nonlocal slowest
            began = time.monotonic()
            ringfeed.status(daemon.socket)
            slowest = max(slowest, time.monotonic() - began)

        flooder, deaf = Client(daemon).greet(), Client(daemon).greet()
        flooder.socket.setblocking(False)
        deaf.socket.setblocking(False)
        until = time.monotonic() + 2
        while time.monotonic() < until:
            for c in (flooder, deaf):
                with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
                    for _ in range(200):
                        c.socket.send(pack("STATUS"))
            with contextlib.suppress(BlockingIOError, ConnectionResetError):
                while flooder.socket.recv(65536):
                    pass
            ask()
        assert "does not read its messages" in daemon.log()
        print(f"  status under a flood after {slowest * 1000:.1f} ms at most")
        assert slowest < scene.at_most(0.1), slowest
        slowest = 0.0
        with Trainer(lambda say: connect_many(daemon, say)) as crowd:
            for _ in range(20):
                ask()
            assert crowd.hear()["told"] > 0, "nobody was told why"
            for _ in range(20):
                ask()
        print(f"  status beside 200 silent connections after {slowest * 1000:.1f} ms at most")
        assert slowest < scene.at_most(0.1), slowest
        for c in (flooder, deaf):
            c.socket.close()


def connect_many(daemon, say):
    """200 connections of one process that say nothing, and how many of them were told that they are too many."""
    silent, told = [Client(daemon) for _ in range(200)], 0
    time.sleep(0.2)
    for c in silent:
        if select.select([c.socket], [], [], 0)[0] and (heard := c.hear()):
            told += heard[1]["name"] == b"Refused"
    say({"told": told})
    time.sleep(600)


def flood(daemon, *packets):
    """Sends these as fast as they are taken, and reads what comes."""
    with Client(daemon).greet() as c:
        c.socket.setblocking(False)
        for packet in itertools.cycle(packets):
            with contextlib.suppress(BlockingIOError):
                c.raw(packet)
            with contextlib.suppress(BlockingIOError, ConnectionResetError):
                c.socket.recv(65536)


def be_deaf(daemon):
    """Asks until it is thrown out."""
    while True:
        with Client(daemon).greet() as c, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while True:
                c.socket.send(pack("STATUS"))


def come_and_go(daemon):
    for i in itertools.count():
        with Client(daemon).greet() as c:
            c.send("ATTACH", rank=0, world=1, local_world=1, feed=b"train", group=b"%d-%d" % (os.getpid(), i % 3))
            assert c.hear()[0] in ("ATTACHED", "FAILED")


def crowd(daemon):
    """Connections that say nothing, as many as it takes, closed all at once."""
    while True:
        silent = []
        with contextlib.suppress(BlockingIOError):  # who is not let in at once
            while len(silent) < 200:
                silent.append(Client(daemon))
        time.sleep(0.1)
        for c in silent:
            c.socket.close()


def jump(daemon):
    """Trainers that seek as fast as they are answered."""
    with ringfeed.Loader("train", socket=daemon.socket) as loader:
        for epoch in itertools.count():
            loader.set_epoch(epoch)
            next(iter(loader)).release()


def look(daemon):
    address = re.search(r"http://(\S+?)/ is the status page", daemon.log())[1]
    for path in itertools.cycle(("/", "/metrics", "/status.json")):
        with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
            answer.read()


ATTACKS = {
    "questions": lambda daemon: flood(daemon, pack("STATUS")),
    "one who never reads": be_deaf,
    "silent connections": crowd,
    "coming and going": come_and_go,
    "new epochs": jump,
    "looking at pages": look,
}


def longest_step(folder, attack):
    """Seconds that a step of the loop took at most under an attack of four processes, beside two trainers. The core runs in front of
    all else (SCHED_FIFO): the clock counts the loop, not who else uses the machine. A second of which it used more than 0.95 would
    not be given to it as a whole: the attackers are stopped for half of the time."""
    with scene.Daemon(make_config(folder, metrics="127.0.0.1:0")) as daemon, witness("train", socket=daemon.socket), \
            witness("eval", socket=daemon.socket):
        os.sched_setscheduler(daemon.process.pid, os.SCHED_FIFO, os.sched_param(1))
        with contextlib.ExitStack() as stack:
            crowd = [stack.enter_context(Trainer(lambda say: attack(daemon))) for _ in range(4)]
            for number in (signal.SIGCONT, signal.SIGSTOP) * 3:
                for each in crowd:
                    each.signal(number)
                time.sleep(0.4)
            return daemon.status()["longest_step_seconds"]


def p05_loop_time(folder):
    """Whatever clients do, no step of the loop takes 10 ms: what delays others delays them in each of three tries."""
    if scene.IS_SANITIZED:
        print("  skipped: times of a daemon that a sanitizer slows down say nothing")
        return
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    except PermissionError:
        print("  skipped: running in front of all else (SCHED_FIFO) needs root and CAP_SYS_NICE")
        return
    for i, (name, attack) in enumerate(ATTACKS.items()):
        longest = []
        while len(longest) < 3 and min(longest, default=1) >= 0.01:
            (at := folder / f"{i}-{len(longest)}").mkdir()
            longest.append(longest_step(at, attack))
        print(f"  {name}: the loop's longest step {min(longest) * 1000:.1f} ms (of {len(longest)})")
        assert 0 < min(longest) < 0.01, (name, longest)


def be_silent(daemon):
    with Client(daemon) as mute, Client(daemon).greet() as shy, Client(daemon).greet().attach() as calm:
        began = time.monotonic()
        assert mute.hear() is None and shy.hear() is None
        assert 8 < time.monotonic() - began < 30
        while select.select([calm.socket], [], [], 0)[0]:
            assert calm.hear()


def p06_silence(folder):
    """Who says nothing for 10 s is disconnected; who is attached may be silent."""
    with scene.Daemon(make_config(folder)) as daemon:
        in_a_process(lambda: be_silent(daemon))
        settle(daemon)


def p07_versions(folder):
    """Another version gets one sentence that names both."""
    with scene.Daemon(make_config(folder)) as daemon, Client(daemon) as c:
        c.send("HELLO", magic=MAGIC, version=VERSION + 8, release=b"77.7.7")
        text = c.failed("VersionMismatch")
        ours = scene.ringfeed("version").stdout.split()
        assert "77.7.7" in text and f"protocol {VERSION + 8}" in text and f"protocol {VERSION})" in text, text
        assert any(word in text for word in ours if word[0].isdigit()), (text, ours)


def missing_daemon(folder):
    """Nobody there, or only what a dead daemon left: DaemonGone, naming the socket tried, in time."""
    path = folder / "nobody.sock"
    dead = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for is_bound in (False, True):
        if is_bound:
            dead.bind(str(path))
        began = time.monotonic()
        try:
            ringfeed.Loader("train", socket=path, reconnect=0.2)
            raise AssertionError("nobody is there")
        except ringfeed.DaemonGone as error:
            assert str(path) in str(error), error
        assert time.monotonic() - began < 0.2 + scene.at_most(1.0)
        done = scene.ringfeed("status", "--socket", path, check=False)
        assert done.returncode == 1 and str(path) in done.stderr, done


def second_daemon(folder):
    config = make_config(folder)
    with scene.Daemon(config) as daemon:
        done = scene.ringfeed("serve", "-c", config, check=False)
        assert done.returncode == 78, done
        assert f"pid {daemon.process.pid}" in done.stderr and daemon.socket in done.stderr, done.stderr
        ringfeed.status(daemon.socket)


def refused(kind, *words, **options):
    try:
        ringfeed.Loader(reconnect=0, **options).close()
    except kind as error:
        for word in words:
            assert word in str(error), (word, str(error))
        return
    raise AssertionError(f"{options} was not refused")


def wrong_ranks(folder):
    with scene.Daemon(make_config(folder)) as daemon:
        two = {"socket": daemon.socket, "feed": "train", "group": "two", "local_world_size": 2}
        with ringfeed.Loader(rank=0, world_size=2, **two), ringfeed.Loader(rank=1, world_size=2, **two):
            refused(ringfeed.Refused, "rank 2", "two", rank=2, world_size=3, **two)
            refused(ringfeed.Refused, "rank 1", "two", "taken", rank=1, world_size=2, **two)
        refused(ringfeed.Error, "2", rank=2, world_size=2, **two)
        refused(ringfeed.Refused, "validation", "train, eval", feed="validation", socket=daemon.socket)


def several_at_once(folder):
    """Two feeds, groups on each: every group has its own pass with the same bytes."""
    with scene.Daemon(make_config(folder, memory="256MiB")) as daemon:
        works = [reading("train", 2, socket=daemon.socket), reading("train", 2, 0.01, socket=daemon.socket),
                 reading("eval", 2, socket=daemon.socket)]
        works += [reading("eval", 2, socket=daemon.socket, rank=r, world_size=2, local_world_size=2, group="pair")
                  for r in (0, 1)]
        with contextlib.ExitStack() as stack:
            trainers = [stack.enter_context(Trainer(work)) for work in works]
            rows = [rows_of(t.all()) for t in trainers]
        assert len(rows[0]) == 2 * N_SAMPLES and rows[0] == rows[1] == rows[2]
        assert {**rows[3], **rows[4]} == rows[0] and len(rows[3]) == len(rows[4]) == N_SAMPLES


def attach_when_orphaned(daemon, tell):
    """Runs in a process of its own: it connects and ends, and its child attaches over that connection."""
    client, parent = Client(daemon).greet(), os.getpid()
    if os.fork():
        os._exit(0)
    while os.getppid() == parent:
        time.sleep(0.01)
    time.sleep(0.5)  # the daemon has learned of it by then
    client.send("ATTACH", rank=0, world=1, local_world=1, feed=b"train")
    os.write(tell, client.failed("Forked").encode())


def child_of_the_dead(folder):
    """Who attaches over the connection of a process that has ended is refused: nobody would ever give back its slots."""
    with scene.Daemon(make_config(folder)) as daemon:
        hear, tell = os.pipe()
        process = os.fork()
        if process == 0:
            try:
                attach_when_orphaned(daemon, tell)
            finally:
                os._exit(0)
        assert os.waitpid(process, 0)[1] == 0
        os.close(tell)
        with open(hear) as said:
            assert "has ended; open one of its own in the child" in said.read()
        settle(daemon)


def another_uid(folder):
    """Only the daemon's own user (and root) is served."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        print("  skipped: another uid needs root and setpriv")
        return
    folder.chmod(0o755)
    with scene.Daemon(make_config(folder)) as daemon:
        os.chmod(daemon.socket, 0o666)
        code = ("import socket,sys\ns = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
                f"s.connect({daemon.socket!r})\nsys.stdout.buffer.write(s.recv(65536))\nassert s.recv(1) == b''")
        done = subprocess.run(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
                               sys.executable, "-c", code], capture_output=True, check=True, timeout=30)
        name, values = unpack(done.stdout)
        assert name == "FAILED" and values["name"] == b"Refused" and b"uid 0" in values["text"], values


if __name__ == "__main__":
    scene.need_data("imagenet-sample")
    scene.main([p06_nonsense, p06_bells, p06_twisted_conversations, p05_floods, p05_loop_time, p06_silence, p07_versions, missing_daemon,
                second_daemon, wrong_ranks, several_at_once, child_of_the_dead, another_uid])
