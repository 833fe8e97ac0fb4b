"""Resumption tickets (docs/protocol.md, section 6): what the service will need to know, sealed under its own key.

    ticket  = version(1) ‖ fields, sealed (session/sealing.py) and bound to the tenant
    content = lifetime_s(4) ‖ max_early(4) ‖ psk(32) ‖ ticket, what travels inside the session

Whether a ticket is spent, revoked or of a suite that policy has dropped since, the engine knows.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from noisegate_server.noise.primitives import wipe
from noisegate_server.session.constants import (
    HASH,
    KEY,
    MAX_TICKET,
    TICKET_ID,
    TICKET_LIFETIME_S,
    TICKET_SKEW_S,
)
from noisegate_server.session.hello import Flags
from noisegate_server.session.limits import NOT_LOWERED, LowerLimits
from noisegate_server.session.sealing import SEALING_OVERHEAD, SealingKey, SealingKeys, SealRefused, open_sealed, seal
from noisegate_server.session.state import RecordMode, Role
from noisegate_server.session.suites import Suite

TicketKey = SealingKey
"""One key of the ring: at most 12 h old when it seals, 24 h more when it opens."""
TicketKeys = SealingKeys
_VERSION: Final = 2
_FIELDS: Final = struct.Struct(">B16s32s32sBBBBddIdd")
"""version, id, psk, prologue hash, role, suite, mode, flags, issued, absolute end, most early data, idle time,
lifetime; then texts, each with its length."""
_CONTENT: Final = struct.Struct(">II32s")
# By number: a call of an enum's class takes four times as long.
_ROLES: Final = {each.value: each for each in Role}
_SUITES: Final = {each.value: each for each in Suite}
_MODES: Final = {each.value: each for each in RecordMode}
_MAX_BYTE: Final = 0xFF
_MAX_U32: Final = 0xFFFF_FFFF
_MAX_NAME: Final = 64
_MAX_TENANT: Final = 255
_NO_PSK: Final = bytes(KEY)


class TicketUnusable(ValueError):
    """A ticket, or a record's ticket content, that cannot be used. What is wrong goes to nobody but the metrics."""


# Not frozen: of so many fields, that would make the making of one three times as dear, and a resume opens one.
@dataclass(slots=True, kw_only=True)
class Ticket:
    """What a resume needs to know of the session that issued it. Nobody changes one, but for `wipe`."""

    id: bytes
    """16 bytes, at random: under it the ticket is marked spent."""
    psk: bytearray = field(repr=False)
    """32 bytes, not all zero."""
    remote_static: bytes
    """The peer's static key, 32 bytes; empty where it has none."""
    prologue_hash: bytes
    """SHA-256 of the caller's prologue."""
    tenant: str
    """1 to 255 bytes of UTF-8."""
    peer_id: str
    """At most 64 bytes of UTF-8."""
    group: str
    """At most 64 bytes of UTF-8."""
    role: Role
    """The service's role in the session that issued it."""
    suite: Suite
    """That of the session, and of the one that resumes it."""
    mode: RecordMode
    """As suite."""
    flags: int
    """The hello's flags as they were agreed; opened, a Flags."""
    issuer: bytes
    """The issuer's vault, which alone can prove that the ticket was never used: at most 64 bytes."""
    issued_wall: float
    """When: unix seconds."""
    absolute_end_wall: float
    """When no ticket of this chain can be used any more: unix seconds."""
    identity: bytes = b""
    """Fingerprint of the service's identity key in that session: at most 32 bytes."""
    max_early: int = 0
    """How many bytes of early data the ticket allows; 0 for none."""
    idle_timeout: float = 0.0
    """The session's own, seconds; 0 for the service's."""
    lifetime: float = 0.0
    """Likewise."""
    rotation: LowerLimits = NOT_LOWERED
    """What the session's caller wanted lower."""

    def wipe(self) -> None:
        """Overwrites the PSK."""
        wipe(self.psk)


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketContent:
    """What the player gets inside the session."""

    lifetime_s: int
    """For how many seconds the ticket can be used."""
    max_early: int
    """How many bytes of early data message 1 may carry; 0 for none."""
    psk: bytearray = field(repr=False)
    """32 bytes, not all zero."""
    ticket: bytes
    """1 to 1,024 bytes."""

    def wipe(self) -> None:
        """Overwrites the PSK."""
        wipe(self.psk)


def seal_ticket(keys: TicketKeys, ticket: Ticket, random_bytes: Callable[[int], bytes]) -> bytes:
    """The ticket as the player keeps it, at most 1,024 bytes. ValueError: a field outside its limits."""
    plaintext = _encode(ticket)
    try:
        return seal(keys, plaintext, ticket.tenant.encode(), random_bytes)
    finally:
        wipe(plaintext)


def open_ticket(keys: TicketKeys, tenant: str, blob: bytes, wall: float) -> Ticket:
    """The ticket in `blob`, if it is `tenant`'s and can be used at `wall` (unix seconds); TicketUnusable otherwise.

    Refused: garbage, a key that left the ring, another tenant's, issued over 24 h ago or more than 60 s ahead, and past
    the absolute end of its chain.
    """
    if not SEALING_OVERHEAD + _FIELDS.size <= len(blob) <= MAX_TICKET:
        raise TicketUnusable("length")
    try:
        opened = open_sealed(keys, blob, tenant.encode())
    except SealRefused as refusal:
        raise TicketUnusable(str(refusal)) from None
    try:
        ticket = _decode(opened)
    finally:
        wipe(opened)
    # Written so that a comparison with NaN refuses.
    if not -TICKET_SKEW_S <= wall - ticket.issued_wall <= TICKET_LIFETIME_S or not wall < ticket.absolute_end_wall:
        ticket.wipe()
        raise TicketUnusable("time")
    if ticket.tenant != tenant:
        ticket.wipe()
        raise TicketUnusable("tenant")
    return ticket


