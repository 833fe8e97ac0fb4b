"""Sealing keys that may change while the service runs."""

from __future__ import annotations

from noisegate_server.session.sealing import SealingKeys


class KeyRing:
    """Holds one set of keys; whoever seals or opens takes it anew each time, so that a change holds from the next call.

    Assigning `keys` exchanges current and previous at once.
    """

    __slots__ = ("keys", "since")

    def __init__(self, keys: SealingKeys, since: float) -> None:
        self.keys = keys
        self.since = since
        """When the current key came to be, as far as is known (unix seconds)."""
