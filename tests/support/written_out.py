"""The player's protocol written out a second time, from docs/protocol.md and nothing of the server.

Only hashlib, hmac and the package cryptography; handshakes are the package noiseprotocol's. Vectors are checked by it.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from tests.support.vectors import peer_library

CIPHER_NAMES = {1: "ChaChaPoly", 2: "AESGCM"}
SIZE_CLASSES = (32, 64, 128, 256, 512, 1_024)
LARGEST = 65_507 - 15 - 16
"""Content and kind of the largest record: a UDP payload less header and tag."""
RECORD_BYTE = 0x0A
SALTED_BYTE = 0x0B
DATA = 1


def sha256(data: bytes) -> bytes:
    """SHA-256."""
    return hashlib.sha256(data).digest()


def extract(salt: bytes, ikm: bytes) -> bytes:
    """HKDF-Extract (RFC 5869, section 2.2)."""
    return hmac.new(salt, ikm, hashlib.sha256).digest()


def expand(prk: bytes, label: str) -> bytes:
    """HKDF-Expand (RFC 5869, section 2.3), 32 bytes: one block."""
    return hmac.new(prk, label.encode() + b"\x01", hashlib.sha256).digest()


def schedule(h: bytes, k1: bytes, k2: bytes) -> dict[str, str]:
    """Section 3 of the document: every secret of a first epoch, in hex."""
    prk = extract(h, k1 + k2)
    labels = ("i2r", "r2i", "root", "export", "mask")
    derived = {label: expand(prk, f"ng1 {label}") for label in labels}
    return {name: value.hex() for name, value in {"h": h, "k1": k1, "k2": k2, "prk": prk, **derived}.items()}


def exporter(export: bytes, label: str, context: bytes, length: int) -> bytes:
    """Section 3 of the document: a secret for something beside the session."""
    name = label.encode()
    info = b"ng1 exporter" + bytes([len(name)]) + name + sha256(context)
    return HKDFExpand(SHA256(), length, info).derive(export)


def phase_secret(secret: bytes, phase: int) -> bytes:
    """P(phase) of P(0)."""
    for _ in range(phase):
        secret = expand(secret, "ng1 next")
    return secret


def message_secret(secret: bytes, counter: int) -> bytes:
    """C(i) of a message with the ratchet on."""
    chain = expand(phase_secret(secret, counter >> 8), "ng1 chain")
    for _ in range(counter & 255):
        chain = expand(chain, "ng1 next")
    return chain


def padded(length: int) -> int:
    """The size class of content and kind together."""
    wanted = next((size for size in SIZE_CLASSES if length <= size), -(-length // 256) * 256)
    return min(wanted, LARGEST)


def nonce(suite: int, counter: int) -> bytes:
    """Noise revision 34, sections 12.3 and 12.4."""
    return bytes(4) + counter.to_bytes(8, "little" if suite == 1 else "big")


def aead(suite: int, key: bytes) -> Any:
    """The suite's AEAD."""
    return ChaCha20Poly1305(key) if suite == 1 else AESGCM(key)


def header_mask(mask_key: bytes, sample: bytes) -> bytes:
    """Six bytes of one block of AES-256."""
    encryptor = Cipher(algorithms.AES256(mask_key), modes.ECB()).encryptor()  # noqa: S305 - one block, no mode
    return encryptor.update(sample[:16])[:6]


def xor(header: bytes, mask: bytes) -> bytes:
    """Epoch, phase and counter of the header masked or unmasked."""
    return header[:9] + bytes(a ^ b for a, b in zip(header[9:15], mask, strict=True)) + header[15:]


def salted(root: bytes, h: bytes, salt: bytes, number: int) -> dict[str, str]:
    """Section 5 of the document: secrets and h of salted epoch `number` over a base's root and h, in hex."""
    fresh = salt + number.to_bytes(4, "big")
    prk = extract(fresh, expand(root, "ng1 salted"))
    derived = {label: expand(prk, f"ng1 {label}") for label in ("i2r", "r2i", "root")}
    return {name: value.hex() for name, value in {"h": sha256(b"ng1 salted" + h + fresh), **derived}.items()}


def nearest(low: int, bits: int, highest: int) -> int:
    """By search, not by arithmetic: of all numbers with these low bits the nearest, the later of two."""
    span = 1 << bits
    around = [((highest >> bits) + step) * span + low for step in range(-2, 3)]
    return min((n for n in around if n >= 0), key=lambda n: (abs(n - highest), -n))


def seal(
    suite: int,
    chain: dict[str, str],
    connection_id: bytes,
    record: dict[str, Any],
    *,
    ratchet: bool = False,
    tail: bytes = b"",
) -> dict[str, str]:
    """Every byte string of a record that follows from its other fields; SALTED with base ‖ salt as `tail`."""
    secret = bytes.fromhex(chain[record["direction"]])
    if ratchet:
        key = expand(message_secret(secret, record["counter"]), "ng1 key")
    else:
        key = expand(phase_secret(secret, record["phase"]), "ng1 key")
    plaintext = bytes.fromhex(record["content"]) + bytes([record["kind"]])
    if record["padded"]:
        plaintext = plaintext.ljust(padded(len(plaintext)), b"\0")
    first = bytes([SALTED_BYTE if tail else RECORD_BYTE])
    head = first + connection_id + bytes([record["epoch"] % 256, record["phase"] % 256])
    header = head + (record["counter"] % (1 << 32)).to_bytes(4, "big") + tail
    counter_nonce = nonce(suite, record["counter"])
    body = aead(suite, key).encrypt(counter_nonce, plaintext, header + bytes.fromhex(record["associated_data"]))
    mask = header_mask(bytes.fromhex(chain["mask"]), body) if record["masked"] else b""
    packet = (xor(header, mask) if mask else header) + body
    found = {
        "key": key,
        "nonce": counter_nonce,
        "header": header,
        "plaintext": plaintext,
        "mask": mask,
        "packet": packet,
    }
    return {name: value.hex() for name, value in found.items()}


