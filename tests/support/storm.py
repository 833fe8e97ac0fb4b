"""Lives of a session whose sides are suspended and restored at any moment, over a network that loses and reorders.

    found = live(seed)       # "" where all is well, otherwise what went wrong

A life is a few dozen random steps, then a good network. A side that is suspended is gone when its record is there; in
lives with `clones` a record is restored twice, and the second owner hears and says what it can beside the first.
"""

from __future__ import annotations

from contextlib import suppress
from random import Random

from noisegate_server.engine.policy import Options
from noisegate_server.session.errors import SessionError
from tests.support.engines import End, Engines, Link, establish, outcome_of
from tests.support.restored import ROLES, come_back, end_of, record_of, restore, settle

STEPS = {
    "send": 5.0, "deliver": 8.0, "lose": 2.0, "repeat": 1.0, "renegotiate": 1.0, "rekey": 0.5, "restore": 1.2,
    "wait": 2.0, "clone": 0.0,
}  # fmt: skip
"""What may happen, and how often."""
WAITS = (0.05, 0.3, 1.0, 6.0)
CALM_ROUNDS = 12
"""Of a good network: one call of each side a second."""


class Storm:
    """One life."""

    def __init__(self, seed: int, *, clones: bool = False) -> None:
        self.random = Random(seed)
        self.engines = Engines()
        options = Options(ratchet=self.random.random() < 0.3, mask=self.random.random() < 0.3)
        self.link: Link = establish(self.engines, options=options)
        self.weights = {**STEPS, "clone": 0.6 if clones else 0.0}
        self.clones: dict[str, list[End]] = {role: [] for role in ROLES}
        self.sent = 0
        self.opened: list[bytes] = []

    def step(self) -> None:
        """One random thing happens; what is refused is refused."""
        role = self.random.choice(ROLES)
        end = end_of(self.link, role)
        what = self.random.choices(list(self.weights), list(self.weights.values()))[0]
        with suppress(SessionError):
            self._do(what, role, end)

    def _do(self, what: str, role: str, end: End) -> None:
        if what == "send":
            self.send(end)
            for clone in self.clones[role]:
                self.send(clone)
        elif what in {"deliver", "repeat", "lose"} and end.inbox:
            at = self.random.randrange(len(end.inbox))
            packet = end.inbox[at]
            if what != "repeat":
                del end.inbox[at]
            if what != "lose":
                for owner in (end, *self.clones[role]):
                    outcome_of(owner, packet)
                self.opened.extend(end.received)
                end.received.clear()
        elif what == "renegotiate":
            end.renegotiate()
        elif what == "rekey":
            end.rekey()
        elif what == "restore":
            come_back(self.engines, self.link, role, tells=self.random.random() < 0.5)
        elif what == "clone":
            clone = restore(self.engines, end, record_of(end))
            clone.received = []
            self.clones[role].append(clone)
        elif what == "wait":
            self.engines.clock.step(self.random.choice(WAITS))

    def send(self, end: End) -> bytes:
        """A plaintext that no other record has."""
        self.sent += 1
        plaintext = b"%d" % self.sent
        end.send(plaintext)
        return plaintext

    def calm(self) -> str:
        """The network is good from here on; what went wrong, if something did."""
        for _ in range(CALM_ROUNDS):
            for end in self.link.ends:
                self.send(end)
            settle(self.link)
            self.engines.clock.step(1.0)
        for end in self.link.ends:
            self.opened.extend(end.received)
            end.received.clear()
        for end in self.link.ends:
            plaintext = self.send(end)
            settle(self.link)
            if plaintext not in self.link.peer_of(end).received:
                return "dead"
        if len(self.opened) != len(set(self.opened)):
            return "opened twice"
        if len(set(self.link.epochs())) != 1:
            return "different keys"
        return ""


def live(seed: int, *, clones: bool = False) -> str:
    """What went wrong in a life; in one with clones nobody says who is believed, so nothing but nonces counts."""
    storm = Storm(seed, clones=clones)
    for _ in range(storm.random.randrange(5, 60)):
        storm.step()
    return "" if clones else storm.calm()
