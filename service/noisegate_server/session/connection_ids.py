"""Giving the peer a new connection id, and following one that it gives (docs/protocol.md, section 2)."""

from __future__ import annotations

import math

from noisegate_server.session.aeads import AeadCache
from noisegate_server.session.backoff import Backoff
from noisegate_server.session.datagram import DatagramRecords
from noisegate_server.session.packets import Kind

__all__ = ["follow_connection_id", "give_again", "give_connection_id", "is_unused"]


def follow_connection_id(records: DatagramRecords, connection_id: bytes, given: tuple[int, int]) -> None:
    """The side that chose the connection id has given a new one; the old stays valid for what is on its way.

    `given`: epoch and counter of the record that brought it; an earlier one that is late changes nothing any more.
    """
    records.former_connection_ids, records.former_until = (records.connection_id,), math.inf
    records.connection_id, records.connection_id_given = connection_id, given
    records.reschedule()


def is_unused(records: DatagramRecords) -> bool:
    """Whether the peer has not yet used the last connection id that it was given."""
    return bool(records.former_connection_ids) and records.former_until == math.inf


def give_again(records: DatagramRecords, aeads: AeadCache) -> tuple[bytes, ...]:
    """The record that gives the last one, which may have been lost. Nothing where no more may be sealed."""
    return records.aside(Kind.CONNECTION_ID, records.connection_id, aeads)


def give_connection_id(
    records: DatagramRecords, connection_id: bytes, now: float, aeads: AeadCache
) -> tuple[bytes, ...]:
    """The record that gives a new one, under which packets may come from now on; `upkeep` gives it again until they do.

    The old one is valid until 30 s after the new one was used; one before it is not any more.
    """
    told = records.control(Kind.CONNECTION_ID, connection_id, aeads)
    records.former_connection_ids, records.former_until = (records.connection_id,), math.inf
    records.connection_id, records.given_timer = connection_id, Backoff()
    records.given_timer.start(now)
    records.reschedule()
    return (told,)
