"""EncryptBatch, DecryptBatch and Broadcast, bytes to bytes over a real engine."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from google.rpc import error_details_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from noisegate.v1 import error_reason_pb2 as reasons
from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.rpc.call import Call
from noisegate_server.rpc.limits import MAX_BATCH_BYTES
from noisegate_server.rpc.table import SERVICE_PREFIX
from noisegate_server.session.datagram import DatagramRecords
from tests.support.batches import error_of, packed, to_peer_of
from tests.support.engine_table import Service
from tests.support.in_process import LOCAL
from tests.support.match import DATAGRAM, OTHER, Match
from tests.support.rpc_table import detail, reason

PLAYERS = 7
"""Sessions of a Match that can be used; four that cannot follow."""
ALL = range(PLAYERS + 4)


data = st.sampled_from([b"", b"", b"ad"])
items = st.lists(st.tuples(st.binary(max_size=80), data), min_size=1, max_size=5)
runs = st.lists(st.tuples(st.sampled_from(ALL), items), max_size=10)
twins = pytest.mark.fixed_ephemeral
"""Two services with the same randomness use every nonce twice, once each."""


@twins
@settings(max_examples=15, deadline=None)
@given(runs=runs, late=st.sampled_from([0.0, 3_700.0]), counted=st.booleans())
def test_a_batch_is_the_same_calls_one_by_one(
    runs: list[tuple[int, list[tuple[bytes, bytes]]]], late: float, counted: bool
) -> None:
    """Same bytes, counters and refusals, and the same state after it, whatever the sessions are; order is kept."""
    together, apart = Match(), Match()
    together.step(late)
    apart.step(late)
    items = [(player, plaintext, data) for player, run in runs for plaintext, data in run]
    request = pb.EncryptBatchRequest(
        session_ids=b"".join(together.ids[p] for p in ([p for p, _ in runs] if counted else [p for p, _, _ in items])),
        counts=[len(run) for _, run in runs] if counted else [],
        lengths=[len(plaintext) for _, plaintext, _ in items],
        plaintexts=b"".join(plaintext for _, plaintext, _ in items),
        associated_data_lengths=[len(data) for _, _, data in items],
        associated_data=b"".join(data for _, _, data in items),
    )
    batch = together.near.call("EncryptBatch", request)
    records = packed(batch, "ciphertexts")
    epochs = batch.epochs or [0] * len(items)
    assert len(records) == len(items) == len(batch.counters) == len(epochs)
    for index, (player, plaintext, data) in enumerate(items):
        alone = apart.alone(
            "Encrypt", pb.EncryptRequest(session_id=apart.ids[player], plaintext=plaintext, associated_data=data)
        )
        if isinstance(alone, tuple):
            assert error_of(batch, index) == alone
            assert records[index] == b""
        else:
            assert error_of(batch, index) is None
            assert records[index] == alone.ciphertext
            assert (batch.counters[index], epochs[index]) == (alone.counter, alone.epoch)
            assert (index in batch.rotation_due) == alone.rotation_due
            assert to_peer_of(batch, index) == list(alone.to_peer)
    assert together.states() == apart.states()


packets = st.lists(
    st.tuples(
        st.sampled_from(range(PLAYERS)),
        st.sampled_from(["data", "data", "data", "again", "forged", "cut", "other"]),
        st.binary(max_size=40),
        data,
    ),
    max_size=24,
)


@twins
@settings(max_examples=15, deadline=None)
@given(packets=packets, chance=st.randoms(use_true_random=False), named=st.booleans())
def test_a_batch_of_packets_is_the_same_calls_one_by_one(packets: list[Any], chance: Any, named: bool) -> None:
    """Lost, repeated, reordered and forged ones too, with sessions named or found by connection id."""
    together, apart = Match(), Match()
    seen: list[tuple[int, bytes, bytes]] = []
    for sender, what, plaintext, sent_data in packets:
        if sender == PLAYERS - 1 and not named:
            continue
        player, data, packet = sender, sent_data, together.packet(sender, plaintext, sent_data)
        assert packet == apart.packet(sender, plaintext, sent_data)
        if what == "forged":
            packet = packet[:-1] + bytes((packet[-1] ^ 1,))
        elif what == "cut":
            packet = packet[: chance.randrange(len(packet))]
        elif what == "again" and seen:
            player, packet, data = chance.choice(seen)
        elif what == "other":
            player = chance.choice(list(ALL))
        seen.append((player, packet, data))
    chance.shuffle(seen)
    request = pb.DecryptBatchRequest(
        session_ids=b"".join(together.ids[player] for player, _, _ in seen) if named else b"",
        lengths=[len(packet) for _, packet, _ in seen],
        ciphertexts=b"".join(packet for _, packet, _ in seen),
        associated_data_lengths=[len(data) for _, _, data in seen],
        associated_data=b"".join(data for _, _, data in seen),
    )
    batch = together.near.call("DecryptBatch", request)
    plaintexts = packed(batch, "plaintexts")
    epochs, newest = batch.epochs or [0] * len(seen), batch.newest or bytes(len(seen))
    assert len(plaintexts) == len(seen) == len(batch.counters) == len(newest)
    session_ids = packed(batch, "session_ids", [24] * len(seen)) if not named and seen else []
    for index, (player, packet, data) in enumerate(seen):
        session_id = apart.ids[player] if named else b""
        alone = apart.alone(
            "Decrypt", pb.DecryptRequest(session_id=session_id, ciphertext=packet, associated_data=data)
        )
        if isinstance(alone, tuple):
            assert error_of(batch, index) == alone
            assert plaintexts[index] == b""
            continue
        assert error_of(batch, index) is None
        assert plaintexts[index] == alone.plaintext
        assert [each.kind for each in batch.controls if each.index == index] == (
            [alone.control.kind] if alone.HasField("control") else []
        )
        assert (batch.counters[index], epochs[index], bool(newest[index])) == (
            alone.counter, alone.epoch, alone.newest,
        )  # fmt: skip
        assert (index in batch.early, index in batch.rotation_due) == (alone.early, alone.rotation_due)
        assert to_peer_of(batch, index) == list(alone.to_peer)
        assert named or session_ids[index] == alone.session_id
    assert together.states() == apart.states()


@twins
@settings(max_examples=8, deadline=None)
@given(players=st.lists(st.sampled_from(ALL), max_size=20), plaintext=st.binary(max_size=300))
def test_a_broadcast_is_one_batch_of_the_same_plaintext(players: list[int], plaintext: bytes) -> None:
    """One record for each session, in their order, with the refusals of those that cannot seal."""
    together, apart = Match(), Match()
    ids = b"".join(together.ids[player] for player in players)
    cast = together.near.call(
        "Broadcast", pb.BroadcastRequest(session_ids=ids, plaintext=plaintext, associated_data=b"a")
    )
    batch = apart.near.call(
        "EncryptBatch",
        pb.EncryptBatchRequest(
            session_ids=ids,
            lengths=[len(plaintext)] * len(players),
            plaintexts=plaintext * len(players),
            associated_data_lengths=[1] * len(players),
            associated_data=b"a" * len(players),
        ),
    )
    assert cast.SerializeToString() == batch.SerializeToString()
    assert together.states() == apart.states()


def test_a_foreign_session_in_a_batch_is_an_unknown_one() -> None:
    """Another tenant's id answers as one that never was, and its session is as before."""
    match = Match("foreign")
    foreign = match.ids[PLAYERS + 2]
    batch = match.near.call(
        "EncryptBatch",
        pb.EncryptBatchRequest(session_ids=foreign + match.ids[0] + bytes(24), lengths=[1, 1, 1], plaintexts=b"abc"),
    )
    assert list(batch.lengths) == [0, 33, 0]
    assert error_of(batch, 0) == error_of(batch, 2) == (5, "SESSION_NOT_FOUND", {})
    theirs = match.near.call("GetSession", pb.GetSessionRequest(session_id=foreign), OTHER)
    assert theirs.session.sealed == 0


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"session_ids": bytes(23)}, "session_ids"),
        ({"session_ids": bytes(48), "lengths": [1]}, "lengths"),
        ({"session_ids": bytes(24), "lengths": [2]}, "lengths"),
        ({"session_ids": bytes(24), "lengths": [1], "counts": [2]}, "counts"),
        ({"session_ids": bytes(48), "lengths": [1], "counts": [1, 0]}, "counts"),
        ({"session_ids": bytes(24), "lengths": [1], "counts": [2**31]}, "counts"),
        ({"session_ids": bytes(24), "lengths": [1], "associated_data": b"x"}, "associated_data_lengths"),
        ({"session_ids": bytes(24), "lengths": [1], "associated_data_lengths": [0, 0]}, "associated_data_lengths"),
    ],
)
@pytest.mark.parametrize(("method", "contents"), [("EncryptBatch", "plaintexts"), ("DecryptBatch", "ciphertexts")])
def test_a_batch_that_does_not_add_up_is_refused_whole(
    method: str, contents: str, fields: dict[str, Any], path: str
) -> None:
    """The refusal names the field."""
    request = getattr(pb, f"{method}Request")(**{contents: b"p"}, **fields)
    if "lengths" not in fields:
        request.ClearField(contents)
    reply = Service().refused(method, request)
    assert reason(reply) == "INVALID_REQUEST"
    assert detail(reply, error_details_pb2.BadRequest).field_violations[0].field == path


