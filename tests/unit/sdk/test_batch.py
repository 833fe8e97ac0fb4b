"""Batches of the client: grouped by endpoint, cut to what a call may have, a result for each item in its order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from grpc import StatusCode

import noisegate
from noisegate import RecordMode
from noisegate.v1 import error_reason_pb2 as reasons
from noisegate.v1 import session_crypto_service_pb2 as service
from tests.unit.sdk.scripted_service import Refusal, ScriptedService, scripted_service
from tests.unit.sdk.test_readme import example

QUICK = noisegate.CallPolicy(packet_deadline=5, control_deadline=5, first_backoff=0.001, max_backoff=0.002)
IDS = [bytes((65 + n,)) * 24 for n in range(4)]


def sealing(request: Any) -> service.EncryptBatchResponse:
    """Each plaintext backwards; one that is empty is refused."""
    blob, at, records, errors = request.plaintexts, 0, [], []
    for index, length in enumerate(request.lengths):
        records.append(blob[at : at + length][::-1])
        at += length
        if not length:
            errors.append(service.ItemError(index=index, code=9, reason=reasons.ERROR_REASON_SESSION_CLOSED))
    return service.EncryptBatchResponse(
        ciphertexts=b"".join(records), lengths=map(len, records), counters=range(len(records)), errors=errors
    )


def casting(request: Any) -> service.BroadcastResponse:
    """The plaintext itself for every session."""
    count = len(request.session_ids) // 24
    return service.BroadcastResponse(
        ciphertexts=request.plaintext * count, lengths=[len(request.plaintext)] * count, counters=[7] * count
    )


@pytest.fixture
async def scripted() -> AsyncIterator[ScriptedService]:
    """A running scripted service."""
    async with scripted_service() as running:
        running.answer("EncryptBatch", sealing)
        running.answer("Broadcast", casting)
        yield running


async def test_items_go_to_their_sessions_endpoint_and_come_back_in_order(scripted: ScriptedService) -> None:
    """One call to each endpoint; what one item is refused stands in its place, and its session is known as ended."""
    async with scripted_service() as other, noisegate.connect(scripted.address, policy=QUICK) as client:
        other.answer("EncryptBatch", sealing)
        near = client.session(IDS[0])
        far = client.session(IDS[1], endpoint=other.address)
        results = await client.encrypt_batch([(near, b"ab"), (far, b"cd", b"ad"), (near, b""), (far, b"ef")])
        packets = [each.packet if isinstance(each, noisegate.Sealed) else type(each) for each in results]
        assert packets == [b"ba", b"dc", noisegate.SessionClosed, b"fe"]
        assert near.ended
        assert not far.ended
        (here,), (there,) = scripted.requests("EncryptBatch"), other.requests("EncryptBatch")
        assert (here.session_ids, list(here.counts), list(here.lengths)) == (IDS[0], [2], [2, 0])
        assert (there.session_ids, list(there.counts)) == (IDS[1], [2])
        assert (there.associated_data, list(there.associated_data_lengths)) == (b"ad", [2, 0])
        assert here.request_id
        assert here.request_id != there.request_id


async def test_what_is_too_much_for_one_call_goes_in_several(scripted: ScriptedService) -> None:
    """By items and by bytes; an empty batch makes no call."""
    async with noisegate.connect(scripted.address, policy=QUICK) as client:
        session = client.session(IDS[0])
        assert await client.encrypt_batch([]) == []
        assert len(await client.encrypt_batch([(session, b"x")] * 2_049)) == 2_049
        assert [len(each.lengths) for each in scripted.requests("EncryptBatch")] == [1_024, 1_024, 1]
        scripted.raw.clear()
        results = await client.broadcast([session] * 50, bytes(60_000))
        assert all(isinstance(each, noisegate.Sealed) and each.counter == 7 for each in results)
        assert [len(each.session_ids) // 24 for each in scripted.requests("Broadcast")] == [21, 21, 8]


async def test_a_call_that_is_refused_is_refused_for_each_of_its_items(scripted: ScriptedService) -> None:
    """The other endpoints' items are answered."""
    async with scripted_service() as other, noisegate.connect(scripted.address, policy=QUICK) as client:
        other.answer("EncryptBatch", Refusal(StatusCode.PERMISSION_DENIED, "CALLER_FORBIDDEN"))
        near, far = client.session(IDS[0]), client.session(IDS[1], endpoint=other.address)
        first, second, third = await client.encrypt_batch([(far, b"a"), (near, b"b"), (far, b"c")])
        assert isinstance(first, noisegate.CallerForbidden)
        assert isinstance(third, noisegate.CallerForbidden)
        assert isinstance(second, noisegate.Sealed)


