"""Protocol names and modifiers (section 8)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from noisegate_server.noise.errors import InvalidProtocolName
from noisegate_server.noise.patterns import PATTERNS, Pattern, Steps, Token, apply_modifier, steps_of
from noisegate_server.noise.primitives import CIPHERS, DHLEN, HASHES, KEMLEN, TAGLEN, Cipher, Hash

MAX_NAME_LENGTH: Final = 255
"""Bytes of a protocol name (section 8)."""

# DH functions, and whether a KEM stands beside them. FIPS 203's is spelt without its hyphens, as section 8.2 has none.
# "Kyber1024" is refused: of the same sizes, it has stood for round-3 Kyber, another algorithm, and for drafts of it.
_DH_NAMES: Final = {"25519": False, "25519+MLKEM1024": True}
_PATTERN: Final = re.compile(r"([A-Z][A-Z0-9]*)((?:[a-z][a-z0-9]*)(?:\+[a-z][a-z0-9]*)*)?", re.ASCII)
_FIELDS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolName:
    """A parsed Noise protocol name, with what follows from the name alone."""

    name: str
    """The name itself, as it is hashed."""
    pattern: Pattern
    """The handshake pattern with its modifiers applied."""
    modifiers: tuple[str, ...]
    """The modifiers in the order of the name, such as `("psk3",)`."""
    dh: str
    """Name of the DH functions: `25519`, or `25519+MLKEM1024` with the hfs modifier."""
    cipher: Cipher
    """The cipher functions."""
    hash: Hash
    """The hash functions."""
    initial_hash: bytes
    """h of InitializeSymmetric (section 5.2): the name padded with zeros to HASHLEN, or its hash."""
    steps: tuple[Steps, Steps]
    """The tokens of each message as the responder, and as the initiator, carries them out."""
    overheads: tuple[int, ...]
    """For each handshake message the bytes that it adds to its payload: also the shortest legal length."""
    psk_count: int
    """Number of pre-shared keys that each side must have."""
    needs_static: tuple[bool, bool]
    """Whether the responder, and whether the initiator, needs a static key pair."""

    @staticmethod
    def parse(name: str) -> ProtocolName:
        """Parse a name such as `Noise_XXpsk3_25519_ChaChaPoly_SHA256`; InvalidProtocolName for any other text.

        Modifiers must be sorted and distinct (section 8.1), so that one protocol has one name.
        """
        return _parse(name)


# Bounded, and a refusal is not kept: names may come from a peer.
@lru_cache(maxsize=1024)
def _parse(name: str) -> ProtocolName:
    if len(name) > MAX_NAME_LENGTH or not name.isascii():
        raise InvalidProtocolName("a protocol name has at most 255 ASCII bytes")
    fields = name.split("_")
    if len(fields) != _FIELDS or fields[0] != "Noise":
        raise InvalidProtocolName("a protocol name is Noise_pattern_dh_cipher_hash")
    _, handshake, dh, cipher, hash_ = fields
    if dh not in _DH_NAMES or cipher not in CIPHERS or hash_ not in HASHES:
        raise InvalidProtocolName("unknown DH, cipher or hash functions")
    pattern, modifiers = _parse_pattern(handshake)
    if pattern.hybrid is not _DH_NAMES[dh]:
        raise InvalidProtocolName("the hfs modifier and a KEM need each other")
    return ProtocolName(
        name=name,
        pattern=pattern,
        modifiers=modifiers,
        dh=dh,
        cipher=CIPHERS[cipher],
        hash=HASHES[hash_],
        initial_hash=_initial_hash(name.encode("ascii"), HASHES[hash_]),
        steps=steps_of(pattern),
        overheads=_overheads(pattern),
        psk_count=pattern.psk_count,
        needs_static=(pattern.uses_static(initiator=False), pattern.uses_static(initiator=True)),
    )


def _parse_pattern(text: str) -> tuple[Pattern, tuple[str, ...]]:
    found = _PATTERN.fullmatch(text)
    if found is None or found[1] not in PATTERNS:
        raise InvalidProtocolName("unknown handshake pattern")
    modifiers = tuple(found[2].split("+")) if found[2] else ()
    if list(modifiers) != sorted(set(modifiers)):
        raise InvalidProtocolName("pattern modifiers are distinct and sorted")
    pattern = PATTERNS[found[1]]
    # The last place first: psk0 and psk1 both touch message 1 and commute only because they touch different ends.
    for modifier in reversed(modifiers):
        pattern = apply_modifier(pattern, modifier)
    return pattern, modifiers


def _initial_hash(name: bytes, hash_: Hash) -> bytes:
    return name.ljust(hash_.hashlen, b"\0") if len(name) <= hash_.hashlen else hash_.hash(name)


def _overheads(pattern: Pattern) -> tuple[int, ...]:
    """Sizes follow from the pattern: the first DH, psk, or e in psk mode sets a key, and from then on all is sealed."""
    psk_mode = pattern.psk_count > 0
    has_key = psk_mode and Token.E in pattern.initiator_pre + pattern.responder_pre
    sizes = []
    for message in pattern.messages:
        size = 0
        for token in message:
            if token is Token.E:
                size += DHLEN
                has_key = has_key or psk_mode
            elif token is Token.S:
                size += DHLEN + (TAGLEN if has_key else 0)
            elif token in (Token.E1, Token.EKEM1):
                size += KEMLEN + (TAGLEN if has_key else 0)
            else:
                has_key = True
        sizes.append(size + (TAGLEN if has_key else 0))
    return tuple(sizes)
