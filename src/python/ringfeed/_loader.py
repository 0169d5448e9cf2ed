# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""The loader: one trainer's place in a feed, as an iterable."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import time
import warnings
from collections.abc import Iterator
from typing import Any, Callable, Generic, Optional, TypeVar, Union

from . import _errors, _library
from ._batch import Batch, Layout
from ._private import Config, PrivateDaemon

_SLICE_MS = 100  # how long Python waits inside the library before it looks for Ctrl-C
_STATE_VERSION = 1
_STARTS = {"now": 0, "next_epoch": 1}

_lib = _library.lib
next_view, _read_view = _lib.rf_session_next_view, _library.VIEW.unpack
B = TypeVar("B", bound=Batch)
_Path = Union["os.PathLike[str]", str]


def _text(value: Optional[str]) -> Optional[bytes]:
    return None if value is None else os.fsencode(value)


def _options(feed: str, socket: Any, rank: Optional[int], world_size: Optional[int],
             local_world_size: Optional[int], replica: Optional[int], group: Optional[str],
             start: str) -> _library.Options:
    if not isinstance(feed, str):
        raise TypeError(f"feed is the name of a feed, not {feed!r}")
    if (rank is None) != (world_size is None):
        raise _errors.BadConfig("rank and world_size go together; give both or neither")
    if replica is not None and not 0 <= replica < 1 << 16:
        raise _errors.BadConfig(f"replica {replica}: a number from 0 to 65535 is wanted")
    if start not in _STARTS:
        raise _errors.BadConfig(f"start={start!r}: 'now' or 'next_epoch' is wanted")
    options = _library.Options(size=ctypes.sizeof(_library.Options), is_deferred=1)
    options.feed = _text(feed)
    options.socket = None if socket is None else os.fsencode(os.fspath(socket))
    options.group = _text(group)
    options.has_rank = rank is not None
    options.rank = rank or 0
    options.world_size = world_size or 0
    options.local_world_size = local_world_size or 0
    options.has_replica = replica is not None
    options.replica = replica or 0
    options.start = _STARTS[start]
    return options


