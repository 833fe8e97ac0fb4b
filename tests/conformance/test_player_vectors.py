"""docs/vectors/protocol-v1.json and the hybrid vectors, read and written by the dice example's own player.

The player was written from docs/protocol.md alone; a vector that it does not meet shows a hole in that document.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM1024PrivateKey

from examples.dice.datagram_player import DatagramPlayer, PacketRefusedError, Protocol, Settings, handshake
from examples.dice.datagram_player.connection import ConnectionId
from examples.dice.datagram_player.epoch import Epoch, Root, Terms, padded
from examples.dice.datagram_player.fragments import Reassembler, cut
from examples.dice.datagram_player.handshake import PATTERNS, NoiseHandshake, Split, noise_name
from examples.dice.datagram_player.keys import CHAIN, KEY, NEXT, PhaseSender, Ratchet, expand, exporter, nearest
from examples.dice.datagram_player.limits import Limits
from examples.dice.datagram_player.session import Lasting, Session
from examples.dice.datagram_player.tickets import Identity, Ticket
from examples.dice.datagram_player.window import Window
from examples.dice.datagram_player.wire import FLAG_DATAGRAM, FLAG_MASK, FLAG_PAD, FLAG_RATCHET, Hello, Retry
from tests.support.player_vectors import drawn, public, raw

ROOT = Path(__file__).resolve().parents[2]
VECTORS: dict[str, Any] = json.loads((ROOT / "docs/vectors/protocol-v1.json").read_text(encoding="ascii"))
HYBRID: dict[str, Any] = json.loads((ROOT / "tests/conformance/vectors/hfs.json").read_text(encoding="ascii"))
SECRETS = ("i2r", "r2i", "root")


def secrets_of(epoch: Epoch, case: dict[str, Any]) -> None:
    """The epoch's root and the vector's are the same, and so are its keys of both directions."""
    assert epoch.root == raw(case["root"])
    assert epoch.sender.take()[1] == expand(raw(case["i2r"]), KEY)


@pytest.mark.parametrize("case", VECTORS["hello"])
def test_hellos(case: dict[str, Any]) -> None:
    """What the player would offer is the vector, and it reads the vector so; without the DATAGRAM flag it does not."""
    offer = tuple(Protocol(*pair) for pair in case["offer"])
    hello = Hello(case["flags"], case["timestamp_ms"], offer, case["choice"])
    assert hello.encode() == raw(case["hello"])
    if not hello.flags & FLAG_DATAGRAM:
        with pytest.raises(PacketRefusedError):
            Hello.decode(raw(case["hello"]))
        return
    assert Hello.decode(raw(case["hello"])) == hello


@pytest.mark.parametrize("case", VECTORS["hello_refused"], ids=lambda case: case["why"])
def test_refused_hellos(case: dict[str, Any]) -> None:
    """What is no hello of version 1 is refused."""
    with pytest.raises(PacketRefusedError):
        Hello.decode(raw(case["hello"]))


@pytest.mark.parametrize("case", VECTORS["packet"])
def test_retries_and_fragments(case: dict[str, Any]) -> None:
    """Both reasons of RETRY, and a fragment."""
    packet = raw(case["packet"])
    if case["type"] == "RETRY":
        assert packet[9:17] == Retry.echo_of(raw(case["refused"]))
        if case["reason"] == 2 and raw(case["challenge"])[0]:
            with pytest.raises(PacketRefusedError):  # work of a kind that version 1 does not have
                Retry.decode(packet)
            return
        assert Retry.decode(packet).encode() == packet
        return
    part, index = raw(case["part"]), case["index"]
    whole = b"\x0c" + raw(case["connection_id"]) + bytes(len(part) * (case["count"] - 1))
    whole = whole[: index * len(part)] + part + whole[(index + 1) * len(part) :]
    fragments = cut(whole, case["message_id"], 13 + len(part))
    assert (fragments[index], len(fragments)) == (packet, case["count"])
    parts = Reassembler()
    assert [parts.add(fragment, 0.0) for fragment in reversed(fragments)][-1] == whole


@pytest.mark.parametrize("case", VECTORS["key_schedule"])
def test_key_schedules(case: dict[str, Any]) -> None:
    """From Split to every secret of a session."""
    split = Split(raw(case["k1"]), raw(case["k2"]), raw(case["h"]))
    terms = Terms(initiator=True, suite=1, flags=FLAG_DATAGRAM)
    lasting = Lasting.of(split, terms, Identity())
    assert (lasting.h, lasting.export, lasting.mask) == (split.h, raw(case["export"]), raw(case["mask"]))
    epoch = Epoch.after(split, 0, terms, 0.0)
    assert expand(epoch.root, b"ng1 renegotiate") == raw(case["renegotiate_psk"])
    secrets_of(epoch, case)


@pytest.mark.parametrize("case", VECTORS["exporter"])
def test_exporter_secrets(case: dict[str, Any]) -> None:
    """Label, context and length make the vector's secret."""
    secret = exporter(raw(case["export"]), case["label"].encode(), raw(case["context"]), case["length"])
    assert secret == raw(case["secret"])


