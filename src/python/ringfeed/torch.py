# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""The same batches as PyTorch tensors, zero copy, or copied ahead to a GPU.

    from ringfeed.torch import Loader

Without a device the tensors lie in slots that this trainer alone has, so in-place work on them is fine; but where other
trainers read the same batches (loader.shared), writing them is a fault (SIGSEGV), and in-place work wants copy=True. Loader is a
plain iterable with state_dict(), not a DataLoader: frameworks that shard DataLoaders again leave it alone.
"""

from __future__ import annotations

import ctypes
import warnings
from typing import Any, Optional, Union

import torch

from . import _ahead, _batch, _errors

_REGISTERED = 1 << 30  # libringfeed registers slots in pieces of this size; a copy stays within one
_ALIGNMENT = 256


def _kind(column: _batch.Column) -> torch.dtype:
    """torch's dtype of that name: uint16, uint32 and uint64 came with 2.3."""
    kind = getattr(torch, column.dtype, None)
    if kind is None:
        raise TypeError(
            f"field {column.name!r} is {column.dtype}, which torch {torch.__version__} does not have; give it another "
            "dtype in the configuration, or take ringfeed.Loader, whose arrays are NumPy's")
    return kind


class Batch(_batch.Batch):
    """Field name -> tensor; else as ringfeed.Batch."""

    __slots__ = ()

    def _make_array(self, lease: Any, column: _batch.Column) -> torch.Tensor:
        shape, kind = (self._n_rows, *column.row_shape), _kind(column)
        n = self._n_rows
        for side in column.row_shape:
            n *= side
        if n == 0:
            return torch.empty(shape, dtype=kind)
        # The tensor's storage keeps the buffer, which is the lease.
        return torch.frombuffer(lease, dtype=kind, count=n, offset=column.at).view(shape)

    def _copy_array(self, array: Any) -> torch.Tensor:
        return array.clone()


class DeviceRagged(_batch.Ragged):
    """Rows of different length on a device: values and lengths are there; the first row that is asked for as bytes or
    str brings all of them back to the host."""

    __slots__ = ()

    def __len__(self) -> int:
        return len(self.values)

    def _row(self, i: int) -> Union[bytes, str]:
        if self._bytes is None:
            self._bytes, self._numbers = _host_bytes(self.values), _host_bytes(self.lengths).cast("q")
        return super()._row(i)


def _host_bytes(tensor: torch.Tensor) -> memoryview:
    host = tensor.cpu()
    return memoryview(ctypes.string_at(host.data_ptr(), host.numel() * host.element_size()))


