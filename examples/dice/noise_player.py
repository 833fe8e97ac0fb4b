"""A player of NOISE mode: the public library `noiseprotocol`, the game's framing, and what docs/protocol.md adds.

One Noise message is one WebSocket frame; over TCP each has its length in two bytes before it. No I/O is done here.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from noise.connection import Keypair, NoiseConnection
from noise.exceptions import NoiseHandshakeError, NoiseValueError

HELLO_LABEL, RESUME_LABEL, ROTATION_LABEL = b"ng1 hello", b"ng1 resume", b"ng1 renegotiate"
MAX_MESSAGE: Final = 65_535
MAX_PLAINTEXT: Final = MAX_MESSAGE - 16


class NoiseRefusedError(ValueError):
    """The peer's message did not open. A handshake is dead after it; a session's counters have not moved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseTicket:
    """A resumption ticket (section 6): seconds, bytes of early data, 32 bytes of psk, and the opaque ticket."""

    lifetime_s: int
    max_early: int
    psk: bytes = field(repr=False)
    ticket: bytes

    @classmethod
    def parse(cls, content: bytes) -> NoiseTicket:
        """The ticket in the plaintext of a transport message; NoiseRefusedError if that is too short for one."""
        if len(content) <= 40:
            raise NoiseRefusedError("ticket")
        return cls(
            lifetime_s=int.from_bytes(content[:4], "big"),
            max_early=int.from_bytes(content[4:8], "big"),
            psk=content[8:40],
            ticket=content[40:],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseKeys:
    """What a player has to know for its pattern; 32 bytes each."""

    static: bytes | None = field(default=None, repr=False)
    remote: bytes | None = None
    psk: bytes | None = field(default=None, repr=False)


class Frames:
    """Noise messages over a stream of bytes: a big-endian length in two bytes, then the message."""

    def __init__(self) -> None:
        self._rest = b""

    @staticmethod
    def frame(message: bytes) -> bytes:
        """The message with its length before it."""
        return len(message).to_bytes(2, "big") + message

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are complete with these bytes."""
        self._rest += data
        messages = []
        while len(self._rest) >= 2 and len(self._rest) >= (end := 2 + int.from_bytes(self._rest[:2], "big")):
            messages.append(self._rest[2:end])
            self._rest = self._rest[end:]
        return messages


class NoisePlayer:
    """A Noise handshake, then its transport messages, over an ordered transport.

    `name` is the whole Noise name. Without a hello the prologue is the game's own bytes; with one it is bound to it.
    """

    def __init__(
        self, name: str, keys: NoiseKeys, *, initiator: bool, prologue: bytes = b"", hello: bytes = b""
    ) -> None:
        self.name, self._keys, self._initiator = name, keys, initiator
        pattern = name.split("_")[1]
        self._connection = connection = NoiseConnection.from_name(name.encode("ascii"))
        (connection.set_as_initiator if initiator else connection.set_as_responder)()
        if keys.static is not None and (pattern[0] in "XI" if initiator else pattern[1] in "XK"):
            connection.set_keypair_from_private_bytes(Keypair.STATIC, keys.static)
        if keys.remote is not None and initiator and pattern[1] == "K":
            connection.set_keypair_from_public_bytes(Keypair.REMOTE_STATIC, keys.remote)
        if "psk" in pattern:
            connection.set_psks(psks=[keys.psk])
        connection.set_prologue(HELLO_LABEL + hello + prologue if hello else prologue)
        connection.start_handshake()
        self._handshake: Any = connection.noise_protocol.handshake_state
        # Rekeying and switching change one direction at a time, so the two CipherStates are held apart.
        self._sends: Any = None
        self._receives: Any = None
        self._hash = self._newest_hash = self.export_secret = b""
        self._resumes = False
        self._took_early = False
        self.early_taken = False

    @classmethod
    def resume(
        cls, ticket: NoiseTicket, *, cipher: str, prologue: bytes = b"", hello: bytes = b"", initiator: bool = True
    ) -> NoisePlayer:
        """A new session from a ticket; `cipher` is that of the session in which the ticket came, as in Noise names."""
        bound = RESUME_LABEL + hello + len(ticket.ticket).to_bytes(2, "big") + ticket.ticket + prologue
        keys = NoiseKeys(psk=ticket.psk)
        player = cls(f"Noise_NNpsk0_25519_{cipher}_SHA256", keys, initiator=initiator, prologue=bound)
        player._resumes = True
        return player

    @property
    def established(self) -> bool:
        """Whether transport messages may flow."""
        return bool(self._hash)

    @property
    def handshake_hash(self) -> bytes:
        """The hash h of the session's first handshake: 32 bytes, equal at both ends."""
        return self._hash

    @property
    def remote_static(self) -> bytes | None:
        """The peer's static public key, once it is known; None where the pattern has none."""
        return getattr(self._handshake.rs, "public_bytes", None)

    def write_handshake(self, payload: bytes = b"") -> bytes:
        """The next handshake message; NoiseRefusedError if no secret can be agreed with the peer's key."""
        if self._resumes and not self._initiator:
            payload = bytes([self._took_early]) + payload
        try:
            message = bytes(self._connection.write_message(payload))
        except ValueError as error:
            raise NoiseRefusedError("handshake message") from error
        self._finish()
        return message

    def read_handshake(self, message: bytes) -> bytes:
        """The payload of the peer's handshake message; after NoiseRefusedError begin anew (Noise, section 5)."""
        try:
            payload = bytes(self._connection.read_message(message))
        except (InvalidTag, NoiseHandshakeError, NoiseValueError, ValueError) as error:
            raise NoiseRefusedError("handshake message") from error
        if self._resumes and self._initiator:
            if payload[:1] not in (b"\x00", b"\x01"):
                raise NoiseRefusedError("handshake message")
            self.early_taken, payload = payload[0] == 1, payload[1:]
        elif self._resumes:
            self._took_early = bool(payload)
        self._finish()
        return payload

    def _finish(self) -> None:
        if not self._connection.handshake_finished:
            return
        noise = self._connection.noise_protocol
        self._sends, self._receives = noise.cipher_state_encrypt, noise.cipher_state_decrypt
        self._hash = self._newest_hash = self._connection.get_handshake_hash()
        ends = (self._sends.k, self._receives.k)
        k1, k2 = ends if self._initiator else ends[::-1]
        prk = hmac.digest(self._hash, k1 + k2, hashlib.sha256)
        self.export_secret = hmac.digest(prk, b"ng1 export\x01", hashlib.sha256)

    def seal(self, plaintext: bytes, associated_data: bytes = b"") -> bytes:
        """A transport message; at most 65,519 bytes of plaintext."""
        if len(plaintext) > MAX_PLAINTEXT:
            raise ValueError("the plaintext is longer than a Noise message can carry")
        return bytes(self._sends.encrypt_with_ad(associated_data, plaintext))

    def open(self, message: bytes, associated_data: bytes = b"") -> bytes:
        """The plaintext of the peer's transport message."""
        try:
            return bytes(self._receives.decrypt_with_ad(associated_data, message))
        except InvalidTag as error:
            raise NoiseRefusedError("transport message") from error

    def rekey_send(self) -> int:
        """Rekeys what we send (Noise, section 11.3); the first counter under the new key, which runs on."""
        self._sends.rekey()
        return int(self._sends.n)

    def rekey_receive(self) -> int:
        """Rekeys what we receive; the first counter under the new key."""
        self._receives.rekey()
        return int(self._receives.n)

    def renegotiate(self, psk: bytes | None = None) -> NoisePlayer:
        """A new handshake of the session's own protocol and roles; its messages travel inside the session."""
        remote = self.remote_static or self._keys.remote
        keys = NoiseKeys(static=self._keys.static, remote=remote, psk=psk or self._keys.psk)
        return NoisePlayer(self.name, keys, initiator=self._initiator, prologue=ROTATION_LABEL + self._newest_hash)

    def switch_send(self, fresh: NoisePlayer) -> None:
        """From here on what we seal is under the keys of the finished renegotiation."""
        self._sends = self._checked(fresh)._sends

    def switch_receive(self, fresh: NoisePlayer) -> None:
        """From here on what we open is under the keys of the finished renegotiation."""
        self._receives = self._checked(fresh)._receives

    def _checked(self, fresh: NoisePlayer) -> NoisePlayer:
        if not fresh.established or fresh.remote_static != self.remote_static:
            raise NoiseRefusedError("renegotiation")
        self._newest_hash = fresh.handshake_hash
        return fresh