def known_room(match: Match, places: list[bytes]) -> None:
    """Seal for them until they have a path."""
    for _ in range(3):
        match.near.call("Broadcast", pb.BroadcastRequest(session_ids=b"".join(places), plaintext=b"tick"))


@pytest.mark.parametrize("method", ["EncryptBatch", "Broadcast"])
def test_a_session_with_two_places_in_a_room_seals_for_both_up_to_its_limit(method: str) -> None:
    """One record before a limit has to be looked at: every item is answered, each under a counter of its own."""
    match = Match(f"two places, {method}")
    first, second = (match.meet(mode=DATAGRAM)[0] for _ in range(2))
    places = [first, second, first]
    known_room(match, places)
    session = match.near.parts.store.get(LOCAL.tenant, first, match.near.clock.now)
    assert isinstance(session.records, DatagramRecords)
    assert session.seal_path is not None
    last = session.seal_path.stop - 1
    session.records.current.sender.counter = last
    ids = b"".join(places)
    request: Any = pb.BroadcastRequest(session_ids=ids, plaintext=b"tick")
    if method == "EncryptBatch":
        request = pb.EncryptBatchRequest(session_ids=ids, lengths=[1] * 3, plaintexts=b"abc")
    batch = match.near.call(method, request)
    assert not batch.errors
    assert all(packed(batch, "ciphertexts"))
    assert [batch.counters[0], batch.counters[2]] == [last, last + 1]


