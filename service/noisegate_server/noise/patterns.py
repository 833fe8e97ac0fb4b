"""Handshake patterns (sections 7, 9 and 18) as data, the psk modifiers, and the validity rules.

A pattern is written as the specification prints it, in Alice-initiated form: the pre-messages of both sides, then the
messages, the initiator's first and from there in turn.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from noisegate_server.noise.errors import InvalidPattern, InvalidProtocolName


class Token(Enum):
    """A token of a message pattern (sections 7.1 and 9.2). The first letter of a DH is the initiator's key."""

    E = "e"
    S = "s"
    EE = "ee"
    ES = "es"
    SE = "se"
    SS = "ss"
    PSK = "psk"


DH_TOKENS: Final = frozenset({Token.EE, Token.ES, Token.SE, Token.SS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """A handshake pattern, modifiers applied."""

    name: str
    """The pattern's name without modifiers, such as `IK`."""
    initiator_pre: tuple[Token, ...]
    """The initiator's pre-message: nothing, e, s, or e and s."""
    responder_pre: tuple[Token, ...]
    """The responder's pre-message."""
    messages: tuple[tuple[Token, ...], ...]
    """The messages; those with an even index are the initiator's."""

    @property
    def one_way(self) -> bool:
        """True for the patterns of section 7.4, where the initiator alone sends transport messages."""
        return len(self.messages) == 1

    @property
    def psk_count(self) -> int:
        """Number of pre-shared keys that each side must have."""
        return sum(message.count(Token.PSK) for message in self.messages)

    def pre_message(self, *, initiator: bool) -> tuple[Token, ...]:
        """The pre-message of one side."""
        return self.initiator_pre if initiator else self.responder_pre

    def uses_static(self, *, initiator: bool) -> bool:
        """True if that side needs a static key pair."""
        sent = self.messages[0 if initiator else 1 :: 2]
        return Token.S in self.pre_message(initiator=initiator) or any(Token.S in message for message in sent)


# name: (initiator's pre-message, responder's pre-message, messages)
_FUNDAMENTAL: Final[dict[str, tuple[str, str, tuple[str, ...]]]] = {
    "N": ("", "s", ("e es",)),
    "K": ("s", "s", ("e es ss",)),
    "X": ("", "s", ("e es s ss",)),
    "NN": ("", "", ("e", "e ee")),
    "NK": ("", "s", ("e es", "e ee")),
    "NX": ("", "", ("e", "e ee s es")),
    "XN": ("", "", ("e", "e ee", "s se")),
    "XK": ("", "s", ("e es", "e ee", "s se")),
    "XX": ("", "", ("e", "e ee s es", "s se")),
    "KN": ("s", "", ("e", "e ee se")),
    "KK": ("s", "s", ("e es ss", "e ee se")),
    "KX": ("s", "", ("e", "e ee se s es")),
    "IN": ("", "", ("e s", "e ee se")),
    "IK": ("", "s", ("e es s ss", "e ee se")),
    "IX": ("", "", ("e s", "e ee se s es")),
}

_DEFERRED: Final[dict[str, tuple[str, str, tuple[str, ...]]]] = {
    "NK1": ("", "s", ("e", "e ee es")),
    "NX1": ("", "", ("e", "e ee s", "es")),
    "X1N": ("", "", ("e", "e ee", "s", "se")),
    "X1K": ("", "s", ("e es", "e ee", "s", "se")),
    "XK1": ("", "s", ("e", "e ee es", "s se")),
    "X1K1": ("", "s", ("e", "e ee es", "s", "se")),
    "X1X": ("", "", ("e", "e ee s es", "s", "se")),
    "XX1": ("", "", ("e", "e ee s", "es s se")),
    "X1X1": ("", "", ("e", "e ee s", "es s", "se")),
    "K1N": ("s", "", ("e", "e ee", "se")),
    "K1K": ("s", "s", ("e es", "e ee", "se")),
    "KK1": ("s", "s", ("e", "e ee se es")),
    "K1K1": ("s", "s", ("e", "e ee es", "se")),
    "K1X": ("s", "", ("e", "e ee s es", "se")),
    "KX1": ("s", "", ("e", "e ee se s", "es")),
    "K1X1": ("s", "", ("e", "e ee s", "se es")),
    "I1N": ("", "", ("e s", "e ee", "se")),
    "I1K": ("", "s", ("e es s", "e ee", "se")),
    "IK1": ("", "s", ("e s", "e ee se es")),
    "I1K1": ("", "s", ("e s", "e ee es", "se")),
    "I1X": ("", "", ("e s", "e ee s es", "se")),
    "IX1": ("", "", ("e s", "e ee se s", "es")),
    "I1X1": ("", "", ("e s", "e ee s", "se es")),
}


def _tokens(text: str) -> tuple[Token, ...]:
    return tuple(Token(word) for word in text.split())


PATTERNS: Final[dict[str, Pattern]] = {
    name: Pattern(
        name=name,
        initiator_pre=_tokens(initiator_pre),
        responder_pre=_tokens(responder_pre),
        messages=tuple(_tokens(message) for message in messages),
    )
    for name, (initiator_pre, responder_pre, messages) in (_FUNDAMENTAL | _DEFERRED).items()
}
"""The 15 fundamental (sections 7.4, 7.5) and 23 deferred patterns (section 18.1), by name."""

_PSK: Final = re.compile(r"psk([0-9])", re.ASCII)


def apply_modifier(pattern: Pattern, modifier: str) -> Pattern:
    """Apply one modifier of section 8.1; so far `pskN` (section 9.4). InvalidProtocolName for any other.

    `psk0` goes to the start of message 1, `pskN` to the end of message N.
    """
    found = _PSK.fullmatch(modifier)
    if found is None or int(found[1]) > len(pattern.messages):
        raise InvalidProtocolName("unknown pattern modifier")
    place = int(found[1])
    index = max(place - 1, 0)
    message = pattern.messages[index]
    changed = (*message, Token.PSK) if place else (Token.PSK, *message)
    return replace(pattern, messages=(*pattern.messages[:index], changed, *pattern.messages[index + 1 :]))


# (sender is the initiator, static DH that was done, DH that must then have been done): section 7.3, rule 4.
_EPHEMERAL_COVER: Final = (
    (True, Token.SE, Token.EE),
    (True, Token.SS, Token.ES),
    (False, Token.ES, Token.EE),
    (False, Token.SS, Token.SE),
)


def validate(pattern: Pattern) -> None:
    """Raise InvalidPattern for a pattern that breaks section 7.3 or 9.3.

    1. A DH needs a public key of each side. 2. No key is sent twice. 3. No DH is done twice. 4. After a DH with the
    sender's static key nothing is encrypted before the DH with its ephemeral key. And, from 9.3: after a psk nothing is
    encrypted by a side that has not sent an ephemeral key.
    """
    if not pattern.messages:
        raise InvalidPattern("a pattern has at least one message")
    known: dict[bool, set[Token]] = {True: set(), False: set()}
    done: set[Token] = set()
    for initiator in (True, False):
        for token in pattern.pre_message(initiator=initiator):
            if token not in (Token.E, Token.S):
                raise InvalidPattern("a pre-message has public keys only")
            _note_public_key(known[initiator], token)
    for initiator, message in _with_sender(pattern):
        for token in message:
            if token in DH_TOKENS:
                _note_dh(known, done, token)
            elif token is Token.PSK:
                done.add(token)
            else:
                if token is Token.S:
                    _check_may_encrypt(known[initiator], done, initiator=initiator)
                _note_public_key(known[initiator], token)
        _check_may_encrypt(known[initiator], done, initiator=initiator)
    for initiator in (True,) if pattern.one_way else (True, False):
        _check_may_encrypt(known[initiator], done, initiator=initiator)


def _with_sender(pattern: Pattern) -> Iterator[tuple[bool, tuple[Token, ...]]]:
    for index, message in enumerate(pattern.messages):
        yield index % 2 == 0, message


def _note_public_key(keys: set[Token], token: Token) -> None:
    if token in keys:
        raise InvalidPattern("a public key is sent twice")
    keys.add(token)


def _note_dh(known: dict[bool, set[Token]], done: set[Token], token: Token) -> None:
    initiator_key, responder_key = _tokens(" ".join(token.value))
    if initiator_key not in known[True] or responder_key not in known[False]:
        raise InvalidPattern("a DH needs a key that has not been sent")
    if token in done:
        raise InvalidPattern("a DH is done twice")
    done.add(token)


def _check_may_encrypt(keys: set[Token], done: set[Token], *, initiator: bool) -> None:
    """Refuse an encryption by this side at this point; before the first DH or psk there is none, and no refusal."""
    for side, static_dh, cover in _EPHEMERAL_COVER:
        if side is initiator and static_dh in done and cover not in done:
            raise InvalidPattern("something is encrypted under a static key without its ephemeral DH")
    if Token.PSK in done and Token.E not in keys:
        raise InvalidPattern("something is encrypted under a psk by a side without an ephemeral key")
