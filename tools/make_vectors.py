"""Writes docs/vectors/protocol-v1.json, the test vectors of the player's protocol, from fixed inputs.

`python -m tools.make_vectors` writes, `python -m tools.make_vectors --check` only compares. The values come from the
server's own code; tests/conformance/test_protocol_vectors.py computes every one a second time without it. Whoever
changes a byte here has changed the protocol.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from noisegate_server.noise import HandshakeState, KeyPair, ProtocolName
from noisegate_server.noise.primitives import CIPHERS, extract
from noisegate_server.session import keys
from noisegate_server.session.hello import Flags, Hello, encode_hello, hello_prologue
from noisegate_server.session.packets import HandshakeStep, HandshakeStep1, encode_handshake
from noisegate_server.session.renegotiation import Parties, answer, begin, finish
from noisegate_server.session.suites import NOISE_NAMES, SUITES, Pattern, Suite
from tools import vector_fragments, vector_resume, vector_retry, vector_tables
from tools.vector_records import Schedule, record_sections
from tools.vector_salted import salted_sections

ROOT: Final = Path(__file__).resolve().parent.parent
FILE: Final = ROOT / "docs" / "vectors" / "protocol-v1.json"
SEED: Final = "noisegate vectors v1: "

Case = dict[str, Any]

PROVENANCE: Final[Case] = {
    "protocol": "docs/protocol.md, version 1",
    "made": "2026-11-23 by `python -m tools.make_vectors`, from fixed inputs alone; running it again gives these bytes",
    "made_with": "noisegate-server 0.1.0, Python 3.11, cryptography 50.0.2",
    "checked_with": "hashlib, hmac and cryptography 50.0.2 used directly; noiseprotocol 0.3.1 for every handshake",
    "inputs": f'a secret named LABEL is the first bytes of SHA-256("{SEED}" + LABEL); every value is given in full',
    "encoding": "byte strings are lower-case hex; numbers are below 2^53",
}


def fixed(label: str, size: int = 32) -> bytes:
    """The fixed input of that name, at most 32 bytes."""
    return hashlib.sha256((SEED + label).encode()).digest()[:size]


def once(data: bytes) -> Callable[[int], bytes]:
    """A source of randomness that gives these bytes."""

    def random_bytes(size: int) -> bytes:
        if size != len(data):
            raise ValueError("another size than the fixed bytes have")
        return data

    return random_bytes


def schedule_of(h: bytes, k1: bytes, k2: bytes) -> Schedule:
    """Every secret of a session's first epoch."""
    epoch, session = keys.derive_session(h, k1, k2)
    return Schedule(
        h=h, k1=k1, k2=k2, prk=extract(h, k1 + k2), i2r=bytes(epoch.i2r), r2i=bytes(epoch.r2i),
        root=bytes(epoch.root), export=bytes(session.export), mask=bytes(session.mask),
    )  # fmt: skip


def split(handshake: HandshakeState) -> Schedule:
    """The key schedule after a finished handshake."""
    first, second = handshake.split()
    return schedule_of(handshake.handshake_hash, bytes(first.take_key()), bytes(second.take_key()))


def key_schedules() -> list[Case]:
    """From Split to the session's secrets, and the PSK of the first renegotiation."""
    cases = []
    for name in ("first", "second"):
        schedule = schedule_of(fixed(f"{name} h"), fixed(f"{name} k1"), fixed(f"{name} k2"))
        cases.append({**schedule.case(), "renegotiate_psk": keys.renegotiate_psk(schedule.root).hex()})
    return cases


def exporters() -> list[Case]:
    """Exporter secrets of the two key schedules: labels, contexts and lengths at their edges."""
    cases = []
    for export, label, context, length in (
        (key_schedules()[0]["export"], "voice", b"", 32),
        (key_schedules()[0]["export"], "voice", b"table 7", 32),
        (key_schedules()[1]["export"], "é" * 32, bytes(1_024), 16),
        (key_schedules()[1]["export"], "v", b"", 255),
    ):
        secret = keys.exporter_secret(bytes.fromhex(export), label.encode(), context, length)
        cases.append(
            {"export": export, "label": label, "context": context.hex(), "length": length, "secret": secret.hex()}
        )
    return cases