def test_phase_keys() -> None:
    """The keys that are taken after so many rekeys, or with the ratchet after so many messages."""
    case = VECTORS["phase"]
    for row in case["ratchet_off"]:
        sender = PhaseSender(raw(case["secret"]))
        for _ in range(row["phase"]):
            assert sender.rekey()
        assert sender.take() == (row["phase"], raw(row["key"]))
    keys = Ratchet(raw(case["secret"]))
    taken = [keys.take()[1] for _ in range(max(row["counter"] for row in case["ratchet_on"]) + 1)]
    for row in case["ratchet_on"]:
        assert taken[row["counter"]] == raw(row["key"])
        assert Ratchet(raw(case["secret"])).peek(row["counter"]) == raw(row["key"])
    first = expand(raw(case["secret"]), CHAIN)
    assert [row["chain"] for row in case["ratchet_on"]][:2] == [first.hex(), expand(first, NEXT).hex()]


@pytest.mark.parametrize("case", VECTORS["salted_epoch"])
def test_salted_epochs(case: dict[str, Any]) -> None:
    """Secrets and h of a salted epoch over its base."""
    base = Root(number=0, h=raw(case["base_h"]), root=raw(case["base_root"]))
    terms = Terms(initiator=True, suite=1, flags=FLAG_DATAGRAM)
    epoch = Epoch.over(base, case["number"], raw(case["salt"]), terms, 0.0)
    assert epoch.h == raw(case["h"])
    secrets_of(epoch, case)


def test_tables() -> None:
    """Size classes, shortened numbers, and the replay window."""
    for row in VECTORS["padding"]:
        assert padded(row["content_and_kind"]) == row["padded"]
    for row in VECTORS["nearest"]:
        assert nearest(row["low"], row["bits"], row["highest"]) == row["number"]
    window = Window()
    for row in VECTORS["replay_window"]:
        fresh = window.fresh(row["counter"])
        assert (fresh, row["counter"] > window.highest) == (row["verdict"] == "FRESH", row["newest"])
        if fresh:
            window.add(row["counter"])
        assert window.highest == row["highest"]


@pytest.mark.parametrize("case", VECTORS["ticket_content"])
def test_ticket_contents(case: dict[str, Any]) -> None:
    """Lifetime, early data, PSK, ticket."""
    terms = Terms(initiator=True, suite=1, flags=FLAG_DATAGRAM)
    ticket = Ticket.decode(raw(case["content"]), terms, Identity(), 0.0)
    assert (ticket.lifetime_s, ticket.max_early) == (case["lifetime_s"], case["max_early"])
    assert (ticket.psk, ticket.ticket) == (raw(case["psk"]), raw(case["ticket"]))


# --- handshakes


def run(ends: list[NoiseHandshake], payloads: list[bytes]) -> list[bytes]:
    """The messages of a handshake, each read by the other end; both ends agree on the keys."""
    messages = []
    for step, payload in enumerate(payloads):
        writer, reader = ends if step % 2 == 0 else ends[::-1]
        messages.append(writer.write(payload))
        assert reader.read(messages[-1]) == payload
    assert ends[0].split == ends[1].split is not None
    return messages


