"""`scale-1m`: an EncryptBatch through the table's function and in process, 1,000 at random of very many sessions.

Of these 200,000 are in use: objects, of which no cache of the processor holds a tenth. No session comes twice, and the
contexts that are kept are those of other sessions, so every AEAD context is cold. The reference is a service of 1,000
sessions in the same process that keeps one context, and has to build all of them as well. The clocks of both stand
still meanwhile, so that no session in use is packed. What is found out once about a session in use is known in both.

Beside it the same with sessions at rest, on both sides: they stay so, and are sealed for straight from their records.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from typing import Any, Final

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.bench.crowd import PAYLOAD, TENANT, Crowd
from noisegate_server.rpc.call import Call, Caller
from noisegate_server.rpc.table import SERVICE_PREFIX, build_table
from noisegate_server.rpc.unary import Rpc
from noisegate_server.session.aeads import AeadCache

__all__ = ["measure"]

_ITEMS: Final = 1_000
_ROUNDS: Final = 50
_REST_ROUNDS: Final = 5
_TURNS: Final = 4
_OTHERS: Final = 20_000
"""More than the contexts that a service keeps."""
_PAGE: Final = 1_000


class _Service:
    """One service, called as a transport calls it."""

    def __init__(self, crowd: Crowd) -> None:
        table = build_table(Rpc(parts=crowd.parts, clock=crowd.clock, wall=time.time))
        unary = table[SERVICE_PREFIX + "EncryptBatch"].unary
        if unary is None:
            raise RuntimeError("EncryptBatch is unary")
        self._call = unary

    async def seal(self, session_ids: list[bytes]) -> float:
        """Thread CPU nanoseconds for a session."""
        request = pb.EncryptBatchRequest(
            session_ids=b"".join(session_ids),
            lengths=[PAYLOAD] * len(session_ids),
            plaintexts=os.urandom(PAYLOAD * len(session_ids)),
        )
        body, call = request.SerializeToString(), Call(Caller(identity="", tenant=TENANT))
        began = time.thread_time_ns()
        reply = self._call(call, body)
        code, answer = reply if isinstance(reply, tuple) else await reply
        spent = time.thread_time_ns() - began
        response = pb.EncryptBatchResponse.FromString(answer) if not code else pb.EncryptBatchResponse()
        if response.errors or len(response.ciphertexts) != (PAYLOAD + 32) * len(session_ids):
            raise RuntimeError("a plaintext was refused")
        return spent / len(session_ids)


async def measure(crowd: Crowd) -> dict[str, Any]:
    """Rounds of (many, few), in nanoseconds for an item: of sessions in use, and at rest."""
    few_crowd, few_ids = await _few()
    few, many = _Service(few_crowd), _Service(crowd)
    ids = _sample(crowd, (_ROUNDS + _REST_ROUNDS) * _TURNS * _ITEMS + _OTHERS)
    random.shuffle(ids)
    in_use, ids = ids[: _ROUNDS * _TURNS * _ITEMS], ids[_ROUNDS * _TURNS * _ITEMS :]
    others, idle = ids[:_OTHERS], ids[_OTHERS:]
    crowd.renew(idle)
    crowd.rest()
    at_rest, resting = _batches(idle), []
    for _ in range(_REST_ROUNDS):
        above = below = 0.0
        for _ in range(_TURNS):
            few_crowd.renew(few_ids)
            few_crowd.rest()
            below += await few.seal(few_ids)
            above += await many.seal(next(at_rest))
        resting.append((above / _TURNS, below / _TURNS))
    crowd.clock.hold()
    few_crowd.clock.hold()
    crowd.renew(others + in_use)
    few_crowd.renew(few_ids)
    for batch in _batches(others):
        await many.seal(batch)
    # The first packet of a session asks for its limits, the second for how it seals.
    for _ in range(2):
        await few.seal(few_ids)
        for batch in _batches(in_use):
            await many.seal(batch)
    random.shuffle(in_use)
    batches, rounds = _batches(in_use), []
    for number in range(_ROUNDS):
        above = below = 0.0
        for turn in range(_TURNS):
            if (number + turn) % 2:
                below += await few.seal(random.sample(few_ids, _ITEMS))
                above += await many.seal(next(batches))
            else:
                above += await many.seal(next(batches))
                below += await few.seal(random.sample(few_ids, _ITEMS))
        rounds.append((above / _TURNS, below / _TURNS))
    await few_crowd.server.stop(now=True)
    return {"rounds": rounds, "at_rest": resting}


def _batches(ids: list[bytes]) -> Iterator[list[bytes]]:
    return (ids[at : at + _ITEMS] for at in range(0, len(ids), _ITEMS))


async def _few() -> tuple[Crowd, list[bytes]]:
    kept = AeadCache.__init__.__defaults__
    AeadCache.__init__.__defaults__ = (1,)
    try:
        crowd = Crowd()
        await crowd.start()
    finally:
        AeadCache.__init__.__defaults__ = kept
    crowd.install(_ITEMS)
    return crowd, [each.session_id for each in crowd.parts.store.select(TENANT, limit=_ITEMS)[0]]


def _sample(crowd: Crowd, wanted: int) -> list[bytes]:
    """Ids of sessions at rest, from pages that are spread over all of them; RuntimeError where there are too few."""
    store = crowd.parts.store
    step = store.counts().sessions // (wanted // _PAGE + 1) // _PAGE
    ids: list[bytes] = []
    after: int | None = 0
    page = 0
    while after is not None and len(ids) < wanted:
        found, after = store.survey(TENANT, after=after, limit=_PAGE)
        page += 1
        if page % max(step, 1) == 0:
            ids += [each.session_id for each in found]
    if len(ids) < wanted:
        raise RuntimeError("too few sessions")
    return ids[:wanted]
