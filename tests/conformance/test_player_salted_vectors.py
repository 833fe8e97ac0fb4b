"""Vectors of salted epochs, sealed and opened by the dice example's own player, which was written from the document."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from examples.dice.datagram_player import PacketRefusedError
from examples.dice.datagram_player.connection import ConnectionId
from examples.dice.datagram_player.epoch import Epoch, Root, Terms
from examples.dice.datagram_player.limits import Limits
from examples.dice.datagram_player.session import Lasting, Session
from examples.dice.datagram_player.tickets import Identity
from examples.dice.datagram_player.wire import FLAG_DATAGRAM, FLAG_MASK, FLAG_PAD, FLAG_RATCHET
from tests.support.player_vectors import drawn, public, raw

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).resolve().parents[2] / "docs/vectors/protocol-v1.json").read_text(encoding="ascii")
)
RECORDS = [
    pytest.param(group, record, id=f"{group['suite']}-{number}")
    for group in VECTORS["salted"]
    for number, record in enumerate(group["records"])
]


def session_over(group: dict[str, Any], base: Root, flags: int, *, initiator: bool, restored: bool) -> Session:
    """One end with the vector's base: in memory and confirmed, or read from storage under a salted epoch of its own."""
    terms = Terms(initiator=initiator, suite=group["suite"], flags=flags)
    lasting = Lasting(
        terms=terms,
        identity=Identity(static=bytes(range(32)), remote=public(bytes(32))),
        h=bytes(32),
        export=bytes(32),
        mask=raw(group["mask"]),
    )
    epoch = Epoch(base.number, base.h, bytes(32), terms, 0.0)
    epoch.root, epoch.confirmed = base.root, True
    connection = ConnectionId(raw(group["connection_id"]), chosen=not initiator)
    session = Session(lasting, epoch, connection, os.urandom, 0.0, limits=Limits(), issued={})
    if restored:
        session.current = Epoch.over(base, group["number"], raw(group["salt"]), terms, 0.0)
        session.current.ours = True
    return session


@pytest.mark.parametrize(("group", "record"), RECORDS)
def test_salted_records(group: dict[str, Any], record: dict[str, Any]) -> None:
    """The restored end seals the vector; the other end, which holds the base, finds the epoch and opens it."""
    flags = FLAG_DATAGRAM | FLAG_MASK * record["masked"] | FLAG_PAD * record["padded"]
    flags |= FLAG_RATCHET * record["ratchet"]
    base = Root(number=group["base"], h=raw(group["base_h"]), root=raw(group["base_root"]))
    by_initiator = record["direction"] == "i2r"
    sender = session_over(group, base, flags, initiator=by_initiator, restored=True)
    receiver = session_over(group, base, flags, initiator=not by_initiator, restored=False)
    sender.initiator = True  # a responder adds the bit by itself; here it is part of the vector's kind
    for _ in range(record["counter"] if record["ratchet"] else record["phase"]):
        if record["ratchet"]:
            sender.current.sender.take()
        else:
            sender.rekey()
    sender.current.sent = record["counter"]
    associated_data = raw(record["associated_data"])
    (packet,) = sender.seal(record["kind"], raw(record["content"]), associated_data)
    assert packet.hex() == record["packet"]
    result = receiver.receive(packet, associated_data, 0.0)
    assert (receiver.current.number, receiver.current.h) == (group["number"], raw(group["h"]))
    closed = record["kind"] & 0x7F == 7
    assert receiver.current.root == (b"" if closed else raw(group["root"]))
    assert receiver.current.window.highest == record["counter"]
    assert result.plaintexts == ([raw(record["content"])] if record["kind"] & 0x7F == 1 else [])


@pytest.mark.parametrize("group", VECTORS["salted"], ids=lambda group: group["suite"])
def test_salted_packets_that_must_be_dropped(group: dict[str, Any]) -> None:
    """Each is refused and leaves the epoch of before; the genuine one still opens."""
    base = Root(number=group["base"], h=raw(group["base_h"]), root=raw(group["base_root"]))
    receiver = session_over(group, base, FLAG_DATAGRAM, initiator=False, restored=False)
    for case in group["refused"]:
        with pytest.raises(PacketRefusedError):
            receiver.receive(raw(case["packet"]), raw(case["associated_data"]), 0.0)
        assert (receiver.current.number, receiver.current.confirmed) == (base.number, True), case["why"]
    assert receiver.receive(raw(group["records"][0]["packet"]), b"", 0.0).plaintexts == [b"roll"]


@pytest.mark.parametrize("row", VECTORS["salted_order"])
def test_of_two_salted_epochs_the_larger_holds(row: dict[str, Any]) -> None:
    """First the numbers, then the salts: only then the other one is even looked at."""
    base = Root(number=0, h=bytes(32), root=bytes(32))
    own = {"suite": 1, "connection_id": bytes(8).hex(), "mask": bytes(32).hex(), "number": row["own_number"],
           "salt": row["own_salt"]}  # fmt: skip
    theirs = {**own, "number": row["number"], "salt": row["salt"]}
    receiver = session_over(own, base, FLAG_DATAGRAM, initiator=False, restored=True)
    sender = session_over(theirs, base, FLAG_DATAGRAM, initiator=True, restored=True)
    (packet,) = sender.seal(1, b"roll")
    if row["accepted"]:
        receiver.receive(packet, b"", 0.0)
        assert receiver.current.number == row["number"]
    else:
        receiver._answered_at = 0.0  # it has told of its own epoch just now
        with pytest.raises(PacketRefusedError):
            receiver.receive(packet, b"", 0.0)


@pytest.mark.parametrize("case", VECTORS["both_restored"], ids=lambda case: case["suite"])
def test_both_ends_restored_at_once(case: dict[str, Any]) -> None:
    """Five packets from two stores to data that flows: each end's are the vector, and do what the vector says."""
    base, steps = Root(number=0, h=raw(case["h"]), root=raw(case["root"]), foreign=True), case["steps"]
    initiator, responder = (
        session_over(
            {**case, "number": 1, "salt": step["salt"]}, base, FLAG_DATAGRAM | FLAG_MASK, restored=True,
            initiator=step["from"] == "initiator",
        )
        for step in steps[:2]
    )  # fmt: skip
    responder.initiator = True  # without its wish for a rotation, which is not in the vector
    responder._answered_at = 0.0  # it has told of its own epoch just now
    packets = [raw(step["packet"]) for step in steps]
    assert initiator.seal(steps[0]["kind"], raw(steps[0]["content"])) == packets[:1]
    with pytest.raises(PacketRefusedError):
        responder.receive(packets[0], b"", 0.0)
    assert responder.seal(steps[1]["kind"], raw(steps[1]["content"])) == packets[1:2]
    initiator._random_bytes = drawn(raw(steps[2]["salt"]), raw(steps[2]["content"])[1:])
    result = initiator.receive(packets[1], b"", 0.0)
    assert (result.plaintexts, result.to_send) == ([], packets[2:3])
    assert responder.receive(packets[2], b"", 0.0).to_send == packets[3:4]
    assert responder.current.base is not None
    assert initiator.receive(packets[3], b"", 0.0).to_send == []
    assert (initiator.current.confirmed, initiator.current.base, initiator.stored) == (True, None, ())
    assert initiator.seal(steps[4]["kind"], raw(steps[4]["content"])) == packets[4:]
    assert responder.receive(packets[4], b"", 0.0).plaintexts == [raw(steps[4]["content"])]
    assert responder.current.base is None
