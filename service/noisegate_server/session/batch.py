"""Many records in one go: the fast path of `DatagramRecords.seal` and `open`, written out once for a whole batch.

A call for each message would cost as much as the message. So what these loops know is the common case alone, that of
session/fast_path.py: DATAGRAM sessions without mask, padding and ratchet, with nothing due and nothing under way. They
stop before whatever is another case and have changed nothing of it; whoever calls them serves that one by `seal` or
`open` and comes back. The invariants are those of datagram.py: counters are consumed before any ciphertext exists, all
of a call's at once; state moves only after authentication.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import repeat
from typing import Any, Final

from noisegate_server.noise.primitives import Cipher, InvalidTag
from noisegate_server.session.aeads import AeadCache
from noisegate_server.session.constants import DATAGRAM_OVERHEAD, MAX_DATAGRAM_PLAINTEXT, TAG
from noisegate_server.session.datagram import HEADER
from noisegate_server.session.fast_path import PLAIN, SealPath, build_context, prepare_open, prepare_seal
from noisegate_server.session.packets import Kind
from noisegate_server.session.phases import PhaseSender
from noisegate_server.session.replay import Verdict
from noisegate_server.session.session import Session

LARGEST: Final = MAX_DATAGRAM_PLAINTEXT
"""The longest plaintext that is sealed here; the caller looks."""
ADDED: Final = HEADER + 1 + TAG
"""Bytes that a record is longer than its plaintext."""
_DATA: Final = int(Kind.DATA)
KIND: Final = bytes((_DATA,))
"""Follows a plaintext inside its record."""
_COUNTER: Final = struct.Struct(">I").pack
"""The end of a header."""
_SPLIT: Final = struct.Struct(">11sI").unpack_from
"""A header in two: what stays the same, and the counter."""
_FRESH: Final = Verdict.FRESH
_NEVER: Final = -1.0
_AT_ONCE: Final = 32
"""Headers that are made by one call."""


class SealedRecords:
    """Records of a batch as they come to be: one entry for each item, in every list but `pieces`."""

    __slots__ = ("counters", "epochs", "lengths", "pieces")

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        """The records one behind the other, in any number of pieces."""
        self.lengths: list[int] = []
        self.counters: list[int] = []
        self.epochs: list[int] = []


class OpenedRecords:
    """Contents of a batch's records as they come to be: one entry for each item, in every list but `pieces`."""

    __slots__ = ("counters", "epochs", "lengths", "newest", "pieces")

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.lengths: list[int] = []
        self.counters: list[int] = []
        self.epochs: list[int] = []
        self.newest = bytearray()


def seal_each(
    sessions: Sequence[Session | None],
    plaintexts: Sequence[bytes],
    sizes: Sequence[int],
    associated: Sequence[bytes],
    now: float,
    aeads: AeadCache,
    out: SealedRecords,
) -> int:
    """Seal one plaintext for each session; how many it has sealed, from the first on.

    All sequences are as long; `sizes` are those of the plaintexts, none of them above LARGEST. It stops before a
    session that is None, or whose case it does not know.
    """
    begun = _begin(sessions, sizes, now)
    if begun is None:
        return 0
    counters, headers, senders, nonces, ciphers, numbers = begun
    items = zip(senders, ciphers, nonces, counters, headers, plaintexts, associated, strict=False)
    bodies = [
        (sender.aead or build_context(sender, cipher, aeads)).encrypt(nonce(counter), plaintext + KIND, header + data)
        for sender, cipher, nonce, counter, header, plaintext, data in items
    ]
    out.lengths += [size + ADDED for size in sizes[: len(counters)]]
    return _take(numbers, counters, headers, bodies, out)


