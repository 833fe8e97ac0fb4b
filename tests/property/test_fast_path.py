"""The fast path against the slow one: two services live the same life, one asked in batches, the other call by call.

Whatever happens between two batches (rotations, other networks, suspensions, packing, closing, limits, time), both give
the same bytes, and in the end their sessions are the same in every field.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate.v1 import session_pb2
from noisegate_server.session.errors import SessionError
from noisegate_server.store.suspended import Dormant
from tests.support.batches import error_of, packed, to_peer_of
from tests.support.fingerprint import fingerprint
from tests.support.in_process import LOCAL
from tests.support.match import Match

PLAYERS = 7
EVERYBODY = list(range(PLAYERS))
ROOMS = ([0, 0], [1, 1, 1])
"""Of players who have a path together, since they are of one kind: each is there again with every step."""
NETWORKS = (session_pb2.NETWORK_WIFI, session_pb2.NETWORK_CELLULAR)

player = st.integers(0, PLAYERS - 1)
some = st.lists(player, min_size=1, max_size=12)
steps = st.one_of(
    st.tuples(st.just("seal"), some),
    st.tuples(st.just("seal"), some),
    st.tuples(st.just("run"), some),
    st.tuples(st.just("cast"), some),
    st.tuples(st.just("open"), some),
    st.tuples(st.just("open"), some),
    st.tuples(st.just("reorder"), some),
    st.tuples(st.just("forge"), some),
    st.tuples(st.just("one"), player),
    st.tuples(st.just("rekey"), player),
    st.tuples(st.just("renegotiate"), player),
    st.tuples(st.just("answer_a_rotation"), player),
    st.tuples(st.just("follow_a_rekey"), player),
    st.tuples(st.just("change_network"), st.tuples(player, st.sampled_from(NETWORKS))),
    st.tuples(st.just("suspend"), player),
    st.tuples(st.just("close"), player),
    st.tuples(st.just("deliver"), st.none()),
    st.tuples(st.just("doze"), st.sampled_from([1.0, 6.0, 31.0, 130.0, 700.0])),
    st.tuples(st.just("wait"), st.sampled_from([0.2, 1.0, 16.0, 31.0, 130.0, 700.0])),
)


class Life:
    """A match whose service is asked in batches, or call by call; what both give is written down."""

    def __init__(self, *, in_batches: bool) -> None:
        self.match = Match()
        self.in_batches = in_batches
        self.log: list[Any] = []
        self.to_players: list[tuple[int, bytes]] = []
        self.to_service: list[tuple[int, bytes]] = []
        self.said = 0
        # One of them ends before anything else is due.
        brief = self.match.near.parts.store.get(LOCAL.tenant, self.match.ids[1], self.match.near.clock.now)
        brief.idle_timeout, brief.own_idle_timeout = 5.0, True

    def seal(self, players: list[int], counts: list[int], plaintexts: list[bytes]) -> None:
        """One plaintext after the other, for runs of these players."""
        whose = [each for each, count in zip(players, counts, strict=True) for _ in range(count)]
        ids = self.match.ids
        if not self.in_batches:
            for each, plaintext in zip(whose, plaintexts, strict=True):
                self.note_sealed(
                    each, self.match.alone("Encrypt", pb.EncryptRequest(session_id=ids[each], plaintext=plaintext))
                )
            return
        self.note_batch(
            whose,
            self.match.near.call(
                "EncryptBatch",
                pb.EncryptBatchRequest(
                    session_ids=b"".join(ids[each] for each in players),
                    counts=[] if set(counts) == {1} else counts,
                    lengths=map(len, plaintexts),
                    plaintexts=b"".join(plaintexts),
                ),
            ),
        )

    def cast(self, players: list[int], plaintext: bytes) -> None:
        """The same for all."""
        if not self.in_batches:
            self.seal(players, [1] * len(players), [plaintext] * len(players))
            return
        ids = b"".join(self.match.ids[each] for each in players)
        self.note_batch(
            players, self.match.near.call("Broadcast", pb.BroadcastRequest(session_ids=ids, plaintext=plaintext))
        )

    def note_batch(self, whose: list[int], batch: Any) -> None:
        """What a batch has sealed, as if it had been calls."""
        epochs = batch.epochs or [0] * len(whose)
        for index, (each, record) in enumerate(zip(whose, packed(batch, "ciphertexts"), strict=True)):
            error = error_of(batch, index)
            if error is not None:
                self.note_sealed(each, error)
                continue
            self.note_sealed(
                each,
                pb.EncryptResponse(
                    ciphertext=record,
                    counter=batch.counters[index],
                    epoch=epochs[index],
                    rotation_due=index in batch.rotation_due,
                    to_peer=to_peer_of(batch, index),
                ),
            )

    def note_sealed(self, each: int, answer: Any) -> None:
        self.log.append((each, answer))
        if not isinstance(answer, tuple):
            self.to_players += [(each, answer.ciphertext), *((each, packet) for packet in answer.to_peer)]

    def open(self, packets: list[tuple[int, bytes]]) -> None:
        """What came from players."""
        ids = self.match.ids
        if not self.in_batches:
            for each, packet in packets:
                self.note_opened(
                    each, self.match.alone("Decrypt", pb.DecryptRequest(session_id=ids[each], ciphertext=packet))
                )
            return
        batch = self.match.near.call(
            "DecryptBatch",
            pb.DecryptBatchRequest(
                session_ids=b"".join(ids[each] for each, _ in packets),
                lengths=[len(packet) for _, packet in packets],
                ciphertexts=b"".join(packet for _, packet in packets),
            ),
        )
        epochs, newest = batch.epochs or [0] * len(packets), batch.newest or bytes(len(packets))
        for index, ((each, _), content) in enumerate(zip(packets, packed(batch, "plaintexts"), strict=True)):
            error = error_of(batch, index)
            if error is not None:
                self.note_opened(each, error)
                continue
            control = [found for found in batch.controls if found.index == index]
            answer = pb.DecryptResponse(
                session_id=ids[each],
                counter=batch.counters[index],
                epoch=epochs[index],
                newest=bool(newest[index]),
                early=index in batch.early,
                rotation_due=index in batch.rotation_due,
                to_peer=to_peer_of(batch, index),
            )
            if control:
                answer.control.kind = control[0].kind
                answer.control.answered = control[0].answered
            else:
                answer.plaintext = content
            self.note_opened(each, answer)

    def note_opened(self, each: int, answer: Any) -> None:
        self.log.append((each, answer))
        if not isinstance(answer, tuple):
            self.to_players += [(each, packet) for packet in answer.to_peer]

    def call(self, each: int, method: str, request: Any) -> None:
        """A call that is no batch in either life."""
        answer = self.match.alone(method, request)
        self.log.append((each, answer))
        if not isinstance(answer, tuple):
            self.to_players += [(each, packet) for packet in getattr(answer, "to_peer", ())]

    def ask_player(self, each: int, method: str, request: Any) -> Any:
        """Have the player's own instance do something; None where it refuses."""
        code, body = self.match.far.raw(method, request.SerializeToString())
        if code:
            return None
        answer = getattr(pb, f"{method}Response").FromString(body)
        self.to_service += [(each, packet) for packet in getattr(answer, "to_peer", ())]
        return answer

    def deliver(self) -> None:
        """Whatever is on its way arrives, and what comes of it too."""
        for _ in range(4):
            mail, self.to_players = self.to_players, []
            for each, packet in mail:
                far_id = self.match.far_ids[each]
                self.ask_player(each, "Decrypt", pb.DecryptRequest(session_id=far_id, ciphertext=packet))
            mail, self.to_service = self.to_service, []
            if mail:
                self.open(mail)

    def spoken(self, players: list[int]) -> list[tuple[int, bytes]]:
        """A packet of each player that still can."""
        packets = []
        for each in players:
            self.said += 1
            request = pb.EncryptRequest(session_id=self.match.far_ids[each], plaintext=b"said %d" % self.said)
            answer = self.ask_player(each, "Encrypt", request)
            if answer is not None:
                packets.append((each, answer.ciphertext))
        return packets

    def live(self, what: str, how: Any) -> None:
        """One step."""
        getattr(self, f"_{what}")(how)

    def _seal(self, players: list[int]) -> None:
        self.seal(players, [1] * len(players), [b"to %d" % each * (each + 1) for each in players])

    def _run(self, players: list[int]) -> None:
        counts = [1 + each % 3 for each in players]
        self.seal(players, counts, [b"run"] * sum(counts))

    def _cast(self, players: list[int]) -> None:
        self.cast(players, b"to all")

    def _open(self, players: list[int]) -> None:
        self.open(self.spoken(players))

    def _reorder(self, players: list[int]) -> None:
        packets = self.spoken(players)
        self.open(packets[1:][::-1] + packets + packets[:1])

    def _forge(self, players: list[int]) -> None:
        self.open([(each, packet[:-1] + bytes((packet[-1] ^ 1,))) for each, packet in self.spoken(players)])

    def _one(self, each: int) -> None:
        self.call(each, "Encrypt", pb.EncryptRequest(session_id=self.match.ids[each], plaintext=b"alone"))

    def _rekey(self, each: int) -> None:
        self.call(each, "Rotate", pb.RotateRequest(session_id=self.match.ids[each], kind=pb.ROTATION_KIND_REKEY))

    def _renegotiate(self, each: int) -> None:
        self.call(each, "Rotate", pb.RotateRequest(session_id=self.match.ids[each], kind=pb.ROTATION_KIND_RENEGOTIATE))

    def _answer_a_rotation(self, each: int) -> None:
        request = pb.RotateRequest(session_id=self.match.far_ids[each], kind=pb.ROTATION_KIND_RENEGOTIATE)
        self.ask_player(each, "Rotate", request)

    def _follow_a_rekey(self, each: int) -> None:
        request = pb.RotateRequest(session_id=self.match.far_ids[each], kind=pb.ROTATION_KIND_REKEY)
        self.ask_player(each, "Rotate", request)

    def _change_network(self, how: tuple[int, Any]) -> None:
        each, network = how
        request = pb.ChangeNetworkRequest(session_id=self.match.ids[each], network=network)
        answer = self.match.alone("ChangeNetwork", request)
        self.log.append((each, answer))
        if not isinstance(answer, tuple):
            self.to_players += [(each, packet) for change in answer.changes for packet in change.to_peer]

    def _suspend(self, each: int) -> None:
        session_id = self.match.ids[each]
        self.call(each, "SuspendSession", pb.SuspendSessionRequest(session_id=session_id))
        self.cast([each], b"nobody is there")
        self.call(each, "RestoreSession", pb.RestoreSessionRequest(session_id=session_id))

    def _close(self, each: int) -> None:
        self.call(each, "CloseSession", pb.CloseSessionRequest(session_id=self.match.ids[each]))

    def _deliver(self, _: None) -> None:
        self.deliver()

    def _doze(self, seconds: float) -> None:
        self.match.step(seconds)

    def _wait(self, seconds: float) -> None:
        self.match.step(seconds)
        for service in (self.match.near, self.match.far):
            service.parts.store.sweep(service.clock.now, 1_000)

    def states(self) -> list[str]:
        """Every field of every session that still lives."""
        near, found = self.match.near, []
        for session_id in self.match.ids[:PLAYERS]:
            try:
                session = near.parts.store.get(LOCAL.tenant, session_id, near.clock.now)
            except (SessionError, Dormant) as error:
                found.append(type(error).__name__)
            else:
                found.append(fingerprint(session))
        return found


