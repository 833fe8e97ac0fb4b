"""The sealed records among the protocol's vectors, with every value between. See tools/make_vectors.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, NamedTuple

from noisegate_server.noise.primitives import Cipher, header_mask
from noisegate_server.session.aeads import AeadCache
from noisegate_server.session.datagram import DatagramRecords
from noisegate_server.session.epoch import begin_epoch
from noisegate_server.session.keys import EpochSecrets, message_key, phase_key
from noisegate_server.session.limits import RotationLimits
from noisegate_server.session.packets import FIRST_BYTES, RECORD_HEADER, Kind, PacketType
from noisegate_server.session.padding import pad
from noisegate_server.session.phases import PhaseSender
from noisegate_server.session.ratchet import Ratchet, RatchetReceiver
from noisegate_server.session.suites import Suite

Case = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Schedule:
    """What Split gives and what follows from it, 32 bytes each."""

    h: bytes
    k1: bytes
    k2: bytes
    prk: bytes
    i2r: bytes
    r2i: bytes
    root: bytes
    export: bytes
    mask: bytes

    def case(self) -> Case:
        """As it stands in the file."""
        return {name: value.hex() for name, value in asdict(self).items()}


class Wanted(NamedTuple):
    """One record to seal."""

    direction: str
    counter: int
    kind: int
    content: bytes
    associated_data: bytes = b""
    masked: bool = False
    padded: bool = False
    epoch: int = 0
    phase: int = 0
    highest: int = -1
    """The highest counter that the receiver has authenticated before it."""
    ratchet: bool = False


_ASK: Final = b"\x01" + bytes(range(8))
_ANSWER: Final = b"\x02" + bytes(range(8))
_LATE: Final = (1 << 32) + 5

RECORDS: Final = (
    Wanted("i2r", 0, Kind.DATA, b""),
    Wanted("i2r", 1, Kind.DATA, b"roll"),
    Wanted("r2i", 0, Kind.DATA, b"4, chosen by fair dice roll"),
    Wanted("i2r", 2, Kind.DATA, b"ends in zeros\0\0"),
    Wanted("i2r", 3, Kind.DATA, b"roll", associated_data=b"table 7"),
    Wanted("r2i", 1, Kind.DATA, b"roll", masked=True),
    Wanted("r2i", 2, Kind.DATA, b"x" * 31, padded=True),
    Wanted("r2i", 3, Kind.DATA, b"x" * 32, masked=True, padded=True),
    Wanted("i2r", 4, Kind.DATA, b"everything", associated_data=b"table 7", masked=True, padded=True),
    Wanted("i2r", 5, Kind.KEEP_ALIVE, b""),
    Wanted("i2r", 6, Kind.KEEP_ALIVE, _ASK),
    Wanted("r2i", 4, Kind.KEEP_ALIVE, _ANSWER, padded=True),
    Wanted("r2i", 5, Kind.TICKET, bytes(range(64))),
    Wanted("i2r", 7, Kind.ROTATE_1, bytes(range(96))),
    Wanted("r2i", 6, Kind.ROTATE_2, bytes(range(48)), masked=True),
    Wanted("r2i", 7, Kind.CONNECTION_ID, b"newid--8"),
    Wanted("r2i", 8, Kind.DATA | 0x80, b"data, and I want a rotation"),
    Wanted("r2i", 9, Kind.KEEP_ALIVE | 0x80, b""),
    Wanted("i2r", 8, 0x7F, b"a kind of a later version"),
    Wanted("i2r", 9, Kind.CLOSE, b""),
    Wanted("i2r", (1 << 32) - 1, Kind.DATA, b"low bits all set", highest=(1 << 32) - 9),
    Wanted("i2r", 1 << 32, Kind.DATA, b"low bits wrap to zero", highest=(1 << 32) - 1),
    Wanted("i2r", (1 << 32) - 2, Kind.DATA, b"late, from before the wrap", highest=_LATE),
    Wanted("r2i", (1 << 40) + 7, Kind.DATA, b"far on", masked=True, highest=1 << 40),
    Wanted("r2i", 0, Kind.DATA, b"epoch 257, header says 1", epoch=257),
)
"""Records with the ratchet off in phase 0."""

REKEYED: Final = (
    Wanted("r2i", 0, Kind.DATA, b"phase 0"),
    Wanted("r2i", 1, Kind.DATA, b"phase 1", phase=1, highest=0),
    Wanted("r2i", 2, Kind.DATA, b"phase 1 again", phase=1, highest=1, masked=True),
    Wanted("r2i", 3, Kind.DATA, b"phase 3, two REKEYs at once", phase=3, highest=2),
    Wanted("r2i", 4, Kind.DATA, b"the last phase", phase=63, highest=3, padded=True),
)
"""Counters run on over phases."""


RATCHETED: Final = tuple(
    Wanted("i2r", counter, Kind.DATA, content, phase=counter >> 8, highest=highest, ratchet=True, **flags)
    for counter, highest, content, flags in (
        (0, -1, b"the first message of phase 0", {}),
        (1, 0, b"the second", {"masked": True}),
        (255, 1, b"the last of phase 0; 253 were lost", {}),
        (256, 255, b"the first of phase 1", {"padded": True}),
        (700, 256, b"over a phase", {"associated_data": b"table 7"}),
        (16_639, 255, b"the furthest that a receiver in phase 0 follows", {}),
        (15_359, 14_000, b"the last before the hard limit", {"masked": True, "padded": True}),
    )
)
"""Records with the ratchet on; the receiver has opened `highest` alone."""


def records_of(
    schedule: Schedule, cipher: Cipher, connection_id: bytes, wanted: Wanted, *, sends: bool
) -> tuple[DatagramRecords, AeadCache]:
    """The record layer of the record's sender, or of its receiver just before it comes."""
    aeads = AeadCache()
    initiator = (wanted.direction == "i2r") is sends
    secrets = EpochSecrets(
        i2r=bytearray(schedule.i2r), r2i=bytearray(schedule.r2i), root=bytearray(schedule.root)
    )  # fmt: skip
    epoch = begin_epoch(
        secrets, number=wanted.epoch, h=schedule.h, initiator=initiator, ratchet=wanted.ratchet,
        now=0.0, confirmed=True,
    )  # fmt: skip
    if wanted.highest >= 0:
        epoch.window.commit(wanted.highest)
        if isinstance(epoch.receiver, RatchetReceiver):
            epoch.receiver.commit(0, wanted.highest, aeads, 0.0)
    return (
        DatagramRecords(
            cipher=cipher, connection_id=connection_id, mask_key=bytearray(schedule.mask) if wanted.masked else None,
            padded=wanted.padded, ratchet=wanted.ratchet, epoch=epoch, limits=RotationLimits(),
            initiator=initiator,
        ),
        aeads,
    )  # fmt: skip


