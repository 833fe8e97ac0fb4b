"""Encrypt and Decrypt: the two hot methods.

Checks stand here in the open, not in rpc/convert: a call costs as much as the check that it would hold.
"""

from __future__ import annotations

from typing import Final

from noisegate_server.engine import records as engine
from noisegate_server.engine.outcomes import Decrypted
from noisegate_server.engine.parts import Parts
from noisegate_server.rpc import limits
from noisegate_server.rpc.convert import fields
from noisegate_server.rpc.convert.one_content import OneContent
from noisegate_server.session.errors import MessageTooLarge, SessionNotFound
from noisegate_server.session.sealed import Sealed

__all__ = ["decrypt", "encrypt"]

_SESSION_ID: Final = limits.SESSION_ID_BYTES
_ASSOCIATED_DATA: Final = limits.MAX_ASSOCIATED_DATA_BYTES


def encrypt(parts: Parts, tenant: str, request: OneContent, now: float, wall: float) -> Sealed:
    """Seal one plaintext; `convert.sealed` makes the response."""
    session_id = request.session_id
    associated_data = request.associated_data
    if associated_data and len(associated_data) > _ASSOCIATED_DATA:
        raise MessageTooLarge("associated_data", _ASSOCIATED_DATA)
    try:
        return engine.encrypt(parts, tenant, session_id, request.content, associated_data, now)
    except SessionNotFound:
        # An id of another length is the caller's mistake; one that finds a session needs no such check.
        fields.session_id(session_id)
        raise


def decrypt(parts: Parts, tenant: str, request: OneContent, now: float, wall: float) -> Decrypted:
    """Open one record of the player; `convert.opened` makes the response."""
    session_id = request.session_id
    associated_data = request.associated_data
    if session_id and len(session_id) != _SESSION_ID:
        fields.optional_session_id(session_id)
    if associated_data and len(associated_data) > _ASSOCIATED_DATA:
        raise MessageTooLarge("associated_data", _ASSOCIATED_DATA)
    return engine.decrypt(
        parts, tenant, session_id, request.content, associated_data, ticket=request.ticket, now=now, wall=wall
    )
