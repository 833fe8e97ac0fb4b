"""docs/vectors/protocol-v1.json: computed a second time without the server's code, and read by the server's code.

That the server's code writes them is the first test; that they are right is the second computation's word.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from noisegate_server.noise.primitives import CIPHERS
from noisegate_server.session import hello, packets, ticket
from noisegate_server.session.errors import DecryptFailed
from noisegate_server.session.packets import WANTS_ROTATION
from noisegate_server.session.suites import SUITES, Suite
from tests.support import written_out as second
from tools import make_vectors
from tools.vector_records import Schedule, Wanted, records_of

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).resolve().parents[2] / "docs" / "vectors" / "protocol-v1.json").read_text(encoding="ascii")
)
SIZES = {
    "hello": 4, "hello_refused": 7, "prologue": 8, "key_schedule": 2, "exporter": 4, "salted_epoch": 3, "padding": 19,
    "nearest": 21, "replay_window": 32, "packet": 3, "retry": 4, "retry_refused": 3, "fragment": 5,
    "fragment_refused": 13, "ticket_content": 2, "handshake": 4, "resume": 4, "resume_noise": 3, "resume_fallback": 2,
    "record": 2, "rekey": 2, "ratchet": 2,
    "record_refused": 2, "renegotiate": 3,
    "salted": 2, "salted_order": 5, "both_restored": 2,
}  # fmt: skip
PATTERNS = {1: "XX", 2: "IK", 7: "NKpsk0"}
SEALED = [(section, index) for section in ("record", "rekey", "ratchet") for index in range(2)]


def raw(text: str) -> bytes:
    """The bytes of a value."""
    return bytes.fromhex(text)


def with_length(value: bytes, size: int) -> bytes:
    """A field with its length before it."""
    return len(value).to_bytes(size, "big") + value


def test_the_tool_writes_the_committed_file_byte_for_byte() -> None:
    """The server's code yields every value, and the file has every case that it should have."""
    assert make_vectors.FILE.read_text(encoding="ascii") == make_vectors.render()
    assert {name: len(VECTORS[name]) for name in SIZES} == SIZES
    assert set(VECTORS) == set(SIZES) | {"provenance", "phase"}


def test_a_changed_file_is_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tool writes the file where it is missing and refuses one that differs in a byte."""
    path = tmp_path / "vectors" / "protocol-v1.json"
    monkeypatch.setattr(make_vectors, "FILE", path)
    assert make_vectors.main(["--check"]) == 1
    assert make_vectors.main([]) == 0
    assert make_vectors.main(["--check"]) == 0
    path.write_text(path.read_text(encoding="ascii").replace("FRESH", "STALE", 1), encoding="ascii")
    assert make_vectors.main(["--check"]) == 1
    assert make_vectors.main(["--what"]) == 2


@pytest.mark.parametrize("case", VECTORS["hello"])
def test_hellos(case: dict[str, Any]) -> None:
    """A hello is version, flags, time, count, pairs, choice; the decoder finds all of it again."""
    pairs = b"".join(bytes(pair) for pair in case["offer"])
    time = case["timestamp_ms"].to_bytes(8, "big")
    data = bytes([1, case["flags"]]) + time + bytes([len(case["offer"])]) + pairs + bytes([case["choice"]])
    assert case["hello"] == data.hex()
    assert len(data) == 12 + 2 * len(case["offer"])
    read = hello.decode_hello(data)
    assert [list(pair) for pair in read.offer] == case["offer"]
    assert (read.flags, read.timestamp_ms, read.choice) == (case["flags"], case["timestamp_ms"], case["choice"])


@pytest.mark.parametrize("case", VECTORS["hello_refused"], ids=lambda case: case["why"])
def test_refused_hellos(case: dict[str, Any]) -> None:
    """What is no hello of version 1 is refused."""
    with pytest.raises(hello.MalformedHello):
        hello.decode_hello(raw(case["hello"]))


@pytest.mark.parametrize("case", VECTORS["prologue"])
def test_prologues(case: dict[str, Any]) -> None:
    """Label, hello, ticket with its length, caller's prologue; or label, h, new epoch."""
    if case["of"] == "renegotiate":
        number = b"" if case["new_epoch"] is None else case["new_epoch"].to_bytes(4, "big")
        expected = b"ng1 renegotiate" + raw(case["h"]) + number
    elif case["of"] == "resume":
        expected = b"ng1 resume" + raw(case["hello"]) + with_length(raw(case["ticket"]), 2)
        expected += raw(case["caller_prologue"])
    else:
        label = b"ng1 hello" if case["hello"] else b""
        expected = label + raw(case["hello"]) + raw(case["caller_prologue"])
    assert raw(case["prologue"]) == expected


