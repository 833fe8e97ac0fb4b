"""The fast path of a DATAGRAM session: what a record comes down to while nothing about the session is special.

A batch spends on each item about as much for its look at the session as for its crypto. So whatever that look finds
out is kept for the items to come: where the counter is, what seals, the header but for the counter, and until when all
of this holds. `DatagramRecords` keeps one object for each direction and lets go of it in `leave_fast_path`.

Why it is safe. It has no state of its own: no counter, no window, no key, no AEAD context. The counter is consumed in
the sender, where every other way consumes it too; the context is found there as well, and is lost when its key is wiped
or changed and when the cache lets go of it; the replay window is the epoch's. So a path that somebody forgot to leave
cannot use a counter twice, nor a context that was dropped; and a sender that is wiped leaves its path by itself. But it
could send a header that no longer fits its key, or miss what is due; so it is left for:

- another epoch, a rekey, another connection id, padding: the header or what follows it is another one;
- a limit, a timer, a rotation that is wanted or under way: `due_at`, `look_at` and `due` have moved;
- the peer's first record after one of these: what opens is another epoch, phase or connection id.

Each of these ends in `reschedule`, `fall_due`, `rekey` or `Session.join`, and these leave it. What can only come to
be allowed (a context that was built, an epoch that was confirmed) needs no word: the slow way prepares anew. That the
fast way and the slow one never differ, a property test holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple

from noisegate_server.noise.primitives import Aead, Cipher
from noisegate_server.session.aeads import AeadCache
from noisegate_server.session.datagram import RECORD, DatagramRecords
from noisegate_server.session.epoch import Epoch
from noisegate_server.session.phases import PhaseReceiver, PhaseSender
from noisegate_server.session.replay import ReplayWindow
from noisegate_server.session.session import Session

PLAIN: Final = 1 << 31
"""Counters below it are what their header says, whatever the window has seen; see `replay.nearest`."""
_BLOCK: Final = 12
"""Limits are looked at some counters early: at a multiple of 2^12."""
_NUMBERS: Final = 16_384


class SealPath(NamedTuple):
    """How a session seals, as long as its sender's `fast_until` says.

    A tuple, so that a batch takes those of its sessions apart in one step. What they lead to is in no cache of the
    processor where there are very many sessions, and so it is all fetched at the same time.
    """

    sender: PhaseSender
    header: bytes
    """The record's but for its last 4 bytes, the counter."""
    stop: int
    """The counter from which on a limit has to be looked at."""
    idle_timeout: float
    nonce: Callable[[int], bytes]
    cipher: Cipher
    number: int
    """The epoch's number."""

    def leave(self) -> None:
        """It holds no more."""
        self.sender.leave_fast_path()


class OpenPath:
    """How a session opens."""

    __slots__ = ("cipher", "epoch", "header", "idle_timeout", "nonce", "receiver", "until", "window")

    def __init__(
        self, session: Session, records: DatagramRecords, epoch: Epoch, receiver: PhaseReceiver, until: float
    ) -> None:
        self.cipher: Cipher = records.cipher
        self.epoch = epoch
        self.header: bytes = _header(records.connection_id, epoch.number, receiver.phase)
        """As SealPath.header: a record with another one is not simply the next."""
        self.idle_timeout: float = session.idle_timeout
        self.nonce: Callable[[int], bytes] = records.nonce
        self.receiver = receiver
        self.until = until
        """The moment from which on something may be due, or the session over (monotonic seconds)."""
        self.window: ReplayWindow = epoch.window

    def leave(self) -> None:
        """It holds no more."""
        self.until = -math.inf

    def context(self, aeads: AeadCache) -> Aead:
        """Build the receiver's AEAD context, which is not there."""
        return self.receiver.context(self.cipher, aeads)


def build_context(sender: PhaseSender, cipher: Cipher, aeads: AeadCache) -> Aead:
    """Build a sender's AEAD context, which is not there."""
    key = sender.cached_key
    # Where the key is at hand, by a call less: of many cold sessions each needs this.
    return aeads.build(sender, cipher, key) if key else sender.context(0, cipher, aeads)


def prepare_seal(session: Session, now: float) -> SealPath | None:
    """The session's fast path for sealing from here on; None while it has none."""
    records = session.records
    if not isinstance(records, DatagramRecords):
        return None
    epoch = records.current
    sender = epoch.sender
    if records.padded or records.mask_key or records.due or records.wants_rotation or epoch.send_tail:
        return None
    until, stop = _until(session, records, now), _stop(records.look_at, sender.counter)
    if now >= until or sender.counter >= stop or not isinstance(sender, PhaseSender):
        return None
    if records.seal_path is not None:
        records.seal_path.leave()
    sender.fast_until = until
    header = _header(records.connection_id, epoch.number, sender.phase)
    path = session.seal_path = records.seal_path = SealPath(
        sender, header, stop, session.idle_timeout, records.nonce, records.cipher, epoch.number
    )
    return path


def prepare_open(session: Session, now: float) -> OpenPath | None:
    """The session's fast path for opening from here on; None while it has none."""
    records = session.records
    if not isinstance(records, DatagramRecords):
        return None
    epoch = records.current
    receiver = epoch.receiver
    if records.mask_key or records.due or records.last_step or records.former_connection_ids or records.held:
        return None
    if session.ticket_owed or session.early or not epoch.confirmed:
        return None
    until = _until(session, records, now)
    if now >= until or not isinstance(receiver, PhaseReceiver):
        return None
    path = session.open_path = records.open_path = OpenPath(session, records, epoch, receiver, until)
    return path


def _until(session: Session, records: DatagramRecords, now: float) -> float:
    # Up to the last of these a use of the session ends exactly one idle timeout later.
    until = min(records.due_at, session.expires_at, session.lifetime_end - session.idle_timeout)
    if until == math.inf:
        return until
    second = math.floor(until)
    return _same_second(second) if now < second else until


def _stop(look_at: int, counter: int) -> int:
    block = look_at >> _BLOCK << _BLOCK
    return _same_count(block) if counter < block < PLAIN else min(look_at, PLAIN)


# Of a number that is a session's own every batch would have to fetch the object; those of a million are few now.
@lru_cache(maxsize=_NUMBERS)
def _same_second(second: int) -> float:
    return float(second)


@lru_cache(maxsize=_NUMBERS)
def _same_count(count: int) -> int:
    return count


def _header(connection_id: bytes, epoch: int, phase: int) -> bytes:
    return bytes((RECORD, *connection_id, epoch & 0xFF, phase & 0xFF))
