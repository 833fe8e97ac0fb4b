"""Writes tests/conformance/vectors/hfs.json, test vectors of the hybrid handshakes, from fixed inputs.

`python -m tools.make_hfs_vectors` writes, `python -m tools.make_hfs_vectors --check` only compares. The values come
from tests/support/second_noise.py and kyber-py, not from the server's own code, which has to reproduce them.
"""

from __future__ import annotations

import hashlib
import json
import sys
from itertools import product
from pathlib import Path
from typing import Any, Final

from tests.support.second_noise import MESSAGES, PROTOCOL, SecondNoise, crypt, knows_responder, public_of

ROOT: Final = Path(__file__).resolve().parent.parent
FILE: Final = ROOT / "tests" / "conformance" / "vectors" / "hfs.json"
SEED: Final = "noisegate hfs vectors v1: "

Vector = dict[str, Any]

PROVENANCE: Final[Vector] = {
    "specification": "Noise revision 34; Noise Extension: Hybrid Forward Secrecy, revision 1; FIPS 203 (ML-KEM-1024)",
    "made": "2026-11-23 by `python -m tools.make_hfs_vectors`, from fixed inputs alone; repeatable to the byte",
    "made_with": "tests/support/second_noise.py: kyber-py 1.2.0, cryptography 50.0.2, hashlib and hmac of Python 3.11",
    "checked_with": "noisegate-server 0.1.0 at both ends",
    "inputs": f'a value named LABEL is SHAKE-256("{SEED}" + LABEL); every value is given in full',
    "encoding": "lower-case hex; keys as in cacophony's vectors, private where the end has them",
    "kem": "init_kem_seed is d, then z; resp_kem_message is m of Encaps; kem_secret is the shared secret",
    "messages": "the handshake's, the initiator's first; then four of transport, in turn from the initiator",
    "licence": "public domain (Unlicense)",
}

# (name, the caller's prologue, payload sizes of the handshake's messages in turn)
KINDS: Final = (
    ("empty", 0, (0, 0, 0)),
    ("first payload", 0, (1, 0, 0)),
    ("second payload", 0, (0, 16, 0)),
    ("all payloads", 0, (5, 31, 64)),
    ("prologue", 9, (0, 0, 0)),
    ("prologue and payloads", 33, (32, 7, 15)),
    ("long payloads", 200, (120, 255, 130)),
)
TRANSPORT_SIZES: Final = (0, 1, 16, 63)


def fixed(label: str, size: int = 32) -> bytes:
    """The fixed input of that name."""
    return hashlib.shake_256((SEED + label).encode()).digest(size)


def vector(pattern: str, kind: str, prologue_size: int, sizes: tuple[int, ...]) -> Vector:
    """One handshake and four transport messages."""
    label = f"{pattern}, {kind}, "
    prologue = fixed(label + "prologue", prologue_size)
    psk = fixed(label + "psk") if "psk" in pattern else b""
    private = {f"{side}_{key}": fixed(f"{label}{side} {key}") for side in ("init", "resp") for key in "es"}
    if pattern[0] == "N":
        private["init_s"] = b""
    if pattern.startswith("NN"):
        private["resp_s"] = b""
    seed, message = fixed(label + "seed", 64), fixed(label + "message")
    remote = public_of(private["resp_s"]) if knows_responder(pattern) else b""
    first = SecondNoise(
        pattern=pattern, initiator=True, prologue=prologue, psk=psk,
        e=private["init_e"], s=private["init_s"], kem=seed, rs=remote,
    )  # fmt: skip
    second = SecondNoise(
        pattern=pattern, initiator=False, prologue=prologue, psk=psk,
        e=private["resp_e"], s=private["resp_s"], kem=message,
    )  # fmt: skip
    messages = []
    for index in range(len(MESSAGES[pattern])):
        writer, reader = (first, second) if index % 2 == 0 else (second, first)
        payload = fixed(f"{label}payload {index}", sizes[index])
        sent = writer.write(payload)
        if reader.read(sent) != payload:
            raise ValueError("the two ends of the second implementation differ")
        messages.append({"payload": payload.hex(), "ciphertext": sent.hex()})
    if (first.h, first.sends, first.kem_secret) != (second.h, second.sends, second.kem_secret):
        raise ValueError("the two ends of the second implementation differ")
    for index, size in enumerate(TRANSPORT_SIZES):
        payload = fixed(f"{label}transport {index}", size)
        sent = crypt(first.sends[index % 2], index // 2, payload, b"", seal=True)
        messages.append({"payload": payload.hex(), "ciphertext": sent.hex()})
    values = {
        "prologue": prologue, "psk": psk,
        "init_static": private["init_s"], "init_ephemeral": private["init_e"], "init_kem_seed": seed,
        "init_remote_static": remote,
        "resp_static": private["resp_s"], "resp_ephemeral": private["resp_e"], "resp_kem_message": message,
        "kem_ciphertext": second.kem_ciphertext, "kem_secret": second.kem_secret,
        "handshake_hash": first.h, "k1": first.sends[0], "k2": first.sends[1],
    }  # fmt: skip
    hexed = {name: value.hex() for name, value in values.items()}
    return {"protocol_name": PROTOCOL.format(pattern), "comment": kind, **hexed, "messages": messages}


def render() -> str:
    """The file's text."""
    vectors = [vector(pattern, *kind) for pattern, kind in product(MESSAGES, KINDS)]
    return json.dumps({"provenance": PROVENANCE, "vectors": vectors}, indent=1, ensure_ascii=True) + "\n"


def main(arguments: list[str]) -> int:
    """Writes the file, or with --check says whether it is stale; returns the exit code."""
    if arguments not in ([], ["--check"]):
        print("usage: python -m tools.make_hfs_vectors [--check]", file=sys.stderr)
        return 2
    text = render()
    if not arguments:
        FILE.parent.mkdir(parents=True, exist_ok=True)
        FILE.write_text(text, encoding="ascii")
    elif not FILE.is_file() or FILE.read_text(encoding="ascii") != text:
        print("tests/conformance/vectors/hfs.json is stale: python -m tools.make_hfs_vectors")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