@pytest.mark.fixed_ephemeral
@settings(max_examples=25, deadline=None)
@given(life=st.lists(steps, max_size=12))
@example(
    life=[
        ("change_network", (0, NETWORKS[1])),
        ("change_network", (3, NETWORKS[1])),
        ("change_network", (3, NETWORKS[0])),
    ]
)
@example(life=[("doze", 6.0), ("seal", [1, 0, 1])])
@example(life=[("rekey", 0), ("follow_a_rekey", 1), ("deliver", None)])
@example(life=[("renegotiate", 0), ("answer_a_rotation", 1), ("deliver", None), ("doze", 31.0)])
@example(life=[("suspend", 0), ("close", 1), ("wait", 16.0), ("reorder", [0, 4, 5])])
def test_a_life_in_batches_is_a_life_of_single_calls(life: list[tuple[str, Any]]) -> None:
    """Same bytes, counters and refusals at every step, and the same sessions in the end."""
    fast, slow = Life(in_batches=True), Life(in_batches=False)
    # Whatever comes, it finds sessions on the fast path, and batches follow it at once.
    for what, how in [("cast", EVERYBODY), *life, ("deliver", None)]:
        for each in (fast, slow):
            each.live(what, how)
            for room in ROOMS:
                each.live("cast", room)
                each.live("seal", room)
            each.live("cast", EVERYBODY)
            each.live("open", EVERYBODY)
        assert fast.log == slow.log
        assert fast.states() == slow.states()
