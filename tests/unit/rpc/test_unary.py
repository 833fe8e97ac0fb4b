"""The wrapper of every unary method: what it admits, how it answers, what it repeats."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google.rpc import error_details_pb2

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.rpc.call import Call, Caller, Code
from noisegate_server.rpc.health import Health
from noisegate_server.session.errors import DecryptFailed, Overloaded
from tests.support.in_process import LOCAL, call
from tests.support.rpc_table import (
    METHOD,
    SESSION,
    Clock,
    Script,
    detail,
    error_info,
    make_rpc,
    make_table,
    only,
    reason,
    request,
)


async def test_a_handler_gets_the_tenant_the_message_and_both_times() -> None:
    """Nothing below reads a clock, so both times come through here."""
    script = Script()
    table = make_table(make_rpc(Clock(7.0)), script)
    assert await call(table, METHOD, request(plaintext=b"hello")) == (
        0,
        pb.EncryptResponse(ciphertext=b"1").SerializeToString(),
    )
    [(tenant, message, now, wall)] = script.calls
    assert (tenant, message.plaintext, now, wall) == ("local", b"hello", 7.0, 5.0)


async def test_a_malformed_body_is_an_invalid_request() -> None:
    """A truncated varint is the caller's mistake, and says nothing about our parser."""
    script = Script()
    reply = await call(make_table(make_rpc(), script), METHOD, b"\x0a\xff")
    assert (reply[0], reason(reply)) == (Code.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert detail(reply, error_details_pb2.BadRequest).field_violations
    assert script.calls == []


@pytest.mark.parametrize(("size", "expected"), [(73_728, "INVALID_REQUEST"), (73_729, "MESSAGE_TOO_LARGE")])
async def test_the_size_limit_is_checked_before_the_body_is_parsed(size: int, expected: str) -> None:
    """A body of the exact limit is parsed (and is no message); one byte more is not looked at."""
    reply = await call(make_table(make_rpc(), Script()), METHOD, b"\xff" * size)
    assert (reply[0], reason(reply)) == (Code.INVALID_ARGUMENT, expected)


@pytest.mark.parametrize(
    ("caller", "code", "expected"),
    [
        (Caller(identity="", tenant=""), Code.UNAUTHENTICATED, "CALLER_UNAUTHENTICATED"),
        (Caller(identity="spiffe://a/b", tenant=""), Code.PERMISSION_DENIED, "CALLER_FORBIDDEN"),
    ],
)
async def test_a_caller_without_a_tenant_is_refused(caller: Caller, code: Code, expected: str) -> None:
    """Whatever went wrong before, no tenant means no method."""
    script = Script()
    reply = await call(make_table(make_rpc(), script), METHOD, request(), caller)
    assert (reply[0], reason(reply)) == (code, expected)
    assert script.calls == []


async def test_a_method_that_the_policy_does_not_grant_is_refused() -> None:
    """The refusal names the method that was missing."""
    script = Script()
    reply = await call(make_table(make_rpc(policy=only("/test.Service/Other")), script), METHOD, request())
    assert (reply[0], reason(reply)) == (Code.PERMISSION_DENIED, "CALLER_FORBIDDEN")
    assert dict(error_info(reply).metadata) == {"permission": METHOD}
    assert script.calls == []
    assert (await call(make_table(make_rpc(policy=only(METHOD)), script), METHOD, request()))[0] == 0


async def test_a_draining_server_refuses_with_a_hint_to_retry() -> None:
    """UNAVAILABLE alone lets gRPC libraries retry elsewhere."""
    health = Health()
    table = make_table(make_rpc(health=health), Script())
    assert (await call(table, METHOD, request()))[0] == 0
    health.drain()
    reply = await call(table, METHOD, request())
    assert (reply[0], reason(reply)) == (Code.UNAVAILABLE, "DRAINING")
    assert detail(reply, error_details_pb2.RetryInfo).retry_delay.ToMilliseconds() == 100


async def test_an_unforeseen_error_says_nothing_but_the_request() -> None:
    """Its text may hold a key; it goes to nobody, its type to `on_defect`."""
    defects: list[tuple[str, str]] = []

    def fail(_: object) -> None:
        raise ZeroDivisionError("secret-key-bytes")

    rpc = make_rpc(on_defect=lambda method, error: defects.append((method, type(error).__name__)))
    reply = await call(make_table(rpc, Script(fail)), METHOD, request("id-1"))
    assert (reply[0], reason(reply)) == (Code.INTERNAL, "INTERNAL")
    assert b"secret" not in reply[1]
    assert detail(reply, error_details_pb2.RequestInfo).request_id == "id-1"
    assert defects == [(METHOD, "ZeroDivisionError")]


async def test_without_a_request_id_nothing_is_remembered() -> None:
    """The same bytes twice are two records."""
    script = Script()
    rpc = make_rpc()
    table = make_table(rpc, script)
    assert await call(table, METHOD, request()) != await call(table, METHOD, request())
    assert len(script.calls) == 2
    assert len(rpc.repeats) == 0


async def test_a_repeat_gets_the_same_answer_and_runs_once() -> None:
    """A lost answer costs no counter and no replay refusal."""
    script = Script()
    table = make_table(make_rpc(), script)
    first = await call(table, METHOD, request("a"))
    assert await call(table, METHOD, request("a")) == first
    assert await call(table, METHOD, request("b")) != first
    assert len(script.calls) == 2


async def test_another_body_under_the_same_request_id_is_a_conflict() -> None:
    """The first answer stays what it was."""
    table = make_table(make_rpc(), Script())
    first = await call(table, METHOD, request("a", b"one"))
    reply = await call(table, METHOD, request("a", b"two"))
    assert (reply[0], reason(reply)) == (Code.ALREADY_EXISTS, "IDEMPOTENCY_CONFLICT")
    assert await call(table, METHOD, request("a", b"one")) == first


async def test_tenants_do_not_share_request_ids() -> None:
    """One tenant can neither read nor block another's answers."""
    script = Script()
    table = make_table(make_rpc(), script)
    one = await call(table, METHOD, request("a"), Caller(identity="", tenant="one"))
    two = await call(table, METHOD, request("a", b"other"), Caller(identity="", tenant="two"))
    assert one[0] == two[0] == 0
    assert [tenant for tenant, *_ in script.calls] == ["one", "two"]


async def test_an_answer_is_forgotten_when_its_time_is_over() -> None:
    """Just before five seconds it is repeated, at five it is not."""
    clock = Clock()
    script = Script()
    table = make_table(make_rpc(clock), script)
    first = await call(table, METHOD, request("a"))
    clock.now += 4.999
    assert await call(table, METHOD, request("a")) == first
    clock.now += 0.001
    assert await call(table, METHOD, request("a")) != first


async def test_any_call_lets_old_answers_go() -> None:
    """Answers may hold plaintext, so they do not wait for a request_id to come by."""
    clock = Clock()
    rpc = make_rpc(clock)
    table = make_table(rpc, Script())
    await call(table, METHOD, request("a"))
    assert len(rpc.repeats) == 1
    clock.now += 5.0
    await call(table, METHOD, request())
    assert len(rpc.repeats) == 0


async def test_a_refusal_is_repeated_too() -> None:
    """Else a repeat of a failed step would meet another state than the first."""
    script = Script(_raise(DecryptFailed()))
    table = make_table(make_rpc(), script)
    first = await call(table, METHOD, request("a"))
    assert reason(first) == "DECRYPT_FAILED"
    assert await call(table, METHOD, request("a")) == first
    assert len(script.calls) == 1


async def test_unavailable_is_not_repeated() -> None:
    """It is there to be tried again."""
    script = Script(_raise(Overloaded("too many")))
    table = make_table(make_rpc(), script)
    assert reason(await call(table, METHOD, request("a"))) == "OVERLOADED"
    script.then = None
    assert (await call(table, METHOD, request("a")))[0] == 0
    assert len(script.calls) == 2


@pytest.mark.parametrize(("request_id", "fits"), [("x" * 64, True), ("x" * 65, False), ("\u00e9" * 33, False)])
async def test_a_request_id_has_at_most_64_bytes(request_id: str, fits: bool) -> None:
    """Bytes of UTF-8, not characters."""
    reply = await call(make_table(make_rpc(), Script()), METHOD, request(request_id))
    assert (reply[0] == 0) is fits
    if not fits:
        assert detail(reply, error_details_pb2.BadRequest).field_violations[0].field == "request_id"


async def test_a_waiting_handler_answers_once_for_all_its_repeats() -> None:
    """A repeat that comes while the first still waits must not run it again."""
    gate = asyncio.Event()
    script = Script(_waiting(gate))
    rpc = make_rpc()
    table = make_table(rpc, script, waits=True)
    first = asyncio.ensure_future(call(table, METHOD, request("a")))
    second = asyncio.ensure_future(call(table, METHOD, request("a")))
    await asyncio.sleep(0)
    conflicting = await call(table, METHOD, request("a", b"other"))
    assert reason(conflicting) == "IDEMPOTENCY_CONFLICT"
    gate.set()
    assert await first == await second == await call(table, METHOD, request("a"))
    assert len(script.calls) == 1


@pytest.mark.parametrize("request_id", ["", "a"])
async def test_a_waiting_handler_runs_to_its_end_when_its_call_is_cancelled(request_id: str) -> None:
    """Half an operation on a store is worse than an answer that nobody reads."""
    gate, done = asyncio.Event(), asyncio.Event()
    table = make_table(make_rpc(), Script(_waiting(gate, done)), waits=True)
    running = asyncio.ensure_future(call(table, METHOD, request(request_id)))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not done.is_set()
    gate.set()
    await asyncio.wait_for(done.wait(), 5)


@pytest.mark.parametrize("request_id", ["", "a"])
async def test_a_waiting_handlers_errors_are_mapped_as_others_are(request_id: str) -> None:
    """Before its first await and after it."""
    gate = asyncio.Event()
    gate.set()
    late = make_table(make_rpc(), Script(_waiting(gate, fail=DecryptFailed())), waits=True)
    early = make_table(make_rpc(), Script(_raise(DecryptFailed())), waits=True)
    for table in (late, early):
        assert reason(await call(table, METHOD, request(request_id))) == "DECRYPT_FAILED"


async def test_the_in_memory_path_answers_without_an_awaitable() -> None:
    """A future for each call would cost more than the call."""
    function = make_table(make_rpc(), Script())[METHOD].unary
    assert function is not None
    assert isinstance(function(Call(LOCAL), request("a")), tuple)
    assert isinstance(function(Call(LOCAL), request("")), tuple)


async def test_answers_of_one_session_are_kept_up_to_eight() -> None:
    """The ninth pushes the first out, which then runs again."""
    script = Script()
    table = make_table(make_rpc(), script)
    for number in range(9):
        await call(table, METHOD, request(str(number)))
    await call(table, METHOD, request("1"))
    assert len(script.calls) == 9
    await call(table, METHOD, request("0"))
    assert len(script.calls) == 10
    await call(table, METHOD, request("x", session_id=SESSION[::-1]))
    assert len(script.calls) == 11


def _raise(error: Exception) -> Any:
    def fail(_: object) -> None:
        raise error

    return fail


def _waiting(gate: asyncio.Event, done: asyncio.Event | None = None, fail: Exception | None = None) -> Any:
    async def answer() -> pb.EncryptResponse:
        await gate.wait()
        if done is not None:
            done.set()
        if fail is not None:
            raise fail
        return pb.EncryptResponse(ciphertext=b"late")

    return lambda _: answer()
