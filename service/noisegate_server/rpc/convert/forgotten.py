"""Answers of DecryptBatch, kept for repeats, from which the plaintexts of a session that has ended are taken."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.engine.open_batch import OpenedBatch
from noisegate_server.rpc.convert.packed import Packed
from noisegate_server.rpc.errors import item_refusal
from noisegate_server.rpc.limits import SESSION_ID_BYTES
from noisegate_server.rpc.repeats import Owner, Shared
from noisegate_server.session.errors import ReplayDetected

__all__ = ["opened_for", "without"]


def opened_for(request: Packed, response: OpenedBatch | None) -> Owner:
    """Whose the items of an answer are; nobody's for a refusal, which holds no plaintext."""
    if response is None:
        return b""
    named, counts = request.session_ids, request.counts
    if not named:
        return Shared(b"".join(response.session_ids), without)
    if not counts:
        return Shared(named, without)
    ids = [named[at : at + SESSION_ID_BYTES] for at in range(0, len(named), SESSION_ID_BYTES)]
    return Shared(b"".join([each * count for each, count in zip(ids, counts, strict=True)]), without)


def without(body: bytes, items: Sequence[int]) -> bytes:
    """A DecryptBatchResponse that has forgotten the plaintexts of these items.

    They are refused as what they would be if they were opened now: records that were opened before.
    """
    answer = pb.DecryptBatchResponse.FromString(body)
    code, reason, message, metadata = item_refusal(ReplayDetected())
    errors = list(answer.errors)
    ends = list(accumulate(answer.lengths, initial=0))
    kept = bytearray(answer.plaintexts)
    for index in reversed(items):
        if answer.lengths[index]:
            del kept[ends[index] : ends[index + 1]]
            answer.lengths[index] = 0
            errors.append(pb.ItemError(index=index, code=code, reason=reason, message=message, metadata=metadata))
    answer.plaintexts = bytes(kept)
    del answer.errors[:]
    answer.errors.extend(sorted(errors, key=lambda error: error.index))
    return answer.SerializeToString()
