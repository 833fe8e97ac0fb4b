"""Deadlines, repeats and endpoints of calls, against a real server."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
from google.protobuf.message import Message
from grpc import StatusCode

import noisegate
from noisegate._channels import Channels
from noisegate.v1 import session_crypto_service_pb2 as service
from tests.unit.sdk.scripted_service import (
    SESSION_ID,
    Refusal,
    ScriptedService,
    cutting_relay,
    scripted_service,
)

QUICK = noisegate.CallPolicy(packet_deadline=5, control_deadline=5, first_backoff=0.001, max_backoff=0.002)
SEALED = service.EncryptResponse(ciphertext=b"record", counter=7, epoch=2)
DOWN = Refusal(StatusCode.UNAVAILABLE)
UNANSWERED = (StatusCode.UNAVAILABLE, StatusCode.CANCELLED)
"""gRPC cancels calls that reach a server in the moment in which it stops."""


@pytest.fixture
async def scripted() -> AsyncIterator[ScriptedService]:
    """A running scripted service."""
    async with scripted_service() as running:
        yield running


async def test_a_call_is_repeated_with_the_same_bytes(scripted: ScriptedService) -> None:
    """The service knows a repeat by its request_id, and refuses one with another body."""
    scripted.answer("Encrypt", DOWN, DOWN, SEALED)
    async with noisegate.connect(scripted.address, policy=QUICK) as client:
        sealed = await client.session(SESSION_ID).encrypt(b"hi")
    first, *repeats = scripted.bodies("Encrypt")
    assert repeats == [first, first]
    assert sealed.packet == b"record"


async def test_every_call_has_a_request_id_of_its_own(scripted: ScriptedService) -> None:
    """UUID version 4, from the entropy that the client was given."""
    scripted.answer("Encrypt", SEALED)
    numbers = iter(range(256))
    async with noisegate.connect(scripted.address, entropy=lambda n: bytes([next(numbers)]) * n) as client:
        session = client.session(SESSION_ID)
        await session.encrypt(b"same")
        await session.encrypt(b"same")
    ids = [request.request_id for request in scripted.requests("Encrypt")]
    assert ids == [str(uuid.UUID(bytes=bytes([n]) * 16, version=4)) for n in (0, 1)]


async def test_a_cut_connection_is_repeated(scripted: ScriptedService) -> None:
    """The answer is lost after the service did the work: the repeat asks for the same answer again."""
    scripted.answer("Encrypt", SEALED)
    async with cutting_relay(scripted.address) as relay:
        relay.cuts = 1
        async with noisegate.connect(relay.address, policy=QUICK) as client:
            sealed = await client.session(SESSION_ID).encrypt(b"hi")
    assert (relay.cuts, sealed.counter) == (0, 7)
    first, second = scripted.bodies("Encrypt")
    assert first == second


async def test_repeats_are_bounded(scripted: ScriptedService) -> None:
    """A service that goes on refusing is an error after the last attempt."""
    scripted.answer("Encrypt", Refusal(StatusCode.UNAVAILABLE, "OVERLOADED"))
    policy = noisegate.CallPolicy(attempts=3, packet_deadline=5, first_backoff=0.001)
    async with noisegate.connect(scripted.address, policy=policy) as client:
        with pytest.raises(noisegate.ServiceUnavailable):
            await client.session(SESSION_ID).encrypt(b"hi")
    assert len(scripted.bodies("Encrypt")) == 3


@pytest.mark.parametrize("away", [DOWN, Refusal(StatusCode.UNAVAILABLE, "DRAINING"), Refusal(StatusCode.CANCELLED)])
async def test_a_service_that_is_away_is_waited_for(scripted: ScriptedService, away: Refusal) -> None:
    """Its sessions come back with it; more attempts than others have are no error while there is time."""
    scripted.answer("Encrypt", *[away] * 12, SEALED)
    policy = noisegate.CallPolicy(attempts=2, packet_deadline=10, first_backoff=0.001, max_backoff=0.002)
    async with noisegate.connect(scripted.address, policy=policy) as client:
        await client.session(SESSION_ID).encrypt(b"hi")
    assert len(set(scripted.bodies("Encrypt"))) == 1
    assert len(scripted.bodies("Encrypt")) == 13


async def test_who_wants_no_repeats_gets_none(scripted: ScriptedService) -> None:
    """Not of a service that is away either."""
    scripted.answer("Encrypt", DOWN, SEALED)
    async with noisegate.connect(scripted.address, policy=noisegate.CallPolicy(attempts=1)) as client:
        with pytest.raises(noisegate.ServiceUnavailable):
            await client.session(SESSION_ID).encrypt(b"hi")


@pytest.mark.parametrize("code", [code for code in StatusCode if code not in (StatusCode.OK, *UNANSWERED)])
async def test_no_other_refusal_is_repeated(scripted: ScriptedService, code: StatusCode) -> None:
    """Only those two say that nothing may have happened."""
    scripted.answer("Decrypt", Refusal(code))
    async with noisegate.connect(scripted.address, policy=QUICK) as client:
        with pytest.raises(noisegate.NoisegateError) as caught:
            await client.session(SESSION_ID).decrypt(b"record")
    assert caught.value.code is code
    assert len(scripted.bodies("Decrypt")) == 1


async def test_a_retry_delay_beyond_the_deadline_is_not_waited_for(scripted: ScriptedService) -> None:
    """The service says when to come back; the caller learns at once that this is too late for it."""
    scripted.answer("Encrypt", Refusal(StatusCode.UNAVAILABLE, "OVERLOADED", retry_delay=60))
    async with noisegate.connect(scripted.address, policy=QUICK) as client:
        with pytest.raises(noisegate.Overloaded) as caught:
            await client.session(SESSION_ID).encrypt(b"hi")
    assert caught.value.retry_delay == 60
    assert len(scripted.bodies("Encrypt")) == 1


async def test_the_deadline_holds_for_all_attempts_together(scripted: ScriptedService) -> None:
    """A repeat gets what is left of the time, not a time of its own; the service is told so."""
    scripted.answer("Encrypt", DOWN, SEALED)
    policy = noisegate.CallPolicy(packet_deadline=5, first_backoff=0.2)
    async with noisegate.connect(scripted.address, policy=policy, entropy=lambda n: b"\xff" * n) as client:
        await client.session(SESSION_ID).encrypt(b"hi")
    # All of the back-off, as this entropy has it, is gone; the margin is how gRPC rounds deadlines up.
    assert scripted.remaining[1] <= 5 - 0.2 + 0.02


async def test_packets_and_other_calls_have_deadlines_of_their_own(scripted: ScriptedService) -> None:
    """A packet that is late is worth nothing; a handshake is worth waiting for."""
    scripted.answer("Encrypt", SEALED)
    scripted.answer("CloseSession", service.CloseSessionResponse())
    policy = noisegate.CallPolicy(packet_deadline=30, control_deadline=60)
    async with noisegate.connect(scripted.address, policy=policy) as client, client.session(SESSION_ID) as session:
        await session.encrypt(b"hi")
    packet, control = scripted.remaining
    assert packet < 31 < control < 61


async def test_a_deadline_that_passes_is_an_error_and_is_not_repeated(scripted: ScriptedService) -> None:
    """Whether the service did it is not known, so that the caller decides."""

    async def silence(_: Message) -> Message:
        await asyncio.Event().wait()
        return SEALED

    scripted.answer("Encrypt", silence)
    async with noisegate.connect(scripted.address, policy=noisegate.CallPolicy(packet_deadline=0.05)) as client:
        with pytest.raises(noisegate.DeadlineExceeded):
            await client.session(SESSION_ID).encrypt(b"hi")
    assert len(scripted.raw) <= 1


def test_backoff_doubles_up_to_its_most_and_half_of_it_is_random() -> None:
    """RetryInfo's delay comes on top, so that clients told the same delay do not come back together."""
    policy = noisegate.CallPolicy(first_backoff=0.1, max_backoff=0.3)
    assert [policy.delay(repeat, 1, None) for repeat in range(4)] == pytest.approx([0.1, 0.2, 0.3, 0.3])
    assert policy.delay(0, 0, None) == pytest.approx(0.05)
    assert policy.delay(0, 0.5, 2.0) == pytest.approx(2.075)
    assert policy.delay(100_000, 1, None) == pytest.approx(0.3)


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"packet_deadline": 0}, {"control_deadline": -1}])
def test_a_policy_that_cannot_work_is_refused(wrong: dict[str, int]) -> None:
    """Told where it is written and not at the first call."""
    with pytest.raises(ValueError, match="at least 1"):
        noisegate.CallPolicy(**wrong)


