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

_TYPES = {
    "uint8": torch.uint8, "int64": torch.int64, "float16": torch.float16,
    "bfloat16": torch.bfloat16, "float32": torch.float32, "bool": torch.bool}


class Batch(_batch.Batch):
    """Field name -> tensor; else as ringfeed.Batch."""

    __slots__ = ()

    def _make_array(self, address: int, shape: tuple[int, ...], dtype: str, n_bytes: int,
                    lease: _batch.Lease) -> torch.Tensor:
        kind = _TYPES[dtype]
        if n_bytes == 0:
            return torch.empty(shape, dtype=kind)
        # The tensor's storage keeps the buffer, and the buffer the lease.
        buffer = _batch.lent_buffer(address, n_bytes, lease)
        return torch.frombuffer(buffer, dtype=kind).reshape(shape)

    def _copy_array(self, array: Any) -> torch.Tensor:
        return array.clone()


class Loader(_loader.Loader[Batch]):
    """ringfeed.Loader, yielding batches of tensors; writable does not matter to it."""

    _batch_type = Batch
