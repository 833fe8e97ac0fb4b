"""The HandshakeState object (section 5.3)."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final, TypeVar

from noisegate_server.noise.cipher_state import MAX_MESSAGE, CipherState
from noisegate_server.noise.errors import InvalidKey, MessageTooLong, MessageTooShort, OutOfTurn
from noisegate_server.noise.patterns import Token
from noisegate_server.noise.primitives import (
    DHLEN,
    KEMLEN,
    KEYLEN,
    TAGLEN,
    BytesLike,
    Encapsulate,
    KemKeyPair,
    KeyPair,
    RandomBytes,
    dh,
    encapsulate,
    load_public,
    wipe,
)
from noisegate_server.noise.protocol_name import ProtocolName
from noisegate_server.noise.symmetric_state import SymmetricState

_T = TypeVar("_T")

# Python 3.11 finds an enum's member through a descriptor of its class: as names of their own they are found at once.
_E: Final = Token.E
_S: Final = Token.S
_E1: Final = Token.E1
_EKEM1: Final = Token.EKEM1
_PSK: Final = Token.PSK


class _Phase(Enum):
    MESSAGES = "messages are due"
    FINISHED = "the handshake is finished"
    SPLIT = "the handshake is finished and split"
    DEAD = "the handshake has failed or was wiped"


# As the tokens above.
_MESSAGES: Final = _Phase.MESSAGES
_FINISHED: Final = _Phase.FINISHED
_SPLIT: Final = _Phase.SPLIT
_DEAD: Final = _Phase.DEAD


class HandshakeState:
    """One side of one handshake.

    A failure in the middle of a message kills the state (section 5): it is wiped, and every later call is OutOfTurn.
    Where a forged message must not do that, read it on a `copy`.
    """

    __slots__ = (
        "_e",
        "_e1",
        "_encapsulate",
        "_index",
        "_loaded_re",
        "_loaded_rs",
        "_phase",
        "_psk_mode",
        "_psks",
        "_psks_used",
        "_random_bytes",
        "_re1",
        "_rs",
        "_s",
        "_symmetric",
        "initiator",
        "protocol",
    )

    def __init__(
        self,
        protocol: ProtocolName,
        *,
        initiator: bool,
        random_bytes: RandomBytes,
        prologue: BytesLike = b"",
        s: KeyPair | None = None,
        e: KeyPair | None = None,
        rs: BytesLike | None = None,
        re: BytesLike | None = None,
        psks: Sequence[BytesLike] = (),
        encapsulate: Encapsulate = encapsulate,
    ) -> None:
        """Initialize(handshake_pattern, initiator, prologue, s, e, rs, re), and the pre-shared keys of section 9.

        `e` fixes the ephemeral key, for test vectors; normally it is made of 32 of `random_bytes` when it is sent, and
        a hybrid pattern's KEM key of 64 more. `encapsulate` is replaced where a vector fixes the KEM's ciphertext.
        `rs` and `re` are the peer's public keys, 32 bytes, where the pattern has them as pre-messages; a key that the
        pattern does not use there is ignored. `psks` are 32 bytes each, in the order in which the pattern uses them.
        InvalidKey if a key is missing, has a wrong length, or the number of pre-shared keys is not the pattern's.
        """
        pattern = protocol.pattern
        remote_pre = pattern.responder_pre if initiator else pattern.initiator_pre
        self.protocol = protocol
        self.initiator = initiator
        self._random_bytes = random_bytes
        needs_static = protocol.needs_static[initiator]
        if needs_static and s is None:
            raise InvalidKey("the pattern needs a static key pair")
        self._s = s if needs_static else None
        self._e = e
        self._e1: KemKeyPair | None = None
        self._re1: bytes | None = None
        self._encapsulate = encapsulate
        # What the pattern transmits must not be set beforehand: it would pass for authenticated.
        self._rs = _public_key(rs) if _S in remote_pre else None
        self._loaded_rs = None if self._rs is None else load_public(self._rs)
        self._loaded_re = load_public(_public_key(re)) if _E in remote_pre else None
        if len(psks) != protocol.psk_count:
            raise InvalidKey("the pattern needs another number of pre-shared keys")
        for psk in psks:
            if len(psk) != KEYLEN:
                raise InvalidKey("a pre-shared key has 32 bytes")
        self._psks = list(map(bytearray, psks))
        self._psks_used = 0
        self._psk_mode = bool(psks)
        self._index = 0
        self._phase = _MESSAGES
        self._symmetric = SymmetricState(protocol)
        self._symmetric.mix_hash(prologue)
        for token in pattern.initiator_pre:
            self._mix_pre_message(token, local=initiator)
        for token in pattern.responder_pre:
            self._mix_pre_message(token, local=not initiator)

    def __repr__(self) -> str:
        role = "initiator" if self.initiator else "responder"
        return f"HandshakeState({self.protocol.name}, {role}, {self._phase.value})"

    @property
    def is_finished(self) -> bool:
        """True once the last message was written or read, also after `split`."""
        return self._phase is _FINISHED or self._phase is _SPLIT

    @property
    def is_my_turn(self) -> bool:
        """True if this side writes the next message."""
        return self._phase is _MESSAGES and (self._index % 2 == 0) is self.initiator

    @property
    def rs(self) -> bytes | None:
        """The peer's static public key, once known. Proven only by the messages that the pattern says (section 7.7)."""
        return self._rs

    @property
    def handshake_hash(self) -> bytes:
        """GetHandshakeHash() of section 11.2, the channel binding: HASHLEN bytes. OutOfTurn before the end."""
        if not self.is_finished:
            raise OutOfTurn(self._phase.value)
        return self._symmetric.h

    def write_message(self, payload: BytesLike = b"") -> bytes:
        """WriteMessage(payload): the message, at most 65,535 bytes.

        OutOfTurn and MessageTooLong change nothing. InvalidKey (the peer's key is of low order) kills the handshake.
        """
        if self._phase is not _MESSAGES or (self._index % 2 == 0) is not self.initiator:
            raise OutOfTurn(self._phase.value)
        if len(payload) + self.protocol.overheads[self._index] > MAX_MESSAGE:
            raise MessageTooLong
        # Dead until the message is complete: an exception of whatever kind must not leave a half-moved state in use.
        self._phase = _DEAD
        try:
            message = self._write(payload)
            self._advance()
        finally:
            if self._phase is _DEAD:
                self._wipe_secrets()
        return message

    def read_message(self, message: BytesLike) -> bytes:
        """ReadMessage(message): the payload.

        OutOfTurn changes nothing. Any other failure (DecryptError, InvalidKey, MessageTooShort, MessageTooLong) kills
        the handshake.
        """
        if self._phase is not _MESSAGES or (self._index % 2 == 0) is self.initiator:
            raise OutOfTurn(self._phase.value)
        self._phase = _DEAD
        try:
            payload = self._read(bytes(message))
            self._advance()
        finally:
            if self._phase is _DEAD:
                self._wipe_secrets()
        return payload

    def split(self) -> tuple[CipherState, CipherState]:
        """Split(): the CipherStates from initiator to responder and from responder to initiator; once.

        In a one-way pattern the second is not to be used (section 7.4). All secrets of the handshake are wiped; the
        handshake hash and the peer's static key stay. OutOfTurn before the end and the second time.
        """
        if self._phase is not _FINISHED:
            raise OutOfTurn(self._phase.value)
        pair = self._symmetric.split()
        self._wipe_secrets()
        self._phase = _SPLIT
        return pair

    def copy(self) -> HandshakeState:
        """An independent HandshakeState at the same point: what happens to one leaves the other alone.

        Key pairs are shared, as they never change. Only one of the two may go on to write: both would seal under the
        same keys and nonces.
        """
        other = HandshakeState.__new__(HandshakeState)
        other.protocol = self.protocol
        other.initiator = self.initiator
        other._random_bytes = self._random_bytes
        other._s = self._s
        other._e = self._e
        other._e1 = self._e1
        other._re1 = self._re1
        other._encapsulate = self._encapsulate
        other._rs = self._rs
        other._loaded_rs = self._loaded_rs
        other._loaded_re = self._loaded_re
        other._psks = [bytearray(psk) for psk in self._psks]
        other._psks_used = self._psks_used
        other._psk_mode = self._psk_mode
        other._index = self._index
        other._phase = self._phase
        other._symmetric = self._symmetric.copy()
        return other

    def wipe(self) -> None:
        """Overwrite and drop every secret. A handshake that was not split is dead after this."""
        self._wipe_secrets()
        if self._phase is not _SPLIT:
            self._phase = _DEAD

    def _wipe_secrets(self) -> None:
        self._symmetric.wipe()
        for psk in self._psks:
            wipe(psk)
        self._s = None
        self._e = None
        self._e1 = None

    def _advance(self) -> None:
        self._index += 1
        last = self._index == len(self.protocol.overheads)
        self._phase = _FINISHED if last else _MESSAGES

    def _write(self, payload: BytesLike) -> bytes:
        symmetric = self._symmetric
        parts = []
        for token, keyed, keys in self.protocol.steps[self.initiator][self._index]:
            if keys is not None:
                symmetric.mix_key(self._dh(keys), keyed)
            elif token is _E:
                if self._e is None:
                    self._e = KeyPair.generate(self._random_bytes)
                parts.append(self._e.public)
                self._mix_ephemeral(self._e.public, keyed)
            elif token is _S:
                parts.append(symmetric.encrypt_and_hash(_present(self._s).public))
            elif token is _PSK:
                self._mix_psk(keyed)
            elif token is _E1:
                self._e1 = KemKeyPair.generate(self._random_bytes)
                parts.append(symmetric.encrypt_and_hash(self._e1.public))
            else:
                secret, ciphertext = self._encapsulate(_present(self._re1))
                # In this order: the ciphertext is sealed under the key before its secret (hfs, section 4).
                parts.append(symmetric.encrypt_and_hash(ciphertext))
                symmetric.mix_key(secret, keyed)
        parts.append(symmetric.encrypt_and_hash(payload))
        return b"".join(parts)

    def _read(self, message: bytes) -> bytes:
        if len(message) > MAX_MESSAGE:
            raise MessageTooLong
        # Covers every slice below: the overhead is the sum of their lengths and the payload's tag.
        if len(message) < self.protocol.overheads[self._index]:
            raise MessageTooShort
        symmetric = self._symmetric
        at = 0
        for token, keyed, keys in self.protocol.steps[self.initiator][self._index]:
            if keys is not None:
                symmetric.mix_key(self._dh(keys), keyed)
            elif token is _E:
                re = message[at : at + DHLEN]
                at += DHLEN
                self._loaded_re = load_public(re)
                self._mix_ephemeral(re, keyed)
            elif token is _S:
                end = at + DHLEN + (TAGLEN if symmetric.cipher_state.has_key() else 0)
                self._rs = symmetric.decrypt_and_hash(message[at:end])
                self._loaded_rs = load_public(self._rs)
                at = end
            elif token is _PSK:
                self._mix_psk(keyed)
            else:
                end = at + KEMLEN + (TAGLEN if symmetric.cipher_state.has_key() else 0)
                opened = symmetric.decrypt_and_hash(message[at:end])
                at = end
                if token is _E1:
                    self._re1 = opened
                else:
                    symmetric.mix_key(_present(self._e1).decapsulate(opened), keyed)
        return symmetric.decrypt_and_hash(message[at:])

    def _dh(self, keys: tuple[Token, Token]) -> bytes:
        own, peer = keys
        pair = self._e if own is _E else self._s
        public = self._loaded_re if peer is _E else self._loaded_rs
        if pair is None or public is None:
            raise InvalidKey("the pattern needs a key that is not there")
        return dh(pair, public)

    def _mix_ephemeral(self, public: bytes, keyed: bool = True) -> None:
        self._symmetric.mix_hash(public)
        if self._psk_mode:
            # Section 9.2: a key from the psk alone would be the same in every handshake, and its nonce starts at 0.
            self._symmetric.mix_key(public, keyed)

    def _mix_psk(self, keyed: bool) -> None:
        self._symmetric.mix_key_and_hash(self._psks[self._psks_used], keyed)
        self._psks_used += 1

    def _mix_pre_message(self, token: Token, *, local: bool) -> None:
        if token is _E:
            self._mix_ephemeral(_present(self._e).public if local else _present(self._loaded_re).public_bytes_raw())
        else:
            self._symmetric.mix_hash(_present(self._s).public if local else _present(self._rs))


def _public_key(key: BytesLike | None) -> bytes:
    if key is None or len(key) != DHLEN:
        raise InvalidKey("the pattern needs the peer's public key of 32 bytes")
    return bytes(key)


def _present(key: _T | None) -> _T:
    if key is None:
        raise InvalidKey("the pattern needs a key that is not there")
    return key
