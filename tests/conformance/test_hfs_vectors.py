"""The project's own vectors of the hybrid handshakes, and a second implementation against ours, live in both roles."""

from __future__ import annotations

import json
import os
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from kyber_py.kyber import Kyber1024

from noisegate_server.noise import DecryptError, HandshakeState, KeyPair, ProtocolName
from noisegate_server.noise.primitives import BytesLike, KemKeyPair, encapsulate
from noisegate_server.session.suites import HYBRID_PATTERN_NAMES
from tests.support import noise_pair
from tests.support import second_noise as second
from tools import make_hfs_vectors

VECTORS = 63  # 9 patterns, 7 kinds of payloads and prologues
MESSAGES = 392  # 63 times 4 of transport, and the handshakes': 2, for XX 3
PAYLOAD_SIZES = (0, 1, 65_519 - 1_680)
TRANSPORT_SIZES = (0, 1, 65_519)

Vector = dict[str, Any]


def fixed(data: dict[int, bytes]) -> Any:
    """A source of randomness that gives one value for each size, once."""

    def random_bytes(size: int) -> bytes:
        return data.pop(size)

    return random_bytes


def no_randomness(size: int) -> bytes:
    """Nothing may be drawn."""
    raise AssertionError(f"{size} random bytes")


def end(vector: Vector, side: str, **options: Any) -> HandshakeState:
    """The HandshakeState of one side of a vector."""
    static = bytes.fromhex(vector[f"{side}_static"])
    protocol = ProtocolName.parse(vector["protocol_name"])
    return HandshakeState(
        protocol,
        initiator=side == "init",
        prologue=bytes.fromhex(vector["prologue"]),
        s=KeyPair.from_private(static) if static else None,
        e=KeyPair.from_private(bytes.fromhex(vector[f"{side}_ephemeral"])),
        rs=bytes.fromhex(vector.get(f"{side}_remote_static", "")) or None,
        psks=(bytes.fromhex(vector["psk"]),) if vector["psk"] else (),
        **options,
    )


def ends(vector: Vector) -> tuple[HandshakeState, HandshakeState]:
    """Both, with what the vector fixes for the KEM."""
    seed = bytes.fromhex(vector["init_kem_seed"])

    def recorded(public: BytesLike) -> tuple[bytes, bytes]:
        assert public == KemKeyPair.from_seed(seed).public
        return bytes.fromhex(vector["kem_secret"]), bytes.fromhex(vector["kem_ciphertext"])

    return (
        end(vector, "init", random_bytes=fixed({64: seed})),
        end(vector, "resp", random_bytes=no_randomness, encapsulate=recorded),
    )


def vectors() -> list[Vector]:
    """All of the file, each with its provenance beside it."""
    document = json.loads(make_hfs_vectors.FILE.read_text(encoding="ascii"))
    assert document["provenance"] == make_hfs_vectors.PROVENANCE
    found: list[Vector] = document["vectors"]
    return found


def test_our_engine_makes_every_byte_of_every_vector() -> None:
    """63 handshakes: messages, payloads, hash, both transport keys and four transport messages, at both ends."""
    handshakes = messages = 0
    names = set()
    for vector in vectors():
        initiator, responder = ends(vector)
        due = [tuple(bytes.fromhex(each[key]) for key in ("payload", "ciphertext")) for each in vector["messages"]]
        for index in range(len(initiator.protocol.pattern.messages)):
            payload, ciphertext = due.pop(0)
            writer, reader = (initiator, responder) if index % 2 == 0 else (responder, initiator)
            assert writer.write_message(payload) == ciphertext, (vector["protocol_name"], index)
            assert reader.read_message(ciphertext) == payload, (vector["protocol_name"], index)
            messages += 1
        assert initiator.handshake_hash.hex() == responder.handshake_hash.hex() == vector["handshake_hash"]
        ours, theirs = initiator.split(), responder.split()
        keys = [bytes(state.k or b"").hex() for state in (*ours, *theirs)]
        assert keys == [vector["k1"], vector["k2"]] * 2
        for index, (payload, ciphertext) in enumerate(due):
            assert (ours, theirs)[index % 2][index % 2].encrypt_with_ad(b"", payload) == ciphertext
            assert (theirs, ours)[index % 2][index % 2].decrypt_with_ad(b"", ciphertext) == payload
            messages += 1
        handshakes += 1
        names.add(vector["protocol_name"].split("_")[1])
    assert (handshakes, messages) == (VECTORS, MESSAGES)
    assert names == set(HYBRID_PATTERN_NAMES.values())


