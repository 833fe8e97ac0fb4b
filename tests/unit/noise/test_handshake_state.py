from __future__ import annotations

import pytest

from noisegate_server.noise import (
    CipherState,
    DecryptError,
    HandshakeState,
    OutOfTurn,
    ProtocolName,
)
from noisegate_server.noise.primitives import KeyPair
from tests.support.noise_pair import INITIATOR_STATIC, RESPONDER_STATIC, assert_dead, end, finish, pair, stream

XX = "Noise_XX_25519_ChaChaPoly_SHA256"
IK = "Noise_IK_25519_ChaChaPoly_SHA256"
NNPSK0 = "Noise_NNpsk0_25519_ChaChaPoly_SHA256"


def turns(*ends: HandshakeState) -> tuple[bool, ...]:
    """Whose turn to write it is."""
    return tuple(state.is_my_turn for state in ends)


def test_turns_and_the_end_are_known() -> None:
    """Three messages of XX, each side's turn, the peers' static keys, one handshake hash."""
    initiator, responder = pair(XX)
    assert turns(initiator, responder) == (True, False)
    assert [state.rs for state in (initiator, responder)] == [None, None]
    responder.read_message(initiator.write_message(b"one"))
    assert turns(initiator, responder) == (False, True)
    initiator.read_message(responder.write_message(b"two"))
    assert initiator.rs == RESPONDER_STATIC.public
    assert not any(state.is_finished for state in (initiator, responder))
    assert responder.read_message(initiator.write_message(b"three")) == b"three"
    assert all(state.is_finished for state in (initiator, responder))
    assert turns(initiator, responder) == (False, False)
    assert responder.rs == INITIATOR_STATIC.public
    assert initiator.handshake_hash == responder.handshake_hash
    assert len(initiator.handshake_hash) == 32


def test_handshakes_with_other_ephemeral_keys_have_other_hashes() -> None:
    """The handshake hash binds a channel: it differs between sessions (11.2)."""
    hashes = set()
    for seed in ("a", "b"):
        initiator, responder = end(IK, initiator=True, seed=seed), end(IK, initiator=False)
        finish(initiator, responder)
        hashes.add(initiator.handshake_hash)
    assert len(hashes) == 2


def test_calls_out_of_turn_change_nothing() -> None:
    """Writing twice, reading first, splitting early: refused, and the handshake goes on."""
    initiator, responder = pair(XX)
    with pytest.raises(OutOfTurn):
        initiator.read_message(bytes(32))
    with pytest.raises(OutOfTurn):
        responder.write_message()
    first = initiator.write_message()
    with pytest.raises(OutOfTurn):
        initiator.write_message()
    with pytest.raises(OutOfTurn):
        initiator.split()
    with pytest.raises(OutOfTurn):
        _ = initiator.handshake_hash
    responder.read_message(first)
    with pytest.raises(OutOfTurn):
        responder.read_message(first)
    finish(initiator, responder)
    assert initiator.handshake_hash == responder.handshake_hash


def test_split_happens_once_and_leaves_the_hash_alone() -> None:
    """Chaining key, handshake key, pre-shared and own keys are gone; hash and peer's key stay (section 5)."""
    initiator, responder = pair("Noise_IKpsk2_25519_ChaChaPoly_SHA256")
    responder.read_message(initiator.write_message())
    initiator.read_message(responder.write_message())
    expected = initiator.handshake_hash
    secrets = [initiator._symmetric.ck, initiator._symmetric.cipher_state.k, *initiator._psks]
    assert all(any(secret or b"") for secret in secrets)
    send, _ = initiator.split()
    assert not any(any(secret or b"") for secret in secrets)
    assert initiator._s is None
    assert initiator._e is None
    assert initiator.handshake_hash == expected
    assert initiator.rs == RESPONDER_STATIC.public
    assert initiator.is_finished
    initiator.wipe()
    assert initiator.handshake_hash == expected
    with pytest.raises(OutOfTurn):
        initiator.split()
    first, _ = responder.split()
    assert first.decrypt_with_ad(b"", send.encrypt_with_ad(b"", b"m")) == b"m"


