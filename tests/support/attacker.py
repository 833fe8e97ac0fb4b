"""Someone who has recorded every packet and at one moment seizes all that one service holds.

    loot = seize(engine.parts)                       # every buffer and every AEAD context that can be reached
    assert read(loot, suite, packets) == {7, 8}      # which of the recorded packets that opens

What follows from a secret is computed here from docs/protocol.md, sections 3 and 5, and from nothing of the service. A
buffer says nothing of what it is: each is tried as prk, root, P, C, message key and Split's key.
"""

from __future__ import annotations

import gc
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from noisegate_server.session.suites import Suite
from tests.support.recording import Recorder
from tests.support.written_out import expand, extract

KEY: Final = 32
STEPS: Final = 24
"""How far every chain is followed, unless told otherwise: further than what is recorded goes."""
LONGEST: Final = 4_096
"""Buffers up to here are cut into keys; longer ones are looked at no further."""
SALTED_BYTE: Final = 0x0B
CONTEXTS: Final = (AESGCM, ChaCha20Poly1305)
OPAQUE: Final = (type, types.ModuleType, types.BuiltinFunctionType, Enum, str, int, float, Recorder)
"""What leads out of a service into the program that it is made of and into its tests, or to nothing."""


@dataclass(slots=True)
class Loot:
    """What was seized."""

    secrets: set[bytes] = field(default_factory=set)
    """32 bytes each, whatever they are."""
    contexts: list[Any] = field(default_factory=list)
    """AEAD contexts: they hold a key that nobody can read out, and decrypt with it all the same."""

    def add(self, buffer: bytes | bytearray, *, every_offset: bool = False) -> None:
        """All keys that a buffer may hold: at each 32 bytes of it, or at each byte."""
        data = bytes(buffer)
        if KEY <= len(data) <= LONGEST and (every_offset or len(data) % KEY == 0):
            for at in range(0, len(data) - KEY + 1, 1 if every_offset else KEY):
                piece = data[at : at + KEY]
                if len(set(piece)) > 1:
                    self.secrets.add(piece)

    def __or__(self, other: Loot) -> Loot:
        return Loot(self.secrets | other.secrets, self.contexts + other.contexts)


def seize(*roots: Any) -> Loot:
    """Everything that can be reached from `roots`, by the garbage collector's own references."""
    loot = Loot()
    for item in _reachable(roots):
        if isinstance(item, bytes | bytearray):
            loot.add(item)
        elif isinstance(item, memoryview):
            loot.add(bytes(item))
        elif isinstance(item, CONTEXTS):
            loot.contexts.append(item)
        elif isinstance(item, X25519PrivateKey):
            loot.add(item.private_bytes_raw())
    return loot


def read(loot: Loot, suite: Suite, packets: list[bytes], *, noise: bool = False, steps: int = STEPS) -> set[int]:
    """Which of the packets open; with `noise` they are transport messages, numbered from counter 0."""
    make = AESGCM if suite is Suite.AES256_GCM_X25519 else ChaCha20Poly1305
    keys = _noise_keys(loot.secrets, steps) if noise else _datagram_keys(loot.secrets, packets, steps)
    contexts = [*loot.contexts, *map(make, keys)]
    order: Final = "big" if make is AESGCM else "little"
    opened = set()
    for number, packet in enumerate(packets):
        head = _head(packet)
        counters = range(number + 1) if noise else [int.from_bytes(packet[11:15], "big")]
        for counter in counters:
            nonce = bytes(4) + counter.to_bytes(8, order)
            header, body = (b"", packet) if noise else (packet[:head], packet[head:])
            if any(_opens(context, nonce, header, body) for context in contexts):
                opened.add(number)
                break
    return opened


def _opens(context: Any, nonce: bytes, header: bytes, body: bytes) -> bool:
    try:
        context.decrypt(nonce, body, header)
    except InvalidTag:
        return False
    return True


def _head(packet: bytes) -> int:
    return 32 if packet[0] == SALTED_BYTE else 15


def _datagram_keys(secrets: Iterable[bytes], packets: list[bytes], steps: int) -> set[bytes]:
    salts = {(packet[16:32], packet[9]) for packet in packets if packet[0] == SALTED_BYTE}
    keys: set[bytes] = set()
    for secret in secrets:
        keys.add(secret)
        for traffic in _traffic_secrets(secret, salts):
            step = traffic
            for _ in range(steps):
                keys.add(expand(step, "ng1 key"))
                step = expand(step, "ng1 next")
        # A phase secret leads to its own chain and to those of the phases after it.
        for traffic in _traffic_secrets(secret, salts):
            chain = expand(traffic, "ng1 chain")
            for _ in range(steps):
                keys.add(expand(chain, "ng1 key"))
                chain = expand(chain, "ng1 next")
    return keys


def _traffic_secrets(secret: bytes, salts: Iterable[tuple[bytes, int]]) -> Iterator[bytes]:
    """The secret itself, what follows from it as prk, and from it as the root under each recorded salt."""
    yield secret
    yield expand(secret, "ng1 i2r")
    yield expand(secret, "ng1 r2i")
    for salt, number in salts:
        for base in (secret, expand(secret, "ng1 root")):
            prk = extract(salt + number.to_bytes(4, "big"), expand(base, "ng1 salted"))
            yield expand(prk, "ng1 i2r")
            yield expand(prk, "ng1 r2i")


def _noise_keys(secrets: Iterable[bytes], steps: int) -> set[bytes]:
    """Each as a cipher key, and what Rekey() makes of it (Noise, section 11.3: zeros under the last nonce)."""
    keys: set[bytes] = set()
    for secret in secrets:
        for make in CONTEXTS:
            key = secret
            for _ in range(steps):
                keys.add(key)
                key = make(key).encrypt(bytes(4) + b"\xff" * 8, bytes(KEY), b"")[:KEY]
    return keys


def _reachable(roots: Iterable[Any]) -> Iterator[Any]:
    seen: set[int] = set()
    waiting = list(roots)
    while waiting:
        item = waiting.pop()
        if id(item) in seen or isinstance(item, OPAQUE):
            continue
        seen.add(id(item))
        if isinstance(item, types.FunctionType):
            # What a function closes over is the service's; its globals are the program.
            waiting += [*(item.__closure__ or ()), *(item.__defaults__ or ())]
            continue
        yield item
        waiting += gc.get_referents(item)