def test_the_file_is_what_the_second_implementation_makes() -> None:
    """The vectors are made without our code: running the tool again gives the same bytes."""
    assert make_hfs_vectors.FILE.read_text(encoding="ascii") == make_hfs_vectors.render()


def test_the_tool_writes_and_compares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stale or missing is 1, written is 0, other arguments are 2."""
    path = tmp_path / "folder" / "hfs.json"
    monkeypatch.setattr(make_hfs_vectors, "FILE", path)
    monkeypatch.setattr(make_hfs_vectors, "render", lambda: "{}\n")
    assert make_hfs_vectors.main(["--check"]) == 1
    assert make_hfs_vectors.main([]) == 0
    assert make_hfs_vectors.main(["--check"]) == 0
    path.write_text("{}", encoding="ascii")
    assert make_hfs_vectors.main(["--check"]) == 1
    assert make_hfs_vectors.main(["--other"]) == 2
    assert "stale" in capsys.readouterr().out


@pytest.mark.parametrize("initiator", [True, False])
@pytest.mark.parametrize("pattern", HYBRID_PATTERN_NAMES.values())
def test_the_second_implementation_and_ours_understand_each_other(pattern: str, initiator: bool) -> None:
    """With keys and randomness drawn anew and OpenSSL's own encapsulation: payloads, hash and transport both ways."""
    psk = os.urandom(32) if "psk" in pattern else b""
    ours_static, theirs_static = KeyPair.generate(os.urandom), os.urandom(32)
    protocol = ProtocolName.parse(second.PROTOCOL.format(pattern))
    knows = second.knows_responder(pattern)
    theirs = second.SecondNoise(
        pattern=pattern, initiator=not initiator, prologue=b"live", psk=psk, e=os.urandom(32),
        s=theirs_static, kem=os.urandom(32 if initiator else 64), rs=ours_static.public if knows else b"",
    )  # fmt: skip
    ours = HandshakeState(
        protocol,
        initiator=initiator,
        prologue=b"live",
        s=ours_static,
        rs=second.public_of(theirs_static) if knows else None,
        psks=(psk,) if psk else (),
        random_bytes=os.urandom,
    )
    for index in range(len(protocol.pattern.messages)):
        payload = os.urandom(PAYLOAD_SIZES[index])
        if ours.is_my_turn:
            assert theirs.read(ours.write_message(payload)) == payload
        else:
            assert ours.read_message(theirs.write(payload)) == payload
    assert ours.handshake_hash == theirs.h
    states = ours.split()
    for direction, size in product((0, 1), TRANSPORT_SIZES):
        plaintext, state = os.urandom(size), states[direction]
        nonce = state.n
        if (direction == 0) is initiator:
            sealed = state.encrypt_with_ad(b"", plaintext)
            assert second.crypt(theirs.sends[direction], nonce, sealed, b"", seal=False) == plaintext
        else:
            sealed = second.crypt(theirs.sends[direction], nonce, plaintext, b"", seal=True)
            assert state.decrypt_with_ad(b"", sealed) == plaintext


def test_encapsulation_is_drawn_anew_each_time() -> None:
    """The one randomness that is not the caller's does not repeat."""
    public = KemKeyPair.generate(os.urandom).public
    assert len({encapsulate(public) for _ in range(8)}) == 8


@pytest.mark.parametrize("pattern", HYBRID_PATTERN_NAMES.values())
def test_round_3_kyber_is_refused(pattern: str) -> None:
    """Its keys and ciphertexts have the sizes of ML-KEM's and are taken; the secret is another, so nothing opens."""
    name = second.PROTOCOL.format(pattern)
    initiator = noise_pair.end(name, initiator=True)
    responder = noise_pair.end(name, initiator=False, encapsulate=Kyber1024.encaps)
    responder.read_message(initiator.write_message())
    answer = responder.write_message()
    assert len(answer) == responder.protocol.overheads[1]
    with pytest.raises(DecryptError):
        initiator.read_message(answer)
