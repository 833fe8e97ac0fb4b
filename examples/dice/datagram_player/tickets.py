"""Tickets, and the static keys that a resumed session has from them (docs/protocol.md, section 6)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from examples.dice.datagram_player.epoch import Terms
from examples.dice.datagram_player.handshake import NNPSK0
from examples.dice.datagram_player.wire import Protocol

LIFETIME_S: Final = 86_400
MAX_TICKET: Final = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The static keys of both ends of a session; `anonymous` says that its initiator has none."""

    static: bytes | None = field(default=None, repr=False)
    remote: bytes | None = None
    anonymous: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """What resumes a session: 32 bytes of psk, the opaque ticket, and the session's own choices.

    `max_early`: bytes of early data that message 1 may carry. `expires_at`: monotonic seconds.
    """

    lifetime_s: int
    max_early: int
    psk: bytes = field(repr=False)
    ticket: bytes
    suite: int
    flags: int
    identity: Identity
    expires_at: float

    @property
    def protocol(self) -> Protocol:
        """What a resume with it runs."""
        return Protocol(NNPSK0, self.suite)

    @staticmethod
    def is_one(content: bytes) -> bool:
        """Whether the content of a record is a ticket: a psk that is not all zero, and 1 to 1,024 bytes."""
        return 40 < len(content) <= 40 + MAX_TICKET and any(content[8:40])

    @classmethod
    def decode(cls, content: bytes, terms: Terms, identity: Identity, now: float) -> Ticket:
        """The ticket in the content of a record, which is one."""
        lifetime_s, max_early = int.from_bytes(content[:4], "big"), int.from_bytes(content[4:8], "big")
        return cls(
            lifetime_s=lifetime_s, max_early=max_early, psk=content[8:40], ticket=content[40:], suite=terms.suite,
            flags=terms.flags, identity=identity, expires_at=now + min(lifetime_s, LIFETIME_S),
        )  # fmt: skip

    @staticmethod
    def content(psk: bytes, opaque: bytes, max_early: int) -> bytes:
        """What a record of kind ticket holds."""
        return LIFETIME_S.to_bytes(4, "big") + max_early.to_bytes(4, "big") + psk + opaque
