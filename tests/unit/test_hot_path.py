"""The budget of the hot path: how many calls one Encrypt costs between the transport and the AEAD."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.rpc.call import Call, Caller
from noisegate_server.rpc.table import SERVICE_PREFIX, build_table
from noisegate_server.rpc.unary import Rpc
from noisegate_server.session.state import RecordMode
from tests.support.engines import TENANT, Engines, establish

MAX_CALLS = 40
"""Python and C functions together, with the few that the record of nonces adds in a test run."""


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
    called: list[str] = []

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            called.append(frame.f_code.co_qualname)
        elif event == "c_call":
            called.append(argument.__qualname__)

    sys.setprofile(note)
    try:
        reply = encrypt(call, body)
    finally:
        sys.setprofile(None)
    # The last one that is noted takes the profiler off.
    del called[-1]
    assert isinstance(reply, tuple)
    assert len(pb.EncryptResponse.FromString(reply[1]).ciphertext) == 200 + end.session.records.overhead  # type: ignore[union-attr]  # established
    assert len(called) <= MAX_CALLS, "\n".join(called)
