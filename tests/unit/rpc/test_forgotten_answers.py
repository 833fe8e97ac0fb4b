"""Answers that are kept for repeats hold plaintexts: they go with their session, whatever ends it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from google.protobuf.duration_pb2 import Duration

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate.v1 import session_pb2
from noisegate_server.engine.revoke import revoke
from noisegate_server.engine.suspend import put_away
from noisegate_server.rpc import limits
from noisegate_server.store.packing import IDLE_S
from tests.support.engines import at_once
from tests.support.match import DATAGRAM, NOISE, Match
from tests.support.rpc_table import reason

TENANT = "local"
SECONDS = 3


class Played:
    """A session of a player called ann, which lives for three seconds, whose last record was answered by request_id."""

    def __init__(self, match: Match, mode: session_pb2.RecordMode.ValueType, *, idle_s: int = 0) -> None:
        self.match = match
        options = session_pb2.SessionOptions(lifetime=Duration(seconds=60 if idle_s else SECONDS))
        if idle_s:
            options.idle_timeout.seconds = idle_s
        near, far = match.meet(mode=mode, options=options)
        match.ids.insert(0, near)
        match.far_ids.insert(0, far)
        self.id = near
        self.request = pb.DecryptRequest(session_id=near, request_id="r", ciphertext=match.packet(0, b"secret"))
        self.batch = pb.DecryptBatchRequest(request_id="b", session_ids=near)
        packet = match.packet(0, b"secret")
        self.batch.lengths.append(len(packet))
        self.batch.ciphertexts = packet
        assert match.near.call("Decrypt", self.request).plaintext == b"secret"
        assert match.near.call("DecryptBatch", self.batch).plaintexts == b"secret"

    @property
    def is_kept(self) -> bool:
        """Whether a repeat still gets the plaintext; both answers go together."""
        code, body = self.match.near.raw("Decrypt", self.request.SerializeToString())
        alone = code == 0 and pb.DecryptResponse.FromString(body).plaintext == b"secret"
        together: bool = self.match.near.call("DecryptBatch", self.batch).plaintexts == b"secret"
        assert alone is together
        return alone


def close(played: Played) -> None:
    """The caller closes it."""
    played.match.near.call("CloseSession", pb.CloseSessionRequest(session_id=played.id))


def suspend(played: Played) -> None:
    """The caller suspends it."""
    played.match.near.call("SuspendSession", pb.SuspendSessionRequest(session_id=played.id))


def suspend_for_its_blob(played: Played) -> None:
    """The caller takes it away."""
    played.match.near.call("SuspendSession", pb.SuspendSessionRequest(session_id=played.id, return_blob=True))


def lose_the_network(played: Played) -> None:
    """Its player is on no network."""
    request = pb.ChangeNetworkRequest(session_id=played.id, network=session_pb2.NETWORK_NONE)
    played.match.near.call("ChangeNetwork", request)


def revoke_the_player(played: Played) -> None:
    """An operator revokes whoever has this session."""
    near = played.match.near
    session = near.parts.store.get(TENANT, played.id, near.clock.now)
    at_once(revoke(near.parts, TENANT, static_key=session.remote_static, now=near.clock.now, wall=1.8e9))


def the_player_closes(played: Played) -> None:
    """The player says good-bye."""
    request = pb.CloseSessionRequest(session_id=played.match.far_ids[0])
    for farewell in played.match.far.call("CloseSession", request).to_peer:
        played.match.near.call("Decrypt", pb.DecryptRequest(session_id=played.id, ciphertext=farewell))


def outlive(played: Played) -> None:
    """Its time is over, and a sweep comes by."""
    played.match.step(SECONDS + 0.5)
    near = played.match.near
    assert len(near.parts.store.sweep(near.clock.now, 100)) == 1


BOTH = [close, suspend, lose_the_network, revoke_the_player, outlive]


@pytest.mark.parametrize(
    ("mode", "end"), [*((mode, end) for mode in (NOISE, DATAGRAM) for end in BOTH),
                      (DATAGRAM, suspend_for_its_blob), (DATAGRAM, the_player_closes)],
)  # fmt: skip
def test_what_was_opened_goes_with_its_session(
    mode: session_pb2.RecordMode.ValueType, end: Callable[[Played], None]
) -> None:
    """Closed, suspended by the caller, revoked, closed by its player, or over: no repeat gives its plaintexts."""
    played = Played(Match(f"kept, {end.__name__} {mode}"), mode)
    assert played.is_kept
    end(played)
    assert not played.is_kept


def test_what_the_service_suspends_keeps_its_answers() -> None:
    """It goes on with the next call, and that may be a repeat, which must not move a counter."""
    played = Played(Match("kept, idle"), NOISE)
    near = played.match.near
    session = near.parts.store.get(TENANT, played.id, near.clock.now)
    at_once(put_away(near.parts, [session], by_service=True, now=near.clock.now, wall=1.8e9))
    assert played.is_kept


def test_a_session_that_was_idle_for_longer_than_answers_are_kept_has_none() -> None:
    """So those that end by the thousand cost no search; one with a shorter time does."""
    played = Played(Match("kept, briefly idle"), DATAGRAM, idle_s=2)
    outlive(played)
    assert not played.is_kept
    assert max(limits.REPEAT_SECONDS, limits.HANDSHAKE_REPEAT_SECONDS) < IDLE_S


def test_a_refused_close_drops_nothing() -> None:
    """The session lives on, so its answers do."""
    played = Played(Match("kept, refused"), NOISE)
    refused = played.match.near.refused(
        "SuspendSession", pb.SuspendSessionRequest(session_id=played.id, return_blob=True)
    )
    assert reason(refused) == "INVALID_REQUEST"
    assert played.is_kept


def test_a_repeated_close_is_answered_as_the_first_was() -> None:
    """Its own answer is of a session that has ended already."""
    played = Played(Match("kept, twice"), DATAGRAM)
    request = pb.CloseSessionRequest(session_id=played.id, request_id="close")
    first = played.match.near.call("CloseSession", request)
    assert first.to_peer
    assert played.match.near.call("CloseSession", request) == first


@pytest.mark.parametrize("closes", [True, False])
def test_an_unfinished_handshake_takes_its_answers_with_it(closes: bool) -> None:
    """Closed, or given up after a time."""
    near = Match(f"unfinished {closes}").near
    initiate = pb.InitiateHandshake(
        protocol=session_pb2.Protocol(
            pattern=session_pb2.PATTERN_XX, suite=session_pb2.SUITE_CHACHA20_POLY1305_X25519
        ),
        mode=NOISE,
    )  # fmt: skip
    request = pb.HandshakeRequest(initiate=initiate, request_id="h")
    begun = near.call("Handshake", request)
    assert near.call("Handshake", request) == begun
    if closes:
        near.call("CloseSession", pb.CloseSessionRequest(session_id=begun.session_id))
    else:
        near.clock.now += limits.HANDSHAKE_REPEAT_SECONDS
        near.parts.store.sweep(near.clock.now, 100)
    assert near.call("Handshake", request).session_id != begun.session_id
