"""What a session is made of: a fingerprint of all its state, and every secret buffer that it holds.

Both walk the slots of whatever hangs under a session, so that a field which somebody adds tomorrow is seen too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from enum import Enum
from typing import Any

from noisegate_server.noise import KeyPair
from noisegate_server.noise.primitives import Cipher, Hash, KemKeyPair, PublicKey
from noisegate_server.noise.protocol_name import ProtocolName
from noisegate_server.session.aeads import AeadCache
from noisegate_server.session.datagram import DatagramRecords
from noisegate_server.session.limits import RotationLimits
from noisegate_server.session.session import Session

CONSTANT = (AeadCache, Cipher, Hash, ProtocolName, RotationLimits)
"""What belongs to no session: shared tables, caches and limits."""
COUNTED_ELSEWHERE = frozenset({"sent_bytes"})
"""What a fast path may not have added yet; `sealed_bytes` of the records has all of it."""
COUNTS_OF_FAILURE = frozenset({"refused", "failures", "tend_at", "tend_second"})
"""What a refused packet may change: counts, and when the store comes by to wipe what the packet has made us derive."""
OPAQUE = frozenset({"_aead", "aead", "asked", "place", "seal_path", "open_path", "fast_until", "holds"})
"""Objects of the crypto library, made of keys that stand beside them, and what was found out for a batch."""
CACHES = OPAQUE | COUNTED_ELSEWHERE | {"cached_key", "look_ahead"}
"""What is made again from the keys: a refused packet may add to it."""


def fingerprint(session: Session) -> str:
    """SHA-256 over every field of the session, but for its counts of failures."""
    digest = hashlib.sha256()
    for path, value in _leaves(session, "session", CACHES):
        if path.rpartition(".")[2] not in COUNTS_OF_FAILURE:
            digest.update(f"{path}={value!r}\n".encode())
    return digest.hexdigest()


def secrets_of(session: Session) -> list[bytearray]:
    """Every buffer that holds a secret of the session, caches included."""
    return [value for _, value in _leaves(session, "session", OPAQUE) if isinstance(value, bytearray)]


def _leaves(value: Any, path: str, left_out: frozenset[str]) -> Iterator[tuple[str, Any]]:
    if value is None or isinstance(value, bool | int | float | str | bytes | bytearray | Enum):
        yield path, value
    elif isinstance(value, KeyPair | KemKeyPair):
        yield path, value.public
    elif isinstance(value, PublicKey):
        yield path, value.public_bytes_raw()
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{path}[{key!r}]", left_out)
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _leaves(item, f"{path}[{number}]", left_out)
    elif isinstance(value, DatagramRecords):
        yield f"{path}.sealed_bytes", value.sealed_bytes
        yield from _fields(value, path, left_out)
    elif not isinstance(value, CONSTANT) and not callable(value):
        yield from _fields(value, path, left_out)


def _fields(value: Any, path: str, left_out: frozenset[str]) -> Iterator[tuple[str, Any]]:
    for name in slots_of(type(value)):
        if name not in left_out and hasattr(value, name):
            yield from _leaves(getattr(value, name), f"{path}.{name}", left_out)


def slots_of(kind: type) -> list[str]:
    """The names of all fields that an object of this class has."""
    names = [name for base in kind.__mro__ for name in getattr(base, "__slots__", ())]
    assert names, f"{kind.__name__} hides its fields from the fingerprint"
    return names
