"""What a serialised google.rpc.Status becomes on the wire: for every transport, so that none has to know a refusal."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from google.rpc import error_details_pb2, status_pb2

DETAILS_KEY: Final = "grpc-status-details-bin"
PUSHBACK_KEY: Final = "grpc-retry-pushback-ms"

Trailers = tuple[tuple[str, str | bytes], ...]


@lru_cache(maxsize=64)
def trailers(status: bytes) -> tuple[str, Trailers]:
    """`grpc-message` and the trailing metadata of a refusal.

    `grpc-retry-pushback-ms` (gRFC A6) repeats RetryInfo for the retry logic that gRPC libraries have of their own.

    Kept for the next one: most refusals are of a few kinds, above all those of packets that strangers send.
    """
    parsed = status_pb2.Status.FromString(status)
    pairs: list[tuple[str, str | bytes]] = [(DETAILS_KEY, status)]
    for detail in parsed.details:
        if detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry = error_details_pb2.RetryInfo.FromString(detail.value)
            pairs.append((PUSHBACK_KEY, str(retry.retry_delay.ToMilliseconds())))
    return parsed.message, tuple(pairs)
