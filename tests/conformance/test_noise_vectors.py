"""The cacophony vectors: every pattern, cipher and hash over DH 25519, byte for byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from noisegate_server.noise import CipherState, HandshakeState, KeyPair, ProtocolName
from tests.support.noise_pair import stream
from tests.support.vectors import load_json, vectors_folder

HANDSHAKES = 472
MESSAGES = 2832
PATTERNS = 59

Vector = dict[str, Any]


def test_every_cacophony_vector_over_25519_passes() -> None:
    """472 handshakes: each message, payload, transport message and handshake hash at both ends."""
    handshakes = 0
    messages = 0
    names = set()
    for vector in load_json("noise/cacophony/cacophony.txt")["vectors"]:
        if "_25519_" not in vector["protocol_name"]:
            continue
        messages += run_vector(vector)
        handshakes += 1
        names.add(ProtocolName.parse(vector["protocol_name"]).name.split("_")[1])
    assert (handshakes, messages, len(names)) == (HANDSHAKES, MESSAGES, PATTERNS)


def run_vector(vector: Vector) -> int:
    """Check one vector; the number of its messages that were compared."""
    name = vector["protocol_name"]
    initiator, responder = end(vector, "init"), end(vector, "resp")
    one_way = initiator.protocol.pattern.one_way
    splits: tuple[tuple[CipherState, CipherState], tuple[CipherState, CipherState]] | None = None
    for index, message in enumerate(vector["messages"]):
        payload, ciphertext = bytes.fromhex(message["payload"]), bytes.fromhex(message["ciphertext"])
        from_initiator = one_way or index % 2 == 0
        if splits is None:
            writer, reader = (initiator, responder) if from_initiator else (responder, initiator)
            assert writer.write_message(payload) == ciphertext, (name, index)
            assert reader.read_message(ciphertext) == payload, (name, index)
            if initiator.is_finished:
                splits = initiator.split(), responder.split()
        else:
            sealer, opener = splits if from_initiator else splits[::-1]
            direction = 0 if from_initiator else 1
            assert sealer[direction].encrypt_with_ad(b"", payload) == ciphertext, (name, index)
            assert opener[direction].decrypt_with_ad(b"", ciphertext) == payload, (name, index)
    assert splits is not None, name
    expected = bytes.fromhex(vector["handshake_hash"])
    assert initiator.handshake_hash == responder.handshake_hash == expected, name
    return len(vector["messages"])


def end(vector: Vector, side: str) -> HandshakeState:
    """The HandshakeState of one side of a vector."""

    def key_pair(kind: str) -> KeyPair | None:
        private = vector.get(f"{side}_{kind}")
        return None if private is None else KeyPair.from_private(bytes.fromhex(private))

    remote = vector.get(f"{side}_remote_static")
    return HandshakeState(
        ProtocolName.parse(vector["protocol_name"]),
        initiator=side == "init",
        prologue=bytes.fromhex(vector[f"{side}_prologue"]),
        s=key_pair("static"),
        e=key_pair("ephemeral"),
        rs=None if remote is None else bytes.fromhex(remote),
        psks=tuple(bytes.fromhex(psk) for psk in vector.get(f"{side}_psks", ())),
        random_bytes=stream("not used: the ephemeral keys are the vector's"),
    )


@pytest.mark.parametrize("value", [None, "", "folder/that/is/not"])
def test_missing_vectors_are_a_failure_where_everything_is_required(
    value: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A release cannot be made without the vectors; a developer's run skips them."""
    monkeypatch.chdir(tmp_path)
    if value is None:
        monkeypatch.delenv("NOISEGATE_VECTORS", raising=False)
    else:
        monkeypatch.setenv("NOISEGATE_VECTORS", value)
    monkeypatch.delenv("NOISEGATE_REQUIRE_ALL", raising=False)
    with pytest.raises(pytest.skip.Exception):
        vectors_folder()
    monkeypatch.setenv("NOISEGATE_REQUIRE_ALL", "1")
    with pytest.raises(pytest.fail.Exception):
        vectors_folder()
