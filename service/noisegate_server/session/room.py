"""How a room seals: what session/fast_path.py finds out about one session, kept for many that are sealed for together.

A game seals for the same players tick after tick. To find each of them on its fast path costs a third of the crypto:
objects that no cache of the processor holds any more, once for its path, its limit, its time, its header. So what a
whole room needs of them lies side by side here, and of a session only what every record changes is touched.

Why it is safe is said in session/fast_path.py: here too there is no counter, no window, no key and no context, and
where the path of one session ends, so does that of each of its rooms, by their `Hold`. A room seals for all of its
sessions or, where a limit of one has to be looked at, for none and has no path any more. A session that has two places
in a room seals twice, each time under a counter of its own.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from noisegate_server.noise.primitives import Cipher
from noisegate_server.session.aeads import AeadCache
from noisegate_server.session.batch import KIND, interleaved
from noisegate_server.session.datagram import HEADER
from noisegate_server.session.fast_path import SealPath, build_context, prepare_seal
from noisegate_server.session.fast_sender import Hold
from noisegate_server.session.phases import PhaseSender
from noisegate_server.session.session import Session

_COUNTER: Final = 4
"""Bytes at the end of a header."""
_STATIC: Final = HEADER - _COUNTER

SealedRoom = tuple[Sequence[int], list[bytes]]
"""The counters of the records, and the records one behind the other, in pieces."""


class RoomPath:
    """How the sessions of a room seal, while each of them is on its fast path."""

    __slots__ = (
        "_before", "_cipher", "_headers", "_hold", "_idle_timeout", "_senders", "_sessions", "_stop",
        "epochs",
    )  # fmt: skip

    def __init__(self, sessions: Sequence[Session], paths: Sequence[SealPath], stop: int) -> None:
        self._sessions = sessions
        self._senders = [path.sender for path in paths]
        self.epochs = [path.number for path in paths]
        """The number of each one's epoch."""
        self._headers = bytearray().join(path.header + bytes(_COUNTER) for path in paths)
        """One behind the other."""
        self._cipher: Cipher = paths[0].cipher
        self._idle_timeout = paths[0].idle_timeout
        self._stop = stop
        """The counter from which on a limit of one of them has to be looked at."""
        self._hold = Hold(min(sender.fast_until for sender in self._senders))
        seen: Counter[PhaseSender] = Counter()
        before: list[int] = []
        for sender in self._senders:
            before.append(seen[sender])
            seen[sender] += 1
        self._before: Sequence[int] = before if any(before) else ()
        """How many places of the same session come before each; empty where none has two."""
        for sender in seen:
            sender.join(self._hold)

    def holds(self, now: float) -> bool:
        """Whether it may be used at this moment."""
        return now < self._hold.until

    def seal_each(
        self,
        plaintexts: Sequence[bytes],
        sizes: Sequence[int],
        associated: Sequence[bytes],
        now: float,
        aeads: AeadCache,
    ) -> SealedRoom | None:
        """Seal one plaintext for each session while the path holds; None, and nothing was done, where it ends.

        `sizes` are those of the plaintexts; `associated` is empty where nobody has any.
        """
        return self._seal([plaintext + KIND for plaintext in plaintexts], sizes, associated, now, aeads)

    def seal_same(self, plaintext: bytes, associated_data: bytes, now: float, aeads: AeadCache) -> SealedRoom | None:
        """Seal one plaintext for every session, likewise."""
        count = len(self._senders)
        associated = [associated_data] * count if associated_data else ()
        return self._seal([plaintext + KIND] * count, [len(plaintext)] * count, associated, now, aeads)

    def _seal(
        self,
        inners: Sequence[bytes],
        sizes: Sequence[int],
        associated: Sequence[bytes],
        now: float,
        aeads: AeadCache,
    ) -> SealedRoom | None:
        counters = self._reserve(now)
        if counters is None:
            return None
        self._count(sizes)
        cipher, headers = self._cipher, self._addressed(counters)
        bound = [header + data for header, data in zip(headers, associated, strict=True)] if associated else headers
        contexts = [sender.aead or build_context(sender, cipher, aeads) for sender in self._senders]
        # All contexts are of one class: its function is looked up once, and called in C.
        bodies = list(map(type(contexts[0]).encrypt, contexts, cipher.nonces(counters), inners, bound))
        return counters, interleaved(headers, bodies)

    def _reserve(self, now: float) -> Sequence[int] | None:
        """Consume a counter of each session; None, and of nobody, where a limit of one has to be looked at."""
        senders = self._senders
        # First a look at all of them: in a loop that does no more, a processor fetches several at a time.
        counters = [sender.counter for sender in senders]
        if self._before:
            counters = [counter + before for counter, before in zip(counters, self._before, strict=True)]
        if max(counters) >= self._stop:
            self._hold.until = -math.inf
            return None
        idle_end = now + self._idle_timeout
        # The copy has touched each session, likewise.
        for session, sender, counter in zip(self._sessions[:], senders, counters, strict=True):
            sender.counter = counter + 1
            session.last_used = now
            session.expires_at = idle_end
        return counters

    def _count(self, sizes: Sequence[int]) -> None:
        """Count the bytes that are sealed: at once for all of them where these are as many for each."""
        if not self._before and sizes.count(sizes[0]) == len(sizes):
            self._hold.sent += sizes[0]
            return
        for sender, size in zip(self._senders, sizes, strict=True):
            sender.sent_bytes += size

    def _addressed(self, counters: Sequence[int]) -> Sequence[bytes]:
        """The headers of records with these counters."""
        in_bytes, whole = _layouts(len(counters))
        packed, headers = in_bytes.pack(*counters), self._headers
        for at in range(_COUNTER):
            headers[_STATIC + at :: HEADER] = packed[at::_COUNTER]
        return whole.unpack(headers)


@lru_cache(maxsize=256)
def _layouts(count: int) -> tuple[struct.Struct, struct.Struct]:
    """So many counters of headers one behind the other, and so many headers."""
    return struct.Struct(f">{count}I"), struct.Struct(f"{HEADER}s" * count)


def prepare_room(sessions: Sequence[Session | None], now: float) -> RoomPath | None:
    """The path of these sessions together; None while one of them has none, or they have too little in common."""
    paths: list[SealPath] = []
    present: list[Session] = []
    for session in sessions:
        if session is None:
            return None
        path = session.seal_path
        if path is None or now >= path.sender.fast_until:
            path = prepare_seal(session, now)
            if path is None:
                return None
        paths.append(path)
        present.append(session)
    kinds = {(path.cipher.name, path.idle_timeout) for path in paths}
    stop = min(path.stop for path in paths)
    if len(kinds) != 1 or max(path.sender.counter for path in paths) >= stop:
        return None
    return RoomPath(present, paths, stop)