@pytest.mark.parametrize("case", VECTORS["key_schedule"])
def test_key_schedules(case: dict[str, Any]) -> None:
    """From Split to every secret of a session."""
    expected = second.schedule(raw(case["h"]), raw(case["k1"]), raw(case["k2"]))
    psk = second.expand(raw(expected["root"]), "ng1 renegotiate")
    assert case == {**expected, "renegotiate_psk": psk.hex()}


@pytest.mark.parametrize("case", VECTORS["exporter"])
def test_exporter_secrets(case: dict[str, Any]) -> None:
    """HKDF-Expand of the session's export secret, by the library's own HKDF."""
    secret = second.exporter(raw(case["export"]), case["label"], raw(case["context"]), case["length"])
    assert secret.hex() == case["secret"]
    assert len(secret) == case["length"]


def test_phase_keys() -> None:
    """The chain of phases with the ratchet off, and the chain inside each phase with it on."""
    case = VECTORS["phase"]
    first = raw(case["secret"])
    assert [row["phase"] for row in case["ratchet_off"]] == [0, 1, 2, 3, 31, 63]
    for row in case["ratchet_off"]:
        secret = second.phase_secret(first, row["phase"])
        assert row["secret"] == secret.hex()
        assert row["key"] == second.expand(secret, "ng1 key").hex()
    assert [row["counter"] for row in case["ratchet_on"]] == [0, 1, 2, 255, 256, 257, 15_359]
    for row in case["ratchet_on"]:
        chain = second.expand(second.phase_secret(first, row["counter"] // 256), "ng1 chain")
        for _ in range(row["counter"] % 256):
            chain = second.expand(chain, "ng1 next")
        assert (row["chain"], row["key"]) == (chain.hex(), second.expand(chain, "ng1 key").hex())


def test_tables() -> None:
    """Size classes, shortened numbers and the window, each by another algorithm."""
    assert [second.padded(row["content_and_kind"]) for row in VECTORS["padding"]] == [
        row["padded"] for row in VECTORS["padding"]
    ]
    for row in VECTORS["nearest"]:
        assert row["number"] == second.nearest(row["low"], row["bits"], row["highest"]), row
    seen: set[int] = set()
    for row in VECTORS["replay_window"]:
        counter, highest = row["counter"], max(seen, default=-1)
        verdict = "TOO_OLD" if highest - counter > 1_024 else "REPLAYED" if counter in seen else "FRESH"
        assert (row["verdict"], row["newest"]) == (verdict, counter > highest), row
        if verdict == "FRESH":
            seen.add(counter)
        assert row["highest"] == max(seen)
    assert {row["verdict"] for row in VECTORS["replay_window"]} == {"FRESH", "REPLAYED", "TOO_OLD"}


@pytest.mark.parametrize("case", VECTORS["packet"])
def test_retries_and_fragments(case: dict[str, Any]) -> None:
    """The two packets without a handshake or record in them; the decoders read what stands there."""
    packet = raw(case["packet"])
    if case["type"] == "FRAGMENT":
        numbers = case["message_id"].to_bytes(2, "big") + bytes([case["index"], case["count"]])
        assert packet == b"\x0d" + raw(case["connection_id"]) + numbers + raw(case["part"])
        assert packets.encode_fragment(packets.decode_fragment(packet)) == packet
        return
    rest = bytes([case["choice"], case["flags"]]) if case["reason"] == 1 else raw(case["challenge"])
    echo = second.sha256(raw(case["refused"]))[:8]
    assert packet == b"\x0e" + bytes(8) + echo + bytes([case["reason"]]) + rest
    assert packets.encode_retry(packets.decode_retry(packet)) == packet


@pytest.mark.parametrize("case", VECTORS["ticket_content"])
def test_ticket_contents(case: dict[str, Any]) -> None:
    """Lifetime, early data, PSK, ticket."""
    numbers = case["lifetime_s"].to_bytes(4, "big") + case["max_early"].to_bytes(4, "big")
    assert raw(case["content"]) == numbers + raw(case["psk"]) + raw(case["ticket"])
    read = ticket.decode_ticket_content(raw(case["content"]))
    assert (read.lifetime_s, read.max_early) == (case["lifetime_s"], case["max_early"])
    assert (bytes(read.psk).hex(), read.ticket.hex()) == (case["psk"], case["ticket"])


@pytest.mark.parametrize("case", VECTORS["handshake"], ids=lambda case: case["noise_name"])
def test_handshakes(case: dict[str, Any]) -> None:
    """Another Noise library writes the same messages and derives the same keys; the packets frame them."""
    assert case["noise_name"] == second.noise_name(PATTERNS[case["pattern"]], case["suite"])
    assert raw(case["prologue"]) == b"ng1 hello" + raw(case["hello"]) + raw(case["caller_prologue"])
    payloads = [raw(message["payload"]) for message in case["messages"]]
    messages, schedule = second.noise_run(
        case["noise_name"], raw(case["prologue"]), case, payloads, raw(case["psk"])
    )  # fmt: skip
    assert schedule == case["schedule"]
    for step, (message, row) in enumerate(zip(messages, case["messages"], strict=True), start=1):
        head = b"\x09" + (bytes(8) if step == 1 else raw(case["connection_id"])) + bytes([step])
        opening = with_length(raw(case["hello"]), 2) + b"\0" if step == 1 else b""
        assert (row["step"], row["message"]) == (step, message.hex())
        assert raw(row["packet"]) == head + opening + message
        assert packets.decode_handshake(raw(row["packet"])).message == message


def resume_messages(case: dict[str, Any]) -> list[bytes]:
    """Both messages of a resume, by another Noise library; the prologue, payloads and keys are the vector's."""
    assert case["noise_name"] == second.noise_name("NNpsk0", case["suite"])
    bound = b"ng1 resume" + raw(case["hello"]) + with_length(raw(case["ticket"]), 2) + raw(case["caller_prologue"])
    assert raw(case["prologue"]) == bound
    payload_2 = bytes([case["early"]]) + raw(case["payload"])
    assert raw(case["payload_2"]) == payload_2
    messages, schedule = second.noise_run(
        case["noise_name"], bound, case, [raw(case["early_data"]), payload_2], raw(case["psk"])
    )  # fmt: skip
    assert schedule == case["schedule"]
    assert [case["message_1"], case["message_2"]] == [message.hex() for message in messages]
    return messages


@pytest.mark.parametrize("case", VECTORS["resume_noise"], ids=lambda case: case["noise_name"])
def test_resumes_in_noise_mode(case: dict[str, Any]) -> None:
    """NNpsk0 under the ticket's PSK, with and without a hello, in the game's own framing."""
    assert len(resume_messages(case)[0]) == 32 + len(raw(case["early_data"])) + 16


@pytest.mark.parametrize("case", VECTORS["resume_fallback"], ids=lambda case: case["noise_name"])
def test_fallbacks(case: dict[str, Any]) -> None:
    """Two first messages under one hello, each with its own prologue and ephemeral key; the answer is HANDSHAKE's."""
    hello_bytes, opaque, caller = raw(case["hello"]), raw(case["ticket"]), raw(case["caller_prologue"])
    assert raw(case["resume_prologue"]) == b"ng1 resume" + hello_bytes + with_length(opaque, 2) + caller
    assert raw(case["prologue"]) == b"ng1 hello" + hello_bytes + caller
    assert case["resume_ephemeral"] != case["initiator_ephemeral"]
    name = second.noise_name("NNpsk0", case["suite"])
    resuming = second.noise_end(
        name, initiator=True, prologue=raw(case["resume_prologue"]),
        case={"initiator_ephemeral": case["resume_ephemeral"]}, psk=raw(case["psk"]),
    )  # fmt: skip
    assert bytes(resuming.write_message(b"")).hex() == case["resume_message"]
    assert case["noise_name"] == second.noise_name(PATTERNS[case["pattern"]], case["suite"])
    payloads = [b"", raw(case["payload_2"]), *([b""] if case["message_3"] else [])]
    messages, schedule = second.noise_run(case["noise_name"], raw(case["prologue"]), case, payloads)
    assert schedule == case["schedule"]
    written = [case["message_1"], case["message_2"], *([case["message_3"]] if case["message_3"] else [])]
    assert [message.hex() for message in messages] == written
    head = b"\x0c" + bytes(8) + b"\x01" + with_length(hello_bytes, 2) + with_length(opaque, 2) + b"\0"
    assert raw(case["packet"]) == head + with_length(raw(case["resume_message"]), 2) + messages[0]
    assert raw(case["answer"]) == b"\x09" + raw(case["connection_id"]) + b"\x02" + messages[1]
    read = packets.decode_resume(raw(case["packet"]))
    assert isinstance(read, packets.ResumeStep1)
    assert (read.fallback, read.message.hex()) == (messages[0], case["resume_message"])


@pytest.mark.parametrize("case", VECTORS["resume"], ids=lambda case: case["noise_name"])
def test_resumes(case: dict[str, Any]) -> None:
    """NNpsk0 under the ticket's PSK, framed in RESUME packets."""
    messages, hello_bytes, opaque = resume_messages(case), raw(case["hello"]), raw(case["ticket"])
    head = b"\x0c" + bytes(8) + b"\x01" + with_length(hello_bytes, 2) + with_length(opaque, 2) + b"\0"
    assert raw(case["packet_1"]) == head + with_length(messages[0], 2)
    assert raw(case["packet_2"]) == b"\x0c" + raw(case["connection_id"]) + b"\x02" + messages[1]
    for packet, message in (("packet_1", messages[0]), ("packet_2", messages[1])):
        assert packets.decode_resume(raw(case[packet])).message == message


@pytest.mark.parametrize("case", VECTORS["renegotiate"], ids=lambda case: case["noise_name"])
def test_renegotiations(case: dict[str, Any]) -> None:
    """The handshake inside the session under a PSK from the epoch's root, and the new epoch's secrets."""
    pattern = "IKpsk1" if case["initiator_static"] else "NKpsk0"
    assert case["noise_name"] == second.noise_name(pattern, case["suite"])
    number = case["base_epoch"] + 1
    psk = second.expand(raw(case["base_root"]), "ng1 renegotiate")
    prologue = b"ng1 renegotiate" + raw(case["base_h"]) + number.to_bytes(4, "big")
    assert (case["psk"], case["prologue"], case["epoch"]) == (psk.hex(), prologue.hex(), number)
    messages, schedule = second.noise_run(case["noise_name"], prologue, case, [b"", b""], psk)
    assert [case["rotate_1"], case["rotate_2"]] == [message.hex() for message in messages]
    assert {name: case[name] for name in ("h", "i2r", "r2i", "root")} == {
        name: schedule[name] for name in ("h", "i2r", "r2i", "root")
    }


@pytest.mark.parametrize(("section", "index"), SEALED)
def test_records(section: str, index: int) -> None:
    """Key, nonce, header, plaintext, mask and packet of every record follow from its other fields."""
    group = VECTORS[section][index]
    assert group["schedule"] == VECTORS["handshake"][index]["schedule"]
    for record in group["records"]:
        connection_id, on = raw(group["connection_id"]), section == "ratchet"
        expected = second.seal(group["suite"], group["schedule"], connection_id, record, ratchet=on)
        assert {name: record[name] for name in expected} == expected
        known = second.nearest(record["counter"] % (1 << 32), 32, record["highest"])
        assert known == record["counter"]


@pytest.mark.parametrize(("section", "index"), SEALED)
def test_the_server_opens_the_records(section: str, index: int) -> None:
    """Each opens at a receiver that has seen what `highest` says: kind, content and counter are the vector's."""
    group = VECTORS[section][index]
    assert group["records"]
    for record in group["records"]:
        wanted = Wanted(
            direction=record["direction"], counter=record["counter"], kind=record["kind"],
            content=raw(record["content"]), associated_data=raw(record["associated_data"]), masked=record["masked"],
            padded=record["padded"], epoch=record["epoch"], phase=record["phase"], highest=record["highest"],
            ratchet=section == "ratchet",
        )  # fmt: skip
        records, aeads = receiver(group, wanted)
        opened = records.open(raw(record["packet"]), wanted.associated_data, 0.0, aeads)
        assert (opened.kind, opened.content) == (wanted.kind & ~WANTS_ROTATION, wanted.content)
        assert (opened.counter, opened.epoch) == (wanted.counter, wanted.epoch)
        assert opened.wants_rotation is bool(wanted.kind & WANTS_ROTATION)
        assert records.current.receiver.phase == wanted.phase


@pytest.mark.parametrize("index", [0, 1])
def test_the_server_refuses_what_must_be_dropped(index: int) -> None:
    """Every spoilt packet is refused by both computations, and by the server's without a trace."""
    group = VECTORS["record_refused"][index]
    secret = raw(group["schedule"]["i2r"])
    for case in group["packets"]:
        packet, extra = raw(case["packet"]), raw(case["associated_data"])
        # A connection id that is not the session's finds no session; here the header's authentication refuses it.
        assert not second.opens(group["suite"], secret, packet, extra), case["why"]
        records, aeads = receiver(group, Wanted("i2r", 0, 1, b""))
        with pytest.raises(DecryptFailed):
            records.open(packet, extra, 0.0, aeads)
        epoch = records.current
        assert (epoch.window.highest, epoch.receiver.phase, epoch.opened) == (-1, 0, 0), case["why"]
    good = VECTORS["record"][index]["records"][1]
    assert second.opens(group["suite"], secret, raw(good["packet"]), b"")


def receiver(group: dict[str, Any], wanted: Wanted) -> tuple[Any, Any]:
    """The server's record layer, just before the record comes."""
    schedule = Schedule(**{name: raw(value) for name, value in group["schedule"].items()})
    cipher = CIPHERS[SUITES[Suite(group["suite"])].cipher]
    return records_of(schedule, cipher, raw(group["connection_id"]), wanted, sends=False)
