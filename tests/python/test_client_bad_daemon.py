# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""The client library and the Python package against a daemon that lies, talks nonsense or is not there."""
import os
import resource
import struct
import threading
import time

import pytest

import ringfeed
from client_rules import hold, leaks, make, path  # noqa: F401 - fixtures
from scripted_daemon import VERSION, Daemon, Feed, HungUp, pack


def test_p07_versions(path):
    def newer(peer):
        peer.receive("HELLO")
        peer.send("WELCOME", version=VERSION + 1, pid=1, release=b"9.9.9")
        hold(peer)

    def refuses(peer):
        peer.receive("HELLO")
        peer.send("FAILED", error=-93, name=b"VersionMismatch", text=b"daemon 9.9.9 (protocol 9), library 0.1.0")
    for script in (newer, refuses):
        with Daemon(path, script):
            with pytest.raises(ringfeed.VersionMismatch, match=r"9\.9\.9.*0\.1\.0"):
                make(path)
            with pytest.raises(ringfeed.VersionMismatch, match=r"9\.9\.9.*0\.1\.0"):
                ringfeed.status(path)


def test_failed_by_name(path):
    def failing(name, errno=-5):
        def script(peer):
            peer.welcome()
            peer.receive("ATTACH")
            peer.send("FAILED", error=errno, name=name, text=b"because\x1b[2J of \xff this")
        return script
    for kind in ("BadConfig", "TooManyBadSamples", "BadSample", "Evicted", "StorageError", "ShardChanged",
                 "Refused", "TokenError"):
        with Daemon(path, failing(kind.encode())), pytest.raises(getattr(ringfeed, kind), match=r"because\?\[2J"):
            make(path)
    # Names of another version, and ones whose errno means something else to a caller of next().
    for kind in (b"Novelty", b"Timeout", b"TooManyHeld", b"PeerGone"):
        with Daemon(path, failing(kind, -61)), pytest.raises(ringfeed.Error, match=kind.decode()) as caught:
            make(path)
        assert type(caught.value) is ringfeed.Error


def test_failed_in_the_middle(path):
    feed = Feed()

    def script(peer):
        feed.attach(peer)
        peer.send("FAILED", error=-74, name=b"TooManyBadSamples", text=b"7 of 20")
        hold(peer)
    with Daemon(path, script), make(path, reconnect=5) as loader:
        for _ in range(2):
            with pytest.raises(ringfeed.TooManyBadSamples, match="7 of 20"):
                next(iter(loader))


def test_missing_daemon(path):
    for reconnect in (0, 0.4):
        began = time.monotonic()
        with pytest.raises(ringfeed.DaemonGone, match=str(path)):
            make(path, reconnect=reconnect)
        assert reconnect <= time.monotonic() - began < reconnect + 3
    feed = Feed()
    daemon = Daemon(path.with_name("t"), feed.serve)
    threading.Timer(0.3, os.rename, (path.with_name("t"), path)).start()
    with daemon, make(path, reconnect=5) as loader:
        assert next(iter(loader)).step == 0
        os.rename(path, path.with_name("t"))
    with pytest.raises(ringfeed.BadConfig, match="longer"):
        make("/" + "x" * 200)


def test_daemon_that_never_answers(path):
    with Daemon(path, hold):
        with pytest.raises(ringfeed.DaemonGone, match="did not answer HELLO"):
            make(path, timeout=0.3)
        with pytest.raises(ringfeed.Timeout):
            ringfeed.status(path, timeout=0.3)


def test_comes_back_as_another_feed(path):
    first, second = Feed(), Feed(n_rows=5)

    def dying(peer):
        first.serve(peer, n_batches=1)
    with Daemon(path, dying, second.serve), make(path, reconnect=5) as loader:
        it = iter(loader)
        next(it)
        with pytest.raises(ringfeed.Refused, match="another layout"):
            next(it)


