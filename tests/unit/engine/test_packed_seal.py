"""Batches seal for packed sessions straight from their records, and these stay packed."""

from __future__ import annotations

import pytest

from noisegate_server.engine import seal_batch, sessions
from noisegate_server.engine.batch import Steps
from noisegate_server.engine.policy import Options
from noisegate_server.noise import primitives
from noisegate_server.session.errors import RekeyRequired, SessionClosed, SessionNotFound
from noisegate_server.session.limits import LowerLimits
from noisegate_server.session.packed_seal import SOON_S
from noisegate_server.session.state import RecordMode, TerminationReason
from noisegate_server.store.base import StoreLimits
from noisegate_server.store.packing import IDLE_S
from tests.support.engines import TENANT, End, Engines, Link, establish


def asleep(engines: Engines, **kind: object) -> Link:
    """A session that has talked, and was packed at both ends."""
    link = establish(engines, **kind)  # type: ignore[arg-type]
    link.talk()
    doze(engines)
    assert packed(link.responder) == 1
    return link


def doze(engines: Engines, seconds: float = IDLE_S + 1.0) -> None:
    """Nobody calls for a while."""
    engines.clock.step(seconds)
    for engine in engines.made:
        engine.sweep()


def packed(end: End) -> int:
    """How many sessions of its engine are packed."""
    return end.engine.parts.store.counts().packed


def seal(end: End, *plaintexts: bytes, associated_data: bytes = b"", tenant: str = TENANT) -> seal_batch.SealedBatch:
    """One batch, all of one session."""
    clock = end.engine.clock
    ids, data = end.session_id * len(plaintexts), [associated_data] * len(plaintexts)
    return served(seal_batch.encrypt_batch(end.engine.parts, tenant, ids, plaintexts, data, clock.now, clock.wall))


def served(steps: Steps[seal_batch.SealedBatch]) -> seal_batch.SealedBatch:
    """What a batch gives that nobody interrupts."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            batch: seal_batch.SealedBatch = stop.value
            return batch


def packets(batch: seal_batch.SealedBatch) -> list[bytes]:
    """Its records."""
    joined, found, at = b"".join(batch.records.pieces), [], 0
    for length in batch.records.lengths:
        found.append(joined[at : at + length])
        at += length
    return found


def test_a_packed_session_seals_and_stays_packed(engines: Engines) -> None:
    """The peer opens it; the counter, the use and the new end of its life are noted."""
    link = asleep(engines)
    (sealed,) = packets(seal(link.responder, b"straight", associated_data=b"tick 7"))
    assert packed(link.responder) == 1
    assert link.initiator.open(sealed, b"tick 7").plaintext == b"straight"
    (view,), _ = sessions.listing(link.responder.engine.parts, TENANT, "", "", 10, "", engines.clock.now)
    assert (view.sealed, view.idle) == (3, 0.0)
    assert packed(link.responder) == 1


def test_a_batch_for_packed_sessions_pauses_often(engines: Engines) -> None:
    """So that others wait for some of them at most; none is unpacked on the way."""
    engine, clock = engines.make(limits=StoreLimits(sessions_per_peer=40)), engines.clock
    ends = [establish(engines, responder=engine).responder for _ in range(40)]
    doze(engines)
    assert packed(ends[0]) == len(ends)
    ids, before = b"".join(end.session_id for end in ends), engine.parts.counts.sealed
    steps = seal_batch.encrypt_batch(engine.parts, TENANT, ids, [b""] * len(ends), [], clock.now, clock.wall)
    sealed = [engine.parts.counts.sealed - before for _ in steps]
    assert [*sealed, engine.parts.counts.sealed - before] == [32, 40]
    assert packed(ends[0]) == len(ends)


def test_counters_go_on_whichever_way_a_session_seals(engines: Engines) -> None:
    """From the record, as an object, from the record again: each is used once."""
    link = asleep(engines)
    counters = []
    for _ in range(3):
        batch = seal(link.responder, b"packed")
        counters += batch.records.counters
        assert packed(link.responder) == 1
        link.initiator.open(packets(batch)[0])
        counters.append(link.initiator.open(link.responder.seal(b"object")).counter)
        assert packed(link.responder) == 0
        doze(engines)
    assert counters == list(range(2, 8))


def test_a_counter_whose_record_never_came_to_be_is_not_used_again(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is noted in the record before any ciphertext exists."""
    link = asleep(engines)
    with monkeypatch.context() as broken:
        broken.delitem(primitives._AEADS, "ChaChaPoly")
        with pytest.raises(KeyError):
            seal(link.responder, b"never")
    assert packed(link.responder) == 1
    doze(engines)
    assert seal(link.responder, b"later").records.counters == [3]


