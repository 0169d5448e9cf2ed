# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""libringfeed through ctypes: its functions, its structs, and its errors as exceptions."""

from __future__ import annotations

import ctypes
import errno
import os
import pathlib
import struct
from ctypes import POINTER, c_char, c_char_p, c_int, c_int64, c_size_t, c_uint32, c_uint64, c_void_p

from . import _errors


class Error(ctypes.Structure):
    _fields_ = [("name", c_char * 32), ("text", c_char * 600)]


class Options(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t), ("feed", c_char_p), ("socket", c_char_p), ("group", c_char_p),
        ("token", c_char_p), ("has_rank", c_int), ("rank", c_int), ("world_size", c_int),
        ("local_world_size", c_int), ("credit", c_int), ("timeout_ms", c_int),
        ("reconnect_ms", c_int), ("is_deferred", c_int), ("pin", c_int), ("has_replica", c_int),
        ("replica", c_uint32), ("start", c_int)]


class Peer(ctypes.Structure):
    _fields_ = [("rank", c_uint32), ("replica", c_uint32)]


class Column(ctypes.Structure):
    _fields_ = [
        ("name", c_char_p), ("dtype", c_char_p), ("at", c_size_t), ("n_dims", c_int), ("shape", c_int64 * 7)]


# struct rf_view, read in one go: base, n_bytes, n_rows, epoch, step.
VIEW = struct.Struct("PNqqq")


class Waits(ctypes.Structure):
    _fields_ = [
        ("read_ns", c_uint64), ("decode_ns", c_uint64), ("slots_ns", c_uint64),
        ("trainer_ns", c_uint64)]


_PROTOTYPES = {
    "rf_version": (c_char_p, []),
    "rf_session_open": (c_int, [POINTER(Options), POINTER(c_void_p), POINTER(Error)]),
    "rf_session_next": (c_int, [c_void_p, c_int, POINTER(c_void_p)]),
    "rf_session_next_view": (c_int, [c_void_p, c_int, c_void_p, c_void_p]),
    "rf_session_set_batch_size": (c_int, [c_void_p, c_uint32, c_int]),
    "rf_session_set_epoch": (c_int, [c_void_p, c_uint64, c_int]),
    "rf_session_load_token": (c_int, [c_void_p, c_char_p, c_int]),
    "rf_session_token": (c_int, [c_void_p, c_char_p, c_size_t]),
    "rf_session_reconnect": (c_int, [c_void_p, c_int]),
    "rf_session_pinned": (c_int, [c_void_p, c_char_p, c_size_t]),
    "rf_session_gone_peer": (c_int, [c_void_p, POINTER(Peer)]),
    "rf_session_shared": (c_int, [c_void_p]),
    "rf_session_error": (POINTER(Error), [c_void_p]),
    "rf_session_n_batches": (c_int64, [c_void_p]),
    "rf_session_n_samples": (c_int64, [c_void_p]),
    "rf_session_epoch": (c_int64, [c_void_p]),
    "rf_session_n_returned": (c_int64, [c_void_p]),
    "rf_session_n_fields": (c_int, [c_void_p]),
    "rf_session_wait_ns": (c_int64, [c_void_p]),
    "rf_session_column": (c_int, [c_void_p, c_int, POINTER(Column)]),
    "rf_session_lengths": (c_int, [c_void_p, c_int, POINTER(Column)]),
    "rf_session_close": (c_void_p, [c_void_p]),
    "rf_batch_view": (c_int, [c_void_p, c_void_p]),
    "rf_batch_index": (c_void_p, [c_void_p]),
    "rf_batch_n_rows": (c_int64, [c_void_p]),
    "rf_batch_waits": (c_int, [c_void_p, POINTER(Waits)]),
    "rf_batch_return": (c_int, [c_void_p]),
    "rf_batch_release": (c_int, [c_void_p]),
    "rf_status": (c_int, [c_char_p, c_int, POINTER(c_void_p), POINTER(Error)]),
    "rf_trace": (c_int, [c_char_p, c_int, POINTER(c_void_p), POINTER(Error)]),
    "rf_free": (None, [c_void_p]),
}


def _load() -> ctypes.CDLL:
    """RINGFEED_LIBRARY, else the copy inside the package, else the system's."""
    bundled = pathlib.Path(__file__).parent / "_native" / "libringfeed.so"
    path = os.environ.get("RINGFEED_LIBRARY") or (str(bundled) if bundled.exists() else "libringfeed.so.0")
    try:
        library = ctypes.CDLL(path)
    except OSError as reason:
        raise ImportError(
            f"libringfeed cannot be loaded ({reason}); install ringfeed with pip, or set RINGFEED_LIBRARY "
            "to the libringfeed.so of a build") from None
    for name, (result, arguments) in _PROTOTYPES.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
    return library


lib = _load()

# What a batch's own functions answer, for which there is no session's sentence.
_BY_ERRNO = {
    errno.EOWNERDEAD: ("Forked", "the loader was made before a fork; make one in the child process"),
    errno.EBUSY: ("Busy", "another thread is inside a call on this loader; give each thread its own"),
    errno.EBADF: ("Closed", "the loader was closed"),
    errno.EALREADY: ("Released", "the batch was released"),
    errno.ENODATA: ("Closed", "the loader is not attached"),
}


def exception(error: Error) -> _errors.Error:
    """The exception that an error of the library stands for."""
    name = error.name.decode(errors="replace")
    text = error.text.decode(errors="replace")
    kind = _errors.BY_NAME.get(name)
    return kind(text) if kind else _errors.Error(f"{name}: {text}")


def raise_code(code: int) -> None:
    """Raises for what a function without a session's sentence answered."""
    name, text = _BY_ERRNO.get(-code, ("Error", os.strerror(-code)))
    raise _errors.BY_NAME.get(name, _errors.Error)(text)


def raise_session(session: c_void_p, code: int) -> None:
    """Raises what the session says about its last failed call."""
    if -code in (errno.EOWNERDEAD, errno.EBUSY, errno.EBADF):
        raise_code(code)
    raise exception(lib.rf_session_error(session).contents)
