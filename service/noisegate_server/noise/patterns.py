"""Handshake patterns (sections 7, 9 and 18) as data, the psk and hfs modifiers, and the validity rules.

A pattern is written as the specification prints it, in Alice-initiated form: the pre-messages of both sides, then the
messages, the initiator's first and from there in turn. "hfs" is the specification "Noise Extension: Hybrid Forward
Secrecy", revision 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from noisegate_server.noise.errors import InvalidPattern, InvalidProtocolName


class Token(Enum):
    """A token of a message pattern (sections 7.1, 9.2; hfs, section 4). A DH's first letter is the initiator's key."""

    E = "e"
    S = "s"
    EE = "ee"
    ES = "es"
    SE = "se"
    SS = "ss"
    PSK = "psk"
    E1 = "e1"
    EKEM1 = "ekem1"


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
    def hybrid(self) -> bool:
        """True if a KEM takes part: the pattern has the hfs modifier."""
        return any(Token.E1 in message for message in self.messages)

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


Step = tuple[Token, bool, tuple[Token, Token] | None]
"""A token as one side carries it out: the token; whether a cipher key that it makes is used before the next one is
made; of a DH, which key pair of this side and which public key of the peer it takes, each E or S."""
Steps = tuple[tuple[Step, ...], ...]
"""Those of each message."""


def steps_of(pattern: Pattern) -> tuple[Steps, Steps]:
    """The tokens of each message as the responder, and as the initiator, carries them out."""
    return _steps_of(pattern, initiator=False), _steps_of(pattern, initiator=True)


def _steps_of(pattern: Pattern, *, initiator: bool) -> Steps:
    # What seals next uses the key, the payload at the latest. In psk mode `e` makes one as well (section 9.2).
    makes_key = {*DH_TOKENS, Token.PSK, *((Token.E,) if pattern.psk_count else ())}
    return tuple(
        tuple(
            (token, after not in makes_key, _keys_of(token, initiator=initiator))
            for token, after in zip(message, (*message[1:], None), strict=True)
        )
        for message in pattern.messages
    )


def _keys_of(token: Token, *, initiator: bool) -> tuple[Token, Token] | None:
    if token not in DH_TOKENS:
        return None
    of_initiator, of_responder = _tokens(" ".join(token.value))
    return (of_initiator, of_responder) if initiator else (of_responder, of_initiator)


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

HYBRID_PATTERNS: Final = frozenset({"XX", "IK", "NK", "NN"})
"""Patterns that take the hfs modifier. For others its specification contradicts itself: the table's KKhfs has `e1`
before the DH, against the rule, and its INhfs lacks `ee`. Peers would differ there: those names do not exist here."""


def apply_modifier(pattern: Pattern, modifier: str) -> Pattern:
    """Apply one modifier of section 8.1: `pskN` (section 9.4) or `hfs` (hfs, section 5). InvalidProtocolName otherwise.

    `psk0` goes to the start of message 1, `pskN` to the end of message N. `hfs` puts `e1` after the first `e`, or after
    the first DH if that message has one (so that the key is sealed), and `ekem1` after the first `ee`.
    """
    if modifier == "hfs":
        return _apply_hfs(pattern)
    found = _PSK.fullmatch(modifier)
    if found is None or int(found[1]) > len(pattern.messages):
        raise InvalidProtocolName("unknown pattern modifier")
    place = int(found[1])
    index = max(place - 1, 0)
    message = pattern.messages[index]
    return _replace_message(pattern, index, (*message, Token.PSK) if place else (Token.PSK, *message))


def _apply_hfs(pattern: Pattern) -> Pattern:
    if pattern.name not in HYBRID_PATTERNS or pattern.hybrid:
        raise InvalidProtocolName("the pattern does not take the hfs modifier")
    first = next(index for index, message in enumerate(pattern.messages) if Token.E in message)
    before = next((token for token in pattern.messages[first] if token in DH_TOKENS), Token.E)
    pattern = _insert_after(pattern, first, before, Token.E1)
    answer = next(index for index, message in enumerate(pattern.messages) if Token.EE in message)
    return _insert_after(pattern, answer, Token.EE, Token.EKEM1)


def _insert_after(pattern: Pattern, index: int, before: Token, token: Token) -> Pattern:
    message = pattern.messages[index]
    place = message.index(before) + 1
    return _replace_message(pattern, index, (*message[:place], token, *message[place:]))


def _replace_message(pattern: Pattern, index: int, message: tuple[Token, ...]) -> Pattern:
    return replace(pattern, messages=(*pattern.messages[:index], message, *pattern.messages[index + 1 :]))


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
    encrypted by a side that has not sent an ephemeral key. A KEM key counts as a public key, and `ekem1` needs the
    other side's and an `ee` (hfs, sections 4 and 5).
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
            elif token is Token.EKEM1:
                _note_kem_ciphertext(known[initiator], known[not initiator], done)
            else:
                if token is not Token.E:
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


def _note_kem_ciphertext(own: set[Token], other: set[Token], done: set[Token]) -> None:
    # Instead of rule 4, by whose letter IKhfs would seal too early, between ss and se: what the rule wants, a fresh key
    # of the sender's in the cipher key, `ee` has seen to.
    if Token.E1 not in other or Token.EE not in done:
        raise InvalidPattern("a KEM ciphertext needs a key or a DH that has not been sent")
    _note_public_key(own, Token.EKEM1)


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