def opens(suite: int, secret: bytes, packet: bytes, associated_data: bytes) -> bool:
    """Whether a receiver of unmasked records of epoch 0 and phases up to 63 takes this packet (nothing came before)."""
    if len(packet) < 32 or packet[0] != RECORD_BYTE or packet[9] != 0 or packet[10] > 63:
        return False
    return _opens(suite, secret, packet, 15, associated_data)


def opens_salted(
    suite: int, base: dict[str, Any], initiator_sends: bool, packet: bytes, associated_data: bytes
) -> bool:
    """Whether a receiver that holds one confirmed epoch (number, h, root) takes this unmasked SALTED packet."""
    if len(packet) < 49 or packet[0] != SALTED_BYTE or packet[10] > 63 or packet[15] != base["number"] % 256:
        return False
    number = next(n for n in range(base["number"] + 1, base["number"] + 257) if n % 256 == packet[9])
    secrets = salted(bytes.fromhex(base["root"]), bytes.fromhex(base["h"]), packet[16:32], number)
    secret = bytes.fromhex(secrets["i2r" if initiator_sends else "r2i"])
    return _opens(suite, secret, packet, 32, associated_data)


def _opens(suite: int, secret: bytes, packet: bytes, header: int, associated_data: bytes) -> bool:
    context = aead(suite, expand(phase_secret(secret, packet[10]), "ng1 key"))
    counter = int.from_bytes(packet[11:15], "big")
    for extra in dict.fromkeys((associated_data, b"")):
        try:
            plaintext = context.decrypt(nonce(suite, counter), packet[header:], packet[:header] + extra)
        except InvalidTag:
            continue
        kind = (plaintext.rstrip(b"\0") or b"\0")[-1]
        # With associated data expected, data must carry it and nothing else may.
        return kind != 0 and (not associated_data or (kind & 0x7F == DATA) == bool(extra))
    return False


def public(private: bytes) -> bytes:
    """The public key of an X25519 private key."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def noise_name(pattern: str, suite: int) -> str:
    """A protocol's canonical name."""
    return f"Noise_{pattern}_25519_{CIPHER_NAMES[suite]}_SHA256"


def noise_end(name: str, *, initiator: bool, prologue: bytes, case: dict[str, Any], psk: bytes = b"") -> Any:
    """One end of a handshake of noiseprotocol, with the case's fixed keys."""
    library = peer_library("noise.connection")
    end = library.NoiseConnection.from_name(name.encode())
    (end.set_as_initiator if initiator else end.set_as_responder)()
    role, other = ("initiator", "responder") if initiator else ("responder", "initiator")
    needed = end.noise_protocol.pattern.get_required_keypairs(initiator)
    if "s" in needed:
        end.set_keypair_from_private_bytes(library.Keypair.STATIC, bytes.fromhex(case[f"{role}_static"]))
    if "rs" in needed:
        end.set_keypair_from_public_bytes(
            library.Keypair.REMOTE_STATIC, public(bytes.fromhex(case[f"{other}_static"]))
        )  # fmt: skip
    if psk:
        end.set_psks(psks=[psk])
    end.set_prologue(prologue)
    end.start_handshake()
    # Set before the start, it would make the library warn that this is for tests alone.
    private = bytes.fromhex(case[f"{role}_ephemeral"])
    end.noise_protocol.handshake_state.e = end.noise_protocol.dh_fn.klass.from_private_bytes(private)
    return end


def noise_run(
    name: str, prologue: bytes, case: dict[str, Any], payloads: list[bytes], psk: bytes = b""
) -> tuple[list[bytes], dict[str, str]]:
    """All messages of a handshake and the schedule that both ends derive from it; they must agree."""
    writer, reader = (
        noise_end(name, initiator=initiator, prologue=prologue, case=case, psk=psk) for initiator in (True, False)
    )
    initiator, responder = writer, reader
    messages = []
    for payload in payloads:
        message = bytes(writer.write_message(payload))
        assert bytes(reader.read_message(message)) == payload
        messages.append(message)
        writer, reader = reader, writer
    assert initiator.handshake_finished
    assert responder.handshake_finished
    ends = [
        schedule(bytes(end.get_handshake_hash()), bytes(first.k), bytes(second.k))
        for end, first, second in (
            (initiator, initiator.noise_protocol.cipher_state_encrypt, initiator.noise_protocol.cipher_state_decrypt),
            (responder, responder.noise_protocol.cipher_state_decrypt, responder.noise_protocol.cipher_state_encrypt),
        )
    ]
    assert ends[0] == ends[1]
    return messages, ends[0]
