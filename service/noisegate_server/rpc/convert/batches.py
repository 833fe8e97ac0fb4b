"""Batches of the contract: packed fields to items, and results to packed fields.

The answers' packed fields are written by hand, for the reason that sealed.py gives; what only some items have is left
to protobuf, which may stand behind them in the same message. A test holds the whole equal to what protobuf reads.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Any, Final

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.engine.batch import Runs, Sparse
from noisegate_server.engine.open_batch import OpenedBatch
from noisegate_server.engine.seal_batch import SealedAtOnce, SealedBatch
from noisegate_server.rpc import limits
from noisegate_server.rpc.convert.packed import Packed
from noisegate_server.rpc.convert.sealed import varint
from noisegate_server.rpc.errors import item_refusal
from noisegate_server.session.batch import ADDED, OpenedRecords, SealedRecords
from noisegate_server.session.errors import InvalidField, MessageTooLarge

__all__ = [
    "associated_data",
    "count_ids",
    "encode_at_once",
    "encode_opened",
    "encode_sealed_batch",
    "items",
    "require_one_each",
    "runs",
    "session_ids",
]

_ID: Final = limits.SESSION_ID_BYTES
_AT_ONCE: Final = 32
_STRIP: Final = _AT_ONCE * _ID
"""Ids that are cut by one call."""
_IN_ONE_FORMAT: Final = 256
_LAYOUTS: Final = 256
_ITEMS: Final = limits.MAX_BATCH_ITEMS
_BYTES: Final = limits.MAX_BATCH_BYTES

# Tags of proto/noisegate/v1/session_crypto_service.proto, the same in all answers: field number << 3 | 2 (length).
_CONTENTS: Final = b"\x0a"
_LENGTHS: Final = b"\x12"
_COUNTERS: Final = b"\x1a"
_EPOCHS: Final = b"\x22"
_NEWEST: Final = b"\x4a"
_SESSION_IDS: Final = b"\x5a"
_UINT32: Final = struct.Struct("<I").pack


def count_ids(packed: bytes) -> int:
    """How many ids of 24 bytes these are: at most 1,024."""
    if len(packed) % _ID:
        raise InvalidField("session_ids", f"{_ID} bytes each")
    if len(packed) > _ITEMS * _ID:
        raise MessageTooLarge("session_ids", _ITEMS * _ID)
    return len(packed) // _ID


def session_ids(packed: bytes) -> list[bytes]:
    """The same ids, one by one."""
    count_ids(packed)
    ids: list[bytes] = []
    for at in range(0, len(packed), _STRIP):
        strip = packed[at : at + _STRIP]
        ids += _ids(len(strip) // _ID).unpack(strip)
    return ids


@lru_cache(maxsize=_AT_ONCE)
def _ids(count: int) -> struct.Struct:
    return struct.Struct(f"{_ID}s" * count)


def require_one_each(packed: bytes, count: int) -> None:
    """Whether so many items are one for each of these ids."""
    if count_ids(packed) != count:
        raise InvalidField("lengths", "one for each session, unless `counts` says how many it has")


def runs(ids: Sequence[bytes], counts: Sequence[int], count: int) -> Runs:
    """Whose the `count` items are, where `counts` says it."""
    if len(counts) != len(ids) or not all(counts) or sum(counts) != count:
        raise InvalidField("counts", "one for each session, at least 1; together as many as `lengths`")
    return Runs.of(ids, counts)


def items(request: Packed, path: str) -> Sequence[bytes]:
    """The items of a request, whose field for them is `path`."""
    if len(request.lengths) > _ITEMS:
        raise InvalidField("lengths", f"at most {_ITEMS} items")
    return _cut(request.body, request.start, request.end, request.lengths, "lengths", path)


def associated_data(request: Packed) -> Sequence[bytes]:
    """That of each item, or nothing where none has any; the whole request is within the limit of bytes."""
    packed, lengths = request.associated_data, request.associated_data_lengths
    if request.end - request.start + len(packed) > _BYTES:
        raise MessageTooLarge("lengths", _BYTES)
    if lengths and len(lengths) != len(request.lengths):
        raise InvalidField("associated_data_lengths", "one for each item, or none")
    return _cut(packed, 0, len(packed), lengths, "associated_data_lengths", "associated_data")


def encode_sealed_batch(batch: SealedBatch, answer: Any = pb.EncryptBatchResponse) -> bytes:
    """A serialised noisegate.v1.EncryptBatchResponse; a BroadcastResponse has the same fields."""
    fields = _packed_fields(batch.records)
    _add_sparse(fields, batch.sparse, answer)
    return b"".join(fields)


def encode_at_once(batch: SealedAtOnce, sizes: Sequence[int]) -> bytes:
    """The same of a batch of which every item was sealed; `sizes` are those of the plaintexts."""
    count = len(sizes)
    fields = [
        _CONTENTS, varint(batch.size + ADDED * count), *batch.pieces,
        _LENGTHS, varint(4 * count), _uint32s(sizes, ADDED),
        _COUNTERS, varint(8 * count), _uint64s(count).pack(*batch.counters),
    ]  # fmt: skip
    if any(batch.epochs):
        fields += (_EPOCHS, varint(4 * count), _uint32s(batch.epochs))
    return b"".join(fields)


def encode_opened(batch: OpenedBatch) -> bytes:
    """A serialised noisegate.v1.DecryptBatchResponse."""
    records = batch.records
    fields = _packed_fields(records)
    if any(records.newest):
        fields += (_NEWEST, varint(len(records.newest)), bytes(records.newest))
    if batch.session_ids:
        fields += (_SESSION_IDS, varint(_ID * len(batch.session_ids)), *batch.session_ids)
    if batch.controls or batch.early:
        more = pb.DecryptBatchResponse(early=batch.early)
        for index, kind, answered in batch.controls:
            more.controls.add(index=index, kind=kind, answered=answered)
        fields.append(more.SerializeToString())
    _add_sparse(fields, batch.sparse, pb.DecryptBatchResponse)
    return b"".join(fields)


def _cut(body: bytes, start: int, end: int, lengths: Sequence[int], path: str, of: str) -> Sequence[bytes]:
    count = len(lengths)
    if count and lengths.count(size := lengths[0]) == count:
        if start + size * count != end:
            raise InvalidField(path, f"together as long as `{of}`")
        # A fifth of the time of slices; of very many items, which would be very long formats, half of it.
        if count <= _IN_ONE_FORMAT:
            return struct.unpack_from(f"{size}s" * count, body, start)
        if size:
            return [piece for (piece,) in struct.iter_unpack(f"{size}s", memoryview(body)[start:end])]
    if start + sum(lengths) != end:
        raise InvalidField(path, f"together as long as `{of}`")
    ends = accumulate(lengths, initial=start)
    return [body[first:last] for first, last in pairwise(ends)]


def _packed_fields(records: SealedRecords | OpenedRecords) -> list[bytes]:
    lengths, counters, epochs = records.lengths, records.counters, records.epochs
    count = len(lengths)
    if not count:
        return []
    fields = [
        _CONTENTS, varint(sum(lengths)), *records.pieces,
        _LENGTHS, varint(4 * count), _uint32s(lengths),
        _COUNTERS, varint(8 * count), _uint64s(count).pack(*counters),
    ]  # fmt: skip
    if any(epochs):
        fields += (_EPOCHS, varint(4 * count), _uint32s(epochs))
    return fields


def _uint32s(numbers: Sequence[int], added: int = 0) -> bytes:
    """All numbers, each with `added` to it."""
    count = len(numbers)
    if numbers.count(first := numbers[0]) == count:
        return _UINT32(first + added) * count
    return struct.pack(f"<{count}I", *([number + added for number in numbers] if added else numbers))


@lru_cache(maxsize=_LAYOUTS)
def _uint64s(count: int) -> struct.Struct:
    return struct.Struct(f"<{count}Q")


def _add_sparse(fields: list[bytes], sparse: Sparse, answer: Any) -> None:
    if not (sparse.errors or sparse.to_peer or sparse.rotation_due):
        return
    more = answer(rotation_due=sparse.rotation_due)
    for index, error in sparse.errors:
        code, reason, text, metadata = item_refusal(error)
        more.errors.add(index=index, code=code, reason=reason, message=text, metadata=metadata)
    for index, to_peer in sparse.to_peer:
        more.to_peer.add(index=index, to_peer=to_peer)
    fields.append(more.SerializeToString())
