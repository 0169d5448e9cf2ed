# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Trainers as processes: forked from the scene, so that a storm of them is cheap.

The scene itself must hold no session while it forks: a child would keep its socket open.
"""
import contextlib
import hashlib
import json
import os
import select
import signal
import sys
import time
import traceback

import ringfeed


class Trainer:
    """A process that runs work(say); what it says is JSON, one line each, heard here in order."""

    def __init__(self, work):
        reads, writes = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(reads)
            run_child(work, writes)
        os.close(writes)
        self.pipe, self.rest, self.code = reads, b"", None

    def hear(self, seconds=60.0):
        """The next thing said; None when the process is gone and all is heard."""
        deadline = time.monotonic() + seconds
        while b"\n" not in self.rest:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.pipe], [], [], left)[0]:
                raise AssertionError(f"trainer {self.pid} said nothing for {seconds} s")
            got = os.read(self.pipe, 1 << 16)
            if not got:
                return None
            self.rest += got
        line, self.rest = self.rest.split(b"\n", 1)
        return json.loads(line)

    def all(self, seconds=60.0):
        """Everything that is still to be heard, until its end."""
        heard = []
        while (line := self.hear(seconds)) is not None:
            heard.append(line)
        return heard

    def signal(self, number):
        os.kill(self.pid, number)

    def kill(self):
        self.signal(signal.SIGKILL)
        return self.wait()

    def wait(self):
        if self.code is None:
            _, status = os.waitpid(self.pid, 0)
            self.code = os.waitstatus_to_exitcode(status)
        return self.code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.code is None:
            with contextlib.suppress(ProcessLookupError):
                self.kill()
        os.close(self.pipe)


def run_child(work, pipe):
    def say(what):
        os.write(pipe, json.dumps(what).encode() + b"\n")

    code = 1
    try:
        work(say)
        code = 0
    except ringfeed.Error as error:
        say({"error": type(error).__name__, "text": str(error)})
        code = 3
    except BaseException:
        traceback.print_exc()
    sys.stderr.flush()
    os._exit(code)


def row_hashes(batch):
    """[position, hash of all the row's bytes] of each row."""
    arrays = [batch[name] for name in sorted(batch)]
    rows = []
    for i, position in enumerate(batch.position.tolist()):
        h = hashlib.blake2b(digest_size=8)
        for array in arrays:
            h.update(array[i].tobytes())
        h.update(b"%d %d" % (batch.index[i], batch.valid[i]))
        rows.append([position, h.hexdigest()])
    return rows


def reading(feed, epochs=1, pause=0.0, state=None, report=True, **options):
    """Work: reads so many epochs and says the rows of each batch."""
    def work(say):
        with ringfeed.Loader(feed, state=state, **options) as loader:
            say({"pid": os.getpid()})
            for _ in range(epochs):
                for batch in loader:
                    rows = row_hashes(batch)
                    said = {"epoch": batch.epoch, "rows": rows} if report else {"n": len(rows)}
                    batch.release()
                    say({**said, "state": loader.state_dict()})
                    if pause:
                        time.sleep(pause)
    return work


def holding(feed, n, children=0, **options):
    """Work: takes n batches, says their hashes, holds them, and says them again after each SIGUSR1."""
    def work(say):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        loader = ringfeed.Loader(feed, **options)
        iterator = iter(loader)
        held = [next(iterator) for _ in range(n)]
        pids = []
        for _ in range(children):
            pids.append(os.fork())
            if pids[-1] == 0:
                time.sleep(600)
                os._exit(0)
        while True:
            say({"pid": os.getpid(), "children": pids, "rows": [row_hashes(b) for b in held],
                 "state": loader.state_dict()})
            signal.sigwait([signal.SIGUSR1])
    return work


def checking(feed, want, pause=0.005, **options):
    """Work: reads epoch 0 again and again, each row as in want; says after each pass how long its waits were."""
    def work(say):
        with ringfeed.Loader(feed, **options) as loader:
            n = 0
            while True:
                rows, slowest, began = {}, 0.0, time.monotonic()
                for batch in loader:
                    slowest = max(slowest, time.monotonic() - began)
                    rows.update(((batch.epoch, position), digest) for position, digest in row_hashes(batch))
                    batch.release()
                    time.sleep(pause)
                    began = time.monotonic()
                n += 1
                say({"pass": n, "same": rows == want, "slowest": slowest})
                loader.set_epoch(0)
    return work


@contextlib.contextmanager
def witness(feed, least=2, **options):
    """A trainer that reads beside what happens; at the end it must have read the bytes of a quiet time."""
    with Trainer(reading(feed, socket=options["socket"])) as quiet:
        want = rows_of(quiet.all())
    assert want
    with Trainer(checking(feed, want, **options)) as trainer:
        assert trainer.hear()["same"]
        yield trainer
        heard = [trainer.hear() for _ in range(least)]
        trainer.kill()
        heard += trainer.all()
        assert all(said["same"] for said in heard), heard
        print(f"  a trainer beside it: {heard[-1]['pass']} passes, longest wait for a batch "
              f"{max(said['slowest'] for said in heard) * 1000:.0f} ms")


def rows_of(heard):
    """(epoch, position) -> hash of all rows; a row twice is an error."""
    rows = {}
    for said in heard:
        assert "error" not in said, said
        for position, digest in said.get("rows", ()):
            assert (said["epoch"], position) not in rows
            rows[said["epoch"], position] = digest
    return rows