def test_who_seals_again_at_once_becomes_an_object(engines: Engines) -> None:
    """A session in use is better off as one; who comes by now and then is not."""
    link = asleep(engines)
    batch = seal(link.responder, b"one", b"two", b"three")
    assert packed(link.responder) == 0
    assert batch.records.counters == [2, 3, 4]
    assert [link.initiator.open(each).plaintext for each in packets(batch)] == [b"one", b"two", b"three"]
    doze(engines)
    for _ in range(5):
        seal(link.responder, b"now and then")
        engines.clock.step(SOON_S)
    assert packed(link.responder) == 1


@pytest.mark.parametrize(
    "kind",
    [
        {"options": Options(mask=True)},
        {"options": Options(pad=True)},
        {"options": Options(ratchet=True)},
        {"mode": RecordMode.NOISE},
    ],
)
def test_what_seals_in_another_way_is_unpacked_for_it(engines: Engines, kind: dict[str, object]) -> None:
    """A mask, padding, a key of each message, a bare Noise message."""
    link = asleep(engines, **kind)
    assert link.initiator.open(packets(seal(link.responder, b"as ever"))[0]).plaintext == b"as ever"
    assert packed(link.responder) == 0


def test_a_broadcast_wakes_no_packed_session(engines: Engines) -> None:
    """It seals as a batch does."""
    link = asleep(engines)
    clock, end = engines.clock, link.responder
    batch = served(
        seal_batch.broadcast(end.engine.parts, TENANT, end.session_id, b"to all", b"", clock.now, clock.wall)
    )
    assert packed(end) == 1
    assert link.initiator.open(packets(batch)[0]).plaintext == b"to all"


def test_a_count_that_outgrows_its_record_is_kept_by_an_object(engines: Engines) -> None:
    """Records have numbers as wide as they need: one that needs more is packed anew, and nothing is lost."""
    link = asleep(engines)
    were_packed = []
    for _ in range(4):
        link.initiator.open(packets(seal(link.responder, bytes(100)))[0])
        were_packed.append(packed(link.responder))
        doze(engines)
    assert were_packed == [1, 1, 0, 1]
    assert link.responder.datagrams.current.sender.sent_bytes == 400 + 2 * len(b"ping")


def test_limits_hold(engines: Engines) -> None:
    """Soft ones make a rotation due, by an object; past the hard one nothing is sealed."""
    lower = LowerLimits(soft_bytes=20, hard_bytes=30)
    link = asleep(engines, options=Options(rotation=lower))
    assert packed(link.responder) == 1
    said = []
    for _ in range(4):
        said.append(seal(link.responder, b"ten bytes!"))
        link.lose_everything()
        doze(engines, 2.0)
    assert [each.sparse.rotation_due for each in said] == [[], [], [0], []]
    assert isinstance(said[3].sparse.errors[0][1], RekeyRequired)


def test_an_epoch_that_is_too_old_is_rotated(engines: Engines) -> None:
    """Age counts for a packed session as for an object."""
    link = asleep(engines, options=Options(rotation=LowerLimits(soft_age=30.0)))
    assert not seal(link.responder, b"young").sparse.rotation_due
    assert packed(link.responder) == 1
    engines.clock.step(20.0)
    assert seal(link.responder, b"old").sparse.rotation_due == [0]
    assert packed(link.responder) == 0


def test_another_tenant_is_told_of_nothing(engines: Engines) -> None:
    """As of an id that does not exist, and no counter is spent."""
    link = asleep(engines)
    errors = seal(link.responder, b"mine", tenant="other").sparse.errors
    assert [type(error) for _, error in errors] == [SessionNotFound]
    assert packed(link.responder) == 1
    assert seal(link.responder, b"ours").records.counters == [2]


def test_a_session_whose_time_is_over_seals_nothing(engines: Engines) -> None:
    """Though no sweep has come by yet; a use in time had put its end off, for sweeps too."""
    link = asleep(engines, options=Options(idle_timeout=60.0))
    engines.clock.step(40.0)
    seal(link.responder, b"in time")
    doze(engines, 40.0)
    assert packed(link.responder) == 1
    engines.clock.step(21.0)
    ((_, error),) = seal(link.responder, b"too late").sparse.errors
    assert isinstance(error, SessionClosed)
    assert error.cause == TerminationReason.IDLE.name


def test_what_a_closed_session_leaves_is_zeros(engines: Engines) -> None:
    """The record that was written to is wiped like any other."""
    link = asleep(engines)
    seal(link.responder, b"last words")
    found = link.responder.engine.parts.store.packed_record(TENANT, link.responder.session_id)
    assert found is not None
    _, record = found
    assert any(record)
    doze(engines, 3_600.0)
    assert link.responder.engine.parts.store.counts().sessions == 0
    # The first bytes of a free slot lead to the next one; the record stands behind its slot's head.
    assert not any(record)