@twins
@pytest.mark.parametrize("left", [0, 1, 2])
@pytest.mark.parametrize(("places", "data"), [(3, b"ad"), (600, b"")], ids=["associated data", "two parts"])
def test_a_known_room_in_which_a_limit_comes_is_the_same_calls_one_by_one(places: int, data: bytes, left: int) -> None:
    """Whichever record it comes before: each item has its own text and data, and the next counter of its session."""
    together, apart = (Match(f"a limit, {places}, {left}") for _ in range(2))
    for match in (together, apart):
        match.ids = [*match.ids[:2], match.meet(mode=DATAGRAM)[0]]
        known_room(match, [match.ids[n % 3] for n in range(places)])
        session = match.near.parts.store.get(LOCAL.tenant, match.ids[1], match.near.clock.now)
        assert isinstance(session.records, DatagramRecords)
        assert session.seal_path is not None
        session.records.current.sender.counter = session.seal_path.stop - left
    for tick in range(2):
        texts = [b"%d %d" % (tick, n) for n in range(places)]
        request = pb.EncryptBatchRequest(
            session_ids=b"".join(together.ids[n % 3] for n in range(places)),
            lengths=map(len, texts),
            plaintexts=b"".join(texts),
            associated_data_lengths=[len(data)] * places if data else [],
            associated_data=data * places,
        )
        batch = together.near.call("EncryptBatch", request)
        assert not batch.errors
        for n, record in enumerate(packed(batch, "ciphertexts")):
            alone = apart.alone(
                "Encrypt", pb.EncryptRequest(session_id=apart.ids[n % 3], plaintext=texts[n], associated_data=data)
            )
            assert (record, batch.counters[n]) == (alone.ciphertext, alone.counter)
            assert (n in batch.rotation_due) == alone.rotation_due
    assert together.states() == apart.states()


@pytest.mark.parametrize("known", [False, True])
async def test_a_batch_of_too_many_bytes_is_refused_for_a_known_room_too(known: bool) -> None:
    """Together they are limited, whatever the service has found out about the room; nothing is sealed of it."""
    match = Match(f"too many bytes, {known}")
    places = [match.meet(mode=DATAGRAM)[0] for _ in range(2)] * 11
    if known:
        known_room(match, places)
    session = match.near.parts.store.get(LOCAL.tenant, places[0], match.near.clock.now)
    assert session.records is not None
    before = session.records.sealed
    cast = pb.BroadcastRequest(session_ids=b"".join(places), plaintext=bytes(60_000))
    assert reason(match.near.refused("Broadcast", cast)) == "MESSAGE_TOO_LARGE"
    size = MAX_BATCH_BYTES // len(places) + 1
    each = pb.EncryptBatchRequest(
        session_ids=b"".join(places), lengths=[size] * len(places), plaintexts=bytes(size * len(places))
    )
    function = match.near.table[SERVICE_PREFIX + "EncryptBatch"].unary
    assert function is not None
    reply = function(Call(LOCAL), each.SerializeToString())
    # Who brings so much leaves others a turn first.
    assert reason(reply if isinstance(reply, tuple) else await reply) == "MESSAGE_TOO_LARGE"
    assert session.records.sealed == before


