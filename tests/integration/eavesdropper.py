"""An attacker who has recorded everything and has stolen private keys afterwards.

It runs the recorded handshake again (Noise revision 34, section 5; written from the specification with `hmac` and an
AEAD, nothing of the service). Where it lacks a Diffie-Hellman result it tries every one that its keys yield, all zeros,
and leaving the step out; a guess that makes an authenticated field of the handshake fail is dropped. What is left, and
every 32-byte value that came up on the way, is tried on every record.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

KEY, TAG, RECORD_HEADER = 32, 16, 15
Aead = type[AESGCM] | type[ChaCha20Poly1305]


def hkdf(chaining_key: bytes, material: bytes) -> tuple[bytes, bytes]:
    """HKDF of Noise section 4.3 with two outputs."""
    temporary = hmac.digest(chaining_key, material, hashlib.sha256)
    first = hmac.digest(temporary, b"\x01", hashlib.sha256)
    return first, hmac.digest(temporary, first + b"\x02", hashlib.sha256)


def expand(key: bytes, label: bytes) -> bytes:
    """HKDF-Expand to 32 bytes (RFC 5869)."""
    return hmac.digest(key, label + b"\x01", hashlib.sha256)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What went over the wire between a player and the service, and what everyone may know of it."""

    name: str
    """The Noise name."""
    prologue: bytes
    """As Noise has it: in DATAGRAM mode with the hello before it."""
    handshake: tuple[bytes, ...]
    """Noise messages, in order."""
    records: tuple[bytes, ...]
    """Both directions: NOISE transport messages, or RECORD packets."""
    datagram: bool = False

    @property
    def aead(self) -> Aead:
        """Of the suite."""
        return AESGCM if "AESGCM" in self.name else ChaCha20Poly1305

    def nonce(self, n: int) -> bytes:
        """Noise sections 12.3 and 12.4."""
        return bytes(4) + n.to_bytes(8, "big" if self.aead is AESGCM else "little")


@dataclass(frozen=True, slots=True)
class _State:
    """A SymmetricState that the attacker has guessed its way to."""

    ck: bytes
    h: bytes
    k: bytes | None = None
    n: int = 0
    seen: tuple[bytes, ...] = field(default=(), repr=False)

    def mix_hash(self, data: bytes) -> _State:
        return replace(self, h=hashlib.sha256(self.h + data).digest())

    def mix_key(self, material: bytes) -> _State:
        ck, k = hkdf(self.ck, material)
        return replace(self, ck=ck, k=k, n=0, seen=(*self.seen, ck, k))


@dataclass(frozen=True, slots=True)
class _Public:
    """A public key of the transcript goes into h."""

    key: bytes


@dataclass(frozen=True, slots=True)
class _Secret:
    """A Diffie-Hellman result goes into the chaining key."""


@dataclass(frozen=True, slots=True)
class _Field:
    """A static key or payload: encrypted once there is a key."""

    data: bytes


_Step = _Public | _Secret | _Field


def _steps(recording: Recording, responder_static: bytes) -> list[_Step]:
    messages = recording.handshake
    ephemerals = [message[:KEY] for message in messages[:2]]
    encrypted_key = KEY + TAG
    if recording.name.startswith("Noise_XX_"):
        first, second, third = messages
        return [
            _Public(ephemerals[0]), _Field(first[KEY:]),
            _Public(ephemerals[1]), _Secret(), _Field(second[KEY : KEY + encrypted_key]),
            _Secret(), _Field(second[KEY + encrypted_key :]),
            _Field(third[:encrypted_key]), _Secret(), _Field(third[encrypted_key:]),
        ]  # fmt: skip
    if recording.name.startswith("Noise_IK_"):
        first, second = messages
        return [
            _Public(responder_static), _Public(ephemerals[0]), _Secret(), _Field(first[KEY : KEY + encrypted_key]),
            _Secret(), _Field(first[KEY + encrypted_key :]),
            _Public(ephemerals[1]), _Secret(), _Secret(), _Field(second[KEY:]),
        ]  # fmt: skip
    raise ValueError("a pattern that this attacker was not written for")


def _guesses(private_keys: Sequence[bytes], recording: Recording) -> list[bytes | None]:
    """Every Diffie-Hellman result of a known private key with a key of the transcript or of another one."""
    privates = [X25519PrivateKey.from_private_bytes(key) for key in private_keys]
    publics = {message[:KEY] for message in recording.handshake[:2]}
    publics |= {key.public_key().public_bytes_raw() for key in privates}
    results = {
        private.exchange(X25519PublicKey.from_public_bytes(public))
        for private, public in itertools.product(privates, sorted(publics))
    }
    return [*sorted(results), bytes(KEY), None]


def _run(
    recording: Recording, state: _State, steps: Sequence[_Step], guesses: Sequence[bytes | None], dead: set[bytes]
) -> Iterator[_State]:
    """Every way through the transcript that no tag contradicts; what dead ends came to goes into `dead`."""
    if not steps:
        yield state
        return
    step, rest = steps[0], steps[1:]
    if isinstance(step, _Public):
        yield from _run(recording, state.mix_hash(step.key), rest, guesses, dead)
    elif isinstance(step, _Secret):
        for guess in guesses:
            yield from _run(recording, state if guess is None else state.mix_key(guess), rest, guesses, dead)
    else:
        if state.k is not None:
            try:
                recording.aead(state.k).decrypt(recording.nonce(state.n), step.data, state.h)
            except InvalidTag:
                dead.update(state.seen)
                return
            state = replace(state, n=state.n + 1)
        yield from _run(recording, state.mix_hash(step.data), rest, guesses, dead)


def _record_keys(state: _State) -> Iterator[bytes]:
    """What section 3 of docs/protocol.md and Split() make of a finished handshake."""
    k1, k2 = hkdf(state.ck, b"")
    yield from (k1, k2)
    prk = hmac.digest(state.h, k1 + k2, hashlib.sha256)
    for label in (b"ng1 i2r", b"ng1 r2i"):
        yield expand(expand(prk, label), b"ng1 key")


def _open(recording: Recording, record: bytes, keys: Iterable[bytes]) -> bytes | None:
    header, body = (record[:RECORD_HEADER], record[RECORD_HEADER:]) if recording.datagram else (b"", record)
    for key in keys:
        aead = recording.aead(key)
        for n in range(len(recording.records) + 4):
            try:
                return aead.decrypt(recording.nonce(n), body, header)
            except InvalidTag:
                continue
    return None


def attack(recording: Recording, responder_static: bytes, private_keys: Sequence[bytes]) -> list[bytes | None]:
    """What the attacker reads in each record; None for one that stays shut.

    `responder_static`: the responder's public key, which anyone may know. `private_keys`: all that was stolen.
    """
    name = recording.name.encode()
    start = name.ljust(32, b"\0") if len(name) <= 32 else hashlib.sha256(name).digest()
    state = _State(ck=start, h=start).mix_hash(recording.prologue)
    guesses = _guesses(private_keys, recording)
    dead: set[bytes] = set()
    keys: set[bytes] = {*private_keys, *(guess for guess in guesses if guess is not None)}
    for finished in _run(recording, state, _steps(recording, responder_static), guesses, dead):
        # A run that every tag of the handshake bears out; there may be several where little is encrypted.
        keys.update(finished.seen, _record_keys(finished))
    return [_open(recording, record, sorted(keys | dead)) for record in recording.records]
