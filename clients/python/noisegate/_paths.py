"""Where a session's bytes go, and which sessions a receiver knows (docs/protocol.md, section 2). No I/O, no clock."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from ._model import Opened
from ._session import Session
from .packet import NO_CONNECTION_ID, echo_of

AddressT = TypeVar("AddressT", bound=Hashable)

AMPLIFICATION: Final = 3
"""An address that has proved nothing gets at most this many times what came from it (RFC 9000, section 8)."""


class Path(Generic[AddressT]):
    """The address of one session's player, and how far it is believed.

    An address proves itself by a handshake, or by the answer to a question: whoever finishes or answers it has read our
    message, which went to that address and to no other. Any other record proves that the player sent it, not that the
    player is where it says: a player may forge its own source address to have a stranger flooded.
    """

    __slots__ = ("_asked", "_came", "_home", "_latest", "_provable", "_sent", "address", "verified")

    def __init__(self, address: AddressT, came: int, *, provable: bool) -> None:
        self.address = address
        self.verified = False
        self._came = came
        self._sent = 0
        self._latest = (-1, -1)
        self._provable = provable
        self._home: AddressT | None = None
        self._asked = b""

    def came(self, source: AddressT, size: int) -> None:
        """`size` bytes that name this session came from `source`."""
        if source == self.address:
            self._came += size

    def may_send(self, size: int) -> bool:
        """Whether a message of `size` bytes may go to the address now; it counts as sent if so."""
        if self.verified:
            return True
        if self._sent + size > AMPLIFICATION * self._came:
            return False
        self._sent += size
        return True

    def answered_elsewhere(self) -> None:
        """A handshake message of ours went to another address: finishing it proves nothing about this one."""
        self._provable = False

    def finished(self, source: AddressT) -> None:
        """The player finished the handshake, from `source`, with a message that needed ours."""
        if self._provable and source == self.address:
            self.verify()

    def opened(self, source: AddressT, size: int, record: Opened) -> bool:
        """A record of `size` bytes from `source` opened. Answers whether the player is now followed to there."""
        position = (record.epoch, record.counter)
        # Calls run side by side: an answer may come after that of a newer record.
        if not record.newest or position <= self._latest:
            return False
        self._latest = position
        if source == self.address:
            if not record.early:
                self.finished(source)
            return False
        if self.verified:
            self._home = self.address
        self.address, self.verified = source, source == self._home
        self._came, self._sent, self._provable, self._asked = size, 0, False, b""
        return True

    def asked(self, token: bytes) -> None:
        """A question with this token goes to the address, and to no other."""
        self._asked = token

    def answered(self, source: AddressT, token: bytes) -> None:
        """A record from `source` has answered the question with this token, empty for none."""
        if token and token == self._asked and source == self.address:
            self.verify()

    def verify(self) -> None:
        """The address has proved that it gets what is sent to it."""
        self.verified = True


@dataclass(slots=True)
class Known(Generic[AddressT]):
    """A session that a receiver knows."""

    session: Session
    path: Path[AddressT]
    expires_at: float | None
    """When its handshake is given up; None once it is established."""
    connection_ids: set[bytes] = field(default_factory=set)
    echoes: set[bytes] = field(default_factory=set)
    """What a RETRY to a packet with which the game began it would carry, while its handshake has not finished."""


class SessionTable(Generic[AddressT]):
    """Sessions by connection id and by id: at most `limit` that live and `limit` half-open ones, each the latest used.

    Apart, so that a flood of forged first packets cannot push out sessions that live.
    """

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError("a receiver must be able to know one session at least")
        self._limit: Final = limit
        self._by_connection: Final[dict[bytes, Known[AddressT]]] = {}
        self._by_echo: Final[dict[bytes, Known[AddressT]]] = {}
        self._live: Final[OrderedDict[bytes, Known[AddressT]]] = OrderedDict()
        self._half_open: Final[OrderedDict[bytes, Known[AddressT]]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._live) + len(self._half_open)

    def find(self, connection_id: bytes) -> Known[AddressT] | None:
        """The session whose player's packets carry this connection id."""
        known = self._by_connection.get(connection_id)
        if known is not None and known.session.id in self._live:
            self._live.move_to_end(known.session.id)
        return known

    def by_id(self, session_id: bytes) -> Known[AddressT] | None:
        """The session of this id."""
        return self._live.get(session_id) or self._half_open.get(session_id)

    def that_sent(self, echo: bytes) -> Known[AddressT] | None:
        """The half-open session that sent the packet which a RETRY with this echo refuses."""
        return self._by_echo.get(echo)

    def sent(self, known: Known[AddressT], packets: Iterable[bytes]) -> None:
        """The game began this session with these packets, or began it anew."""
        if known.expires_at is None or self.by_id(known.session.id) is not known:
            return
        for packet in packets:
            echo = echo_of(packet)
            self._by_echo[echo] = known
            known.echoes.add(echo)

    def add(self, session: Session, path: Path[AddressT], *, expires_at: float | None) -> Known[AddressT]:
        """Know a session from now on; in place of what was known under its id."""
        self.remove(session.id)
        known = Known(session, path, expires_at)
        table = self._live if expires_at is None else self._half_open
        table[session.id] = known
        self.alias(known, session.connection_id)
        if len(table) > self._limit:
            self.remove(next(iter(table)))
        return known

    def alias(self, known: Known[AddressT], connection_id: bytes) -> None:
        """The player's packets carry this connection id too."""
        if connection_id not in (b"", NO_CONNECTION_ID) and self.by_id(known.session.id) is known:
            self._by_connection[connection_id] = known
            known.connection_ids.add(connection_id)

    def settle(self, known: Known[AddressT]) -> None:
        """The session is established."""
        known.expires_at = None
        self._forget_echoes(known)
        if self._half_open.pop(known.session.id, None) is None:
            return
        self._live[known.session.id] = known
        if len(self._live) > self._limit:
            self.remove(next(iter(self._live)))

    def expire(self, now: float) -> None:
        """Forget handshakes that nobody finished."""
        while self._half_open:
            oldest = next(iter(self._half_open.values()))
            if oldest.expires_at is None or oldest.expires_at > now:
                return
            self.remove(oldest.session.id)

    def remove(self, session_id: bytes) -> None:
        """Forget a session; nothing happens if it is not known."""
        known = self._live.pop(session_id, None) or self._half_open.pop(session_id, None)
        if known is None:
            return
        self._forget_echoes(known)
        for connection_id in known.connection_ids:
            if self._by_connection.get(connection_id) is known:
                del self._by_connection[connection_id]

    def _forget_echoes(self, known: Known[AddressT]) -> None:
        for echo in known.echoes:
            if self._by_echo.get(echo) is known:
                del self._by_echo[echo]
        known.echoes.clear()
