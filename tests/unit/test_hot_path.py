"""The budget of the hot path: how many calls one Encrypt costs between the transport and the AEAD."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.rpc.call import Call, Caller
from noisegate_server.rpc.table import SERVICE_PREFIX, build_table
from noisegate_server.rpc.unary import Rpc
from noisegate_server.session.state import RecordMode
from tests.support.engines import TENANT, Engines, establish
from tests.support.in_process import LOCAL
from tests.support.match import Match

MAX_CALLS = 40
"""Python and C functions together, with the few that the record of nonces adds in a test run."""
MAX_CALLS_OF_AN_ITEM = 10
"""Likewise, of one item of a batch."""
MAX_CALLS_IN_A_ROOM = 8
"""Likewise, where the sessions are those of the batches before."""
MAX_CALLS_OF_A_BATCH = 90
"""Of a batch for such sessions beside its items: no task, no coroutine, no step."""


@pytest.mark.parametrize("mode", RecordMode)
def test_one_encrypt_is_a_handful_of_calls(engines: Engines, mode: RecordMode) -> None:
    """Each call is some tens of nanoseconds beside a microsecond of crypto: a layer too many shows here at once."""
    link = establish(engines, mode=mode)
    end = link.responder
    clock = engines.clock
    table = build_table(Rpc(parts=end.engine.parts, clock=lambda: clock.now, wall=lambda: clock.wall))
    encrypt = table[f"{SERVICE_PREFIX}Encrypt"].unary
    assert encrypt is not None
    call = Call(Caller(identity="", tenant=TENANT))
    body = pb.EncryptRequest(session_id=end.session_id, plaintext=bytes(200)).SerializeToString()
    # The first one builds the AEAD's context, which the next ones find.
    encrypt(call, body)
    called, reply = profiled(lambda: encrypt(call, body))
    assert isinstance(reply, tuple)
    assert len(pb.EncryptResponse.FromString(reply[1]).ciphertext) == 200 + end.session.records.overhead  # type: ignore[union-attr]  # established
    assert len(called) <= MAX_CALLS, "\n".join(called)


@pytest.mark.parametrize("method", ["EncryptBatch", "DecryptBatch", "Broadcast"])
def test_an_item_of_a_batch_is_fewer_calls_still(method: str) -> None:
    """Nothing that a batch does once is done for each item: no look-up of a method, no task, no object of ours."""
    match = Match(f"calls of {method}")
    function = match.near.table[SERVICE_PREFIX + method].unary
    assert function is not None

    def calls(items: int) -> list[str]:
        ids = b"".join(match.ids[n % 2] for n in range(items))
        request: Any = pb.BroadcastRequest(session_ids=ids, plaintext=b"text")
        if method == "EncryptBatch":
            request = pb.EncryptBatchRequest(session_ids=ids, lengths=[4] * items, plaintexts=b"text" * items)
        if method == "DecryptBatch":
            packets = [match.packet(n % 2, b"text") for n in range(items)]
            request = pb.DecryptBatchRequest(session_ids=ids, lengths=map(len, packets), ciphertexts=b"".join(packets))
        body = request.SerializeToString()
        called, reply = profiled(lambda: function(Call(LOCAL), body))
        assert isinstance(reply, tuple)
        assert reply[0] == 0
        assert not getattr(pb, f"{method}Response").FromString(reply[1]).errors
        return called

    # The first ones confirm the sessions and build their contexts.
    calls(2)
    few, many = calls(2), calls(34)
    assert len(many) - len(few) <= 32 * MAX_CALLS_OF_AN_ITEM, "\n".join(many)
    if method != "DecryptBatch":
        # The second one for the same sessions finds their path.
        calls(34)
        few, many = calls(2), calls(34)
        assert len(many) - len(few) <= 32 * MAX_CALLS_IN_A_ROOM, "\n".join(many)
        assert len(few) <= 2 * MAX_CALLS_IN_A_ROOM + MAX_CALLS_OF_A_BATCH, "\n".join(few)


def profiled(work: Callable[[], Any]) -> tuple[list[str], Any]:
    """The names of all Python and C functions that `work` calls, and what it gives."""
    called: list[str] = []

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            called.append(frame.f_code.co_qualname)
        elif event == "c_call":
            called.append(argument.__qualname__)

    sys.setprofile(note)
    try:
        given = work()
    finally:
        sys.setprofile(None)
    # The last one that is noted takes the profiler off.
    return called[:-1], given
