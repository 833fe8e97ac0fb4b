"""Two ends of a Noise handshake, from fixed keys and a seeded byte stream."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from noisegate_server.noise import CipherState, HandshakeState, KeyPair, OutOfTurn, ProtocolName
from noisegate_server.noise.patterns import Token
from noisegate_server.noise.primitives import Encapsulate, encapsulate

INITIATOR_STATIC = KeyPair.from_private(bytes(range(1, 33)))
RESPONDER_STATIC = KeyPair.from_private(bytes(range(33, 65)))

Split = tuple[CipherState, CipherState]


def stream(seed: str) -> Callable[[int], bytes]:
    """A source of bytes that never repeats a block: SHA-256 of the seed and a count."""
    count = 0

    def random_bytes(size: int) -> bytes:
        nonlocal count
        count += 1
        return hashlib.shake_256(f"{seed} {count}".encode()).digest(size)

    return random_bytes


def pair(name: str, prologue: bytes = b"") -> tuple[HandshakeState, HandshakeState]:
    """Initiator and responder of a protocol, each with every key that its pattern needs."""
    return end(name, initiator=True, prologue=prologue), end(name, initiator=False, prologue=prologue)


def end(
    name: str, *, initiator: bool, prologue: bytes = b"", seed: str = "", encapsulate: Encapsulate = encapsulate
) -> HandshakeState:
    """One end of a protocol, with every key that its pattern needs."""
    protocol = ProtocolName.parse(name)
    own, other = (INITIATOR_STATIC, RESPONDER_STATIC) if initiator else (RESPONDER_STATIC, INITIATOR_STATIC)
    knows_peer = Token.S in protocol.pattern.pre_message(initiator=not initiator)
    return HandshakeState(
        protocol,
        initiator=initiator,
        prologue=prologue,
        s=own,
        rs=other.public if knows_peer else None,
        psks=tuple(bytes([0x70 + index]) * 32 for index in range(protocol.pattern.psk_count)),
        random_bytes=stream(f"{seed}{'initiator' if initiator else 'responder'}"),
        encapsulate=encapsulate,
    )


def finish(initiator: HandshakeState, responder: HandshakeState) -> tuple[Split, Split]:
    """Run the handshake to its end with empty payloads: the initiator's and the responder's Split()."""
    while not initiator.is_finished:
        writer, reader = (initiator, responder) if initiator.is_my_turn else (responder, initiator)
        reader.read_message(writer.write_message())
    return initiator.split(), responder.split()


def assert_dead(state: HandshakeState) -> None:
    """No call works any more, and no key is left."""
    assert not state.is_finished
    assert not state.is_my_turn
    for call in (state.write_message, state.split, lambda: state.read_message(bytes(96))):
        with pytest.raises(OutOfTurn):
            call()
    with pytest.raises(OutOfTurn):
        _ = state.handshake_hash
    assert not any(state._symmetric.ck)
    assert not state._symmetric.cipher_state.k
    assert not any(byte for psk in state._psks for byte in psk)
    assert state._s is None
    assert state._e is None
    assert state._e1 is None
