"""The connection id of a session, and how it changes (docs/protocol.md, section 2)."""

from __future__ import annotations

from examples.dice.datagram_player.wire import GRACE_S, PacketRefusedError, Timer


class ConnectionId:
    """The id that our packets carry, and those that we take.

    The side that chose the id may give another. It goes on under the old one until the peer has used the new one, and
    gives it again until then, because the record that gives it may get lost.
    """

    def __init__(self, value: bytes, *, chosen: bool) -> None:
        self.value, self.chosen = value, chosen
        self.given = b""
        """The new id that the peer has not used yet."""
        self._before, self._before_until = b"", 0.0
        self._followed = -1, -1
        self._again: Timer | None = None

    def give(self, fresh: bytes, now: float) -> bytes:
        """A new id for the peer."""
        self.given, self._again = fresh, Timer(now)
        return fresh

    def due(self, now: float) -> bytes:
        """The id that has to be given once more; else empty."""
        return self.given if self.given and self._again is not None and self._again.due(now) else b""

    def check(self, value: bytes, now: float) -> None:
        """PacketRefusedError where the id is ours to choose and this one is not, or no longer, the session's.

        Whoever follows has one session for one socket and looks nothing up; the id is authenticated with the record.
        """
        late = value == self._before and now <= self._before_until
        if self.chosen and value not in (self.value, self.given) and not late:
            raise PacketRefusedError("connection id")

    def opened(self, value: bytes, now: float) -> None:
        """A record with this id has opened."""
        if self.given and value == self.given:
            self._before, self._before_until = self.value, now + GRACE_S
            self.value, self.given = self.given, b""

    def follow(self, value: bytes, epoch: int, counter: int) -> None:
        """The peer gives a new id, in this record; a later record's word holds."""
        if not self.chosen and (epoch, counter) > self._followed:
            self._followed, self.value = (epoch, counter), value