async def test_a_wrong_owner_sends_the_call_on_and_is_remembered(scripted: ScriptedService) -> None:
    """The same bytes go to the owner, and so do all later calls of the session."""
    async with scripted_service() as owner, noisegate.connect(scripted.address, policy=QUICK) as client:
        scripted.answer("Encrypt", Refusal(StatusCode.ABORTED, "WRONG_OWNER", {"owner": owner.address}))
        owner.answer("Encrypt", SEALED)
        session = client.session(SESSION_ID)
        await session.encrypt(b"one")
        await session.encrypt(b"two")
        assert session.endpoint == owner.address
        assert scripted.bodies("Encrypt") == owner.bodies("Encrypt")[:1]
        assert len(owner.bodies("Encrypt")) == 2


async def test_owners_that_point_at_each_other_are_an_error(scripted: ScriptedService) -> None:
    """A circle ends after a few hops."""
    scripted.answer("Encrypt", Refusal(StatusCode.ABORTED, "WRONG_OWNER", {"owner": scripted.address}))
    async with noisegate.connect(scripted.address, policy=QUICK) as client:
        with pytest.raises(noisegate.WrongOwner):
            await client.session(SESSION_ID).encrypt(b"hi")
    assert len(scripted.bodies("Encrypt")) == 3


async def test_an_endpoint_must_not_talk_the_client_out_of_tls(scripted: ScriptedService) -> None:
    """A loopback client in plaintext refuses to follow the service to another machine."""
    scripted.answer("Encrypt", Refusal(StatusCode.ABORTED, "WRONG_OWNER", {"owner": "192.0.2.1:7443"}))
    async with noisegate.connect(scripted.address, policy=QUICK) as client:
        with pytest.raises(noisegate.InsecureTarget):
            await client.session(SESSION_ID).encrypt(b"hi")