def encode_ticket_content(content: TicketContent) -> bytes:
    """The content of a record of kind ticket. ValueError: a field outside its limits."""
    if not 1 <= len(content.ticket) <= MAX_TICKET:
        raise ValueError("ticket: 1 to 1,024 bytes")
    _check_psk(content.psk)
    try:
        return _CONTENT.pack(content.lifetime_s, content.max_early, content.psk) + content.ticket
    except struct.error:
        raise ValueError("lifetime_s, max_early: 0 to 2^32 - 1") from None


def decode_ticket_content(data: bytes) -> TicketContent:
    """Reads the content of a record of kind ticket; TicketUnusable where it is none."""
    if not _CONTENT.size < len(data) <= _CONTENT.size + MAX_TICKET:
        raise TicketUnusable("length")
    lifetime_s, max_early, psk = _CONTENT.unpack_from(data)
    if psk == _NO_PSK:
        raise TicketUnusable("psk")
    ticket = data[_CONTENT.size :]
    return TicketContent(lifetime_s=lifetime_s, max_early=max_early, psk=bytearray(psk), ticket=ticket)


def _check_psk(psk: bytes | bytearray) -> None:
    if len(psk) != KEY or psk == _NO_PSK:
        raise ValueError("psk: 32 bytes, not all zero")


def _encode(ticket: Ticket) -> bytearray:
    _check_psk(ticket.psk)
    if len(ticket.id) != TICKET_ID or len(ticket.prologue_hash) != HASH:
        raise ValueError("id: 16 bytes, prologue_hash: 32 bytes")
    if len(ticket.remote_static) not in (0, KEY):
        raise ValueError("remote_static: 32 bytes or none")
    if not math.isfinite(ticket.issued_wall) or not math.isfinite(ticket.absolute_end_wall):
        raise ValueError("issued_wall, absolute_end_wall: unix seconds")
    if not 0 <= ticket.idle_timeout < math.inf or not 0 <= ticket.lifetime < math.inf:
        raise ValueError("idle_timeout, lifetime: seconds")
    if not 0 <= ticket.max_early <= _MAX_U32:
        raise ValueError("max_early: 0 to 2^32 - 1")
    numbers = (ticket.role, ticket.suite, ticket.mode, ticket.flags)
    if not all(0 <= number <= _MAX_BYTE for number in numbers):
        raise ValueError("role, suite, mode, flags: 0 to 255")
    tenant = ticket.tenant.encode()
    if not tenant:
        raise ValueError("tenant: empty")
    texts = b""
    for name, text, most in (
        ("tenant", tenant, _MAX_TENANT),
        ("peer_id", ticket.peer_id.encode(), _MAX_NAME),
        ("group", ticket.group.encode(), _MAX_NAME),
        ("remote_static", ticket.remote_static, KEY),
        ("issuer", ticket.issuer, _MAX_NAME),
        ("identity", ticket.identity, HASH),
        ("rotation", ticket.rotation.encode(), _MAX_NAME),
    ):
        if len(text) > most:
            raise ValueError(f"{name}: at most {most} bytes")
        texts += bytes((len(text),)) + text
    # Of its final size at once: a buffer that grew would leave the PSK behind where it was before.
    encoded = bytearray(_FIELDS.size + len(texts))
    _FIELDS.pack_into(
        encoded,
        0,
        _VERSION,
        ticket.id,
        ticket.psk,
        ticket.prologue_hash,
        *numbers,
        ticket.issued_wall,
        ticket.absolute_end_wall,
        ticket.max_early,
        ticket.idle_timeout,
        ticket.lifetime,
    )
    encoded[_FIELDS.size :] = texts
    return encoded


def _decode(data: bytearray) -> Ticket:
    """Reads what `_encode` wrote; TicketUnusable for another version, or where the texts do not end with the data."""
    version, ticket_id, psk, prologue_hash, role, suite, mode, flags, *numbers = _FIELDS.unpack_from(data)
    if version != _VERSION:
        raise TicketUnusable("version")
    issued, end, max_early, idle_timeout, lifetime = numbers
    if not 0 <= idle_timeout < math.inf or not 0 <= lifetime < math.inf:
        raise TicketUnusable("times")
    texts = []
    # From behind the PSK on, so that no copy of that comes with them.
    rest = bytes(memoryview(data)[_FIELDS.size :])
    at = 0
    while at < len(rest):
        start = at + 1
        at = start + rest[at]
        texts.append(rest[start:at])
    if at != len(rest):
        raise TicketUnusable("length")
    try:
        tenant, peer_id, group, remote_static, issuer, identity, rotation = texts
        return Ticket(
            id=ticket_id,
            psk=bytearray(psk),
            prologue_hash=prologue_hash,
            role=_ROLES[role],
            suite=_SUITES[suite],
            mode=_MODES[mode],
            flags=Flags(flags),
            issued_wall=issued,
            absolute_end_wall=end,
            tenant=tenant.decode(),
            peer_id=peer_id.decode(),
            group=group.decode(),
            remote_static=remote_static,
            issuer=issuer,
            identity=identity,
            max_early=max_early,
            idle_timeout=idle_timeout,
            lifetime=lifetime,
            rotation=LowerLimits.decode(rotation),
        )
    except (ValueError, KeyError):
        raise TicketUnusable("fields") from None
