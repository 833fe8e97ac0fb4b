"""The table of methods, as data, and what closes it over the parts of a running server.

A method that is not here does not exist; one whose caller the policy does not know is refused. Transports get the
finished table and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.rpc import limits
from noisegate_server.rpc.call import Method, Table, Unary
from noisegate_server.rpc.convert import one_content, packed
from noisegate_server.rpc.convert.batches import encode_opened, encode_sealed_batch
from noisegate_server.rpc.convert.forgotten import opened_for
from noisegate_server.rpc.convert.opened import encode_opened_record
from noisegate_server.rpc.convert.sealed import encode_sealed
from noisegate_server.rpc.convert.session import encode_listed
from noisegate_server.rpc.handlers import (
    batches,
    capabilities,
    export,
    handshake,
    network,
    records,
    resume,
    rotate,
    sessions,
    suspend,
    tickets,
    transport,
    watch,
)
from noisegate_server.rpc.health import health_methods
from noisegate_server.rpc.once import Once
from noisegate_server.rpc.streams import StreamRow, guarded
from noisegate_server.rpc.unary import Row, Rpc, unary

__all__ = ["BY_NAME", "METHODS", "SERVICE_PREFIX", "STREAMS", "build_table", "serve"]

SERVICE_PREFIX: Final = "/noisegate.v1.SessionCryptoService/"


def _named(request: Any, response: Any) -> bytes:
    session_id: bytes = request.session_id
    return session_id


def _answered(request: Any, response: Any) -> bytes:
    session_id: bytes = b"" if response is None else response.session_id
    return session_id


def _restored(request: Any, response: Any) -> bytes:
    session_id: bytes = b"" if response is None else response.session.session_id
    return session_id


def _nobody(request: Any, response: Any) -> bytes:
    return b""


_SHORT: Final = limits.REPEAT_SECONDS
_LONG: Final = limits.HANDSHAKE_REPEAT_SECONDS

METHODS: Final[Mapping[str, Row]] = {
    "GetCapabilities": Row(request=pb.GetCapabilitiesRequest, handle=capabilities.get_capabilities),
    "Handshake": Row(request=pb.HandshakeRequest, handle=handshake.handshake, repeat_for=_LONG, owner_of=_answered),
    "Encrypt": Row(
        request=pb.EncryptRequest,
        handle=records.encrypt,
        parse=one_content.reader(pb.EncryptRequest, "session_id", "plaintext"),
        encode=encode_sealed,
        repeat_for=_SHORT,
        owner_of=_named,
    ),
    "Decrypt": Row(
        request=pb.DecryptRequest,
        handle=records.decrypt,
        parse=one_content.reader(pb.DecryptRequest, "session_id", "ciphertext"),
        encode=encode_opened_record,
        repeat_for=_SHORT,
        owner_of=_answered,
    ),
    "EncryptBatch": Row(
        request=pb.EncryptBatchRequest,
        handle=batches.encrypt_batch,
        at_once=batches.encrypt_at_once,
        parse=packed.reader(pb.EncryptBatchRequest, "plaintexts"),
        encode=encode_sealed_batch,
        repeat_for=_SHORT,
        owner_of=_nobody,
        longest=limits.MAX_BATCH_REQUEST_BYTES,
        waits=True,
        paced=True,
    ),
    "DecryptBatch": Row(
        request=pb.DecryptBatchRequest,
        handle=batches.decrypt_batch,
        parse=packed.reader(pb.DecryptBatchRequest, "ciphertexts"),
        encode=encode_opened,
        repeat_for=_SHORT,
        owner_of=opened_for,
        longest=limits.MAX_BATCH_REQUEST_BYTES,
        waits=True,
        paced=True,
    ),
    "Broadcast": Row(
        request=pb.BroadcastRequest,
        handle=batches.broadcast,
        at_once=batches.broadcast_at_once,
        parse=one_content.reader(pb.BroadcastRequest, "session_ids", "plaintext"),
        encode=partial(encode_sealed_batch, answer=pb.BroadcastResponse),
        repeat_for=_SHORT,
        owner_of=_nobody,
        waits=True,
        paced=True,
    ),
    "Rotate": Row(request=pb.RotateRequest, handle=rotate.rotate, repeat_for=_SHORT, owner_of=_named),
    "Resume": Row(request=pb.ResumeRequest, handle=resume.resume, repeat_for=_LONG, owner_of=_answered, waits=True),
    "IssueTicket": Row(request=pb.IssueTicketRequest, handle=tickets.issue_ticket, repeat_for=_SHORT, owner_of=_named),
    "GetSession": Row(request=pb.GetSessionRequest, handle=sessions.get_session),
    "ListSessions": Row(
        request=pb.ListSessionsRequest, handle=sessions.list_sessions, encode=encode_listed, waits=True, paced=True
    ),
    "CloseSession": Row(
        request=pb.CloseSessionRequest,
        handle=sessions.close_session,
        repeat_for=_SHORT,
        owner_of=_named,
        waits=True,
    ),
    "SuspendSession": Row(
        request=pb.SuspendSessionRequest,
        handle=suspend.suspend_session,
        repeat_for=_SHORT,
        owner_of=_named,
        waits=True,
    ),
    "RestoreSession": Row(
        request=pb.RestoreSessionRequest,
        handle=suspend.restore_session,
        repeat_for=_SHORT,
        owner_of=_restored,
        waits=True,
    ),
    "ChangeNetwork": Row(
        request=pb.ChangeNetworkRequest,
        handle=network.change_network,
        repeat_for=_SHORT,
        owner_of=_named,
        waits=True,
    ),
    "ExportSecret": Row(request=pb.ExportSecretRequest, handle=export.export_secret, by_name=True),
}
"""Unary RPC of SessionCryptoService to what serves it."""

STREAMS: Final[Mapping[str, StreamRow]] = {
    "WatchSessions": StreamRow(
        request=pb.WatchSessionsRequest, make=lambda rpc, _: partial(watch.watch_sessions, rpc.parts)
    ),
    "Transport": StreamRow(
        request=pb.TransportRequest,
        make=lambda rpc, methods: transport.Transports(methods, rpc.clock, rpc.running).start,
        client_streaming=True,
        joined_bytes=limits.MAX_JOINED_BYTES,
    ),
}
"""Streaming RPC of SessionCryptoService to what serves it."""


BY_NAME: Final = frozenset(SERVICE_PREFIX + name for name, row in METHODS.items() if row.by_name)
"""Full names of the methods that a policy must name."""


Carry = Callable[[str, Unary], Unary]
"""(full name, unary method) -> the method as a stream carries it."""


def _as_it_is(_name: str, function: Unary) -> Unary:
    return function


def serve(name: str, row: Row, rpc: Rpc) -> Unary:
    """The seam's function for one row, by its full name."""
    return unary(name, row, rpc, Once(name, row, rpc).run)


def build_table(rpc: Rpc, carry: Carry = _as_it_is) -> Table:
    """Every method of the server, health included, closed over its parts, clock and policy.

    `carry` may put something around the unary methods that streams carry.
    """
    rpc.parts.events.forget = rpc.repeats.forget
    unaries = {name: serve(SERVICE_PREFIX + name, row, rpc) for name, row in METHODS.items()}
    carried = {name: carry(SERVICE_PREFIX + name, function) for name, function in unaries.items()}
    ours = {SERVICE_PREFIX + name: Method(unary=function) for name, function in unaries.items()}
    for name, row in STREAMS.items():
        ours[SERVICE_PREFIX + name] = Method(
            stream=guarded(SERVICE_PREFIX + name, rpc, row.make(rpc, carried)),
            client_streaming=row.client_streaming,
            server_streaming=True,
            joined_bytes=row.joined_bytes,
        )
    return ours | health_methods(rpc.health)