def sealed(schedule: Schedule, cipher: Cipher, connection_id: bytes, wanted: Wanted, *, tail: bytes = b"") -> Case:
    """One record and how it came about; SALTED where its header has a `tail`, base ‖ salt."""
    records, aeads = records_of(schedule, cipher, connection_id, wanted, sends=True)
    epoch = records.current
    epoch.sender.counter = wanted.counter
    epoch.send_tail = tail
    if isinstance(epoch.sender, PhaseSender):
        for _ in range(wanted.phase):
            epoch.sender.rekey(aeads)
        key = phase_key(epoch.sender.secret)
    else:
        ahead = Ratchet.begin(bytearray(schedule.i2r if wanted.direction == "i2r" else schedule.r2i))
        while ahead.at < wanted.counter:
            ahead.step()
        key = message_key(ahead.chain)
    packet = records.record(epoch, wanted.kind, wanted.content, wanted.associated_data, aeads)
    header = RECORD_HEADER.pack(
        FIRST_BYTES[PacketType.SALTED if tail else PacketType.RECORD],
        connection_id,
        wanted.epoch & 0xFF,
        wanted.phase,
        wanted.counter & 0xFFFFFFFF,
    )
    header += tail
    sample = packet[len(header) :][:16]
    return {
        "direction": wanted.direction, "epoch": wanted.epoch, "phase": wanted.phase, "counter": wanted.counter,
        "kind": wanted.kind, "content": wanted.content.hex(), "associated_data": wanted.associated_data.hex(),
        "masked": wanted.masked, "padded": wanted.padded, "highest": wanted.highest,
        "key": key.hex(), "nonce": cipher.nonce(wanted.counter).hex(), "header": header.hex(),
        "plaintext": pad(wanted.content, wanted.kind, wanted.padded).hex(),
        "mask": header_mask(schedule.mask, sample).hex() if wanted.masked else "",
        "packet": packet.hex(),
    }  # fmt: skip


