"""The protocols that the player's bytes can name: patterns and suites by number, and their Noise names.

The numbers are those of proto/noisegate/v1/session.proto; they travel in the hello and never change.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple


class Pattern(IntEnum):
    """A Noise handshake pattern (Noise revision 34, sections 7 and 9)."""

    XX = 1
    IK = 2
    NK = 3
    XXPSK3 = 4
    IKPSK1 = 5
    IKPSK2 = 6
    NKPSK0 = 7
    NKPSK2 = 8
    NNPSK0 = 9


class Suite(IntEnum):
    """A cipher suite: key agreement, AEAD and hash."""

    CHACHA20_POLY1305_X25519 = 1
    AES256_GCM_X25519 = 2
    MLKEM1024_X25519_CHACHA20_POLY1305 = 3


class SuiteNames(NamedTuple):
    """The three algorithm names of a suite, as a Noise protocol name spells them (section 8)."""

    dh: str
    cipher: str
    hash: str


PATTERN_NAMES: Final[dict[Pattern, str]] = {
    Pattern.XX: "XX",
    Pattern.IK: "IK",
    Pattern.NK: "NK",
    Pattern.XXPSK3: "XXpsk3",
    Pattern.IKPSK1: "IKpsk1",
    Pattern.IKPSK2: "IKpsk2",
    Pattern.NKPSK0: "NKpsk0",
    Pattern.NKPSK2: "NKpsk2",
    Pattern.NNPSK0: "NNpsk0",
}

HYBRID_PATTERN_NAMES: Final[dict[Pattern, str]] = {
    Pattern.XX: "XXhfs",
    Pattern.IK: "IKhfs",
    Pattern.NK: "NKhfs",
    Pattern.XXPSK3: "XXhfs+psk3",
    Pattern.IKPSK1: "IKhfs+psk1",
    Pattern.IKPSK2: "IKhfs+psk2",
    Pattern.NKPSK0: "NKhfs+psk0",
    Pattern.NKPSK2: "NKhfs+psk2",
    Pattern.NNPSK0: "NNhfs+psk0",
}
"""The same patterns with a KEM beside their ephemeral keys. Their numbers are the same: the suite tells them apart."""

SUITES: Final[dict[Suite, SuiteNames]] = {
    Suite.CHACHA20_POLY1305_X25519: SuiteNames("25519", "ChaChaPoly", "SHA256"),
    Suite.AES256_GCM_X25519: SuiteNames("25519", "AESGCM", "SHA256"),
    Suite.MLKEM1024_X25519_CHACHA20_POLY1305: SuiteNames("25519+MLKEM1024", "ChaChaPoly", "SHA256"),
}

HYBRID_SUITES: Final = frozenset({Suite.MLKEM1024_X25519_CHACHA20_POLY1305})
"""Suites that run their patterns with the hfs modifier."""

NOISE_NAMES: Final[dict[tuple[Pattern, Suite], str]] = {
    (pattern, suite): "_".join(("Noise", name, *SUITES[suite]))
    for suite in Suite
    for pattern, name in (HYBRID_PATTERN_NAMES if suite in HYBRID_SUITES else PATTERN_NAMES).items()
}
"""Every (pattern, suite) and its canonical Noise name, such as `Noise_XX_25519_ChaChaPoly_SHA256`."""

PROTOCOLS: Final[dict[str, tuple[Pattern, Suite]]] = {name: pair for pair, name in NOISE_NAMES.items()}
"""The way back from a Noise name."""
