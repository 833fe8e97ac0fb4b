"""Range checks of request fields, the same for every message.

What the *caller* built is checked here and refused by the field's path. What a *player* made (messages, packets,
hellos, tickets, ciphertexts) is not: whatever is wrong with it, even its length, gets the engine's one mute answer.
"""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration

from noisegate_server.rpc import limits
from noisegate_server.session.errors import InvalidField, MessageTooLarge

__all__ = ["duration", "key", "name", "optional_session_id", "payload", "prologue", "psk", "seconds", "session_id"]


def session_id(value: bytes, path: str = "session_id") -> bytes:
    """24 bytes."""
    if len(value) != limits.SESSION_ID_BYTES:
        raise InvalidField(path, f"{limits.SESSION_ID_BYTES} bytes")
    return value


def optional_session_id(value: bytes, path: str = "session_id") -> bytes:
    """24 bytes, or empty: then the packet's connection id finds the session."""
    if value and len(value) != limits.SESSION_ID_BYTES:
        raise InvalidField(path, f"{limits.SESSION_ID_BYTES} bytes, or empty in DATAGRAM mode")
    return value


def key(value: bytes, path: str) -> bytes:
    """A static public key of 32 bytes, or empty."""
    if value and len(value) != limits.KEY_BYTES:
        raise InvalidField(path, f"{limits.KEY_BYTES} bytes, or empty")
    return value


def psk(value: bytes, path: str) -> bytes:
    """A pre-shared key of 32 bytes (Noise revision 34, section 9.1) that somebody has set, or empty."""
    if value and (len(value) != limits.KEY_BYTES or not any(value)):
        raise InvalidField(path, f"{limits.KEY_BYTES} bytes that are not all zero, or empty")
    return value


def prologue(value: bytes, path: str) -> bytes:
    """At most 1,024 bytes that cannot be taken for a prologue of ours."""
    if len(value) > limits.MAX_PROLOGUE_BYTES:
        raise MessageTooLarge(path, limits.MAX_PROLOGUE_BYTES)
    if value.startswith(limits.RESERVED_PROLOGUE):
        raise InvalidField(path, 'must not start with "ng1 "')
    return value


def payload(value: bytes, path: str) -> bytes:
    """At most 16,384 bytes."""
    if len(value) > limits.MAX_PAYLOAD_BYTES:
        raise MessageTooLarge(path, limits.MAX_PAYLOAD_BYTES)
    return value


def name(value: str, path: str) -> str:
    """A peer_id or group: at most 64 bytes in UTF-8."""
    if len(value.encode()) > limits.MAX_NAME_BYTES:
        raise InvalidField(path, f"at most {limits.MAX_NAME_BYTES} bytes")
    return value


def seconds(value: Duration, path: str, longest: float) -> float:
    """A Duration between 1 s and `longest`, as seconds; 0.0 where it is not set."""
    length = value.seconds + value.nanos / 1e9
    if length and not limits.MIN_SESSION_SECONDS <= length <= longest:
        raise InvalidField(path, f"{limits.MIN_SESSION_SECONDS:.0f} s to {longest:.0f} s, or unset")
    return length


def duration(length: float) -> Duration:
    """Seconds as a Duration with microseconds; what is negative by a rounding is zero."""
    whole, micros = divmod(max(0, round(length * 1e6)), 1_000_000)
    return Duration(seconds=whole, nanos=micros * 1_000)
