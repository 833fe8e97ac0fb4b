"""A session as bytes: what an app writes before it goes to the background, and reads when it is back (section 5).

Roots, never traffic keys: whoever comes back makes a salted epoch over one of them. The bytes are as secret as the
session, are to be used once, and are to be deleted before they are used.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from examples.dice.datagram_player.connection import ConnectionId
from examples.dice.datagram_player.epoch import Epoch, Root, Terms
from examples.dice.datagram_player.limits import Limits
from examples.dice.datagram_player.session import SALT_BYTES, Lasting, Session
from examples.dice.datagram_player.tickets import Identity, Ticket
from examples.dice.datagram_player.wire import NotPossibleError

VERSION = 1
MOST_ROOTS = 8
"""Of whom nobody has heard between many restores; the base to choose is always among them."""


def store(session: Session, now: float, wall: float) -> bytes:
    """The session, whose owner must seal nothing more after this. Our own static key is not in it."""
    current, ticket = session.current, session.ticket
    # The newest confirmed epoch; for the initiator also one whose rotate-2 it has opened, which is then `current`.
    base = current.told or current.kept
    others = {root.number: root for root in session.roots() if root.number != base.number}
    lasting = session.lasting
    roots = [base, *sorted(others.values(), key=lambda root: -root.number)][:MOST_ROOTS]
    return json.dumps(
        {
            "version": VERSION, "initiator": lasting.terms.initiator, "suite": lasting.terms.suite,
            "flags": lasting.terms.flags, "h": lasting.h.hex(), "export": lasting.export.hex(),
            "mask": lasting.mask.hex(), "remote": (lasting.identity.remote or b"").hex(),
            "anonymous": lasting.identity.anonymous, "connection_id": session.connection.value.hex(),
            "chosen": session.connection.chosen, "confirmed": session.newest_confirmed, "highest": session.highest,
            "roots": [[root.number, root.h.hex(), root.root.hex()] for root in roots],
            "ticket": ticket and [
                ticket.max_early, ticket.psk.hex(), ticket.ticket.hex(), wall + ticket.expires_at - now
            ],
        }
    ).encode()  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """What `store` wrote; the first root is the base to choose."""

    lasting: Lasting
    connection: ConnectionId
    confirmed: int
    highest: int
    roots: tuple[Root, ...]
    ticket: Ticket | None


def _read(stored: bytes, static: bytes | None, now: float, wall: float) -> _Read:
    try:
        value: dict[str, Any] = json.loads(stored)
        if value["version"] != VERSION:
            raise ValueError("version")
        terms = Terms(initiator=value["initiator"], suite=value["suite"], flags=value["flags"])
        anonymous, remote = value["anonymous"], bytes.fromhex(value["remote"]) or None
        identity = Identity(static=static, remote=remote, anonymous=anonymous)
        h, export, mask = (bytes.fromhex(value[name]) for name in ("h", "export", "mask"))
        roots = tuple(
            Root(number=number, h=bytes.fromhex(h), root=bytes.fromhex(root), foreign=True)
            for number, h, root in value["roots"]
        )
        ticket = None
        if value["ticket"]:
            max_early, psk, opaque, expires = value["ticket"]
            content = Ticket.content(bytes.fromhex(psk), bytes.fromhex(opaque), max_early)
            ticket = replace(Ticket.decode(content, terms, identity, now), expires_at=now + expires - wall)
        return _Read(
            lasting=Lasting(terms=terms, identity=identity, h=h, export=export, mask=mask),
            connection=ConnectionId(bytes.fromhex(value["connection_id"]), chosen=value["chosen"]),
            confirmed=value["confirmed"], highest=value["highest"], roots=roots, ticket=ticket,
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, IndexError):
        raise NotPossibleError("these bytes are no stored session") from None


def restore(
    stored: bytes, static: bytes | None, random_bytes: Callable[[int], bytes], now: float, wall: float, *,
    limits: Limits | None, issued: dict[bytes, Ticket],
) -> tuple[Session, list[bytes]]:  # fmt: skip
    """The session in a salted epoch of its own, and the record that tells the peer. NotPossibleError for other bytes.

    Nothing of the epochs before can be opened any more: neither their keys nor their counters were stored.
    """
    read = _read(stored, static, now, wall)
    terms, number = read.lasting.terms, read.highest + 1
    current = Epoch.over(read.roots[0], number, random_bytes(SALT_BYTES), terms, now)
    current.ours = True
    limits = limits or Limits.of(terms.flags)
    session = Session(read.lasting, current, read.connection, random_bytes, now, limits=limits, issued=issued)
    return session, session.restored(read.roots, read.confirmed, read.ticket)
