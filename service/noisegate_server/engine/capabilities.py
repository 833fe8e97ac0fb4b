"""What this instance can do."""

from __future__ import annotations

from dataclasses import dataclass

from noisegate_server.engine.opening import identity_of
from noisegate_server.engine.parts import Parts
from noisegate_server.session.constants import MAX_DATAGRAM_PLAINTEXT, MAX_NOISE_PLAINTEXT, PROTOCOL_VERSION
from noisegate_server.session.state import RecordMode
from noisegate_server.session.suites import NOISE_NAMES


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """The answer to GetCapabilities."""

    protocol_version: int
    server_version: str
    endpoint: str
    static_key: bytes
    protocols: tuple[tuple[int, int, str], ...]
    """(pattern, suite, Noise name), preferred first."""
    modes: tuple[int, ...]
    max_plaintext_bytes: int
    max_datagram_plaintext_bytes: int
    max_early_data_bytes: int


def capabilities(parts: Parts, tenant: str) -> Capabilities:
    """What this instance can do for `tenant`."""
    return Capabilities(
        protocol_version=PROTOCOL_VERSION,
        server_version=parts.version,
        endpoint=parts.endpoint,
        static_key=identity_of(parts, tenant).public,
        protocols=tuple((*pair, NOISE_NAMES[pair]) for pair in parts.policy.preference()),
        modes=tuple(RecordMode),
        max_plaintext_bytes=MAX_NOISE_PLAINTEXT,
        max_datagram_plaintext_bytes=MAX_DATAGRAM_PLAINTEXT,
        max_early_data_bytes=parts.policy.max_early,
    )