class Loader(Generic[B]):
    """The batches of a feed, lent by the daemon on this machine.

    ``for batch in loader`` is one epoch; the next ``for`` goes on with the next one, also after a break.
    A batch is lent until the last array that views it is gone; see README for copy= and release().

    feed              name of the feed in the daemon's configuration
    socket            else RINGFEED_SOCKET, else the default path
    config            instead of a socket: a configuration file or mapping, served by a private daemon that
                      the first trainer of the job starts and that ends 10 s after the last one has gone
    rank, world_size, local_world_size, group
                      else what the launcher put into the environment; a trainer alone needs none
    replica           trainers of one rank (tensor or pipeline parallel), each with a number from 0, get the same
                      batches from the same memory; else RINGFEED_REPLICA, else there is one of this rank
    start             where to begin in a pass that groups share and that is under way: "now", or "next_epoch"
    state             what state_dict() gave: go on there
    timeout           longest wait for one batch, in seconds
    reconnect         how long a lost daemon is looked for, in seconds (one that is not there yet: 5 at most)
    credit            most batches lent at once; None: as many as the daemon has slots for this trainer
    copy              batches are copies of their own, nothing stays lent
    writable          arrays may be written: they are this trainer's alone. Not where others read them, too (`shared`:
                      a feed whose groups share a pass, or replica=); there in-place work wants copy=True
    pin               page-lock the batches' memory for CUDA, where the process has a CUDA context; pinned and
                      pinned_reason say whether that is so, and why not; a RuntimeWarning does, too
    """

    _batch_type: Callable[..., Any] = Batch

    def __init__(self, feed: str, *, socket: Optional[_Path] = None, config: Optional[Config] = None,
                 rank: Optional[int] = None, world_size: Optional[int] = None,
                 local_world_size: Optional[int] = None, replica: Optional[int] = None,
                 group: Optional[str] = None, start: str = "now",
                 state: Optional[dict[str, Any]] = None, timeout: float = 60.0, reconnect: float = 30.0,
                 credit: Optional[int] = None, copy: bool = False, writable: bool = False,
                 pin: bool = False):
        self._session = ctypes.c_void_p()
        self._feed = feed
        self._timeout = timeout
        self._first_slice = _SLICE_MS if timeout > 0 else 0
        self._copy = copy
        self._writable = writable
        self._pin = pin
        self._pid = os.getpid()
        self._pass = 0  # counts iterators, so that an older one knows
        self._n_before = 0  # batches of this pass that came before the place where the library began to count
        self._handle = ctypes.c_void_p()
        self._view = ctypes.create_string_buffer(_library.VIEW.size)
        self._outputs = ctypes.addressof(self._handle), ctypes.addressof(self._view)  # a number is passed in half the time
        self._reconnect = reconnect
        self._private: Optional[PrivateDaemon] = None
        if config is not None:
            if socket is not None:
                raise _errors.BadConfig("socket and config are two ways to name a daemon; give one of them")
            self._private = PrivateDaemon(config)
            socket, reconnect = self._private.ensure(), 0.0  # _lasting() brings it back
        options = _options(feed, socket, rank, world_size, local_world_size, replica, group, start)
        options.token = None if state is None else _token_of(state)
        options.credit = credit or 0
        options.timeout_ms = max(1, int(timeout * 1000))
        options.reconnect_ms = int(reconnect * 1000)
        options.pin = int(pin)
        error = _library.Error()
        if _lib.rf_session_open(options, self._session, error) < 0:
            raise _library.exception(error)
        try:
            self._attach()
            self._check_sharing()
            if pin and not self.pinned:
                warnings.warn(f"batches of feed {feed!r} are not pinned: {self.pinned_reason}", RuntimeWarning, 2)
        except BaseException:
            self.close()
            raise

    def _attach(self) -> None:
        """Until the library is through or says why not: it has the deadlines, we have Ctrl-C."""
        self._check(self._lasting(self._reconnected))
        self._layout = Layout(self._session)

    def _check_sharing(self) -> None:
        if self._writable and not self._copy and self.shared:
            raise _errors.BadConfig(
                f"writable=True: batches of feed {self._feed!r} are for reading only (other trainers read them, too, or "
                "daemon.sealed is true); make the loader with "
                "copy=True to have arrays that may be written")

    def _reconnected(self) -> int:
        while (code := _lib.rf_session_reconnect(self._session, _SLICE_MS)) == -errno.ETIMEDOUT:
            pass
        return code

    def _lasting(self, call: Callable[[], int]) -> int:
        """The call's answer; a private daemon that is gone is started again, and then the call is made again."""
        code = call()
        if code != -errno.ECONNRESET or self._private is None:
            return code
        deadline = time.monotonic() + self._reconnect
        while code == -errno.ECONNRESET and time.monotonic() < deadline:
            self._private.ensure()
            code = self._reconnected()
            if code == 0:
                code = call()
        return code

    def _wait(self, call: Callable[[int], int]) -> int:
        """Repeats a call in slices until it answers or the timeout is over."""
        def whole() -> int:
            code = call(self._first_slice)
            return code if code != -errno.ETIMEDOUT else self._wait_on(call)
        return self._lasting(whole)

    def _wait_on(self, call: Callable[[int], int]) -> int:
        """The same, when one slice is over already."""
        code, deadline = -errno.ETIMEDOUT, time.monotonic() + self._timeout - _SLICE_MS / 1000
        while code == -errno.ETIMEDOUT and (left := deadline - time.monotonic()) > 0:
            code = call(min(_SLICE_MS, int(left * 1000) + 1))
        return code

    def _check(self, code: int) -> None:
        if code >= 0:
            return
        if -code == errno.EINVAL and not self._session:
            raise _errors.Closed("the loader was closed")
        if -code == errno.ECONNRESET and self._private is not None:
            text = _library.exception(_lib.rf_session_error(self._session).contents)
            raise _errors.DaemonGone(f"{text}{self._private.last_words()}")
        if -code == errno.ETIMEDOUT:
            text = _library.exception(_lib.rf_session_error(self._session).contents)
            raise _errors.Timeout(f"{text} (waited {self._timeout:g} s)")
        if -code == errno.EPIPE:
            raise self._peer_gone()
        if -code == errno.ENOBUFS:
            text = _library.exception(_lib.rf_session_error(self._session).contents)
            raise _errors.TooManyHeld(
                f"{text}: call batch.release() and drop the arrays when you are done with a batch, or make the "
                "loader with copy=True to keep as many as you like")
        _library.raise_session(self._session, code)

    def _peer_gone(self) -> _errors.PeerGone:
        """What the library's last answer told of."""
        error, peer = _library.exception(_lib.rf_session_error(self._session).contents), _library.Peer()
        _lib.rf_session_gone_peer(self._session, peer)
        return _errors.PeerGone(str(error), peer.rank, peer.replica)

    def _next(self) -> Optional[B]:
        """What an iterator returns next; None: the epoch is over."""
        return self._take()

    def _take(self) -> Optional[B]:
        """The next batch that the daemon lends, or None at the end of the epoch."""
        handle, view = self._outputs
        code = next_view(self._session, self._first_slice, handle, view)
        if code == -errno.ETIMEDOUT or code == -errno.ECONNRESET:
            code = self._wait(lambda ms: next_view(self._session, ms, handle, view))
        if code == 0:
            return self._lent()
        if code == -errno.ENODATA:
            return None
        self._check(code)
        return None

    def _lent(self) -> B:
        return self._batch_type(self._layout, self._handle.value, _read_view(self._view), self._writable, self._copy)

    def _turn(self) -> None:
        """Iterators made before now are out of date."""
        self._pass += 1

    def _arrived(self) -> None:
        """Where a pass begins."""
        self._n_before = 0

    def __iter__(self) -> Iterator[B]:
        """One epoch: the rest of this one where nothing of it was asked for yet, else the whole next one."""
        self._turn()
        if self._n_before or self._number(_lib.rf_session_n_returned) > 0:
            self._seek_epoch(self.epoch + 1)
        return _Pass(self, self._pass)

    def __len__(self) -> int:
        """Batches of the present pass."""
        return self._n_before + self._number(_lib.rf_session_n_batches)

    def _number(self, function: Callable[[ctypes.c_void_p], int]) -> int:
        value = function(self._session)
        self._check(value)
        return value

    @property
    def epoch(self) -> int:
        """The epoch that the next batch belongs to."""
        return self._number(_lib.rf_session_epoch)

    @property
    def n_samples(self) -> int:
        """Samples of the whole feed."""
        return self._number(_lib.rf_session_n_samples)

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields of a batch."""
        return self._layout.names

    @property
    def wait_seconds(self) -> float:
        """Seconds spent waiting for batches so far."""
        return self._number(_lib.rf_session_wait_ns) / 1e9

    @property
    def shared(self) -> bool:
        """Do other trainers read the same batches, or is daemon.sealed true? Then nobody may write them: the memory is mapped read-only."""
        return self._number(_lib.rf_session_shared) == 1

    @property
    def pinned(self) -> bool:
        """Is every batch page-locked for CUDA?"""
        return self._number(lambda session: _lib.rf_session_pinned(session, None, 0)) == 1

    @property
    def pinned_reason(self) -> str:
        """Why the batches are not page-locked; empty where they are."""
        text = ctypes.create_string_buffer(600)
        self._number(lambda session: _lib.rf_session_pinned(session, text, len(text)))
        return text.value.decode(errors="replace")

    def _seek_epoch(self, epoch: int) -> None:
        session = self._session
        self._check(self._wait(lambda ms: _lib.rf_session_set_epoch(session, epoch, ms)))
        self._arrived()

    def set_epoch(self, epoch: int) -> None:
        """Go on at the start of that epoch, unless a state of it was just loaded or it is next anyway."""
        if not 0 <= epoch < 1 << 63:
            raise _errors.BadConfig(f"epoch {epoch}: 0 to {(1 << 63) - 1} is wanted")
        self._turn()
        self._seek_epoch(epoch)

    def set_batch_size(self, size: int) -> None:
        """Batches of `size` samples for this rank from the next one on, at most as many as the configuration says.

        The place does not change, states stay exact, and an epoch under way goes on. All ranks of a group have to call it
        between the same two batches; len() is then what this pass comes to. What was made ahead is made again.
        """
        if not 0 < size < 1 << 32:
            raise _errors.BadConfig(f"a batch of {size} samples: at least 1 is wanted")
        session = self._session
        self._check(self._wait(lambda ms: _lib.rf_session_set_batch_size(session, size, ms)))

    def _token(self) -> bytes:
        text = ctypes.create_string_buffer(520)
        self._check(_lib.rf_session_token(self._session, text, len(text)))
        return text.value

    def state_dict(self) -> dict[str, Any]:
        """Where the run is: after the last batch that was returned."""
        return {"version": _STATE_VERSION, "token": self._token().decode()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where state_dict() was called."""
        token, session = _token_of(state), self._session
        self._turn()
        self._check(self._wait(lambda ms: _lib.rf_session_load_token(session, token, ms)))
        self._arrived()

    def close(self) -> None:
        """Leave the feed. Arrays that are still there stay valid; a second close does nothing."""
        if self._session and os.getpid() != self._pid:
            _library.raise_code(-errno.EOWNERDEAD)
        if self._session and _lib.rf_session_close(self._session):
            _library.raise_code(-errno.EBUSY)
        self._session = ctypes.c_void_p()

    def __enter__(self) -> "Loader[B]":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __del__(self, close=_lib.rf_session_close) -> None:
        session = self.__dict__.get("_session")
        if session:
            close(session)

    def __reduce__(self) -> Any:
        raise TypeError(
            "a ringfeed Loader cannot be pickled: it is this process's place in the feed; make one in each "
            "process that trains, after it has started")

    def __repr__(self) -> str:
        return f"<ringfeed loader of feed {self._feed!r}{self._condition()}>"

    def _condition(self) -> str:
        if not self._session:
            return ", closed"
        if not self._pin or os.getpid() != self._pid:
            return ""
        reason = self.pinned_reason
        return f", not pinned: {reason}" if reason else ", pinned"