def test_comes_back_shared(path):
    """What the trainer has writable does not become somebody else's; what was for reading stays so."""
    for before, after in ((0, 1), (1, 0)):
        first, second = Feed(), Feed()
        first.is_shared, second.is_shared = before, after

        def dying(peer):
            first.serve(peer, n_batches=1)
        with Daemon(path, dying, second.serve), make(path, reconnect=5) as loader:
            it = iter(loader)
            batch = next(it)
            if after:
                with pytest.raises(ringfeed.Refused, match="another layout"):
                    next(it)
            else:
                batch = next(it)
                assert loader.shared and batch.step == 1
            del batch


def test_peer_that_cannot_be(path):
    """A rank outside the world; more deaths than there can be trainers while a new place is awaited."""
    feed = Feed()
    feed.deaths = {1: [(2, 0)]}
    with Daemon(path, feed.serve), make(path, rank=0, world_size=2, group="g") as loader:
        it = iter(loader)
        next(it).release()
        for _ in range(2):
            with pytest.raises(ringfeed.ProtocolError, match="PEER_GONE of a trainer that cannot be"):
                next(it)
    feed = Feed()
    feed.deaths = {"seek": [(1, 0)] * 129}
    with Daemon(path, feed.serve), make(path, rank=0, world_size=2, group="g") as loader:
        with pytest.raises(ringfeed.ProtocolError, match="PEER_GONE"):
            loader.set_epoch(4)


def attach_with(feed, attached=(), field=(), slot=None, raw=None):
    """A script that attaches with some values wrong."""
    def script(peer):
        peer.welcome()
        peer.receive("ATTACH")
        peer.send("ATTACHED", **feed.attached(**dict(attached)))
        for i in range(len(feed.FIELDS)):
            peer.send("FIELD", **feed.field(i, **(dict(field) if i == 1 else {})))
        for i in range(feed.n_slots):
            if slot and i == 1:
                slot(peer)
            else:
                peer.send_raw(pack("SLOT", slot=i, n_bytes=feed.slot_bytes), [peer.make_slot(feed.slot_bytes)])
        hold(peer)
    return script


def send_slot(feed, n_bytes=None, number=1, n_fds=1, seals=2, n_said=None):
    def script(peer):
        size = feed.slot_bytes if n_bytes is None else n_bytes
        fds = [peer.make_slot(size, seals) for _ in range(n_fds)]
        peer.send_raw(pack("SLOT", slot=number, n_bytes=n_said or feed.slot_bytes), fds)
    return script


def send_pipe(feed):
    def script(peer):
        ends = os.pipe()
        peer.fds += ends
        peer.send_raw(pack("SLOT", slot=1, n_bytes=feed.slot_bytes), ends[:1])
    return script


BIG = (1 << 64) - 8
WRONG_ATTACHED = [
    dict(n_fields=0), dict(n_fields=17), dict(n_fields=0xffffffff), dict(n_slots=0), dict(n_slots=1025),
    dict(n_rows=0), dict(n_rows=0xffffffff), dict(slot_bytes=0), dict(index_at=BIG), dict(position_at=3),
    dict(valid_at=1 << 40), dict(n_samples=1 << 63), dict(n_batches=1 << 63), dict(epoch=1 << 63),
    dict(fingerprint=b"0" * 40), dict(fingerprint=b"0" * 33), dict(fingerprint=b"0" * 31), dict(fingerprint=b"G" * 32),
    dict(n_rows=5000)]
WRONG_FIELD = [
    dict(n_dims=5), dict(n_dims=0xffffffff), dict(row_bytes=9), dict(at=BIG), dict(at=1 << 40), dict(at=1),
    dict(name=b""), dict(name=b"image"), dict(name=b"n" * 64), dict(n_dims=1, dim0=0),
    dict(n_dims=4, dim0=0xffffffff, dim1=0xffffffff, dim2=0xffffffff, dim3=0xffffffff),
    dict(n_dims=1, dim0=1 << 20, row_bytes=8 << 20), dict(kind=3), dict(kind=1, lengths_at=512), dict(lengths_at=8),
    *(dict(dtype=0, n_dims=1, dim0=8, row_bytes=8, kind=2, lengths_at=at) for at in (0, 1, BIG, 1 << 40)),
    dict(dtype=0, n_dims=0, row_bytes=1, kind=1, lengths_at=512)]
