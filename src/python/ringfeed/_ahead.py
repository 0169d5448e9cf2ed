# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""Copying ahead: the next batches are on their way to a device while the trainer works on this one.

A slot is given back when the copy out of it is complete, which the event recorded behind that very copy says, and
never before, whatever becomes of the batch, the loader or the epoch. A state counts what was returned to the trainer,
not what was copied ahead. Nothing here knows CUDA. A device has

    start(batch) -> moved, event    enqueues the copy of a lent batch and does not wait for it
    hand_over(moved, event) -> batch
                                    orders the caller's work on the device behind the event; what the caller gets

and an event has query() -> is it complete? and synchronize(), which waits until it is.
"""

from __future__ import annotations

import errno
import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Generic, Optional, TypeVar

from . import _errors, _library, _loader
from ._batch import Batch

AHEAD = 2  # batches copied, or on their way, that the trainer has not asked for yet

B = TypeVar("B", bound=Batch)


class _Copy(Generic[B]):
    """A lent batch and its copy. The batch stays lent until the copy is complete, also when all else is forgotten."""

    __slots__ = ("host", "before", "moved", "event", "pid")

    def __init__(self, host: B, before: bytes):
        self.host: Optional[B] = host
        self.before = before  # the token that leads to this batch
        self.moved: Any = None
        self.event: Any = None  # None: not started
        self.pid = os.getpid()

    def release(self) -> None:
        host, self.host = self.host, None
        if host is not None:
            host.release()

    def settle(self) -> None:
        """Waits for the copy and gives the slot back."""
        if self.host is None:
            return
        try:
            if self.event is not None:
                self.event.synchronize()
        except Exception:  # the device is lost, and its copies with it; every use of it says so to the trainer
            pass
        self.release()

    def __del__(self, getpid: Any = os.getpid) -> None:
        if self.host is not None and getpid() == self.pid:  # a forked child leaves the device alone
            self.settle()


class Ahead(Generic[B]):
    """The batches between a loader and its trainer."""

    def __init__(self, device: Any):
        self._device = device
        self._ready: deque[_Copy[B]] = deque()  # not returned yet, in order
        self._flying: deque[_Copy[B]] = deque()  # whose slot we have, in the order of their starts
        self._is_over = False  # the epoch's end was read, behind what is ready
        self._peer: Optional[_errors.PeerGone] = None  # who died, behind what is ready
        self._pid = os.getpid()
        self._lock = threading.Lock()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if os.getpid() != self._pid:
            _library.raise_code(-errno.EOWNERDEAD)
        if not self._lock.acquire(blocking=False):
            _library.raise_code(-errno.EBUSY)
        try:
            yield
        finally:
            self._lock.release()

    def next(self, source: Loader[B]) -> Optional[B]:
        """The next batch on the device, or None at the end of the epoch; starts what can be copied behind it."""
        with self._alone():
            self._free()
            if not self._ready and not self._fetch(source):
                return None
            copy = self._ready[0]
            if copy.event is None:
                self._start(copy)
            self._fill(source)
            batch = self._device.hand_over(copy.moved, copy.event)
            self._ready.popleft()
            return batch

    def token(self) -> Optional[bytes]:
        """Where the trainer is; None: where the loader is."""
        try:
            return self._ready[0].before
        except IndexError:
            return None

    def __len__(self) -> int:
        """Batches that the trainer has not asked for yet."""
        return len(self._ready)

    def drop(self) -> None:
        """Forgets what was not returned; no slot is held any more."""
        with self._alone():
            for copies in (self._flying, self._ready):
                while copies:
                    copies[0].settle()
                    copies.popleft()
            self._is_over = False

    def _free(self) -> None:
        """Gives back the slots whose copies are complete."""
        while self._flying and self._flying[0].event.query():
            self._flying[0].release()
            self._flying.popleft()

    def _start(self, copy: _Copy[B]) -> None:
        copy.moved, copy.event = self._device.start(copy.host)
        self._flying.append(copy)

    def _poll(self, source: Loader[B]) -> bool:
        """Takes a batch that is there already. What goes wrong here is said by the take that is due later."""
        if self._is_over or self._peer is not None or source._left() <= 0:
            return False
        before = source._token()
        code, batch = source._poll()
        if code == -errno.EPIPE:
            self._peer = source._peer_gone()  # the library tells it once
        self._is_over = code == -errno.ENODATA
        if batch is not None:
            self._ready.append(_Copy(batch, before))
        return batch is not None

    def _fetch(self, source: Loader[B]) -> bool:
        """Waits for a batch; False: the epoch is over."""
        if self._poll(source):
            return True
        if self._peer is not None:
            peer, self._peer = self._peer, None
            raise peer
        if self._is_over:
            self._is_over = False
            return False
        while self._flying:  # the daemon needs slots to fill one, and we may hold them all
            self._flying[0].settle()
            self._flying.popleft()
        before = source._token()
        batch = source._take()
        if batch is not None:
            self._ready.append(_Copy(batch, before))
        return batch is not None

    def _fill(self, source: Loader[B]) -> None:
        """AHEAD batches behind the first; a copy that cannot be started is tried again when its turn has come."""
        try:
            while len(self._ready) <= AHEAD and self._poll(source):
                self._start(self._ready[-1])
        except Exception:
            pass


class Loader(_loader.Loader[B]):
    """A loader whose batches go through a device, where there is one."""

    _ahead: Optional[Ahead[B]] = None

    def _next(self) -> Optional[B]:
        return self._take() if self._ahead is None else self._ahead.next(self)

    def _poll(self) -> tuple[int, Optional[B]]:
        """A batch that is there now, else what the library answers."""
        handle, view = self._outputs
        code = _loader.next_view(self._session, 0, handle, view)
        return code, self._lent() if code == 0 else None

    def _left(self) -> int:
        """Batches of this pass that the daemon has not lent yet."""
        return self._number(_library.lib.rf_session_n_batches) - self._number(_library.lib.rf_session_n_returned)

    def _turn(self) -> None:
        super()._turn()
        if self._ahead is not None:
            self._ahead.drop()

    def state_dict(self) -> dict[str, Any]:
        """Where the run is: after the last batch that was returned."""
        state = super().state_dict()
        token = None if self._ahead is None else self._ahead.token()
        return state if token is None else {**state, "token": token.decode()}

    def set_batch_size(self, size: int) -> None:
        token = None if self._ahead is None else self._ahead.token()
        if self._ahead is None or token is None:
            super().set_batch_size(size)
            return
        n_before = self._n_before + self._number(_library.lib.rf_session_n_returned) - len(self._ahead)
        self._ahead.drop()
        super().set_batch_size(size)
        session = self._session  # its place is behind what was copied ahead
        self._check(self._wait(lambda ms: _library.lib.rf_session_load_token(session, token, ms)))
        self._n_before = n_before

    def close(self) -> None:
        """Leave the feed, after the copies under way. Arrays that are still there stay valid; a second close does nothing."""
        if self._ahead is not None and os.getpid() == self._pid:
            self._ahead.drop()
        super().close()
