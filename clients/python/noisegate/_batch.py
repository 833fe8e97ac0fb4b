"""Many packets in few calls: one call to each endpoint for every 1,024 items or 1,310,720 bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from noisegate.v1 import session_crypto_service_pb2 as service

from ._calls import BROADCAST, DECRYPT_BATCH, ENCRYPT_BATCH, Calls, Method, RequestT, ResponseT
from ._model import Direction, Opened, RecordMode, Sealed
from ._packing import SESSION_ID_BYTES, Text, from_decrypt_batch, from_encrypt_batch, to_decrypt_batch, to_encrypt_batch
from .errors import NoisegateError, SessionClosed, SessionNotFound

if TYPE_CHECKING:
    from ._session import Session

MAX_BATCH_ITEMS: Final = 1_024
MAX_BATCH_BYTES: Final = 1_310_720

Item = tuple["Session", bytes] | tuple["Session", bytes, bytes]
"""A session, what to seal or to open, and its associated data, which may be left out."""

ResultT = TypeVar("ResultT", Sealed, Opened)
Part = Sequence[tuple["Session", Text]]


async def encrypt_batch(calls: Calls, items: Iterable[Item]) -> list[Sealed | NoisegateError]:
    """See `Client.encrypt_batch`."""

    async def ask(part: Part, endpoint: str) -> list[Sealed | NoisegateError]:
        request = to_encrypt_batch([text for _, text in part], _sealed_once(calls, part))
        answer = await _ask(calls, ENCRYPT_BATCH, "encrypt", request, endpoint)
        return from_encrypt_batch(answer, len(part))

    return await _in_parts(items, Direction.SEND, ask)


async def decrypt_batch(calls: Calls, items: Iterable[Item]) -> list[Opened | NoisegateError]:
    """See `Client.decrypt_batch`."""

    async def ask(part: Part, endpoint: str) -> list[Opened | NoisegateError]:
        request = to_decrypt_batch([text for _, text in part], calls.request_id())
        answer = await _ask(calls, DECRYPT_BATCH, "decrypt", request, endpoint)
        return from_decrypt_batch(answer, [text.session_id for _, text in part])

    return await _in_parts(items, Direction.RECEIVE, ask)


async def broadcast(
    calls: Calls, sessions: Iterable[Session], plaintext: bytes, associated_data: bytes
) -> list[Sealed | NoisegateError]:
    """See `Client.broadcast`."""

    async def ask(part: Part, endpoint: str) -> list[Sealed | NoisegateError]:
        request = service.BroadcastRequest(
            session_ids=b"".join([text.session_id for _, text in part]),
            request_id=_sealed_once(calls, part),
            plaintext=plaintext,
            associated_data=associated_data,
        )
        answer = await _ask(calls, BROADCAST, "broadcast", request, endpoint)
        return from_encrypt_batch(answer, len(part))

    return await _in_parts([(each, plaintext, associated_data) for each in sessions], Direction.SEND, ask)


async def _ask(
    calls: Calls, method: Method[RequestT, ResponseT], field: str, request: RequestT, endpoint: str
) -> ResponseT:
    """The answer: over the stream where packets travel together, else by a call of its own."""
    if calls.together is None:
        return (await calls.call(method, request, endpoint=endpoint)).message
    batch = service.TransportBatch(**{field: request})  # type: ignore[arg-type]  # the field of this request
    carried = await calls.together.carry(endpoint, batch)
    answer: ResponseT = getattr(carried, field)
    return answer


def _sealed_once(calls: Calls, part: Part) -> str:
    """The request_id of a batch to seal. On a stream DATAGRAM plaintexts have none, see `Kind.SEAL`."""
    again = calls.together is not None and all(session.mode is RecordMode.DATAGRAM for session, _ in part)
    return "" if again else calls.request_id()


async def _in_parts(
    items: Iterable[Item], direction: Direction, ask: Callable[[Part, str], Awaitable[list[ResultT | NoisegateError]]]
) -> list[ResultT | NoisegateError]:
    """Ask for all items, by endpoint; the results in their order. A part that is refused whole is so item by item."""
    whole = [(item[0], Text(item[0].id, item[1], item[2] if len(item) > 2 else b"")) for item in items]
    if any(len(text.session_id) != SESSION_ID_BYTES for _, text in whole):
        raise ValueError(f"a session in a batch has an id of {SESSION_ID_BYTES} bytes")
    results: dict[int, ResultT | NoisegateError] = {}

    async def take(endpoint: str, numbers: list[int]) -> None:
        # One after the other: parts may have items of the same session, whose order is kept.
        for part in _parts(numbers, whole):
            answers = await _answered(ask([whole[n] for n in part], endpoint), len(part))
            results.update(zip(part, answers, strict=True))

    by_endpoint: dict[str, list[int]] = {}
    for number, (session, _) in enumerate(whole):
        by_endpoint.setdefault(session.endpoint, []).append(number)
    async with _turns({session.id: session for session, _ in whole}, direction):
        await asyncio.gather(*(take(endpoint, numbers) for endpoint, numbers in by_endpoint.items()))
    for number, (session, _) in enumerate(whole):
        if isinstance(results[number], SessionNotFound | SessionClosed):
            session._facts.ended = True
    return [results[number] for number in range(len(whole))]


async def _answered(answer: Awaitable[list[ResultT | NoisegateError]], count: int) -> list[ResultT | NoisegateError]:
    try:
        return await answer
    except NoisegateError as refused:
        return [refused] * count


def _parts(numbers: list[int], items: Part) -> Iterator[list[int]]:
    """What fits into one call each."""
    part: list[int] = []
    size = 0
    for number in numbers:
        text = items[number][1]
        added = len(text.body) + len(text.associated_data)
        if part and (len(part) == MAX_BATCH_ITEMS or size + added > MAX_BATCH_BYTES):
            yield part
            part, size = [], 0
        part.append(number)
        size += added
    if part:
        yield part


@asynccontextmanager
async def _turns(sessions: dict[bytes, Session], direction: Direction) -> AsyncIterator[None]:
    """The turns of all sessions, taken in the order of their ids, so that two batches cannot wait for each other."""
    async with AsyncExitStack() as held:
        for session_id in sorted(sessions):
            if sessions[session_id]._turns:
                await held.enter_async_context(sessions[session_id]._turn(direction))
        yield
