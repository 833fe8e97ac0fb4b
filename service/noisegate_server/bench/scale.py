"""`scale-1m`: an EncryptBatch through the table's function and in process, 1,000 at random of very many sessions.

The reference is a service of 1,000 sessions in the same process. On both sides the sessions are at rest: packed as
records, which they stay while records are sealed for them, unless two come within a second. No AEAD context of theirs
is kept, and none of the million comes twice.

Beside it the same with 100,000 sessions in use: objects, of which a cache of the processor holds few. The contexts
that are kept are those of other sessions; the reference keeps one, and has to build all of them as well. The clocks of
both stand still meanwhile, so that no session in use is packed. What is found out once about a session in use is known
in both.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.bench.crowd import PAYLOAD, TENANT, Crowd
from noisegate_server.rpc.call import Call, Caller
from noisegate_server.rpc.table import SERVICE_PREFIX, build_table
from noisegate_server.rpc.unary import Rpc
from noisegate_server.session.aeads import AeadCache

__all__ = ["measure"]

_ITEMS: Final = 1_000
_ROUNDS: Final = 25
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
    """Rounds of (many, few), in nanoseconds for an item: of sessions at rest, and in use."""
    few_crowd, few_ids = await _few()
    few, many = _Service(few_crowd), _Service(crowd)
    each = _ROUNDS * _TURNS * _ITEMS
    ids = _sample(crowd, 2 * each + _OTHERS)
    random.shuffle(ids)
    idle, in_use, others = ids[:each], ids[each : 2 * each], ids[2 * each :]
    crowd.renew(idle)
    crowd.rest()

    def let_rest() -> None:
        few_crowd.renew(few_ids)
        few_crowd.rest()

    at_rest = await _rounds(many, idle, few, few_ids, let_rest)
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
    rounds = await _rounds(many, in_use, few, few_ids, lambda: None)
    await few_crowd.server.stop(now=True)
    return {"at_rest": at_rest, "in_use": rounds}


async def _rounds(
    many: _Service, ids: list[bytes], few: _Service, few_ids: list[bytes], prepare: Callable[[], None]
) -> list[tuple[float, float]]:
    """(many, few), each of `ids` once; `prepare` is called before every turn of the few."""
    batches, rounds = _batches(ids), []
    for number in range(_ROUNDS):
        above = below = 0.0
        for turn in range(_TURNS):
            prepare()
            if (number + turn) % 2:
                below += await few.seal(random.sample(few_ids, _ITEMS))
                above += await many.seal(next(batches))
            else:
                above += await many.seal(next(batches))
                below += await few.seal(random.sample(few_ids, _ITEMS))
        rounds.append((above / _TURNS, below / _TURNS))
    return rounds


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
