# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""A lent batch, and the arrays that view it.

Every array's base leads to one buffer over the batch's memory, which is the lease: when the last array is
collected, the batch goes back to the daemon, from whatever thread the collector runs in (rf_batch_release may be
called from any). What is the same for all batches of a loader is worked out once, in Layout.
"""

from __future__ import annotations

import ctypes
import errno
import operator
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional, Union

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
_TYPES: dict[str, tuple[str, str, int]] = {
    "uint8": ("|u1", "B", 1), "int64": ("<i8", "q", 8), "float16": ("<f2", "H", 2), "bfloat16": ("<u2", "H", 2),
    "float32": ("<f4", "f", 4), "int32": ("<i4", "i", 4), "int8": ("|i1", "b", 1), "int16": ("<i2", "h", 2),
    "uint16": ("<u2", "H", 2), "uint32": ("<u4", "I", 4), "uint64": ("<u8", "Q", 8), "float64": ("<f8", "d", 8),
    "bool": ("|b1", "?", 1)}

_TEXT = 2  # RF_TEXT

_lib = _library.lib
_return = _lib.rf_batch_return


class Column:
    """Where one array lies in every batch: its name, type, offset and the shape of one row."""

    __slots__ = ("name", "dtype", "at", "row_shape", "format", "row_bytes", "numpy_type", "lengths", "is_text")

    def __init__(self, info: _library.Column):
        self.name = info.name.decode()
        self.dtype = info.dtype.decode()
        self.at = info.at
        self.row_shape = tuple(info.shape[:info.n_dims])
        typestr, self.format, n_bytes = _TYPES[self.dtype]
        for n in self.row_shape:
            n_bytes *= n
        self.row_bytes = n_bytes
        self.lengths: Optional[Column] = None  # of rows of different length
        self.is_text = False
        self.numpy_type: Any = None
        if numpy is not None:
            self.numpy_type = numpy.dtype(
                _bfloat16 if self.dtype == "bfloat16" and _bfloat16 else typestr)


class Ragged(Sequence):
    """Rows of different length: bytes, or str where the field decodes text.

    ragged[i] makes row i, list(ragged) all of them. Zero copy: `values`, uint8[n, max], has the bytes of each row
    with zeros behind them, `lengths`, int64[n], how many there are. They lie in the batch's memory, as arrays do.
    """

    __slots__ = ("values", "lengths", "_bytes", "_numbers", "_row_bytes", "_is_text")

    def __init__(self, values: Any, lengths: Any, memory: tuple[memoryview, memoryview], column: Column):
        self.values, self.lengths = values, lengths
        self._bytes, self._numbers = memory
        self._row_bytes, self._is_text = column.row_bytes, column.is_text

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, i: Any) -> Union[bytes, str, list[Union[bytes, str]]]:
        if isinstance(i, slice):
            return [self._row(k) for k in range(*i.indices(len(self)))]
        k = operator.index(i)
        if not -len(self) <= k < len(self):
            raise IndexError(f"row {k} of {len(self)}")
        return self._row(k % len(self))

    def _row(self, i: int) -> Union[bytes, str]:
        at, n = i * self._row_bytes, min(max(self._numbers[i], 0), self._row_bytes)
        row = bytes(self._bytes[at:at + n])
        return row.decode() if self._is_text else row

    def __repr__(self) -> str:
        return f"<{len(self)} rows of {'text' if self._is_text else 'bytes'}, up to {self._row_bytes} bytes each>"


class Layout:
    """The columns of a loader's batches: fields by name, and index, position and valid."""

    __slots__ = ("names", "fields", "own", "kinds", "pid")

    def __init__(self, session: ctypes.c_void_p):
        n, info = _lib.rf_session_n_fields(session), _library.Column()
        if n < 0:
            _library.raise_code(n)
        columns = []
        for i in range(n + 3):
            code = _lib.rf_session_column(session, i, info)
            if code < 0:
                _library.raise_code(code)
            columns.append(Column(info))
        for i, column in enumerate(columns[:n]):
            kind = _lib.rf_session_lengths(session, i, info)
            if kind < 0:
                _library.raise_code(kind)
            if kind:
                column.lengths, column.is_text = Column(info), kind == _TEXT
        self.fields = {column.name: column for column in columns[:n]}
        self.own = {column.name: column for column in columns[n:]}
        self.names = tuple(self.fields)
        self.pid = os.getpid()  # of whom the batches are lent to
        self.kinds: dict[int, Any] = {}  # by size: the type of a slot's buffer

    def lease(self, handle: int, base: int, n_bytes: int) -> Any:
        """A buffer over the batch's memory that gives the batch back when it goes."""
        kind: Any = self.kinds.get(n_bytes)
        if kind is None:
            # A subclass made here has a __dict__, and so room for the handle.
            kind = self.kinds[n_bytes] = type("Lease", (ctypes.c_ubyte * n_bytes,), {"__del__": _give_back})
        buffer = kind.from_address(base)
        buffer.handle = handle
        return buffer


