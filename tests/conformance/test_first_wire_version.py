"""A player of version 1 is served: the packets of docs/vectors come in, and the service's own of there go out.

docs/vectors holds what players of that version send; a later version of the protocol gets a file beside it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from noisegate_server.noise import KeyPair
from noisegate_server.session.constants import CONNECTION_ID, KEY
from noisegate_server.session.datagram import DatagramRecords
from tests.support.engines import Engine, Engines
from tests.support.requests import response

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).resolve().parents[2] / "docs" / "vectors" / "protocol-v1.json").read_text(encoding="ascii")
)


def raw(text: str) -> bytes:
    """The bytes of a value."""
    return bytes.fromhex(text)


def drawing(case: dict[str, Any], others: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """Randomness that gives the service the vector's ephemeral key and connection id, each once."""
    fixed = {KEY: [raw(case["responder_ephemeral"])], CONNECTION_ID: [raw(case["connection_id"])]}

    def draw(count: int) -> bytes:
        return fixed[count].pop() if fixed.get(count) else others(count)

    return draw


def service_of(engines: Engines, case: dict[str, Any]) -> Engine:
    """The vector's service, at the moment of the player's hello."""
    sent = int.from_bytes(raw(case["hello"])[2:10], "big") / 1_000
    engines.clock.wall = sent - 5.0
    engine = engines.make(identity=KeyPair.from_private(raw(case["responder_static"])))
    engines.clock.step(5.0)
    engine.parts = replace(engine.parts, random_bytes=drawing(case, engine.parts.random_bytes))
    return engine


@pytest.mark.parametrize("case", VECTORS["handshake"], ids=lambda case: case["noise_name"])
def test_a_handshake_of_version_1_is_answered_as_then(engines: Engines, case: dict[str, Any]) -> None:
    """Byte for byte; and both have the keys that the vector has."""
    engine = service_of(engines, case)
    messages = case["messages"]
    answered = engine.respond(
        response(
            raw(messages[0]["packet"]),
            psk=raw(case["psk"]),
            prologue=raw(case["caller_prologue"]),
            payload=raw(messages[1]["payload"]),
        )
    )
    assert answered.payload == raw(messages[0]["payload"])
    assert answered.to_peer == (raw(messages[1]["packet"]),)
    for message in messages[2:]:
        answered = engine.proceed(answered.session_id, raw(message["packet"]))
        assert answered.payload == raw(message["payload"])
    assert answered.established is not None
    session = engine.session(answered.session_id)
    assert isinstance(session.records, DatagramRecords)
    schedule = case["schedule"]
    assert session.handshake_hash == raw(schedule["h"])
    assert session.records.current.root == raw(schedule["root"])
    assert session.export == raw(schedule["export"])