WRONG_SLOT = [
    lambda f: send_slot(f, n_bytes=4096 // 2), lambda f: send_slot(f, n_bytes=0), lambda f: send_slot(f, number=0),
    lambda f: send_slot(f, number=0xffffffff), lambda f: send_slot(f, n_fds=0), lambda f: send_slot(f, n_fds=2),
    lambda f: send_slot(f, n_fds=4), lambda f: send_slot(f, seals=0), lambda f: send_slot(f, seals=4),
    lambda f: send_slot(f, n_said=1 << 40), send_pipe]


@pytest.mark.parametrize("attached", WRONG_ATTACHED, ids=str)
def test_p06_wrong_attached(path, attached):
    with Daemon(path, attach_with(Feed(), attached=attached)), pytest.raises(ringfeed.ProtocolError):
        make(path, timeout=5)


@pytest.mark.parametrize("field", WRONG_FIELD, ids=str)
def test_p06_wrong_field(path, field):
    with Daemon(path, attach_with(Feed(), field=field)), pytest.raises(ringfeed.ProtocolError):
        make(path, timeout=5)


@pytest.mark.parametrize("number", range(len(WRONG_SLOT)))
def test_p06_wrong_slot(path, number):
    feed = Feed()
    with Daemon(path, attach_with(feed, slot=WRONG_SLOT[number](feed))), pytest.raises(ringfeed.ProtocolError):
        make(path, timeout=5)


def test_unknown_dtype_is_a_version(path):
    with Daemon(path, attach_with(Feed(), field=dict(dtype=99))), pytest.raises(ringfeed.VersionMismatch):
        make(path)


def test_no_descriptors_left(path):
    """A process at its limit gets a named error, and what did arrive is closed."""
    feed = Feed(n_slots=40)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Daemon(path, feed.serve):
        read, write = os.pipe()
        pid = os.fork()  # the daemon's thread stays here
        if pid == 0:
            answer = b"?"
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (64, limits[1]))
                with pytest.raises(OSError):
                    while True:
                        last = os.dup(write)
                os.close(last)  # one is left: the socket's
                make(path)
            except ringfeed.SystemError as error:
                answer = str(error).encode()
            except BaseException as error:
                answer = repr(error).encode()
            os.write(write, answer)
            os._exit(0)
        os.waitpid(pid, 0)
        assert b"Too many open files" in os.read(read, 1000)
        os.close(read)
        os.close(write)


WRONG_BATCH = [
    dict(slot=3), dict(slot=0xffffffff), dict(n_rows=5), dict(serial=8), dict(epoch=1)]


@pytest.mark.parametrize("batch", WRONG_BATCH, ids=str)
def test_p06_wrong_batch(path, batch):
    feed = Feed()

    def script(peer):
        feed.attach(peer)
        peer.send("BATCH", **{**dict(slot=0, n_rows=4, serial=7, lease=1, position_after=4), **batch})
        hold(peer)
    with Daemon(path, script), make(path, timeout=5, reconnect=5) as loader:
        with pytest.raises(ringfeed.ProtocolError):
            next(iter(loader))


def test_p06_slot_lent_twice(path):
    feed = Feed()

    def script(peer):
        feed.attach(peer)
        for lease in (1, 2):
            peer.send("BATCH", slot=0, n_rows=4, serial=7, lease=lease, position_after=4)
        hold(peer)
    with Daemon(path, script), make(path, timeout=5) as loader:
        it = iter(loader)
        kept = next(it)
        with pytest.raises(ringfeed.ProtocolError, match="lent already"):
            next(it)
        del kept