def seal_same(
    sessions: Sequence[Session | None],
    plaintext: bytes,
    associated_data: bytes,
    now: float,
    aeads: AeadCache,
    out: SealedRecords,
) -> int:
    """As `seal_each`, one plaintext for every session."""
    size, inner = len(plaintext), plaintext + KIND
    begun = _begin(sessions, repeat(size), now)
    if begun is None:
        return 0
    counters, headers, senders, nonces, ciphers, numbers = begun
    bound = [header + associated_data for header in headers] if associated_data else headers
    bodies = [
        (sender.aead or build_context(sender, cipher, aeads)).encrypt(nonce(counter), inner, header)
        for sender, cipher, nonce, counter, header in zip(senders, ciphers, nonces, counters, bound, strict=False)
    ]
    out.lengths += [size + ADDED] * len(counters)
    return _take(numbers, counters, headers, bodies, out)


_Begun = tuple[
    list[int], list[bytes], Sequence[PhaseSender], Sequence[Callable[[int], bytes]], Sequence[Cipher], Sequence[int]
]
"""Counters and headers of the records to come; of as many sessions or more what seals, and their epochs' numbers."""


def _begin(sessions: Sequence[Session | None], sizes: Iterable[int], now: float) -> _Begun | None:
    """Consume a counter of each session, from the first on as far as their cases are known; None if of no one."""
    columns = _columns(sessions, now)
    if not columns:
        return None
    senders, starts, stops, idle_timeouts, nonces, ciphers, numbers = columns
    _fetch(senders)
    counters = _reserve(sessions, senders, stops, idle_timeouts, sizes, now)
    return counters, _headers(starts, counters), senders, nonces, ciphers, numbers


def _columns(sessions: Sequence[Session | None], now: float) -> list[tuple[Any, ...]]:
    """How the sessions seal, in their order, as far as their cases are known: the fields of SealPath, each of all.

    It holds until something else runs. Empty where not even the first one's case is known.
    """
    known: list[Any] = [session and session.seal_path for session in sessions]
    if all(known):
        columns = list(zip(*known, strict=True))
        if columns and now < min([sender.fast_until for sender in columns[0]]):
            return columns
    paths: list[SealPath] = []
    for session in sessions:
        path = None if session is None else session.seal_path
        if session is not None and (path is None or now >= path.sender.fast_until):
            path = prepare_seal(session, now)
        if path is None:
            break
        paths.append(path)
    return list(zip(*paths, strict=True))


def _fetch(senders: Sequence[PhaseSender]) -> None:
    """Look at what the next steps need of sessions without a context, of which no cache of the processor has anything.

    In a loop that does more it would wait for each; in one that only looks it fetches the next ones meanwhile.
    """
    if senders[0].aead is None:
        _ = [(sender.sent_bytes, sender.cached_key) for sender in senders]


def _reserve(
    sessions: Sequence[Any],
    senders: Sequence[PhaseSender],
    stops: Sequence[int],
    idle_timeouts: Sequence[float],
    sizes: Iterable[int],
    now: float,
) -> list[int]:
    """Consume a counter of each session that has a sender here, up to one of which a limit has to be looked at."""
    counters: list[int] = []
    add = counters.append
    idle_timeout, idle_end = _NEVER, now
    for session, sender, stop, timeout, size in zip(sessions, senders, stops, idle_timeouts, sizes, strict=False):
        counter = sender.counter
        if counter >= stop:
            sender.leave_fast_path()
            break
        sender.counter = counter + 1
        sender.sent_bytes += size
        add(counter)
        if timeout != idle_timeout:
            idle_timeout = timeout
            idle_end = now + timeout
        session.last_used = now
        session.expires_at = idle_end
    return counters


