"""Calls for one session meet at every await: suspend, restore, close, revoke, records, over a vault that takes turns.

A scheduler of the test's own picks whose turn it is. Whatever the order: each call ends with an answer or with a
refusal of the catalogue, the session is in one place, and no nonce is used twice (the net under every test).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from random import Random
from typing import Any, TypeVar

import pytest

from noisegate_server.engine import records, sessions, suspend
from noisegate_server.engine.restore import restore, restore_blob, wake
from noisegate_server.engine.revoke import revoke
from noisegate_server.engine.waiting import turn
from noisegate_server.rpc.errors import refusal
from noisegate_server.session.errors import SessionError
from noisegate_server.session.state import RecordMode, TerminationReason
from noisegate_server.store.suspended import Dormant
from noisegate_server.store.vault import KeptSession, MemoryVault, Revocation, VaultFailed
from tests.support.engines import TENANT, End, Engines, establish
from tests.support.idle import suspend_idle

pytestmark = pytest.mark.timeout(300)

T = TypeVar("T")

ROUNDS = 300
CALLS = 7


class TurningVault(MemoryVault):
    """As a file behaves: jobs are done in the order in which they were asked for, and answered later, in that order."""

    def __init__(self, random: Random, failing: float) -> None:
        super().__init__(random.randbytes(4))
        self.random = random
        self.failing = failing
        self.asked = self.answered = 0

    @property
    def survives(self) -> bool:
        return True

    async def _do(self, job: Coroutine[Any, Any, T], otherwise: T) -> T:
        """The job's answer, in its turn. Of those that fail, some have done nothing and some all that they should."""
        number, self.asked = self.asked, self.asked + 1
        fails, certain = self.random.random() < self.failing, self.random.random() < 0.5
        if fails and certain:
            job.close()
            answer = otherwise
        else:
            answer = await job
        for _ in range(self.random.randrange(4)):
            await turn()
        while self.answered < number:
            await turn()
        self.answered += 1
        if fails:
            raise VaultFailed("a test", certain=certain)
        return answer

    async def keep(self, sessions: Sequence[KeptSession]) -> None:
        await self._do(super().keep(sessions), None)

    async def take(self, session_id: bytes) -> bytes | None:
        return await self._do(super().take(session_id), None)

    async def forget(self, session_ids: Iterable[bytes]) -> None:
        await self._do(super().forget(list(session_ids)), None)

    async def spend(self, number: bytes, until_wall: float) -> bool:
        return await self._do(super().spend(number, until_wall), False)

    async def revoke(self, revocation: Revocation) -> None:
        await self._do(super().revoke(revocation), None)

    async def settle(self) -> None:
        await self._do(super().settle(), None)


Use = Callable[[], Any]


async def called(end: End, use: Use) -> None:
    """As `rpc` runs a call: where its session is away, that comes back first. Ends as its caller sees it."""
    parts, clock = end.engine.parts, end.engine.clock
    dormant: Dormant | None = None
    try:
        for _ in range(64):
            if dormant is not None:
                await wake(parts, TENANT, dormant, clock.now, clock.wall)
            try:
                answer = use()
                if isinstance(answer, Coroutine):
                    await answer
            except Dormant as met:
                dormant = met
            else:
                return
    except Exception as error:
        if refusal(error) is None:
            raise


def uses(end: End, packets: list[bytes], blobs: list[bytes], random: Random) -> list[Use]:
    """What may be asked for the session of `end`, each for one call."""
    parts, clock, session_id = end.engine.parts, end.engine.clock, end.session_id
    now, wall = clock.now, clock.wall

    async def blob_is_returned() -> None:
        blobs.append((await suspend.suspend(parts, TENANT, session_id, return_blob=True, now=now, wall=wall)).blob)

    def opened() -> None:
        records.decrypt(parts, TENANT, session_id, random.choice(packets), b"", ticket=False, now=now, wall=wall)

    return [
        lambda: records.encrypt(parts, TENANT, session_id, b"roll", b"", now),
        lambda: records.encrypt(parts, TENANT, session_id, b"again", b"", now),
        opened,
        lambda: suspend.suspend(parts, TENANT, session_id, return_blob=False, now=now, wall=wall),
        lambda: suspend_idle(parts, [end_shard(end)], now, wall),
        lambda: restore(parts, TENANT, session_id, now, wall),
        blob_is_returned,
        lambda: restore_blob(parts, TENANT, random.choice(blobs or [b""]), now, wall),
        lambda: restore_blob(parts, TENANT, random.choice(blobs or [b""]), now, wall),
        lambda: sessions.close(parts, TENANT, session_id, now),
        lambda: revoke(parts, TENANT, peer_id="ann", now=now, wall=wall),
    ]


def end_shard(end: End) -> int:
    """The shard that the session of `end` is in, or was."""
    store = end.engine.parts.store
    found = (number for number in range(store.shards) for each in store.shard(number))
    return next(found, 0)


def run(coroutines: list[Coroutine[Any, Any, None]], random: Random) -> None:
    """All of them to their ends, whoever's turn it is."""
    for _ in range(10_000):
        if not coroutines:
            return
        coroutine = random.choice(coroutines)
        try:
            assert coroutine.send(None) is None
        except StopIteration:
            coroutines.remove(coroutine)
    raise AssertionError("calls wait for each other for ever")


def place_of(end: End) -> str:
    """Where the session is; an assertion where it is in two places, or in none that says so."""
    parts, clock = end.engine.parts, end.engine.clock
    record = parts.store.find_suspended(TENANT, end.session_id, clock.now)
    vault = parts.vault
    assert isinstance(vault, MemoryVault)
    try:
        session = parts.store.get(TENANT, end.session_id, clock.now)
    except (SessionError, Dormant):
        session = None
    assert record is None or session is None
    if record is not None:
        assert not record.moving
        return "suspended"
    return "gone" if session is None else "alive"


@pytest.mark.parametrize("mode", list(RecordMode))
@pytest.mark.parametrize("failing", [0.0, 0.3])
def test_whatever_meets_at_an_await_a_session_is_in_one_place(
    engines: Engines, mode: RecordMode, failing: float
) -> None:
    """And where the vault never fails, a blob lies in it exactly while its session is suspended."""
    places = set()
    for seed in range(ROUNDS):
        random = Random(seed)
        vault = TurningVault(random, failing)
        link = establish(engines, mode=mode, responder=engines.make(vault=vault))
        end = link.responder
        packets = [link.initiator.seal(b"%d" % number) for number in range(4)]
        blobs: list[bytes] = []
        if mode is RecordMode.DATAGRAM and random.random() < 0.5:
            blobs.append(end.engine.suspend(end.session_id, return_blob=True).blob)
        asked = random.choices(uses(end, packets, blobs, random), k=CALLS)
        run([called(end, use) for use in asked], random)
        place = place_of(end)
        places.add(place)
        if not failing:
            assert (end.session_id in vault._kept) is (place == "suspended")
        elif mode is RecordMode.NOISE and place == "alive":
            assert end.session_id not in vault._kept, "a start would bring keys back that are in use"
        vault.failing = 0.0
        for other in link.ends:
            other.engine.parts.store.end_all(engines.clock.now, TerminationReason.SHUTDOWN)
            other.engine.parts.received.clear()
        vault._kept.clear()
    assert places == {"suspended", "gone", "alive"}
