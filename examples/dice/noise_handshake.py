"""A Noise handshake of the public library `noiseprotocol`, as DATAGRAM mode needs it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from cryptography.exceptions import InvalidTag
from noise.connection import Keypair, NoiseConnection
from noise.exceptions import NoiseHandshakeError, NoiseValueError

from examples.dice.datagram_wire import CIPHERS, PATTERNS, PacketRefusedError, Protocol, Split


class NoiseHandshake:
    """A handshake of the library that reads on a copy, so that a forged message does not kill it."""

    def __init__(
        self, protocol: Protocol, prologue: bytes, random_bytes: Callable[[int], bytes], *, initiator: bool,
        static: bytes | None = None, remote: bytes | None = None, psk: bytes | None = None,
    ) -> None:  # fmt: skip
        pattern = PATTERNS[protocol.pattern]
        name = f"Noise_{pattern}_25519_{CIPHERS[protocol.suite]}_SHA256"
        self.protocol, self.initiator = protocol, initiator
        self._conn = conn = NoiseConnection.from_name(name.encode())
        (conn.set_as_initiator if initiator else conn.set_as_responder)()
        if static is not None and (pattern[0] in "XI" if initiator else pattern[1] in "XK"):
            conn.set_keypair_from_private_bytes(Keypair.STATIC, static)
        if remote is not None and initiator and pattern[1] == "K":
            conn.set_keypair_from_public_bytes(Keypair.REMOTE_STATIC, remote)
        if "psk" in pattern:
            conn.set_psks(psks=[psk])
        conn.set_prologue(prologue)
        conn.start_handshake()
        self._state: Any = conn.noise_protocol.handshake_state
        # The library would draw the ephemeral key itself; here randomness is an argument.
        ephemeral = conn.noise_protocol.dh_fn.klass.from_private_bytes(random_bytes(32))
        self._state.e = ephemeral

    def write(self, payload: bytes = b"") -> bytes:
        """The next message; PacketRefusedError if the peer's key is one with which no secret can be agreed."""
        try:
            return bytes(self._conn.write_message(payload))
        except ValueError as error:
            raise PacketRefusedError("handshake message") from error

    def read(self, message: bytes) -> bytes:
        """The payload of the peer's message; PacketRefusedError leaves the handshake as it was."""
        aead = self._conn.noise_protocol.cipher_state_handshake.cipher.cipher
        conn = copy.deepcopy(self._conn, {id(aead): aead})  # AEAD objects cannot be copied and never change
        state = conn.noise_protocol.handshake_state
        try:
            payload = bytes(conn.read_message(message))
        except (InvalidTag, NoiseHandshakeError, NoiseValueError, ValueError) as error:
            raise PacketRefusedError("handshake message") from error
        self._conn, self._state = conn, state
        return payload

    @property
    def remote(self) -> bytes | None:
        """The peer's static public key, as far as it is known."""
        return getattr(self._state.rs, "public_bytes", None)

    @property
    def split(self) -> Split | None:
        """The keys, once the handshake is finished."""
        if not self._conn.handshake_finished:
            return None
        noise = self._conn.noise_protocol
        sends, receives = noise.cipher_state_encrypt.k, noise.cipher_state_decrypt.k
        return Split(*((sends, receives) if self.initiator else (receives, sends)), self._conn.get_handshake_hash())
