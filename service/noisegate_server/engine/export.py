"""ExportSecret: a key for something beside the session, which both ends derive (docs/protocol.md, section 3)."""

from __future__ import annotations

from noisegate_server.engine.parts import Parts
from noisegate_server.session.errors import NotEstablished
from noisegate_server.session.keys import exporter_secret


def export_secret(
    parts: Parts, tenant: str, session_id: bytes, label: bytes, context: bytes, *, length: int, now: float
) -> bytearray:
    """`length` bytes under `label` and `context`, the same for as long as the session lives; the caller wipes them.

    It is no use of the session: its idle time runs on. NotEstablished while its handshake has not finished.
    """
    session = parts.store.get(tenant, session_id, now)
    if session.records is None:
        raise NotEstablished(session.state.name)
    return exporter_secret(session.export, label, context, length)
