"""Batches on the wire: items packed one behind the other, results and refusals back in their order. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple, TypeVar

from grpc import StatusCode

from noisegate.v1 import error_reason_pb2 as reasons
from noisegate.v1 import session_crypto_service_pb2 as service

from ._model import ControlKind, Opened, Sealed
from .errors import BY_CODE, BY_REASON, CallRefused, NoisegateError

CODES: Final[dict[int, StatusCode]] = {code.value[0]: code for code in StatusCode}
SESSION_ID_BYTES: Final = 24
_PREFIX: Final = "ERROR_REASON_"

ResultT = TypeVar("ResultT", Sealed, Opened)


class Text(NamedTuple):
    """One item of a batch."""

    session_id: bytes
    """24 bytes."""
    body: bytes
    """A plaintext to seal or a record to open."""
    associated_data: bytes


class Packed(NamedTuple):
    """Items as both requests have them."""

    session_ids: bytes
    counts: list[int]
    lengths: list[int]
    bodies: bytes
    associated_data_lengths: list[int]
    associated_data: bytes


def pack(items: Sequence[Text]) -> Packed:
    """Neighbours of one session stand under one id."""
    ids: list[bytes] = []
    counts: list[int] = []
    for item in items:
        if ids and ids[-1] == item.session_id:
            counts[-1] += 1
        else:
            ids.append(item.session_id)
            counts.append(1)
    beside = [item.associated_data for item in items]
    return Packed(
        session_ids=b"".join(ids),
        counts=counts if len(ids) < len(items) else [],
        lengths=[len(item.body) for item in items],
        bodies=b"".join([item.body for item in items]),
        associated_data_lengths=[len(each) for each in beside] if any(beside) else [],
        associated_data=b"".join(beside),
    )


def to_encrypt_batch(items: Sequence[Text], request_id: str = "") -> service.EncryptBatchRequest:
    """The request that seals these plaintexts."""
    packed = pack(items)
    return service.EncryptBatchRequest(
        session_ids=packed.session_ids,
        request_id=request_id,
        counts=packed.counts,
        lengths=packed.lengths,
        plaintexts=packed.bodies,
        associated_data_lengths=packed.associated_data_lengths,
        associated_data=packed.associated_data,
    )


def to_decrypt_batch(items: Sequence[Text], request_id: str = "") -> service.DecryptBatchRequest:
    """The request that opens these records."""
    packed = pack(items)
    return service.DecryptBatchRequest(
        session_ids=packed.session_ids,
        request_id=request_id,
        counts=packed.counts,
        lengths=packed.lengths,
        ciphertexts=packed.bodies,
        associated_data_lengths=packed.associated_data_lengths,
        associated_data=packed.associated_data,
    )


def from_encrypt_batch(
    answer: service.EncryptBatchResponse | service.BroadcastResponse, count: int
) -> list[Sealed | NoisegateError]:
    """A record or a refusal for each of `count` items. Raises NoisegateError where the answer is not whole."""
    records = _cut(answer.ciphertexts, answer.lengths, count)
    counters, epochs = _column(answer.counters, count), _column(answer.epochs, count)
    due = frozenset(answer.rotation_due)
    to_peer = {each.index: tuple(each.to_peer) for each in answer.to_peer}
    results: list[Sealed | NoisegateError] = [
        Sealed(packet=record, to_peer=to_peer.get(n, ()), counter=counter, epoch=epoch, rotation_due=n in due)
        for n, (record, counter, epoch) in enumerate(zip(records, counters, epochs, strict=True))
    ]
    return _with_refusals(results, answer.errors)


def from_decrypt_batch(
    answer: service.DecryptBatchResponse, session_ids: Sequence[bytes]
) -> list[Opened | NoisegateError]:
    """What opened or a refusal for each item; `session_ids` are the items'. Raises as `from_encrypt_batch`."""
    count = len(session_ids)
    texts = _cut(answer.plaintexts, answer.lengths, count)
    counters, epochs = _column(answer.counters, count), _column(answer.epochs, count)
    newest = answer.newest or bytes(count)
    if len(newest) != count:
        raise _not_whole()
    due, early = frozenset(answer.rotation_due), frozenset(answer.early)
    to_peer = {each.index: tuple(each.to_peer) for each in answer.to_peer}
    controls = {each.index: each for each in answer.controls}
    results: list[Opened | NoisegateError] = []
    for n, (session_id, text, counter, epoch) in enumerate(zip(session_ids, texts, counters, epochs, strict=True)):
        control = controls.get(n)
        results.append(
            Opened(
                session_id=session_id,
                plaintext=text if control is None else None,
                control=None if control is None else ControlKind(control.kind),
                to_peer=to_peer.get(n, ()),
                counter=counter,
                epoch=epoch,
                early=n in early,
                newest=newest[n] == 1,
                rotation_due=n in due,
                answered=b"" if control is None else control.answered,
            )
        )
    return _with_refusals(results, answer.errors)


def from_item_error(wire: service.ItemError) -> NoisegateError:
    """The exception that the item's own call would have raised."""
    code = CODES.get(wire.code, StatusCode.UNKNOWN)
    known = wire.reason in reasons.ErrorReason.values() and wire.reason
    reason = reasons.ErrorReason.Name(wire.reason).removeprefix(_PREFIX) if known else ""
    refusal = BY_REASON.get(reason, NoisegateError) if reason else BY_CODE.get(code, CallRefused)
    return refusal(code, reason, wire.message, dict(wire.metadata))


def _with_refusals(
    results: list[ResultT | NoisegateError], errors: Iterable[service.ItemError]
) -> list[ResultT | NoisegateError]:
    for error in errors:
        if error.index >= len(results):
            raise _not_whole()
        results[error.index] = from_item_error(error)
    return results


def _column(values: Sequence[int], count: int) -> Sequence[int]:
    """A number for each item; none at all stands for zeros."""
    if not values:
        return (0,) * count
    if len(values) != count:
        raise _not_whole()
    return values


def _cut(joined: bytes, lengths: Sequence[int], count: int) -> Iterator[bytes]:
    if len(lengths) != count or sum(lengths) != len(joined):
        raise _not_whole()
    at = 0
    for length in lengths:
        yield joined[at : at + length]
        at += length


def _not_whole() -> NoisegateError:
    return NoisegateError(StatusCode.INTERNAL, message="the answer does not have a result for each item")
