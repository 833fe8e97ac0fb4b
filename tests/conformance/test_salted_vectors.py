"""Salted epochs among the protocol's vectors, computed a second time without the server's code, then opened by it."""

from __future__ import annotations

import os
from typing import Any

import pytest

from noisegate_server.noise.primitives import CIPHERS
from noisegate_server.session.aeads import AeadCache
from noisegate_server.session.datagram import DatagramRecords
from noisegate_server.session.epoch import begin_epoch
from noisegate_server.session.errors import DecryptFailed
from noisegate_server.session.keys import EpochSecrets
from noisegate_server.session.limits import RotationLimits
from noisegate_server.session.packets import WANTS_ROTATION
from noisegate_server.session.salted import open_salted
from noisegate_server.session.suites import SUITES, Suite
from tests.conformance.test_protocol_vectors import VECTORS, raw
from tests.support import written_out as second


@pytest.mark.parametrize("case", VECTORS["salted_epoch"])
def test_salted_epochs(case: dict[str, Any]) -> None:
    """Secrets and h of a salted epoch over its base."""
    expected = second.salted(raw(case["base_root"]), raw(case["base_h"]), raw(case["salt"]), case["number"])
    assert {name: case[name] for name in expected} == expected


@pytest.mark.parametrize("group", VECTORS["salted"])
def test_salted_packets(group: dict[str, Any]) -> None:
    """The epoch's secrets, and every byte of each packet, follow from the base and the packet's other fields."""
    secrets = second.salted(raw(group["base_root"]), raw(group["base_h"]), raw(group["salt"]), group["number"])
    assert {name: group[name] for name in secrets} == secrets
    tail = bytes([group["base"] % 256]) + raw(group["salt"])
    for record in group["records"]:
        chain = {**secrets, "mask": group["mask"]}
        expected = second.seal(
            group["suite"], chain, raw(group["connection_id"]), record, ratchet=record["ratchet"], tail=tail
        )
        assert {name: record[name] for name in expected} == expected
        assert record["epoch"] == group["number"]


@pytest.mark.parametrize("group", VECTORS["salted"])
def test_the_server_opens_salted_packets(group: dict[str, Any]) -> None:
    """Each is the first of its epoch that a receiver gets: kind, content and counter are the vector's."""
    for record in group["records"]:
        records, aeads = receiver(group, record)
        opened, answer = open_salted(
            records, raw(record["packet"]), raw(record["associated_data"]), 0.0, aeads, os.urandom
        )
        assert answer == ()
        assert (opened.kind, opened.content.hex()) == (record["kind"] & ~WANTS_ROTATION, record["content"])
        assert (opened.counter, opened.epoch) == (record["counter"], record["epoch"])
        assert opened.wants_rotation is bool(record["kind"] & WANTS_ROTATION)
        assert records.current.receiver.phase == record["phase"]
        assert (records.current.root.hex(), records.current.h.hex()) == (group["root"], group["h"])


@pytest.mark.parametrize("group", VECTORS["salted"])
def test_spoilt_salted_packets_are_dropped(group: dict[str, Any]) -> None:
    """By both computations, and by the server's without a trace; the same receiver takes a good one."""
    base = {"number": group["base"], "h": group["base_h"], "root": group["base_root"]}
    good = group["records"][0]
    records, aeads = receiver(group, good)
    for case in group["refused"]:
        packet, extra = raw(case["packet"]), raw(case["associated_data"])
        assert not second.opens_salted(group["suite"], base, True, packet, extra), case["why"]
        before = records.current
        with pytest.raises(DecryptFailed):
            records.open(packet, extra, 0.0, aeads)
        with pytest.raises(DecryptFailed):
            open_salted(records, packet, extra, 0.0, aeads, os.urandom)
        assert (records.current, records.held, before.opened) == (before, [], 0), case["why"]
    assert second.opens_salted(group["suite"], base, True, raw(good["packet"]), b"")
    assert open_salted(records, raw(good["packet"]), b"", 0.0, aeads, os.urandom)[0].content == b"roll"


def test_the_larger_number_and_salt_wins() -> None:
    """Numbers first, then salts as unsigned numbers of 128 bits."""
    for row in VECTORS["salted_order"]:
        own, other = ((row[f"{of}number"] << 128) + int(row[f"{of}salt"], 16) for of in ("own_", ""))
        assert row["accepted"] is (other > own)
    assert {row["accepted"] for row in VECTORS["salted_order"]} == {True, False}


@pytest.mark.parametrize("group", VECTORS["both_restored"])
def test_two_sides_restored_at_once(group: dict[str, Any]) -> None:
    """Every packet of their conversation follows from the stored root and the salts that came before."""
    epochs = {0: {"h": group["h"], "root": group["root"]}}
    for step in group["steps"]:
        tail = b""
        if step["type"] == "SALTED":
            base = epochs[step["base"]]
            made = second.salted(raw(base["root"]), raw(base["h"]), raw(step["salt"]), step["epoch"])
            epochs[step["epoch"]] = made
            tail = bytes([step["base"]]) + raw(step["salt"])
        record = {
            **step, "direction": "i2r" if step["from"] == "initiator" else "r2i", "phase": 0, "associated_data": "",
            "padded": False, "masked": True,
        }  # fmt: skip
        chain = {**epochs[step["epoch"]], "mask": group["mask"]}
        assert (
            second.seal(group["suite"], chain, raw(group["connection_id"]), record, tail=tail)["packet"]
            == (step["packet"])
        )
    assert [step["type"] for step in group["steps"]] == ["SALTED"] * 3 + ["RECORD"] * 2
    assert group["steps"][0]["salt"] < group["steps"][1]["salt"]


def receiver(group: dict[str, Any], record: dict[str, Any]) -> tuple[DatagramRecords, AeadCache]:
    """The server's record layer in the base epoch, just before a record comes."""
    aeads = AeadCache()
    initiator = record["direction"] == "r2i"
    base = begin_epoch(
        EpochSecrets(i2r=bytearray(32), r2i=bytearray(32), root=bytearray(raw(group["base_root"]))),
        number=group["base"],
        h=raw(group["base_h"]),
        initiator=initiator,
        ratchet=record["ratchet"],
        now=0.0,
        confirmed=True,
    )
    records = DatagramRecords(
        cipher=CIPHERS[SUITES[Suite(group["suite"])].cipher],
        connection_id=raw(group["connection_id"]),
        mask_key=bytearray(raw(group["mask"])) if record["masked"] else None,
        padded=False,
        ratchet=record["ratchet"],
        initiator=initiator,
        epoch=base,
        limits=RotationLimits(),
    )
    return records, aeads