def test_the_directions_of_split_have_keys_of_their_own() -> None:
    """Initiator to responder first; a reflected message does not open."""
    (send, receive), (peer_receive, peer_send) = finish(*pair(IK))
    assert send.k == peer_receive.k
    assert receive.k == peer_send.k
    assert send.k != receive.k
    sealed = send.encrypt_with_ad(b"", b"m")
    with pytest.raises(DecryptError):
        receive.decrypt_with_ad(b"", sealed)
    assert peer_receive.decrypt_with_ad(b"", sealed) == b"m"


def test_ephemeral_keys_come_from_the_given_source() -> None:
    """The same bytes give the same message; 32 of them are taken, when `e` is sent."""
    taken: list[int] = []
    source = stream("e")

    def random_bytes(size: int) -> bytes:
        taken.append(size)
        return source(size)

    state = HandshakeState(ProtocolName.parse(XX), initiator=True, s=INITIATOR_STATIC, random_bytes=random_bytes)
    assert taken == []
    assert state.write_message() == KeyPair.from_private(stream("e")(32)).public
    assert taken == [32]


@pytest.mark.parametrize("difference", ["prologue", "psk", "name", "static"])
def test_ends_that_differ_do_not_agree(difference: str) -> None:
    """Another prologue, pre-shared key, protocol or static key ends at the first AEAD."""
    name = "Noise_IKpsk1_25519_ChaChaPoly_SHA256"
    initiator = end(name, initiator=True)
    other = {"name": "Noise_IKpsk1_25519_ChaChaPoly_BLAKE2s"}.get(difference, name)
    responder = HandshakeState(
        ProtocolName.parse(other),
        initiator=False,
        prologue=b"other" if difference == "prologue" else b"",
        s=INITIATOR_STATIC if difference == "static" else RESPONDER_STATIC,
        psks=(bytes(32) if difference == "psk" else b"\x70" * 32,),
        random_bytes=stream("responder"),
    )
    with pytest.raises(DecryptError):
        responder.read_message(initiator.write_message())
    assert_dead(responder)


def test_a_spoofed_message_is_read_on_a_copy() -> None:
    """The copy dies, the original reads the genuine message; the handshakes agree."""
    initiator, responder = pair("Noise_XXpsk3_25519_ChaChaPoly_SHA256")
    responder.read_message(initiator.write_message())
    initiator.read_message(responder.write_message())
    genuine = initiator.write_message(b"genuine")
    for _ in range(3):
        copy = responder.copy()
        with pytest.raises(DecryptError):
            copy.read_message(bytes(len(genuine)))
        assert_dead(copy)
    assert responder.read_message(genuine) == b"genuine"
    (send, _), (receive, _) = initiator.split(), responder.split()
    assert receive.decrypt_with_ad(b"", send.encrypt_with_ad(b"", b"m")) == b"m"


def test_a_copy_goes_on_without_its_original() -> None:
    """Wiping the original leaves the copy whole, at every step of the handshake."""
    initiator, responder = pair("Noise_IKpsk1+psk2_25519_AESGCM_BLAKE2b")
    while not initiator.is_finished:
        for_initiator, for_responder = initiator.copy(), responder.copy()
        initiator.wipe()
        responder.wipe()
        initiator, responder = for_initiator, for_responder
        writer, reader = (initiator, responder) if initiator.is_my_turn else (responder, initiator)
        assert reader.read_message(writer.write_message(b"payload")) == b"payload"
    last = initiator.copy()
    initiator.wipe()
    assert last.handshake_hash == responder.handshake_hash
    assert last.split()[0].k == responder.split()[0].k


def test_secrets_are_not_shown() -> None:
    """The repr says protocol, role and progress."""
    initiator, responder = pair(IK)
    assert repr(initiator) == f"HandshakeState({IK}, initiator, messages are due)"
    send, _ = finish(initiator, responder)[0]
    assert isinstance(send, CipherState)
    assert repr(responder) == f"HandshakeState({IK}, responder, the handshake is finished and split)"
