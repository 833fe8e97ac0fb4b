"""Numbered messages that arrive once and in order, whatever the path under them loses, repeats or reorders.

Both ends of the game keep one conversation for each player. It outlives sessions: what was said while a player was
away is repeated when it is back, so nothing is lost and nothing is counted twice. Pure: time is an argument.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

Message = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a plaintext held.

    `number`: of its message, 0 for a known one or none. `messages`: those that are now in order.
    """

    number: int = 0
    messages: tuple[Message, ...] = ()
    aside: Message | None = None


@dataclass(slots=True)
class Conversation:
    """One end. `repeat_s`: seconds after which an unanswered message is said again."""

    repeat_s: float
    sent: int = 0
    delivered: int = 0
    _unanswered: dict[int, tuple[Message, float]] = field(default_factory=dict)
    _early: dict[int, Message] = field(default_factory=dict)
    _owes: bool = False

    @property
    def settled(self) -> bool:
        """Whether the other end has everything that was said."""
        return not self._unanswered

    def say(self, message: Message, now: float) -> tuple[int, bytes]:
        """The message's number and the plaintext to send."""
        self.sent += 1
        self._unanswered[self.sent] = message, now
        return self.sent, self._encode(self.sent, message)

    def aside(self, message: Message) -> bytes:
        """The plaintext of a message that has no number: it may be lost, and it waits for no other."""
        return json.dumps({"ack": self.delivered, "aside": message}).encode()

    def hear(self, plaintext: bytes) -> Heard:
        """What the other end has said. ValueError: not one of its plaintexts."""
        heard = json.loads(plaintext)
        if not isinstance(heard, dict) or not all(isinstance(heard.get(name, 0), int) for name in ("ack", "n")):
            raise ValueError("not a message of the game")
        for number in [number for number in self._unanswered if number <= heard["ack"]]:
            del self._unanswered[number]
        number = heard.get("n", 0)
        if not number:
            return Heard(aside=heard.get("aside"))
        self._owes = True
        if number <= self.delivered or number in self._early:
            return Heard()
        self._early[number] = heard["say"]
        ready = []
        while message := self._early.pop(self.delivered + 1, None):
            self.delivered += 1
            ready.append(message)
        return Heard(number=number, messages=tuple(ready))

    def due(self, now: float) -> list[tuple[int, bytes]]:
        """What has to be sent now: repeats with their numbers, or else an acknowledgement that is owed, numbered 0."""
        due = []
        for number, (message, since) in self._unanswered.items():
            if now - since >= self.repeat_s:
                due.append((number, self._encode(number, message)))
        for number, _ in due:
            self._unanswered[number] = self._unanswered[number][0], now
        if not due and self._owes:
            self._owes = False
            due.append((0, json.dumps({"ack": self.delivered}).encode()))
        return due

    def hurry(self) -> None:
        """The path is a new one: repeat at once what is unanswered."""
        self._unanswered = {number: (message, float("-inf")) for number, (message, _) in self._unanswered.items()}

    def _encode(self, number: int, message: Message) -> bytes:
        self._owes = False
        return json.dumps({"n": number, "ack": self.delivered, "say": message}).encode()