def test_p06_wrong_bell(path):
    """A descriptor that could hold the trainer up is refused."""
    feed = Feed()
    ends = os.pipe()

    def script(peer):
        peer.welcome()
        peer.receive("ATTACH")
        peer.send_raw(pack("ATTACHED", **feed.attached()), [ends[1]])
        hold(peer)
    with Daemon(path, script):
        with pytest.raises(ringfeed.ProtocolError, match="eventfd"):
            make(path, timeout=5)
    for fd in ends:
        os.close(fd)


GARBAGE = [
    b"x", b"\0" * 8, b"\xff" * 64, struct.pack("<II", 8, 8), struct.pack("<II", 99, 8), b"\0" * 100000,
    pack("HELLO"), pack("RELEASE", lease=1), pack("BATCH")[:-8], pack("BATCH") + b"\0" * 8, pack("WELCOME"),
    pack("SOUGHT"), pack("ATTACHED"), pack("STATUS_TEXT"), pack("EPOCH_END", serial=9), pack("EPOCH_END", serial=7, epoch=3),
    pack("FAILED", name=b"n" * 32), pack("EPOCH_END", serial=7, n_batches=1 << 63)]


@pytest.mark.parametrize("number", range(len(GARBAGE)))
def test_p06_garbage(path, number):
    """Whatever comes, wherever it comes: an exception by name."""
    feed = Feed()

    def at_hello(peer):
        peer.receive("HELLO")
        peer.send_raw(GARBAGE[number])
        hold(peer)

    def at_attach(peer):
        peer.welcome()
        peer.receive("ATTACH")
        peer.send_raw(GARBAGE[number])
        hold(peer)

    def later(peer):
        feed.attach(peer)
        peer.send_raw(GARBAGE[number])
        hold(peer)

    def with_fds(peer):
        feed.attach(peer)
        peer.send_raw(GARBAGE[number], [peer.make_slot(4096)] * 3)
        hold(peer)

    def at_seek(peer):
        feed.attach(peer)
        peer.receive("SEEK")
        peer.send_raw(GARBAGE[number])
        hold(peer)
    scripts = [at_hello, at_attach, later, with_fds, at_seek]
    if pack("EPOCH_END", serial=7)[:12] == GARBAGE[number][:12]:
        scripts.remove(at_seek)  # of an older serial: true, and to be dropped
    for script in scripts:
        with Daemon(path, script):
            with pytest.raises(ringfeed.Error) as caught:
                with make(path, timeout=5) as loader:
                    if script is at_seek:
                        loader.set_epoch(5)
                    next(iter(loader))
            assert type(caught.value) in (ringfeed.ProtocolError, ringfeed.VersionMismatch)


def test_status(path):
    def script(peer):
        peer.welcome()
        peer.receive("STATUS")
        for piece, last in ((b'{"feeds": ', 0), (b'["train"]', 0), (b"}", 1)):
            peer.send("STATUS_TEXT", n_bytes=len(piece), is_last=last, text=piece)
        with pytest.raises(HungUp):
            peer.receive()
    with Daemon(path, script):
        assert ringfeed.status(path) == {"feeds": ["train"]}

    def wrong(peer):
        peer.welcome()
        peer.receive("STATUS")
        peer.send("STATUS_TEXT", n_bytes=1 << 31, is_last=1)
        hold(peer)
    with Daemon(path, wrong), pytest.raises(ringfeed.ProtocolError):
        ringfeed.status(path)
    with pytest.raises(ringfeed.DaemonGone, match=str(path)):
        ringfeed.status(path)


@pytest.mark.parametrize("name, kind", [(b"", "Error"), (b"Novelty", "Error"), (b"Timeout", "Error"),
                                        (b"Refused", "Refused"), (b"StorageError", "StorageError")])
def test_status_that_failed(path, name, kind):
    def script(peer):
        peer.welcome()
        peer.receive("STATUS")
        peer.send("FAILED", error=-5, name=name, text=b"because of this")
        hold(peer)
    with Daemon(path, script), pytest.raises(ringfeed.Error, match="because of this") as caught:
        ringfeed.status(path)
    assert type(caught.value) is getattr(ringfeed, kind)
    assert (name.decode() in str(caught.value)) or kind != "Error"
