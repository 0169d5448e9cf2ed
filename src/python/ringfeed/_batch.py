# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""A lent batch, and the arrays that view it.

Every array's base leads to one lease object; when the last of them is collected, the batch goes back to the
daemon, from whatever thread the collector runs in (rf_batch_release may be called from any).
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping
from typing import Any, Optional

from . import _errors, _library

numpy: Any
try:
    import numpy
except ImportError:
    numpy = None

try:
    from ml_dtypes import bfloat16 as _bfloat16
except ImportError:
    _bfloat16 = None

# NumPy's typestr and memoryview's format of each element type; what they do not know is shown as its 16 bits.
_TYPES: dict[str, tuple[str, Any]] = {
    "uint8": ("|u1", "B"), "int64": ("<i8", "q"), "float16": ("<f2", "H"), "bfloat16": ("<u2", "H"),
    "float32": ("<f4", "f"), "bool": ("|b1", "?")}
_BYTES = {"uint8": 1, "int64": 8, "float16": 2, "bfloat16": 2, "float32": 4, "bool": 1}

_lib = _library.lib


class Lease:
    """The right to read a batch; given back when nothing refers to it any more."""

    __slots__ = ("handle", "__weakref__")

    def __init__(self, handle: int):
        self.handle = handle

    def __del__(self, release=_lib.rf_batch_release):
        release(self.handle)


class _View:
    """What NumPy takes an array from; the array's base."""

    __slots__ = ("__array_interface__", "lease")

    def __init__(self, interface: dict[str, Any], lease: Lease):
        self.__array_interface__ = interface
        self.lease = lease


_buffer_types: dict[int, Any] = {}


def lent_buffer(address: int, n_bytes: int, lease: Lease) -> Any:
    """A writable buffer of the slot's bytes that keeps the batch."""
    kind: Any = _buffer_types.get(n_bytes)
    if kind is None:
        # A subclass made here has a __dict__, and so room for the lease.
        kind = _buffer_types[n_bytes] = type("Buffer", (ctypes.c_ubyte * n_bytes,), {})
    buffer = kind.from_address(address)
    buffer.lease = lease
    return buffer


class Batch(Mapping):
    """Field name -> array. Zero copy: the arrays lie in the memory that the daemon wrote.

    The batch is lent until the last array that views it is gone, or until release().
    """

    __slots__ = ("_names", "_writable", "_lease", "_arrays", "_n_rows", "_copied", "__weakref__")

    def __init__(self, names: tuple[str, ...], handle: int, writable: bool, copy: bool):
        self._names = names
        self._writable = writable or copy
        self._lease: Optional[Lease] = Lease(handle)
        self._arrays: dict[str, Any] = {}
        self._n_rows = _lib.rf_batch_n_rows(handle)
        self._copied: Optional[dict[str, Any]] = None
        if copy:
            self._take_copies()

    def _take_copies(self) -> None:
        numbers = {"epoch": self.epoch, "step": self.step}
        waits = self.waits
        arrays = {name: self._copy_array(self[name]) for name in self._names}
        for name in (".index", ".position", ".valid"):
            arrays[name] = self._copy_array(self._whole(name))
        self._arrays = arrays
        self._copied = {**numbers, "waits": waits}
        self._lease = None

    def __getitem__(self, name: str) -> Any:
        array = self._arrays.get(name)
        if array is not None and name in self._names:
            return array
        lease = self._held()
        info = _library.Array()
        if not isinstance(name, str) or _lib.rf_batch_array(lease.handle, name.encode(), info) != 0:
            self._refuse(lease, name)
        shape = tuple(info.shape[:info.n_dims])
        array = self._make_array(info.data, shape, info.dtype.decode(), info.n_bytes, lease)
        self._arrays[name] = array
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        if self._lease is None and self._copied is None:
            return "<ringfeed batch, released>"
        return f"<ringfeed batch, epoch {self.epoch}, step {self.step}, {self._n_rows} rows: {', '.join(self._names)}>"

    @property
    def index(self) -> Any:
        """int64[n]: each sample's number in the dataset, shards in listed order."""
        return self._whole(".index")

    @property
    def position(self) -> Any:
        """int64[n]: each row's position in the epoch."""
        return self._whole(".position")

    @property
    def valid(self) -> Any:
        """bool[n]: False where the row pads the last batch or masks a bad sample."""
        return self._whole(".valid")

    @property
    def epoch(self) -> int:
        return self._number("epoch", _lib.rf_batch_epoch)

    @property
    def step(self) -> int:
        """The batch's number in its pass: what enumerate() over the loader would say."""
        return self._number("step", _lib.rf_batch_step)

    @property
    def waits(self) -> dict[str, float]:
        """Seconds that the batch waited on its way, by cause."""
        if self._copied is not None:
            return self._copied["waits"]
        waits = _library.Waits()
        code = _lib.rf_batch_waits(self._held().handle, waits)
        if code < 0:
            _library.raise_code(code)
        return {
            "read": waits.read_ns / 1e9, "decode": waits.decode_ns / 1e9, "slots": waits.slots_ns / 1e9,
            "trainer": waits.trainer_ns / 1e9}

    def release(self) -> None:
        """Give the batch back now. Arrays that still view it may show other samples from here on."""
        lease = self._held()
        if self._copied is not None:
            return
        code = _lib.rf_batch_return(lease.handle)
        if code < 0:
            _library.raise_code(code)
        self._lease = None
        self._arrays = {}

    def _held(self) -> Lease:
        if self._lease is not None:
            return self._lease
        if self._copied is not None:
            return None  # type: ignore[return-value]  # nothing is lent; see release()
        raise _errors.Released("the batch was released; keep what you need, or make the loader with copy=True")

    def _refuse(self, lease: Optional[Lease], name: object) -> None:
        if lease is not None and isinstance(name, str) and name in self._names:
            _library.raise_code(_lib.rf_batch_array(lease.handle, name.encode(), _library.Array()))
        raise KeyError(f"{name!r}; the feed has {', '.join(self._names)}")

    def _number(self, name: str, function: Any) -> int:
        if self._copied is not None:
            return self._copied[name]
        value = function(self._held().handle)
        if value < 0:
            _library.raise_code(value)
        return value

    def _whole(self, name: str) -> Any:
        array = self._arrays.get(name)
        if array is None:
            lease = self._held()
            at = getattr(_lib, "rf_batch_" + name[1:])(lease.handle)
            if not at:
                _library.raise_code(_lib.rf_batch_n_rows(lease.handle))
            dtype = "bool" if name == ".valid" else "int64"
            array = self._make_array(at, (self._n_rows,), dtype, self._n_rows * _BYTES[dtype], lease)
            self._arrays[name] = array
        return array

    def _make_array(self, address: int, shape: tuple[int, ...], dtype: str, n_bytes: int,
                    lease: Lease) -> Any:
        typestr, code = _TYPES[dtype]
        if numpy is not None:
            array = numpy.asarray(_View(
                {"version": 3, "shape": shape, "typestr": typestr, "data": (address, not self._writable)},
                lease))
            return array.view(_bfloat16) if dtype == "bfloat16" and _bfloat16 else array
        if n_bytes == 0:
            return memoryview(b"").cast(code)
        view = memoryview(lent_buffer(address, n_bytes, lease)).cast("B").cast(code, shape)
        return view if self._writable else view.toreadonly()

    def _copy_array(self, array: Any) -> Any:
        if numpy is not None:
            return array.copy()
        copy = memoryview(bytearray(array))
        return copy.cast(array.format, array.shape) if array.nbytes else copy.cast(array.format)
