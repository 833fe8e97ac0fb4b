"""Every secret of a DATAGRAM session, from Split to the key of one record (docs/protocol.md, sections 3 to 5).

    prk = Extract(h, k1 ‖ k2) ──> i2r, r2i, root, and in the first epoch export, mask
    P(0) = i2r or r2i;  P(p+1) = Expand(P(p), "ng1 next")
    ratchet off: the key of phase p is Expand(P(p), "ng1 key")
    ratchet on:  C(0) = Expand(P(p), "ng1 chain"); C(i+1) = Expand(C(i), "ng1 next");
                 the key of message i is Expand(C(i), "ng1 key")

`root` is a sibling of the traffic secrets, never their parent: what a suspended session keeps opens nothing that was
sent. Secrets are bytearrays of 32 bytes, so that their owner can wipe them; only Extract hands out immutable bytes,
which are copied and dropped at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from noisegate_server.noise.primitives import expand, extract, sha256, wipe
from noisegate_server.session.constants import (
    HASH,
    KEY,
    LABEL_CHAIN,
    LABEL_EXPORT,
    LABEL_EXPORTER,
    LABEL_I2R,
    LABEL_KEY,
    LABEL_MASK,
    LABEL_NEXT,
    LABEL_R2I,
    LABEL_RENEGOTIATE,
    LABEL_ROOT,
    LABEL_SALTED,
    MAX_EPOCH,
    MAX_EXPORTED,
    MAX_LABEL,
    MIN_EXPORTED,
    SALT,
)

Secret = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class EpochSecrets:
    """The three secrets of one epoch; whoever takes one over wipes it."""

    i2r: bytearray
    """P(0) of what the Noise initiator sends."""
    r2i: bytearray
    """P(0) of what the responder sends."""
    root: bytearray
    """From which the next epoch's PSK, or a salted epoch, comes."""

    def __repr__(self) -> str:
        return "EpochSecrets(...)"

    def wipe(self) -> None:
        """Overwrites all three."""
        wipe(self.i2r)
        wipe(self.r2i)
        wipe(self.root)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class SessionSecrets:
    """The two secrets that a session keeps through all its epochs."""

    export: bytearray
    """From which the caller's exporter secrets come."""
    mask: bytearray
    """The AES-256 key of the header mask."""

    def __repr__(self) -> str:
        return "SessionSecrets(...)"

    def wipe(self) -> None:
        """Overwrites both."""
        wipe(self.export)
        wipe(self.mask)


def derive_epoch(h: bytes, k1: Secret, k2: Secret) -> EpochSecrets:
    """The secrets of a renegotiated epoch from its handshake hash and Split's two keys, 32 bytes each.

    k1 and k2 stay the caller's: DATAGRAM mode wipes them, NOISE mode seals with them.
    """
    prk = _pseudo_random_key(h, k1, k2)
    try:
        return _epoch(prk)
    finally:
        wipe(prk)


def derive_session(h: bytes, k1: Secret, k2: Secret) -> tuple[EpochSecrets, SessionSecrets]:
    """As derive_epoch, for a session's first epoch: with what the session keeps through all of them."""
    prk = _pseudo_random_key(h, k1, k2)
    try:
        return _epoch(prk), SessionSecrets(export=_expand(prk, LABEL_EXPORT), mask=_expand(prk, LABEL_MASK))
    finally:
        wipe(prk)


def derive_salted(root: Secret, salt: bytes, number: int) -> EpochSecrets:
    """The secrets of salted epoch `number` over the base epoch's `root` (section 5); `salt` is 16 bytes."""
    fresh = _salt(salt, number)
    base = _expand(root, LABEL_SALTED)
    prk = bytearray(extract(fresh, base))
    wipe(base)
    try:
        return _epoch(prk)
    finally:
        wipe(prk)


def salted_hash(h: bytes, salt: bytes, number: int) -> bytes:
    """h of salted epoch `number` over the base epoch's `h` (section 5)."""
    if len(h) != HASH:
        raise ValueError("h: 32 bytes")
    return sha256(LABEL_SALTED + h + _salt(salt, number))


def renegotiate_psk(root: Secret) -> bytearray:
    """The PSK of the renegotiation that leaves the epoch of `root` (section 4)."""
    return _expand(root, LABEL_RENEGOTIATE)


def exporter_secret(export: Secret, label: bytes, context: bytes, length: int) -> bytearray:
    """A secret of `length` bytes (16 to 255) for whatever `label` (1 to 64 bytes) names (section 3)."""
    if not 1 <= len(label) <= MAX_LABEL or not MIN_EXPORTED <= length <= MAX_EXPORTED:
        raise ValueError(f"label: 1 to {MAX_LABEL} bytes; length: {MIN_EXPORTED} to {MAX_EXPORTED}")
    info = LABEL_EXPORTER + bytes((len(label),)) + label + sha256(context)
    return expand(export, info, length)


def next_phase(secret: Secret) -> bytearray:
    """P(p+1) of P(p)."""
    return _expand(secret, LABEL_NEXT)


def phase_key(secret: Secret) -> bytearray:
    """Ratchet off: the AEAD key of P(p)."""
    return _expand(secret, LABEL_KEY)


def chain_start(secret: Secret) -> bytearray:
    """Ratchet on: C(0) of P(p)."""
    return _expand(secret, LABEL_CHAIN)


def next_chain(chain: Secret) -> bytearray:
    """Ratchet on: C(i+1) of C(i)."""
    return _expand(chain, LABEL_NEXT)


def message_key(chain: Secret) -> bytearray:
    """Ratchet on: the AEAD key of the one message of C(i)."""
    return _expand(chain, LABEL_KEY)


def _expand(secret: Secret, label: bytes) -> bytearray:
    if not secret:
        # Its owner leaves none where it has wiped one: zeros, or nothing, would make keys that anybody knows.
        raise ValueError("a secret that was wiped")
    return expand(secret, label)


def _pseudo_random_key(h: bytes, k1: Secret, k2: Secret) -> bytearray:
    if len(h) != HASH or len(k1) != KEY or len(k2) != KEY:
        raise ValueError("h, k1, k2: 32 bytes each")
    both = bytearray(k1)
    both += k2
    try:
        return bytearray(extract(h, both))
    finally:
        wipe(both)


def _epoch(prk: bytearray) -> EpochSecrets:
    return EpochSecrets(i2r=_expand(prk, LABEL_I2R), r2i=_expand(prk, LABEL_R2I), root=_expand(prk, LABEL_ROOT))


def _salt(salt: bytes, number: int) -> bytes:
    if len(salt) != SALT:
        raise ValueError("salt: 16 bytes")
    if not 1 <= number <= MAX_EPOCH:
        raise ValueError("number: 1 to 2^32 - 1")
    return salt + number.to_bytes(4, "big")