def _give_back(buffer: Any, release: Any = _lib.rf_batch_release) -> None:
    release(buffer.handle)


class Batch(Mapping):
    """Field name -> array. Zero copy: the arrays lie in the memory that the daemon wrote.

    The batch is lent until the last array that views it is gone, or until release().
    """

    __slots__ = ("_layout", "_writable", "_lease", "_arrays", "_n_rows", "_epoch", "_step", "_copied", "__weakref__")

    def __init__(self, layout: Layout, handle: int, view: tuple[int, int, int, int, int], writable: bool,
                 copy: bool):
        base, n_bytes, self._n_rows, self._epoch, self._step = view
        self._layout = layout
        self._writable = writable or copy
        self._lease: Any = layout.lease(handle, base, n_bytes)
        self._arrays: dict[str, Any] = {}
        self._copied: Optional[dict[str, float]] = None
        if copy:
            self._take_copies()

    def _take_copies(self) -> None:
        waits = self.waits
        arrays = {name: self._copy_column(self._make_column(self._lease, column), column)
                  for columns in (self._layout.fields, self._layout.own) for name, column in columns.items()}
        self._arrays, self._copied, self._lease = arrays, waits, None

    def __getitem__(self, name: str) -> Any:
        column = self._layout.fields.get(name)
        if column is None:
            self._held()
            raise KeyError(f"{name!r}; the feed has {', '.join(self._layout.names)}")
        return self._array(column)

    def _array(self, column: Column) -> Any:
        array = self._arrays.get(column.name)
        if array is None:
            lease = self._held()
            if os.getpid() != self._layout.pid:
                _library.raise_code(-errno.EOWNERDEAD)
            array = self._arrays[column.name] = self._make_column(lease, column)
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._layout.names)

    def __len__(self) -> int:
        return len(self._layout.names)

    def __repr__(self) -> str:
        if self._lease is None and self._copied is None:
            return "<ringfeed batch, released>"
        return (f"<ringfeed batch, epoch {self._epoch}, step {self._step}, {self._n_rows} rows: "
                f"{', '.join(self._layout.names)}>")

    @property
    def index(self) -> Any:
        """int64[n]: each sample's number in the dataset, shards in listed order."""
        return self._array(self._layout.own["index"])

    @property
    def position(self) -> Any:
        """int64[n]: each row's position in the epoch."""
        return self._array(self._layout.own["position"])

    @property
    def valid(self) -> Any:
        """bool[n]: False where the row pads the last batch or masks a bad sample."""
        return self._array(self._layout.own["valid"])

    @property
    def epoch(self) -> int:
        self._held()
        return self._epoch

    @property
    def step(self) -> int:
        """The batch's number in its epoch."""
        self._held()
        return self._step

    @property
    def waits(self) -> dict[str, float]:
        """Seconds that the batch waited on its way, by cause."""
        if self._copied is not None:
            return self._copied
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
        code = _return(lease.handle)
        if code < 0:
            _library.raise_code(code)
        self._lease = None
        self._arrays = {}

    def _held(self) -> Any:
        """The lease; None for copies, of which nothing is lent."""
        if self._lease is None and self._copied is None:
            raise _errors.Released("the batch was released; keep what you need, or make the loader with copy=True")
        return self._lease

    def _make_column(self, lease: Any, column: Column) -> Any:
        if column.lengths is None:
            return self._make_array(lease, column)
        whole = memoryview(lease).cast("B")
        memory = (whole[column.at:column.at + self._n_rows * column.row_bytes].toreadonly(),
                  whole[column.lengths.at:column.lengths.at + self._n_rows * 8].toreadonly().cast("q"))
        return Ragged(self._make_array(lease, column), self._make_array(lease, column.lengths), memory, column)

    def _copy_column(self, made: Any, column: Column) -> Any:
        if column.lengths is None:
            return self._copy_array(made)
        memory = (memoryview(bytes(made._bytes)), memoryview(bytes(made._numbers)).cast("q"))
        return Ragged(self._copy_array(made.values), self._copy_array(made.lengths), memory, column)

    def _make_array(self, lease: Any, column: Column) -> Any:
        shape = (self._n_rows, *column.row_shape)
        if column.numpy_type is not None:
            array = numpy.ndarray(shape, column.numpy_type, lease, column.at)
            if not self._writable:
                array.setflags(False)
            return array
        n_bytes = self._n_rows * column.row_bytes
        if n_bytes == 0:
            return memoryview(b"").cast(column.format)
        view = memoryview(lease).cast("B")[column.at:column.at + n_bytes].cast(column.format, shape)
        return view if self._writable else view.toreadonly()

    def _copy_array(self, array: Any) -> Any:
        if numpy is not None:
            return array.copy()
        copy = memoryview(bytearray(array))
        return copy.cast(array.format, array.shape) if array.nbytes else copy.cast(array.format)