def both_ends(case: dict[str, Any], protocol: Protocol, prologue: bytes, psk: bytes) -> list[NoiseHandshake]:
    """The vector's initiator and responder."""
    ends = []
    for mine, theirs in (("initiator", "responder"), ("responder", "initiator")):
        static, other = (raw(case.get(f"{side}_static", "")) for side in (mine, theirs))
        noise = NoiseHandshake(
            protocol, prologue, drawn(raw(case[f"{mine}_ephemeral"])), initiator=mine == "initiator",
            static=static or None, remote=public(other) or None, psk=psk,
        )  # fmt: skip
        ends.append(noise)
    return ends


@pytest.mark.parametrize("case", VECTORS["handshake"], ids=lambda case: case["noise_name"])
def test_handshakes(case: dict[str, Any]) -> None:
    """The messages of both ends and the keys, then whole packets through a player."""
    protocol, psk = Protocol(case["pattern"], case["suite"]), raw(case["psk"])
    assert noise_name(protocol) == case["noise_name"]
    ends = both_ends(case, protocol, raw(case["prologue"]), psk)
    messages = run(ends, [raw(row["payload"]) for row in case["messages"]])
    assert [message.hex() for message in messages] == [row["message"] for row in case["messages"]]
    schedule = case["schedule"]
    assert ends[0].split == Split(raw(schedule["k1"]), raw(schedule["k2"]), raw(schedule["h"]))

    hello = Hello.decode(raw(case["hello"]))
    settings = Settings(
        offer=hello.offer, choice=hello.choice, flags=hello.flags, static=raw(case["initiator_static"]) or None,
        remote=public(raw(case["responder_static"])), psk=psk, prologue=raw(case["caller_prologue"]),
    )  # fmt: skip
    player = DatagramPlayer(
        settings, random_bytes=drawn(raw(case["initiator_ephemeral"])), wall=lambda: hello.timestamp_ms / 1000
    )
    first, second = case["messages"][:2]
    assert player.start(0.0, raw(first["payload"])) == [raw(first["packet"])]
    received = player.receive(raw(second["packet"]), 0.0)
    assert received.payloads == [raw(second["payload"])]
    assert player.connection_id == raw(case["connection_id"])
    if case["pattern"] != 1:
        assert player.handshake_hash == raw(schedule["h"])
    else:
        assert received.to_send[0][:10] == raw(case["messages"][2]["packet"])[:10]


@pytest.mark.parametrize("case", VECTORS["resume"], ids=lambda case: case["noise_name"])
def test_resumes(case: dict[str, Any]) -> None:
    """A player that has the ticket sends the vector's packet; both ends write the vector's messages."""
    ends = []
    for side in ("initiator", "responder"):
        prologue, ephemeral = raw(case["prologue"]), drawn(raw(case[f"{side}_ephemeral"]))
        ends.append(
            NoiseHandshake(
                Protocol(9, case["suite"]), prologue, ephemeral, initiator=side == "initiator", psk=raw(case["psk"])
            )
        )
    messages = run(ends, [raw(case["early_data"]), raw(case["payload_2"])])
    assert [message.hex() for message in messages] == [case["message_1"], case["message_2"]]
    hello = Hello.decode(raw(case["hello"]))
    settings = Settings(offer=(Protocol(2, case["suite"]),), prologue=raw(case["caller_prologue"]))
    player = DatagramPlayer(
        settings, random_bytes=drawn(raw(case["initiator_ephemeral"])), wall=lambda: hello.timestamp_ms / 1000
    )
    ticket = Ticket(
        lifetime_s=60, max_early=len(raw(case["early_data"])), psk=raw(case["psk"]), ticket=raw(case["ticket"]),
        suite=case["suite"], flags=hello.flags, identity=Identity(), expires_at=60.0,
    )  # fmt: skip
    assert player.resume(0.0, ticket, early_data=raw(case["early_data"])) == [raw(case["packet_1"])]
    received = player.receive(raw(case["packet_2"]), 0.0)
    assert (received.early, received.payloads) == (case["early"] == 1, [raw(case["payload"])])
    assert player.session is not None
    assert player.connection_id == raw(case["connection_id"])
    assert player.session.lasting.export == raw(case["schedule"]["export"])
    secrets_of(player.session.current, case["schedule"])


