"""EncryptBatch, DecryptBatch and Broadcast: what they begin is served in slices, see `rpc.pacing`."""

from __future__ import annotations

from collections.abc import Sequence

from noisegate_server.engine import open_batch, seal_batch
from noisegate_server.engine.batch import Steps
from noisegate_server.engine.parts import Parts
from noisegate_server.rpc.convert import batches
from noisegate_server.rpc.convert.one_content import OneContent
from noisegate_server.rpc.convert.packed import Packed
from noisegate_server.rpc.limits import MAX_BATCH_BYTES, SESSION_ID_BYTES
from noisegate_server.session.errors import InvalidField, MessageTooLarge

__all__ = ["broadcast", "broadcast_at_once", "decrypt_batch", "encrypt_at_once", "encrypt_batch"]


def encrypt_at_once(parts: Parts, tenant: str, request: Packed, now: float) -> bytes | None:
    """The answer where the batch is a room's that has a path and needs no slices; None, and nothing done, otherwise."""
    sizes = request.lengths
    count = len(sizes)
    if not 0 < count <= seal_batch.PART or request.counts or request.associated_data_lengths or request.associated_data:
        return None
    if len(request.session_ids) != count * SESSION_ID_BYTES or request.end - request.start > MAX_BATCH_BYTES:
        return None
    plaintexts = batches.items(request, "plaintexts")
    sealed = seal_batch.encrypt_at_once(parts, tenant, request.session_ids, plaintexts, sizes, now)
    return None if sealed is None else batches.encode_at_once(sealed, sizes)


def broadcast_at_once(parts: Parts, tenant: str, request: OneContent, now: float) -> bytes | None:
    """Likewise."""
    session_ids = request.session_id
    count, rest = divmod(len(session_ids), SESSION_ID_BYTES)
    if rest or not 0 < count <= seal_batch.PART:
        return None
    plaintext, associated = request.content, request.associated_data
    if count * (len(plaintext) + len(associated)) > MAX_BATCH_BYTES:
        return None
    sealed = seal_batch.broadcast_at_once(parts, tenant, session_ids, plaintext, associated, now)
    return None if sealed is None else batches.encode_at_once(sealed, (len(plaintext),) * count)


def encrypt_batch(parts: Parts, tenant: str, request: Packed, now: float, wall: float) -> Steps[seal_batch.SealedBatch]:
    """Seal many plaintexts."""
    plaintexts = batches.items(request, "plaintexts")
    count = len(plaintexts)
    session_ids, counts = request.session_ids, request.counts
    if counts:
        runs = batches.runs(batches.session_ids(session_ids), counts, count)
        associated = batches.associated_data(request)
        return seal_batch.encrypt_runs(parts, tenant, runs, plaintexts, associated, now, wall)
    batches.require_one_each(session_ids, count)
    associated = batches.associated_data(request)
    return seal_batch.encrypt_batch(parts, tenant, session_ids, plaintexts, associated, now, wall)


def decrypt_batch(parts: Parts, tenant: str, request: Packed, now: float, wall: float) -> Steps[open_batch.OpenedBatch]:
    """Open many records."""
    packets = batches.items(request, "ciphertexts")
    count = len(packets)
    session_ids: Sequence[bytes] = batches.session_ids(request.session_ids)
    if request.counts:
        if not session_ids:
            raise InvalidField("counts", "none where no session is named")
        session_ids = batches.runs(session_ids, request.counts, count).each()
    elif session_ids:
        batches.require_one_each(request.session_ids, count)
    associated = batches.associated_data(request)
    return open_batch.decrypt_batch(parts, tenant, session_ids, packets, associated, now, wall)


def broadcast(parts: Parts, tenant: str, request: OneContent, now: float, wall: float) -> Steps[seal_batch.SealedBatch]:
    """Seal one plaintext for many sessions."""
    session_ids = request.session_id
    count = batches.count_ids(session_ids)
    plaintext, associated = request.content, request.associated_data
    if count * (len(plaintext) + len(associated)) > MAX_BATCH_BYTES:
        raise MessageTooLarge("plaintext", MAX_BATCH_BYTES // count)
    return seal_batch.broadcast(parts, tenant, session_ids, plaintext, associated, now, wall)
