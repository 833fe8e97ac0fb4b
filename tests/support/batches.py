"""What a batch's response says of one item."""

from __future__ import annotations

from typing import Any

from noisegate.v1 import error_reason_pb2 as reasons


def packed(batch: Any, contents: str, sizes: list[int] | None = None) -> list[bytes]:
    """The items that stand one behind the other in a field."""
    blob, at, found = getattr(batch, contents), 0, []
    for length in sizes if sizes is not None else batch.lengths:
        found.append(blob[at : at + length])
        at += length
    assert at == len(blob)
    return found


def error_of(batch: Any, index: int) -> Any:
    """As Match.alone has it; None where the item was not refused."""
    for error in batch.errors:
        if error.index == index:
            assert error.message
            return (
                error.code,
                reasons.ErrorReason.Name(error.reason).removeprefix("ERROR_REASON_"),
                dict(error.metadata),
            )
    return None


def to_peer_of(batch: Any, index: int) -> list[bytes]:
    """What must go to the player besides this item."""
    return [message for each in batch.to_peer if each.index == index for message in each.to_peer]