@pytest.mark.parametrize("case", VECTORS["resume_fallback"], ids=lambda case: case["noise_name"])
def test_resumes_with_a_full_handshake_beside_them(case: dict[str, Any]) -> None:
    """The player's RESUME packet is the vector's, and the answer to the handshake in it makes a session."""
    hello, mine = Hello.decode(raw(case["hello"])), raw(case["initiator_static"])
    settings = Settings(
        offer=hello.offer, choice=hello.choice, flags=hello.flags, static=mine,
        remote=public(raw(case["responder_static"])), prologue=raw(case["caller_prologue"]),
    )  # fmt: skip
    ephemerals = drawn(raw(case["resume_ephemeral"]), raw(case["initiator_ephemeral"]))
    player = DatagramPlayer(settings, random_bytes=ephemerals, wall=lambda: hello.timestamp_ms / 1000)
    ticket = Ticket(
        lifetime_s=60, max_early=0, psk=raw(case["psk"]), ticket=raw(case["ticket"]), suite=case["suite"],
        flags=hello.flags, identity=Identity(), expires_at=60.0,
    )  # fmt: skip
    assert player.resume(0.0, ticket, full=True) == [raw(case["packet"])]
    received = player.receive(raw(case["answer"]), 0.0)
    assert (received.early, received.payloads) == (None, [raw(case["payload_2"])])
    assert [packet[10:].hex() for packet in received.to_send] == ([case["message_3"]] if case["message_3"] else [])
    assert player.connection_id == raw(case["connection_id"])
    assert player.handshake_hash == raw(case["schedule"]["h"])


class Seeded:
    """ML-KEM's side that encapsulates, as the vector's inputs had it."""

    def __init__(self, case: dict[str, Any]) -> None:
        self.secret, self.ciphertext = raw(case["kem_secret"]), raw(case["kem_ciphertext"])
        self.key = MLKEM1024PrivateKey.from_seed_bytes(raw(case["init_kem_seed"])).public_key().public_bytes_raw()

    def encapsulate(self, key: bytes) -> tuple[bytes, bytes]:
        """The vector's secret and ciphertext, for the vector's key alone."""
        assert key == self.key
        return self.secret, self.ciphertext


