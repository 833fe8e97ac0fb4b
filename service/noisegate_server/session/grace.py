"""Keys that outlive their use for a while, for records that are late: until when, and that they go.

The epoch before a rotation, the phases and messages that were passed, and what packets that never opened have made a
receiver derive. A call for the session wipes what is over; where none comes, a sweep does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from noisegate_server.session.aeads import AeadCache
from noisegate_server.session.epoch import retire

if TYPE_CHECKING:
    from noisegate_server.session.datagram import DatagramRecords


def kept_until(records: DatagramRecords) -> float:
    """When `forget` next has something to wipe (monotonic seconds); infinity for never."""
    until = records.current.receiver.kept_until
    if records.previous is not None:
        until = min(until, records.previous.expires_at, records.previous.receiver.kept_until)
    if records.next is not None:
        until = min(until, records.next.receiver.kept_until)
    return until


def forget(records: DatagramRecords, now: float, aeads: AeadCache) -> None:
    """Wipe every key whose time is over; what seals and opens now stays."""
    if records.previous is not None and now >= records.previous.expires_at:
        retire(records.previous, aeads)
        records.previous = None
    for epoch in (records.previous, records.current, records.next):
        if epoch is not None:
            epoch.receiver.forget(now)
