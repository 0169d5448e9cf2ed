# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""What can go wrong, by name. The names are the ones that libringfeed and the daemon use."""

from __future__ import annotations


class Error(Exception):
    """Anything that ringfeed reports; every exception below is one."""


class DaemonGone(Error, ConnectionError):
    """No daemon answers at the socket, or the one that did is gone and did not come back in time."""


class BadConfig(Error, ValueError):
    """An argument or the environment is malformed or contradictory."""


class TooManyBadSamples(Error):
    """More samples were bad than the feed's limit allows."""


class BadSample(Error):
    """A sample was bad and the feed's policy is to fail."""


class VersionMismatch(Error):
    """Client and daemon are of versions that do not work together."""


class PeerGone(Error):
    """Another trainer of the group has died where groups share a pass.

    Once for each death, of rank `rank`, its `replica` (0: the only one). The loader goes on: next() of the same iterator
    gives the batch that comes next.
    """

    def __init__(self, text: str, rank: int = -1, replica: int = 0):
        super().__init__(text, rank, replica)  # args, so that it can be pickled
        self.rank, self.replica = rank, replica

    def __str__(self) -> str:
        return str(self.args[0])


class Evicted(Error):
    """This trainer kept the others of a shared pass waiting for longer than the feed's `slow: evict` allows."""


class StorageError(Error, OSError):
    """The dataset cannot be read."""


class ShardChanged(Error):
    """A shard was rewritten while it was in use."""


class Refused(Error):
    """The daemon refused to attach: no such feed, rank taken, no memory left, …"""


class TokenError(Error, ValueError):
    """The state is not one of this dataset and order."""


class ProtocolError(Error):
    """The daemon sent what no daemon should send."""


class TooManyHeld(Error):
    """The caller holds every batch that he may hold."""


class Forked(Error):
    """The loader was made before a fork, by the parent process."""


class Timeout(Error, TimeoutError):
    """Nothing became ready in time."""


class Busy(Error):
    """Another thread is inside a call on the same loader."""


class Closed(Error):
    """The loader was closed."""


class Released(Error):
    """The batch was released."""


class SystemError(Error, OSError):  # noqa: A001 - the name that the library uses
    """The machine refused memory, mappings or descriptors."""


BY_NAME: dict[str, type[Error]] = {
    kind.__name__: kind
    for kind in (
        DaemonGone, BadConfig, TooManyBadSamples, BadSample, VersionMismatch, PeerGone, Evicted,
        StorageError, ShardChanged, Refused, TokenError, ProtocolError, TooManyHeld, Forked, Timeout, Busy, Closed,
        Released, SystemError)
}