async def test_closing_the_client_ends_calls_under_way(scripted: ScriptedService) -> None:
    """A task that waits for an answer learns why it gets none, and is not cancelled itself."""
    arrived = asyncio.Event()

    async def silence(_: Message) -> Message:
        arrived.set()
        await asyncio.Event().wait()
        return SEALED

    scripted.answer("Encrypt", silence)
    client = noisegate.connect(scripted.address, policy=QUICK)
    task = asyncio.create_task(client.session(SESSION_ID).encrypt(b"hi"))
    await arrived.wait()
    await client.close()
    with pytest.raises(noisegate.ClientClosed):
        await task
    with pytest.raises(noisegate.ClientClosed):
        await client.capabilities()


async def test_cancelling_a_task_cancels_its_call(scripted: ScriptedService) -> None:
    """Cancellation stays cancellation."""
    arrived = asyncio.Event()

    async def silence(_: Message) -> Message:
        arrived.set()
        await asyncio.Event().wait()
        return SEALED

    scripted.answer("Encrypt", silence)
    async with noisegate.connect(scripted.address, policy=QUICK) as client:
        task = asyncio.create_task(client.session(SESSION_ID).encrypt(b"hi"))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_idle_channels_give_way_to_new_ones() -> None:
    """A fleet whose addresses change for months must not leave a channel for each; one in use and the target's stay."""
    channels = Channels("127.0.0.1:1", tls=None, insecure=False, limit=3)
    target = await channels.lane("")
    busy = await channels.lane("127.0.0.2:1")
    idle = await channels.lane("127.0.0.3:1")
    target.in_flight = idle.in_flight = 0
    await channels.lane("127.0.0.4:1")
    assert await channels.lane("127.0.0.1:1") is target
    assert await channels.lane("127.0.0.2:1") is busy
    assert await channels.lane("127.0.0.3:1") is not idle
    await channels.close()
