# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""The same batches as PyTorch tensors, zero copy.

    from ringfeed.torch import Loader

The tensors lie in slots that this trainer alone has, so in-place work on them is fine. Loader is a plain
iterable with state_dict(), not a DataLoader: frameworks that shard DataLoaders again leave it alone.
"""

from __future__ import annotations

from typing import Any

import torch

from . import _batch, _loader


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


class Loader(_loader.Loader[Batch]):
    """ringfeed.Loader, yielding batches of tensors; writable does not matter to it."""

    _batch_type = Batch