def _headers(starts: Sequence[bytes], counters: Sequence[int]) -> list[bytes]:
    """The header of each record."""
    headers: list[bytes] = []
    parts: list[bytes | int] = [0] * (2 * len(counters))
    parts[::2], parts[1::2] = starts[: len(counters)], counters
    for at in range(0, len(parts), 2 * _AT_ONCE):
        some = parts[at : at + 2 * _AT_ONCE]
        in_parts, whole = _layouts(len(some) // 2)
        headers += whole.unpack(in_parts.pack(*some))
    return headers


@lru_cache(maxsize=_AT_ONCE)
def _layouts(count: int) -> tuple[struct.Struct, struct.Struct]:
    """So many headers one behind the other: each in two parts, the counter last, and each whole."""
    return struct.Struct(">" + "11sI" * count), struct.Struct("15s" * count)


def _take(
    numbers: Sequence[int],
    counters: Sequence[int],
    headers: Sequence[bytes],
    bodies: Sequence[bytes],
    out: SealedRecords,
) -> int:
    done = len(bodies)
    out.pieces += interleaved(headers, bodies)
    out.counters += counters
    out.epochs += numbers[:done]
    return done


def interleaved(headers: Sequence[bytes], bodies: Sequence[bytes]) -> list[bytes]:
    """Each body behind its header. ValueError where there are not as many."""
    pieces = [b""] * (2 * len(bodies))
    pieces[::2], pieces[1::2] = headers, bodies
    return pieces


def seal_run(
    session: Session | None,
    plaintexts: Sequence[bytes],
    sizes: Sequence[int],
    associated: Sequence[bytes],
    now: float,
    aeads: AeadCache,
    out: SealedRecords,
) -> bool:
    """Seal many plaintexts for one session, with one reservation of counters; False, and nothing done, as above."""
    if session is None:
        return False
    path = session.seal_path
    if path is None or now >= path.sender.fast_until:
        path = prepare_seal(session, now)
        if path is None:
            return False
    sender, start, stop, _, nonce, cipher, number = path
    first = sender.counter
    after = first + len(plaintexts)
    if after > stop:
        return False
    context = sender.aead or build_context(sender, cipher, aeads)
    sender.counter = after
    encrypt, add_piece = context.encrypt, out.pieces.append
    for counter, plaintext, data in zip(range(first, after), plaintexts, associated, strict=True):
        header = start + _COUNTER(counter)
        add_piece(header)
        add_piece(encrypt(nonce(counter), plaintext + KIND, header + data))
    sender.sent_bytes += sum(sizes)
    out.lengths += [size + ADDED for size in sizes]
    out.counters += range(first, after)
    out.epochs += [number] * len(sizes)
    session.touch(now)
    return True


def open_items(
    sessions: Sequence[Session | None],
    packets: Sequence[bytes],
    associated: Sequence[bytes],
    now: float,
    aeads: AeadCache,
    out: OpenedRecords,
) -> int:
    """Open one packet for each session, all three as long; how many it has opened, from the first on.

    It stops before a session that is None, a record that does not open, and whatever is not simply data for the game:
    nothing of these has changed.
    """
    add_piece, add_counter = out.pieces.append, out.counters.append
    add_epoch, add_newest = out.epochs.append, out.newest.append
    before = len(out.counters)
    idle_timeout, idle_end = _NEVER, now
    for session, packet, data in zip(sessions, packets, associated, strict=True):
        if session is None or len(packet) < DATAGRAM_OVERHEAD:
            break
        path = session.open_path
        if path is None or now >= path.until:
            path = prepare_open(session, now)
            if path is None:
                break
        prefix, counter = _SPLIT(packet)
        window = path.window
        highest = window.highest
        if prefix != path.header or counter >= PLAIN or highest >= PLAIN:
            break
        if counter <= highest and window.check(counter) is not _FRESH:
            break
        context = path.receiver.aead or path.context(aeads)
        try:
            inner = context.decrypt(path.nonce(counter), packet[HEADER:], packet[:HEADER] + data)
        except InvalidTag:
            break
        if inner[-1] != _DATA:
            break
        if counter == highest + 1:
            window.highest = counter
        else:
            window.commit(counter)
        epoch = path.epoch
        epoch.opened += 1
        add_piece(inner[:-1])
        add_counter(counter)
        add_epoch(epoch.number)
        add_newest(counter > highest)
        if path.idle_timeout != idle_timeout:
            idle_timeout = path.idle_timeout
            idle_end = now + idle_timeout
        session.last_used = now
        session.expires_at = idle_end
    done = len(out.counters) - before
    if done:
        out.lengths += map(len, out.pieces[-done:])
    return done
