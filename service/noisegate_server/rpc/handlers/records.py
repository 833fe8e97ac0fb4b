"""Encrypt and Decrypt: the two hot methods.

Conversion stands here in the open, not in rpc/convert: a call costs as much as the check that it would hold. Fields are
set one by one because that is faster than keyword arguments, and only where they differ from their default.
"""

from __future__ import annotations

from typing import Final

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.engine import records as engine
from noisegate_server.engine.parts import Parts
from noisegate_server.rpc import limits
from noisegate_server.rpc.convert import fields
from noisegate_server.session.errors import MessageTooLarge, SessionNotFound
from noisegate_server.session.sealed import Sealed

__all__ = ["decrypt", "encrypt"]

_SESSION_ID: Final = limits.SESSION_ID_BYTES
_ASSOCIATED_DATA: Final = limits.MAX_ASSOCIATED_DATA_BYTES


def encrypt(parts: Parts, tenant: str, request: pb.EncryptRequest, now: float, wall: float) -> Sealed:
    """Seal one plaintext; `convert.sealed` makes the response."""
    session_id = request.session_id
    associated_data = request.associated_data
    if associated_data and len(associated_data) > _ASSOCIATED_DATA:
        raise MessageTooLarge("associated_data", _ASSOCIATED_DATA)
    try:
        return engine.encrypt(parts, tenant, session_id, request.plaintext, associated_data, now)
    except SessionNotFound:
        # An id of another length is the caller's mistake; one that finds a session needs no such check.
        fields.session_id(session_id)
        raise


def decrypt(parts: Parts, tenant: str, request: pb.DecryptRequest, now: float, wall: float) -> pb.DecryptResponse:
    """Open one record of the player."""
    session_id = request.session_id
    associated_data = request.associated_data
    if session_id and len(session_id) != _SESSION_ID:
        fields.optional_session_id(session_id)
    if associated_data and len(associated_data) > _ASSOCIATED_DATA:
        raise MessageTooLarge("associated_data", _ASSOCIATED_DATA)
    opened = engine.decrypt(
        parts, tenant, session_id, request.ciphertext, associated_data, ticket=request.ticket, now=now, wall=wall
    )
    session_id, to_peer, plaintext, control, counter, epoch, early, newest, rotation_due, answered = opened
    response = pb.DecryptResponse()
    response.session_id = session_id
    if plaintext is not None:
        response.plaintext = plaintext
    else:
        response.control.kind = control  # type: ignore[assignment]  # the kind's number is the enum's
        if answered:
            response.control.answered = answered
    response.counter = counter
    if epoch:
        response.epoch = epoch
    if early:
        response.early = True
    if newest:
        response.newest = True
    if rotation_due:
        response.rotation_due = True
    if to_peer:
        response.to_peer.extend(to_peer)
    return response