class _Pass(Iterator[B]):
    """One epoch of a loader."""

    def __init__(self, loader: Loader[B], number: int):
        self._loader: Optional[Loader[B]] = loader
        self._number = number

    def __next__(self) -> B:
        loader = self._loader
        if loader is None:
            raise StopIteration
        if loader._pass != self._number:
            raise _errors.Error("this iterator is out of date: the loader was told to go elsewhere since")
        batch = loader._next()
        if batch is None:
            loader._arrived()
            self._loader = None
            raise StopIteration
        return batch


def _token_of(state: dict[str, Any]) -> bytes:
    token = state.get("token") if isinstance(state, dict) else None
    if not isinstance(token, str) or state.get("version") != _STATE_VERSION:
        raise _errors.TokenError(
            f"a state is what state_dict() gave, of version {_STATE_VERSION}; this one is {state!r:.80}")
    if not 0 < len(token) < 520 or "\0" in token:
        raise _errors.TokenError(f"a token has 1 to 519 characters, this one {len(token)}")
    return token.encode()


def status(socket: Optional[_Path] = None, timeout: float = 10.0) -> dict[str, Any]:
    """The state of the running daemon."""
    text, error = ctypes.c_void_p(), _library.Error()
    path = None if socket is None else os.fsencode(os.fspath(socket))
    if _lib.rf_status(path, int(timeout * 1000), text, error) < 0:
        raise _library.exception(error)
    try:
        return json.loads(ctypes.string_at(text))
    finally:
        _lib.rf_free(text)