def test_a_repeated_batch_gets_the_answer_that_it_had() -> None:
    """Nothing is sealed twice; the same request_id over other items is a conflict."""
    match = Match("repeats")
    request = pb.EncryptBatchRequest(
        session_ids=match.ids[0] + match.ids[1], request_id="tick 1", lengths=[1, 1], plaintexts=b"ab"
    )
    first, again = (match.near.raw("EncryptBatch", request.SerializeToString()) for _ in range(2))
    assert first == again
    assert match.states()[0].session.sealed == 1
    request.plaintexts = b"ac"
    assert reason(match.near.refused("EncryptBatch", request)) == "IDEMPOTENCY_CONFLICT"


@pytest.mark.parametrize("ends", ["CloseSession", "SuspendSession"])
@pytest.mark.parametrize("named", ["each", "in runs", "by connection id"])
def test_the_answer_to_a_repeat_has_forgotten_sessions_that_were_closed(named: str, ends: str) -> None:
    """Their plaintexts alone: the others' records would be replays if they were opened again."""
    match = Match(f"forgotten {named} {ends}")
    order = (0, 0, 1, 2) if named == "in runs" else (0, 1, 0, 2)
    texts = [b"text %d of %d" % (n, player) for n, player in enumerate(order)]
    packets = [match.packet(player, text) for player, text in zip(order, texts, strict=True)]
    packets[3] = packets[3][:-1]
    request = pb.DecryptBatchRequest(
        request_id="tick 1", lengths=map(len, packets), ciphertexts=b"".join(packets), counts=[2, 1, 1]
    )
    if named == "in runs":
        request.session_ids = b"".join(match.ids[:3])
    else:
        request.ClearField("counts")
        request.session_ids = b"" if named == "by connection id" else b"".join(match.ids[each] for each in order)
    first = match.near.call("DecryptBatch", request)
    assert first.plaintexts == b"".join(texts[:3])
    match.near.call(ends, getattr(pb, f"{ends}Request")(session_id=match.ids[0]))
    again = match.near.call("DecryptBatch", request)
    assert again.plaintexts == texts[order.index(1)]
    assert [each > 0 for each in again.lengths] == [player == 1 for player in order]
    assert [(each.index, each.reason) for each in again.errors] == [
        *((n, reasons.ERROR_REASON_REPLAY_DETECTED) for n, player in enumerate(order) if not player),
        (3, reasons.ERROR_REASON_DECRYPT_FAILED),
    ]
    assert (again.counters, again.epochs, again.session_ids) == (first.counters, first.epochs, first.session_ids)
    assert match.near.call("DecryptBatch", request) == again


def test_a_field_that_only_protobuf_reads_is_read_all_the_same() -> None:
    """Numbers that are not packed, a field in two parts and one of a later version: as protobuf has them."""
    match = Match("odd forms")
    sealed = pb.EncryptBatchRequest(session_ids=match.ids[0], counts=[2]).SerializeToString()
    lengths = b"\x25\x01\x00\x00\x00" * 2
    body = sealed + lengths + b"\x2a\x01a" + b"\x2a\x02bc" + b"\x7a\x01x"
    code, answer = match.near.raw("EncryptBatch", body)
    assert code == 0
    assert list(pb.EncryptBatchResponse.FromString(answer).lengths) == [33, 33]


def test_a_refused_item_leaves_nothing_for_the_garbage_collector() -> None:
    """Whatever was refused goes with the answer: no cycle of errors, their tracebacks and the batch."""
    service = Service()
    request = pb.EncryptBatchRequest(session_ids=bytes(48), lengths=[1, 1], plaintexts=b"ab")
    packets = pb.DecryptBatchRequest(session_ids=bytes(48), lengths=[40, 40], ciphertexts=bytes(80))
    gc.collect()
    gc.disable()
    try:
        assert len(service.call("EncryptBatch", request).errors) == 2
        assert len(service.call("DecryptBatch", packets).errors) == 2
        assert gc.collect() == 0
    finally:
        gc.enable()