class DeviceBatch(Batch):
    """A batch whose fields are tensors on a device, in memory of their own; index, position and valid are on the host.

    Nothing of it is lent: it may be kept, and release() has nothing to do.
    """

    __slots__ = ("_begin", "_device")

    def __init__(self, host: Batch, device: torch.device):
        self._layout, self._writable, self._copied = host._layout, True, host.waits
        self._n_rows, self._epoch, self._step = host._n_rows, host._epoch, host._step
        self._arrays = {name: host._array(column).clone() for name, column in self._layout.own.items()}
        self._device = device
        self._begin, end = self._span()
        self._lease = torch.empty(end - self._begin, dtype=torch.uint8, device=device)
        at = self._begin
        while at < end:
            to = min(end, (at // _REGISTERED + 1) * _REGISTERED)
            piece = torch.frombuffer(host._held(), dtype=torch.uint8, count=to - at, offset=at)
            self._lease[at - self._begin:to - self._begin].copy_(piece, non_blocking=True)
            at = to

    def _span(self) -> tuple[int, int]:
        """Where the fields' rows begin and end in a slot: as a whole they are one copy."""
        columns = [c for field in self._layout.fields.values() for c in (field, field.lengths) if c is not None]
        if self._n_rows == 0 or not columns:
            return 0, 0
        begin = min(column.at for column in columns) // _ALIGNMENT * _ALIGNMENT
        return begin, max(column.at + self._n_rows * column.row_bytes for column in columns)

    def _make_array(self, lease: torch.Tensor, column: _batch.Column) -> torch.Tensor:
        shape, kind, at = (self._n_rows, *column.row_shape), _kind(column), column.at - self._begin
        n_bytes = self._n_rows * column.row_bytes
        if n_bytes == 0:
            return torch.empty(shape, dtype=kind, device=self._device)
        return lease[at:at + n_bytes].view(kind).view(shape)

    def _make_column(self, lease: torch.Tensor, column: _batch.Column) -> Any:
        array = self._make_array(lease, column)
        if column.lengths is None:
            return array
        return DeviceRagged(array, self._make_array(lease, column.lengths), (None, None), column)


class _Cuda:
    """A GPU, as _ahead wants it: copies run on a stream of their own."""

    def __init__(self, device: torch.device):
        self._device = device
        self._stream = torch.cuda.Stream(device)

    def start(self, batch: Batch) -> tuple[DeviceBatch, torch.cuda.Event]:
        with torch.cuda.stream(self._stream):  # which the tensors' memory then belongs to
            try:
                moved, event = DeviceBatch(batch, self._device), torch.cuda.Event()
                event.record(self._stream)
            except BaseException:
                self._stream.synchronize()  # a copy without an event behind it
                raise
        return moved, event

    def hand_over(self, moved: DeviceBatch, event: torch.cuda.Event) -> DeviceBatch:
        current = torch.cuda.current_stream(self._device)
        current.wait_event(event)
        moved._lease.record_stream(current)  # freed memory is written again only after the work queued by then
        return moved


def _gpu(asked: Any) -> Optional[torch.device]:
    """The GPU that device= names, with its number; None: the CPU."""
    try:
        device = torch.device("cuda", asked) if isinstance(asked, int) else torch.device(asked)
    except RuntimeError as reason:
        raise _errors.BadConfig(f"device={asked!r}: {str(reason).splitlines()[0]}") from None
    if device.type == "cpu":
        return None
    if device.type != "cuda":
        raise _errors.BadConfig(f"device={asked!r}: batches can stay on the cpu or go to cuda")
    if not torch.cuda.is_available():
        built = torch.version.cuda or getattr(torch.version, "hip", None)
        why = "finds no GPU that it can use" if built else "was built without CUDA"
        raise _errors.BadConfig(f"device={asked!r}: this torch ({torch.__version__}) {why}")
    if device.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    if device.index >= torch.cuda.device_count():
        raise _errors.BadConfig(f"device={asked!r}: torch sees {torch.cuda.device_count()} GPUs, counted from 0")
    return device


class Loader(_ahead.Loader[Batch]):
    """ringfeed.Loader, yielding batches of tensors; writable does not matter to it.

    torch knows no read-only tensors: where other trainers read the same batches (shared: a feed whose groups share a pass,
    or replica=), writing into a lent tensor ends the process with SIGSEGV. In-place work there wants copy=True or a
    device; a UserWarning says so once.

    device            "cuda", a torch.device or a GPU's number: batches are copied ahead to that GPU, two at most, on
                      a stream of the loader's own, and the stream that is current at next() waits for the copy.
                      A batch's tensors are memory of their own: they may be kept, copy does not matter, and on other
                      streams torch's rules hold (wait for the current one, record_stream). index, position and valid
                      stay on the host. None, "cpu": tensors in the lent slots
    pin               None: where device is a GPU; see ringfeed.Loader
    """

    _batch_type = Batch

    def __init__(self, feed: str, *, device: Union[torch.device, str, int, None] = None, pin: Optional[bool] = None,
                 **other: Any):
        gpu = None if device is None else _gpu(device)
        if gpu is None:
            super().__init__(feed, pin=bool(pin), **other)
            if self.shared and not self._copy:
                warnings.warn(
                    f"tensors of feed {feed!r} lie in memory that is mapped read-only (other trainers read it, too, "
                    "or daemon.sealed is true): writing into one ends this process with SIGSEGV; for in-place work make the loader with copy=True", UserWarning, 2)
            return
        other["copy"] = other["writable"] = False
        with torch.cuda.device(gpu):
            torch.cuda.synchronize()  # from here on there is a context, which pinning needs
            self._ahead = _ahead.Ahead(_Cuda(gpu))
            super().__init__(feed, pin=pin is None or pin, **other)