@pytest.mark.parametrize("case", HYBRID["vectors"], ids=lambda case: f"{case['protocol_name']}-{case['comment']}")
def test_hybrid_handshakes(case: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ends write the vector's messages, with the KEM's randomness of the vector."""
    monkeypatch.setattr(handshake, "encapsulate", Seeded(case).encapsulate)
    protocol = next(
        protocol for pattern in PATTERNS if noise_name(protocol := Protocol(pattern, 3)) == case["protocol_name"]
    )
    initiator = NoiseHandshake(
        protocol, raw(case["prologue"]), drawn(raw(case["init_ephemeral"]), raw(case["init_kem_seed"])),
        initiator=True, static=raw(case["init_static"]) or None, remote=raw(case["init_remote_static"]) or None,
        psk=raw(case["psk"]),
    )  # fmt: skip
    responder = NoiseHandshake(
        protocol, raw(case["prologue"]), drawn(raw(case["resp_ephemeral"])), initiator=False,
        static=raw(case["resp_static"]) or None, psk=raw(case["psk"]),
    )  # fmt: skip
    ends = [initiator, responder]
    count = 3 if PATTERNS[protocol.pattern].startswith("XX") else 2
    handshake_messages = case["messages"][:count]
    messages = run(ends, [raw(row["payload"]) for row in handshake_messages])
    assert [message.hex() for message in messages] == [row["ciphertext"] for row in handshake_messages]
    assert initiator.split == Split(raw(case["k1"]), raw(case["k2"]), raw(case["handshake_hash"]))


# --- sessions


def session_of(
    group: dict[str, Any], *, initiator: bool, flags: int = FLAG_DATAGRAM, current: Epoch | None = None
) -> Session:
    """A session with the vector's keys, in the vector's epoch."""
    terms, schedule = Terms(initiator=initiator, suite=group["suite"], flags=flags), group["schedule"]
    split = Split(raw(schedule["k1"]), raw(schedule["k2"]), raw(schedule["h"]))
    epoch = current or Epoch.after(split, 0, terms, 0.0)
    epoch.confirmed = True
    connection = ConnectionId(raw(group["connection_id"]), chosen=not initiator)
    lasting = Lasting.of(split, terms, Identity())
    return Session(lasting, epoch, connection, drawn(), 0.0, limits=Limits(), issued={})


RECORDS = [
    pytest.param(section, group, record, id=f"{section}-{group['suite']}-{number}")
    for section in ("record", "rekey", "ratchet")
    for group in VECTORS[section]
    for number, record in enumerate(group["records"])
]


@pytest.mark.parametrize(("section", "group", "record"), RECORDS)
def test_records(section: str, group: dict[str, Any], record: dict[str, Any]) -> None:
    """Sealed by one end, after as many messages and rekeys, it is the vector; the other end opens it."""
    flags = FLAG_DATAGRAM | FLAG_MASK * record["masked"] | FLAG_PAD * record["padded"]
    flags |= FLAG_RATCHET * (section == "ratchet")
    by_initiator = record["direction"] == "i2r"
    sender, receiver = (session_of(group, initiator=by_initiator is side, flags=flags) for side in (True, False))
    sender.initiator = True  # a responder adds the bit by itself; here it is part of the vector's kind
    for session in (sender, receiver):
        session.current.number = record["epoch"]
    if section == "ratchet":
        for _ in range(record["counter"]):
            sender.current.sender.take()
    for _ in range(record["phase"] if section != "ratchet" else 0):
        sender.rekey()
    sender.current.sent = record["counter"]
    associated_data = raw(record["associated_data"])
    (packet,) = sender.seal(record["kind"], raw(record["content"]), associated_data)
    assert packet.hex() == record["packet"]
    epoch = receiver.current
    epoch.window.highest = record["highest"]
    if section == "ratchet" and record["highest"] >= 0:
        receiver.current._receiver.opened(0, record["highest"], 0.0)  # as if it had been there
    header = receiver._mask(packet[:15], packet[15:])
    opened = epoch.open(header, packet[15:], associated_data, 0.0)
    assert opened == (record["kind"], raw(record["content"]), record["counter"])


@pytest.mark.parametrize("group", VECTORS["record_refused"], ids=lambda group: group["suite"])
def test_what_must_be_dropped(group: dict[str, Any]) -> None:
    """Every spoilt packet is refused, and none has moved anything."""
    session = session_of(group, initiator=False)
    for case in group["packets"]:
        with pytest.raises(PacketRefusedError):
            session.receive(raw(case["packet"]), raw(case["associated_data"]), 0.0)
        assert session.current.window.highest == -1


@pytest.mark.parametrize("case", VECTORS["renegotiate"], ids=lambda case: case["noise_name"])
def test_renegotiations(case: dict[str, Any]) -> None:
    """Two sessions in the vector's epoch, with its ephemeral keys, come to its new epoch."""
    statics = raw(case["initiator_static"]), raw(case["responder_static"])
    ends = []
    for begins, ephemeral in ((True, "initiator_ephemeral"), (False, "responder_ephemeral")):
        terms = Terms(initiator=begins, suite=case["suite"], flags=FLAG_DATAGRAM)
        mine, theirs = statics if begins else statics[::-1]
        identity = Identity(static=mine or None, remote=public(theirs) or None, anonymous=not statics[0])
        epoch = Epoch(case["base_epoch"], raw(case["base_h"]), bytes(32), terms, 0.0)
        epoch.root, epoch.confirmed = raw(case["base_root"]), True
        lasting = Lasting(terms=terms, identity=identity, h=bytes(32), export=bytes(32), mask=bytes(32))
        random_bytes = drawn(raw(case[ephemeral]), bytes(8))
        connection = ConnectionId(bytes(8), chosen=False)
        ends.append(Session(lasting, epoch, connection, random_bytes, 10.0, limits=Limits(), issued={}))
    initiator, responder = ends
    (rotate_1,) = initiator.renegotiate()
    assert len(rotate_1) == 32 + len(raw(case["rotate_1"]))
    (rotate_2,) = responder.receive(rotate_1, b"", 10.0).to_send
    (question,) = initiator.receive(rotate_2, b"", 10.0).to_send
    responder.receive(question, b"", 10.0)
    for session in ends:
        assert (session.current.number, session.current.h) == (case["epoch"], raw(case["h"]))
        assert session.current.root == raw(case["root"])
