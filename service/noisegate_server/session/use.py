"""How much a DATAGRAM session's current epoch was used: what is compared with its limits, and what callers are told."""

from __future__ import annotations

from noisegate_server.session.epoch import Epoch


class Use:
    """The part of a session's records that counts."""

    __slots__ = ()

    current: Epoch

    @property
    def sealed(self) -> int:
        """Records sealed in this epoch."""
        return self.current.sender.counter

    @property
    def sealed_bytes(self) -> int:
        """Bytes of the game's plaintexts that were sealed in this epoch."""
        return self.current.sender.sealed_bytes

    @property
    def opened(self) -> int:
        """Records opened in this epoch."""
        return self.current.opened
