"""What a span says of its request: which session, which step, how many items. Nothing that a player wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from google.protobuf.message import DecodeError

from noisegate_server.rpc.table import METHODS, SERVICE_PREFIX

__all__ = ["described"]

_SESSION_ID: Final = 24


def described(name: str, body: bytes, session_name: Callable[[bytes], str]) -> Mapping[str, str | int]:
    """Attributes of one call; none for a request that is no message of the method."""
    row = METHODS.get(f"/{name}".removeprefix(SERVICE_PREFIX))
    if row is None:
        return {}
    try:
        request = row.request.FromString(body)
    except DecodeError:
        return {}
    attributes: dict[str, str | int] = {}
    fields = row.request.DESCRIPTOR
    if "step" in fields.oneofs_by_name and (step := request.WhichOneof("step")):
        attributes["noisegate.handshake.step"] = step
        request = getattr(request, step)
    elif "kind" in fields.fields_by_name:
        attributes["noisegate.rotation.kind"] = _enum_name(request, "kind")
    session_id = getattr(request, "session_id", b"")
    if len(session_id) == _SESSION_ID:
        attributes["noisegate.session"] = session_name(session_id)
    elif isinstance(session_ids := getattr(request, "session_ids", None), bytes):
        attributes["noisegate.batch.items"] = max(len(getattr(request, "lengths", ())), len(session_ids) // _SESSION_ID)
    return attributes


def _enum_name(request: Any, field: str) -> str:
    values = request.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number
    number = getattr(request, field)
    return values[number].name.removeprefix("ROTATION_KIND_") if number in values else str(number)