def refused(schedule: Schedule, cipher: Cipher, connection_id: bytes) -> list[Case]:
    """Packets that a receiver of i2r records without a mask must drop, made out of good ones."""

    def packet(wanted: Wanted) -> bytes:
        records, aeads = records_of(schedule, cipher, connection_id, wanted, sends=True)
        records.current.sender.counter = wanted.counter
        return records.record(records.current, wanted.kind, wanted.content, wanted.associated_data, aeads)

    data = packet(Wanted("i2r", 1, Kind.DATA, b"roll"))
    bound = packet(Wanted("i2r", 1, Kind.DATA, b"roll", associated_data=b"table 7"))
    control = packet(Wanted("i2r", 1, Kind.KEEP_ALIVE, b"", associated_data=b"table 7"))
    flip = bytes([data[-1] ^ 1])
    cases = (
        ("the tag is wrong", data[:-1] + flip, b""),
        ("the last byte is missing", data[:-1], b""),
        ("31 bytes", data[:31], b""),
        ("another connection id", data[:1] + bytes(8) + data[9:], b""),
        ("another phase", data[:10] + b"\x01" + data[11:], b""),
        ("phase 64", data[:10] + b"\x40" + data[11:], b""),
        ("another counter", data[:14] + b"\x02" + data[15:], b""),
        ("an epoch that is not held", data[:9] + b"\x05" + data[10:], b""),
        ("data without the associated data that is expected", data, b"table 7"),
        ("data with associated data that is not expected", bound, b""),
        ("a control record with associated data", control, b"table 7"),
        ("nothing but zeros: no kind", packet(Wanted("i2r", 1, 0, bytes(4))), b""),
        ("the other direction's key", packet(Wanted("r2i", 1, Kind.DATA, b"roll")), b""),
        ("a SALTED packet's first byte", b"\x0b" + data[1:], b""),
    )
    return [{"why": why, "associated_data": extra.hex(), "packet": bad.hex()} for why, bad, extra in cases]


def record_sections(
    schedules: Sequence[tuple[Suite, Schedule]], *, ciphers: Mapping[Suite, Cipher], connection_id: bytes
) -> Case:
    """Sections "record", "rekey", "ratchet", "record_refused": for each suite a list, under its handshake's keys."""
    made: Case = {"record": [], "rekey": [], "ratchet": [], "record_refused": []}
    for suite, schedule in schedules:
        cipher = ciphers[suite]
        shared = {"suite": int(suite), "schedule": schedule.case(), "connection_id": connection_id.hex()}
        for section, wanted in (("record", RECORDS), ("rekey", REKEYED), ("ratchet", RATCHETED)):
            made[section].append(
                {**shared, "records": [sealed(schedule, cipher, connection_id, one) for one in wanted]}
            )  # fmt: skip
        made["record_refused"].append({**shared, "packets": refused(schedule, cipher, connection_id)})
    return made