def phases() -> Case:
    """Phase keys with the ratchet off and message keys with it on, of one traffic secret."""
    secret = bytearray(fixed("phases P(0)"))
    off, on = [], []
    for phase in range(64):
        if phase in {0, 1, 2, 3, 31, 63}:
            off.append({"phase": phase, "secret": secret.hex(), "key": keys.phase_key(secret).hex()})
        chain = keys.chain_start(secret)
        for index in range(256):
            counter = phase << 8 | index
            if counter in {0, 1, 2, 255, 256, 257, 15_359}:
                on.append({"counter": counter, "chain": chain.hex(), "key": keys.message_key(chain).hex()})
            chain = keys.next_chain(chain)
        secret = keys.next_phase(secret)
    return {"secret": fixed("phases P(0)").hex(), "ratchet_off": off, "ratchet_on": on}


def ends(
    pattern: Pattern, suite: Suite, label: str, prologue: bytes, psk: bytes = b""
) -> tuple[HandshakeState, HandshakeState]:
    """Initiator and responder with fixed static and ephemeral keys."""
    name = ProtocolName.parse(NOISE_NAMES[pattern, suite])
    statics = {True: KeyPair.from_private(fixed("initiator s")), False: KeyPair.from_private(fixed("responder s"))}
    knows = pattern not in {Pattern.XX, Pattern.XXPSK3, Pattern.NNPSK0}
    first, second = (
        HandshakeState(
            name,
            initiator=initiator,
            prologue=prologue,
            s=statics[initiator],
            e=KeyPair.from_private(fixed(f"{label} {'initiator' if initiator else 'responder'} e")),
            rs=statics[False].public if initiator and knows else None,
            psks=(psk,) if psk else (),
            random_bytes=once(b""),
        )
        for initiator in (True, False)
    )
    return first, second


def handshake(pattern: Pattern, suite: Suite) -> tuple[Case, Schedule]:
    """A whole handshake in HANDSHAKE packets, with a payload in each message."""
    label = f"handshake {pattern.name} {suite}"
    psk = fixed(f"{label} psk") if "PSK" in pattern.name else b""
    offer = ((pattern, suite), (Pattern.NKPSK2, Suite.AES256_GCM_X25519))
    flags = Flags.DATAGRAM | Flags.TICKETS | Flags.MASK
    hello = encode_hello(Hello(flags=flags, timestamp_ms=1_795_000_000_000, offer=offer, choice=0))
    caller = b"dice, table 7"
    prologue = hello_prologue(hello, caller)
    ours, theirs = ends(pattern, suite, label, prologue, psk)
    connection_id = fixed(f"{label} connection id", 8)
    messages: list[Case] = []
    writer, reader = ours, theirs
    while not ours.is_finished:
        step = len(messages) + 1
        payload = f"payload {step}".encode()
        message = writer.write_message(payload)
        reader.read_message(message)
        if step == 1:
            packet = encode_handshake(HandshakeStep1(hello=hello, message=message))
        else:
            packet = encode_handshake(HandshakeStep(connection_id=connection_id, step=step, message=message))
        messages.append(
            {"step": step, "payload": payload.hex(), "message": message.hex(), "packet": packet.hex()}
        )  # fmt: skip
        writer, reader = reader, writer
    schedule = split(ours)
    case = {
        "noise_name": NOISE_NAMES[pattern, suite], "pattern": int(pattern), "suite": int(suite),
        "hello": hello.hex(), "caller_prologue": caller.hex(), "prologue": prologue.hex(),
        "connection_id": connection_id.hex(), "psk": psk.hex(),
        **secrets_of(label, anonymous=pattern.name.startswith("NK")),
        "messages": messages, "schedule": schedule.case(),
    }  # fmt: skip
    return case, schedule


def secrets_of(label: str, *, anonymous: bool) -> Case:
    """The private keys of both ends, as `ends` sets them; an anonymous initiator has no static one."""
    return {
        "initiator_static": "" if anonymous else fixed("initiator s").hex(),
        "responder_static": fixed("responder s").hex(),
        "initiator_ephemeral": fixed(f"{label} initiator e").hex(),
        "responder_ephemeral": fixed(f"{label} responder e").hex(),
    }


