"""Salted epochs among the protocol's vectors: secrets, packets, refusals, and two sides restored at once.

See tools/make_vectors.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from noisegate_server.noise.primitives import Cipher
from noisegate_server.session.aeads import AeadCache
from noisegate_server.session.datagram import DatagramRecords
from noisegate_server.session.keep_alive import answer_to
from noisegate_server.session.keys import derive_salted, salted_hash
from noisegate_server.session.limits import RotationLimits
from noisegate_server.session.packets import Kind
from noisegate_server.session.roots import Root
from noisegate_server.session.salted import open_salted, own_epoch
from noisegate_server.session.sealed import Opened
from noisegate_server.session.suites import Suite
from tools.vector_records import Schedule, Wanted, records_of, sealed

Case = dict[str, Any]
Fixed = Callable[..., bytes]

_ASK: Final = b"\x01" + bytes(range(8))

RECORDS: Final = (
    Wanted("i2r", 0, Kind.DATA, b"roll"),
    Wanted("i2r", 1, Kind.DATA, b"roll", associated_data=b"table 7"),
    Wanted("r2i", 0, Kind.KEEP_ALIVE, _ASK),
    Wanted("r2i", 1, Kind.KEEP_ALIVE | 0x80, b""),
    Wanted("r2i", 2, Kind.DATA, b"4, chosen by fair dice roll", masked=True),
    Wanted("i2r", 2, Kind.DATA, b"everything", associated_data=b"table 7", masked=True, padded=True),
    Wanted("i2r", 3, Kind.TICKET, bytes(range(64)), masked=True),
    Wanted("i2r", 4, Kind.CLOSE, b""),
    Wanted("i2r", 5, Kind.DATA, b"after a REKEY", phase=1),
    Wanted("r2i", 0, Kind.DATA, b"every message has a key", ratchet=True),
    Wanted("r2i", 300, Kind.DATA, b"over a phase", phase=1, masked=True, ratchet=True),
)
"""SALTED packets; each is the first that its receiver gets."""


def epochs(fixed: Fixed) -> list[Case]:
    """Secrets and h of salted epochs over one base."""
    cases = []
    for number in (1, 2, 300):
        h, root, salt = fixed("salted h"), fixed("salted root"), fixed(f"salt {number}", 16)
        epoch = derive_salted(root, salt, number)
        cases.append(
            {
                "base_h": h.hex(), "base_root": root.hex(), "salt": salt.hex(), "number": number,
                "h": salted_hash(h, salt, number).hex(),
                "i2r": epoch.i2r.hex(), "r2i": epoch.r2i.hex(), "root": epoch.root.hex(),
            }
        )  # fmt: skip
    return cases


def over(schedule: Schedule, salt: bytes, number: int) -> Schedule:
    """The session's secrets with those of a salted epoch over `schedule` in their place."""
    epoch = derive_salted(schedule.root, salt, number)
    return replace(
        schedule, h=salted_hash(schedule.h, salt, number), i2r=bytes(epoch.i2r), r2i=bytes(epoch.r2i),
        root=bytes(epoch.root),
    )  # fmt: skip


def packets(fixed: Fixed, suite: Suite, schedule: Schedule, cipher: Cipher, connection_id: bytes) -> Case:
    """SALTED packets of one epoch, and spoilt ones; the numbers of the second suite show low bytes."""
    base, number = (0, 1) if suite is Suite.CHACHA20_POLY1305_X25519 else (255, 258)
    salt = fixed(f"salted packet {suite}", 16)
    salted, tail = over(schedule, salt, number), bytes((base & 0xFF,)) + salt
    return {
        "suite": int(suite), "connection_id": connection_id.hex(), "mask": schedule.mask.hex(),
        "base": base, "base_h": schedule.h.hex(), "base_root": schedule.root.hex(),
        "salt": salt.hex(), "number": number, "h": salted.h.hex(),
        "i2r": salted.i2r.hex(), "r2i": salted.r2i.hex(), "root": salted.root.hex(),
        "records": [
            {"ratchet": one.ratchet, **sealed(salted, cipher, connection_id, one._replace(epoch=number), tail=tail)}
            for one in RECORDS
        ],
        "refused": _refused(salted, cipher, connection_id, number, tail),
    }  # fmt: skip


def _refused(salted: Schedule, cipher: Cipher, connection_id: bytes, number: int, tail: bytes) -> list[Case]:
    """Packets that a responder without mask and ratchet, which holds the base alone, must drop."""

    def packet(wanted: Wanted, tail: bytes = tail) -> bytes:
        wanted = wanted._replace(epoch=number)
        records, aeads = records_of(salted, cipher, connection_id, wanted, sends=True)
        records.current.send_tail = tail
        return records.record(records.current, wanted.kind, wanted.content, wanted.associated_data, aeads)

    data = packet(Wanted("i2r", 0, Kind.DATA, b"roll"))
    bound = packet(Wanted("i2r", 0, Kind.DATA, b"roll", associated_data=b"table 7"))
    cases = (
        ("the tag is wrong", data[:-1] + bytes((data[-1] ^ 1,)), b""),
        ("48 bytes", data[:48], b""),
        ("another salt", data[:16] + bytes((data[16] ^ 1,)) + data[17:], b""),
        ("a base that is not held", data[:15] + bytes((data[15] ^ 8,)) + data[16:], b""),
        ("another number", data[:9] + bytes((data[9] ^ 4,)) + data[10:], b""),
        ("another counter", data[:14] + b"\x01" + data[15:], b""),
        ("phase 64", data[:10] + b"\x40" + data[11:], b""),
        ("another connection id", data[:1] + bytes(8) + data[9:], b""),
        ("a RECORD's first byte", b"\x0a" + data[1:], b""),
        ("sealed as a RECORD", packet(Wanted("i2r", 0, Kind.DATA, b"roll" + bytes(17)), b""), b""),
        ("the other direction's key", packet(Wanted("r2i", 0, Kind.DATA, b"roll")), b""),
        ("data without the associated data that is expected", data, b"table 7"),
        ("data with associated data that is not expected", bound, b""),
        ("nothing but zeros: no kind", packet(Wanted("i2r", 0, 0, bytes(4))), b""),
    )
    return [{"why": why, "associated_data": extra.hex(), "packet": bad.hex()} for why, bad, extra in cases]


