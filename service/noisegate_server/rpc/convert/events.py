"""What a watcher is told."""

from __future__ import annotations

from typing import Final

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.engine.events import SessionEvent

__all__ = ["WATCHING", "event", "lagged"]

WATCHING: Final = pb.WatchSessionsResponse(watching=pb.Watching()).SerializeToString()


def event(value: SessionEvent) -> bytes:
    """Something has happened: serialised."""
    message = pb.SessionEvent(
        kind=value.kind,  # type: ignore[arg-type]  # the kind's number is the enum's
        session_id=value.session_id,
        peer_id=value.peer_id,
        group=value.group,
        epoch=value.epoch,
        termination_reason=value.reason,  # type: ignore[arg-type]  # likewise
        resumable=value.resumable,
    )
    return pb.WatchSessionsResponse(event=message).SerializeToString()


def lagged(missed: int) -> bytes:
    """So many events were missed: serialised."""
    return pb.WatchSessionsResponse(lagged=pb.Lagged(missed=missed)).SerializeToString()
