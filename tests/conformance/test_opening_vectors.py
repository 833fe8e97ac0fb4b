"""The vectors of RETRY and of fragments: computed a second time, and run through the service, the SDK, the player."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from examples.dice.datagram_player import PacketRefusedError
from examples.dice.datagram_player.fragments import Reassembler as PlayersReassembler
from examples.dice.datagram_player.fragments import cut
from noisegate.fragments import BadFragment, Reassembler, split
from noisegate_server.engine.policy import Options, Policy
from noisegate_server.session.errors import HandshakeFailed
from noisegate_server.session.hello import Flags
from noisegate_server.session.suites import Suite
from tests.support import written_out as second
from tests.support.engines import Engines
from tests.support.requests import initiation, response

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).resolve().parents[2] / "docs" / "vectors" / "protocol-v1.json").read_text(encoding="ascii")
)
RETRIES = VECTORS["retry"]
REFUSED = VECTORS["retry_refused"]
RATCHET = 1


def raw(text: str) -> bytes:
    """The bytes of a value."""
    return bytes.fromhex(text)


def echo(packet: bytes) -> bytes:
    """What a RETRY to it carries."""
    return second.sha256(packet)[:8]


# --- RETRY -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", RETRIES, ids=lambda case: case["why"])
def test_first_packets_of_a_conversation(case: dict[str, Any]) -> None:
    """Another Noise library makes each message 1, under an ephemeral key of its own; the packet frames hello and it."""
    keys = {name: case[name] for name in ("initiator_static", "responder_static")}
    ephemerals = {attempt["initiator_ephemeral"] for attempt in case["attempts"]}
    assert len(ephemerals) == len(case["attempts"]) == len(case["retries"]) + 1
    for attempt in case["attempts"]:
        hello = raw(attempt["hello"])
        assert raw(attempt["prologue"]) == b"ng1 hello" + hello + raw(case["caller_prologue"])
        end = second.noise_end(
            attempt["noise_name"], initiator=True, prologue=raw(attempt["prologue"]), case={**keys, **attempt}
        )
        message = bytes(end.write_message(raw(attempt["payload"])))
        head = b"\x09" + bytes(8) + b"\x01" + len(hello).to_bytes(2, "big")
        assert raw(attempt["packet"]) == head + hello + b"\0" + message
        pattern, suite = hello[11 + 2 * hello[-1] : 13 + 2 * hello[-1]]
        assert (pattern, attempt["noise_name"]) == (2, second.noise_name("IK", suite))


@pytest.mark.parametrize("case", RETRIES, ids=lambda case: case["why"])
def test_the_hello_after_a_retry(case: dict[str, Any]) -> None:
    """Reason 1 changes choice, flags and time, reason 2 the time alone; the offer never."""
    for before, text, after in zip(case["attempts"], case["retries"], case["attempts"][1:], strict=False):
        old, new, retry = raw(before["hello"]), raw(after["hello"]), raw(text)
        assert retry[:17] == b"\x0e" + bytes(8) + echo(raw(before["packet"]))
        assert len(retry) < len(raw(before["packet"]))
        if retry[17] == 1:
            choice, granted = retry[18:]
            assert new == old[:1] + bytes((old[1] & granted,)) + new[2:10] + old[10:-1] + bytes((choice,))
            assert new[2:10] > old[2:10]
        else:
            assert (retry[17], retry[18], len(retry)) == (2, 0, 27)
            assert new == old[:2] + retry[19:] + old[10:]


@pytest.mark.parametrize("case", RETRIES, ids=lambda case: case["why"])
def test_the_service_sends_the_retries(engines: Engines, case: dict[str, Any]) -> None:
    """Byte for byte, by a policy and a clock as the vector has them; it would look at the last packet's message."""
    policy = Policy(
        suites=(Suite.CHACHA20_POLY1305_X25519, Suite.AES256_GCM_X25519), flags=Policy().flags & ~Flags.MASK
    )
    engine = engines.make(policy=policy)
    for attempt, text in zip(case["attempts"], case["retries"], strict=False):
        retry, clock = raw(text), raw(attempt["hello"])[2:10]
        told = retry[19:] if retry[17] == 2 else clock
        engines.clock.wall = int.from_bytes(told, "big") / 1000
        answer = engine.respond(response(raw(attempt["packet"]), prologue=raw(case["caller_prologue"])))
        assert answer.to_peer == (retry,)
    last = case["attempts"][-1]
    engines.clock.wall = int.from_bytes(raw(last["hello"])[2:10], "big") / 1000
    with pytest.raises(HandshakeFailed):
        engine.respond(response(raw(last["packet"]), prologue=raw(case["caller_prologue"])))