def renegotiation(suite: Suite, *, anonymous: bool, number: int) -> Case:
    """A RENEGOTIATE of DATAGRAM mode: the contents of rotate-1 and rotate-2, and the new epoch's secrets."""
    label = f"renegotiate {suite} {number}"
    statics = KeyPair.from_private(fixed("initiator s")), KeyPair.from_private(fixed("responder s"))
    h, root = fixed(f"{label} h"), bytearray(fixed(f"{label} root"))
    initiator = Parties(
        suite=suite, identity=statics[0], remote_static=statics[1].public, anonymous_initiator=anonymous
    )
    responder = Parties(
        suite=suite,
        identity=statics[1],
        remote_static=b"" if anonymous else statics[0].public,
        anonymous_initiator=anonymous,
    )
    begun = begin(
        h=h, root=root, number=number, parties=initiator, random_bytes=once(fixed(f"{label} initiator e"))
    )  # fmt: skip
    answered, theirs = answer(
        begun.message, h=h, root=root, number=number, parties=responder,
        random_bytes=once(fixed(f"{label} responder e")),
    )  # fmt: skip
    agreed = finish(begun, answered.answer)
    if agreed.secrets.root != theirs.secrets.root:
        raise ValueError("the two ends disagree")
    return {
        "noise_name": NOISE_NAMES[Pattern.NKPSK0 if anonymous else Pattern.IKPSK1, suite], "suite": int(suite),
        "base_epoch": number, "base_h": h.hex(), "base_root": root.hex(),
        "psk": keys.renegotiate_psk(root).hex(),
        "prologue": (b"ng1 renegotiate" + h + (number + 1).to_bytes(4, "big")).hex(),
        **secrets_of(label, anonymous=anonymous),
        "rotate_1": begun.message.hex(), "rotate_2": answered.answer.hex(),
        "epoch": agreed.number, "h": agreed.h.hex(), "i2r": agreed.secrets.i2r.hex(),
        "r2i": agreed.secrets.r2i.hex(), "root": agreed.secrets.root.hex(),
    }  # fmt: skip


def sections() -> Case:
    """Everything in the file."""
    handshakes = [
        handshake(pattern, suite)
        for pattern, suite in (
            (Pattern.XX, Suite.CHACHA20_POLY1305_X25519),
            (Pattern.XX, Suite.AES256_GCM_X25519),
            (Pattern.IK, Suite.CHACHA20_POLY1305_X25519),
            (Pattern.NKPSK0, Suite.AES256_GCM_X25519),
        )
    ]
    schedules = [
        (Suite.CHACHA20_POLY1305_X25519, handshakes[0][1]),
        (Suite.AES256_GCM_X25519, handshakes[1][1]),
    ]
    ciphers = {suite: CIPHERS[SUITES[suite].cipher] for suite in Suite}
    shared: Case = {"ciphers": ciphers, "connection_id": fixed("record connection id", 8)}
    return {
        "provenance": PROVENANCE,
        "hello": vector_tables.hellos(),
        "hello_refused": vector_tables.refused_hellos(),
        "prologue": vector_tables.prologues(fixed),
        "key_schedule": key_schedules(),
        "exporter": exporters(),
        "phase": phases(),
        "padding": vector_tables.padding(),
        "nearest": vector_tables.nearest_examples(),
        "replay_window": vector_tables.replay_window(),
        "packet": vector_tables.packets(fixed),
        "retry": vector_retry.conversations(fixed, ends),
        "retry_refused": vector_retry.refused(fixed, ends),
        "fragment": vector_fragments.sets(fixed),
        "fragment_refused": vector_fragments.refused(fixed),
        "ticket_content": vector_tables.ticket_contents(fixed),
        "handshake": [case for case, _ in handshakes],
        **vector_resume.sections(fixed, ends, split),
        **record_sections(schedules, **shared),
        **salted_sections(fixed, schedules, **shared),
        "renegotiate": [
            renegotiation(Suite.CHACHA20_POLY1305_X25519, anonymous=False, number=0),
            renegotiation(Suite.AES256_GCM_X25519, anonymous=False, number=1),
            renegotiation(Suite.CHACHA20_POLY1305_X25519, anonymous=True, number=255),
        ],
    }


def render() -> str:
    """The file's text."""
    return json.dumps(sections(), indent=1, ensure_ascii=True) + "\n"


def main(arguments: list[str]) -> int:
    """Writes the file, or with --check says whether it is stale; returns the exit code."""
    if arguments not in ([], ["--check"]):
        print("usage: python -m tools.make_vectors [--check]", file=sys.stderr)
        return 2
    text = render()
    if not arguments:
        FILE.parent.mkdir(parents=True, exist_ok=True)
        FILE.write_text(text, encoding="ascii")
    elif not FILE.is_file() or FILE.read_text(encoding="ascii") != text:
        print("docs/vectors/protocol-v1.json is stale: python -m tools.make_vectors")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