def order() -> list[Case]:
    """Which of two salted epochs wins, against an own unconfirmed one (rule 3)."""
    low, high = bytes(15) + b"\x01", b"\x80" + bytes(15)
    rows = ((1, low, 2, low), (2, low, 1, high), (1, low, 1, high), (1, high, 1, low), (1, low, 1, low))
    return [
        {
            "own_number": own, "own_salt": own_salt.hex(), "number": number, "salt": salt.hex(),
            "accepted": (number, salt) > (own, own_salt),
        }
        for own, own_salt, number, salt in rows
    ]  # fmt: skip


class _Side:
    """One restored side, which has the root of epoch 0 from storage."""

    def __init__(self, schedule: Schedule, cipher: Cipher, connection_id: bytes, salt: bytes, *, initiator: bool):
        self.name = "initiator" if initiator else "responder"
        self.aeads = AeadCache()
        base = Root(number=0, h=schedule.h, root=bytearray(schedule.root), confirmed=True, agreed=False, ours=False)
        self.records = DatagramRecords(
            cipher=cipher, connection_id=connection_id, mask_key=bytearray(schedule.mask), padded=False, ratchet=False,
            initiator=initiator, limits=RotationLimits(),
            epoch=own_epoch(base, 1, salt, initiator=initiator, ratchet=False, now=0.0),
        )  # fmt: skip
        self.records.held = [base]

    def seal(self, kind: Kind, content: bytes) -> bytes:
        return self.records.control(kind, content, self.aeads)

    def open(self, packet: bytes, random: Callable[[int], bytes]) -> tuple[Opened, tuple[bytes, ...]]:
        if packet[0] == 0x0A:
            return self.records.open(packet, b"", 0.0, self.aeads), ()
        return open_salted(self.records, packet, b"", 0.0, self.aeads, random)


def both_restored(fixed: Fixed, suite: Suite, schedule: Schedule, cipher: Cipher, connection_id: bytes) -> Case:
    """Both sides restored at once, masked: every packet until both have confirmed one epoch (rules 3 and 5)."""
    salts = sorted(fixed(f"both restored {suite} {number}", 16) for number in range(2))
    third = fixed(f"both restored {suite} answer", 16)
    initiator = _Side(schedule, cipher, connection_id, salts[0], initiator=True)
    responder = _Side(schedule, cipher, connection_id, salts[1], initiator=False)
    steps: list[Case] = []

    def say(sender: _Side, packet: bytes, kind: int, content: bytes, outcome: str) -> None:
        epoch = sender.records.current
        steps.append(
            {
                "from": sender.name, "type": "SALTED" if epoch.send_tail else "RECORD", "epoch": epoch.number,
                "base": epoch.send_tail[0] if epoch.send_tail else None, "salt": epoch.send_tail[1:].hex(),
                "counter": epoch.sender.counter - 1, "kind": int(kind), "content": content.hex(),
                "packet": packet.hex(), "outcome": outcome,
            }
        )  # fmt: skip

    def random(size: int) -> bytes:
        return {16: third, 8: bytes(range(8))}[size]

    say(initiator, initiator.seal(Kind.DATA, b"smaller"), Kind.DATA, b"smaller", "dropped: its salt is the smaller one")
    packet = responder.seal(Kind.DATA, b"larger")
    say(responder, packet, Kind.DATA, b"larger", "accepted as a base; its content is dropped")
    _, (packet,) = initiator.open(packet, random)
    say(initiator, packet, Kind.KEEP_ALIVE, _ASK, "accepted")
    opened, _ = responder.open(packet, random)
    answer = answer_to(opened.content)
    packet = responder.seal(Kind.KEEP_ALIVE, answer)
    say(responder, packet, Kind.KEEP_ALIVE, answer, "opened: the epoch is confirmed at the initiator")
    initiator.open(packet, random)
    packet = initiator.seal(Kind.DATA, b"on")
    say(initiator, packet, Kind.DATA, b"on", "opened: the responder wipes the root of the base")
    responder.open(packet, random)
    if initiator.records.current.root != responder.records.current.root or responder.records.held:
        raise ValueError("the two sides disagree")
    return {
        "suite": int(suite), "connection_id": connection_id.hex(), "mask": schedule.mask.hex(),
        "h": schedule.h.hex(), "root": schedule.root.hex(), "steps": steps,
    }  # fmt: skip


def salted_sections(
    fixed: Fixed, schedules: list[tuple[Suite, Schedule]], *, ciphers: Mapping[Suite, Cipher], connection_id: bytes
) -> Case:
    """Sections "salted_epoch", "salted", "salted_order" and "both_restored"."""
    made = [(fixed, suite, schedule, ciphers[suite], connection_id) for suite, schedule in schedules]
    return {
        "salted_epoch": epochs(fixed),
        "salted": [packets(*each) for each in made],
        "salted_order": order(),
        "both_restored": [both_restored(*each) for each in made],
    }