async def test_opened_records_say_what_they_were(scripted: ScriptedService) -> None:
    """Plaintexts, controls and refusals, each in its place."""
    answer = service.DecryptBatchResponse(
        plaintexts=b"hello", lengths=[5, 0, 0], counters=[4, 5, 0], epochs=[1, 1, 0], newest=b"\1\0\0",
        controls=[service.ItemControl(index=1, kind=service.CONTROL_KIND_KEEP_ALIVE)],
        errors=[service.ItemError(index=2, code=3, reason=reasons.ERROR_REASON_DECRYPT_FAILED)],
        to_peer=[service.ItemMessages(index=1, to_peer=[b"answer"])],
    )  # fmt: skip
    scripted.answer("DecryptBatch", answer)
    async with noisegate.connect(scripted.address, policy=QUICK) as client:
        sessions = [client.session(each, mode=RecordMode.NOISE) for each in IDS[:3]]
        first, second, third = await client.decrypt_batch([(each, b"record") for each in sessions])
        assert isinstance(first, noisegate.Opened)
        assert (first.session_id, first.plaintext, first.newest, first.epoch) == (IDS[0], b"hello", True, 1)
        assert isinstance(second, noisegate.Opened)
        assert (second.control, second.to_peer) == (noisegate.ControlKind.KEEP_ALIVE, (b"answer",))
        assert isinstance(third, noisegate.DecryptFailed)
        assert not sessions[2].ended


async def test_an_answer_that_is_not_whole_is_an_error_of_every_item(scripted: ScriptedService) -> None:
    """A service that answers fewer items than it was asked for gives no item another one's record."""
    scripted.answer("EncryptBatch", service.EncryptBatchResponse(ciphertexts=b"r", lengths=[1], counters=[1]))
    async with noisegate.connect(scripted.address, policy=QUICK) as client:
        session = client.session(IDS[0])
        results = await client.encrypt_batch([(session, b"a"), (session, b"b")])
        assert [type(each) for each in results] == [noisegate.NoisegateError] * 2
        with pytest.raises(ValueError, match="24 bytes"):
            await client.encrypt_batch([(client.session(b"short"), b"a")])


class Game:
    """Answers every player that something was read of."""

    def __init__(self) -> None:
        self.texts: list[tuple[noisegate.Session, bytes]] = []

    def take(self, session: noisegate.Session, text: bytes) -> None:
        """A player's input."""
        self.texts.append((session, text))


async def test_the_readmes_tick_plays(scripted: ScriptedService) -> None:
    """What opened is answered, what was refused is dropped, and everything for a player is sent to it."""
    opened = service.DecryptBatchResponse(
        plaintexts=b"up", lengths=[2, 0], counters=[1, 0], newest=b"\1\0",
        errors=[service.ItemError(index=1, code=3, reason=reasons.ERROR_REASON_DECRYPT_FAILED)],
        to_peer=[service.ItemMessages(index=0, to_peer=[b"confirmed"])],
    )  # fmt: skip
    scripted.answer("DecryptBatch", opened)
    sent: list[tuple[bytes, bytes]] = []
    async with noisegate.connect(scripted.address, policy=QUICK) as client:
        arrived = [(client.session(each), b"record") for each in IDS[:2]]
        await example(5)["tick"](client, arrived, Game(), lambda session, message: sent.append((session.id, message)))
    assert sent == [(IDS[0], b"confirmed"), (IDS[0], b"pu")]