@pytest.mark.parametrize("case", REFUSED["retries"], ids=lambda case: case["why"])
def test_retries_that_are_not_followed(engines: Engines, case: dict[str, Any]) -> None:
    """The same bytes, with the echo of a packet of the service's own: refused, each with a cause of its own.

    Their hello's offer has a third protocol, which nobody knows; the service's has one that its policy does not allow.
    """
    hello, refused = raw(REFUSED["hello"]), raw(REFUSED["packet"])
    assert (hello[1] & RATCHET, hello[10], hello[-1]) == (1, 3, 0)
    engine = engines.make(policy=Policy(suites=(Suite.CHACHA20_POLY1305_X25519, Suite.AES256_GCM_X25519)))
    session = engine.initiate(
        initiation(
            suite=2, offer=((2, 2), (2, 1), (2, 3)), remote_static_key=engines.make().identity.public,
            options=Options(ratchet=True),
        )
    )  # fmt: skip
    ours = echo(session.to_peer[0])
    retry = raw(case["retry"]).replace(echo(refused), ours)
    with pytest.raises(HandshakeFailed):
        engine.proceed(session.session_id, retry)
    genuine = b"\x0e" + bytes(8) + ours + b"\x01\x01\x1f"
    assert engine.proceed(session.session_id, genuine).to_peer


# --- fragments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", VECTORS["fragment"], ids=lambda case: case["what"])
def test_what_a_packet_is_cut_into(case: dict[str, Any]) -> None:
    """Thirteen bytes before each part, all parts but the last full; the SDK and the player cut alike."""
    packet, room = raw(case["packet"]), case["mtu"] - 13
    parts = [packet[at : at + room] for at in range(0, len(packet), room)]
    head = b"\x0d" + packet[1:9] + case["message_id"].to_bytes(2, "big")
    expected = [head + bytes((index, len(parts))) + part for index, part in enumerate(parts)]
    assert [raw(fragment) for fragment in case["fragments"]] == expected
    assert list(split(packet, case["message_id"], mtu=case["mtu"])) == expected
    assert list(cut(packet, case["message_id"], case["mtu"])) == expected


@pytest.mark.parametrize("case", VECTORS["fragment"], ids=lambda case: case["what"])
def test_a_set_gives_its_packet_with_its_last_part(case: dict[str, Any]) -> None:
    """Whatever the order and however often a part comes."""
    ours: Reassembler[str] = Reassembler()
    theirs = PlayersReassembler()
    arriving = [raw(case["fragments"][index]) for index in case["arrive"]]
    expected = [None] * (len(arriving) - 1) + [raw(case["packet"])]
    assert [ours.add(fragment, "ann", 0.0) for fragment in arriving] == expected
    assert [theirs.add(fragment, 0.0) for fragment in arriving] == expected


@pytest.mark.parametrize("case", VECTORS["fragment_refused"], ids=lambda case: case["why"])
def test_sequences_that_make_no_packet(case: dict[str, Any]) -> None:
    """Refused or waiting for ever, never a packet; at the SDK and at the player."""
    ours: Reassembler[str] = Reassembler()
    theirs = PlayersReassembler()
    for text in case["fragments"]:
        fragment = raw(text)
        for add, refusal in (
            (lambda each: ours.add(each, "ann", 0.0), BadFragment),
            (lambda each: theirs.add(each, 0.0), PacketRefusedError),
        ):
            try:
                assert add(fragment) is None
            except refusal:
                continue
