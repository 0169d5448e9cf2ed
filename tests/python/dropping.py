# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Another thread that lets go of what it is handed."""
import threading


class Dropping:
    """A context; its thread ends with it, however it ends, and no wait is longer than 10 s."""

    def __init__(self):
        self.queue, self.n_left, self.is_over, self.changed = [], 0, False, threading.Condition()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.queue or self.is_over)
                if not self.queue:
                    return
                last = self.queue.pop(0)
            del last
            with self.changed:
                self.n_left -= 1
                self.changed.notify_all()

    def hand(self, what):
        with self.changed:
            self.queue.append(what)
            self.n_left += 1
            self.changed.notify_all()

    def wait(self, n):
        """Until at most n are left."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.n_left <= n, 10)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        with self.changed:
            self.is_over = True
            self.changed.notify_all()
        self.thread.join(10)
        assert not self.thread.is_alive()
