# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""ringfeed: training batches, lent by the daemon on this machine.

    import ringfeed
    with ringfeed.Loader("train") as loader:
        for batch in loader:
            images, labels = batch["image"], batch["label"]

ringfeed.torch.Loader gives the same batches as PyTorch tensors.
"""

from ._batch import Batch, Ragged
from ._errors import (
    BadConfig, BadSample, Busy, Closed, DaemonGone, Error, Evicted, Forked, PeerGone, ProtocolError,
    Refused, Released, ShardChanged, StorageError, SystemError, Timeout, TokenError, TooManyBadSamples,
    TooManyHeld, VersionMismatch)
from ._library import lib as _lib
from ._loader import Loader, status

__version__: str = _lib.rf_version().decode()

__all__ = [
    "BadConfig", "BadSample", "Batch", "Busy", "Closed", "DaemonGone", "Error", "Evicted", "Forked", "Loader",
    "PeerGone", "ProtocolError", "Ragged", "Refused", "Released", "ShardChanged", "StorageError", "SystemError",
    "Timeout", "TokenError", "TooManyBadSamples", "TooManyHeld", "VersionMismatch", "status"]
