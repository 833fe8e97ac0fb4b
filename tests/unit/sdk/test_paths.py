"""Where bytes may go: following an address, the limit of three times, and which sessions are known."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

import noisegate
from noisegate import Opened
from noisegate._paths import Path, SessionTable
from noisegate._session import Session

HOME, AWAY = "home", "away"


def record(counter: int, *, epoch: int = 0, newest: bool = True, early: bool = False) -> Opened:
    """An opened record."""
    return Opened(
        session_id=b"s" * 24,
        plaintext=b"",
        control=None,
        to_peer=(),
        counter=counter,
        epoch=epoch,
        early=early,
        newest=newest,
        rotation_due=False,
    )


def test_an_unproved_address_gets_three_times_what_came_from_it() -> None:
    """To the byte, and whole messages only."""
    path = Path(HOME, 100, provable=True)
    assert path.may_send(200)
    assert not path.may_send(101)
    assert path.may_send(100)
    assert not path.may_send(1)
    path.came(AWAY, 1_000)
    assert not path.may_send(1)
    path.came(HOME, 1)
    assert path.may_send(3)


def test_finishing_the_handshake_proves_its_address() -> None:
    """Whoever finishes it has read our message, which went only there."""
    path = Path(HOME, 1, provable=True)
    proved = []
    for source in (AWAY, HOME):
        path.finished(source)
        proved.append(path.verified)
    assert proved == [False, True]
    assert path.may_send(60_000)


def test_a_first_record_proves_the_address_of_the_handshake() -> None:
    """Its keys need our answer; early data does not."""
    path = Path(HOME, 1, provable=True)
    proved = []
    for first in (record(0, early=True), record(1)):
        path.opened(HOME, 50, first)
        proved.append(path.verified)
    assert proved == [False, True]


def test_an_answer_that_went_elsewhere_too_proves_nothing() -> None:
    """A player may let its handshake run at a stranger's address and read the answers at its own."""
    path = Path(HOME, 1, provable=True)
    path.answered_elsewhere()
    path.finished(HOME)
    path.opened(HOME, 50, record(0))
    assert not path.verified


def test_the_newest_record_moves_the_path_and_the_proof_stays_behind() -> None:
    """The new address begins with what this record paid for; going home needs no new proof."""
    path = Path(HOME, 1, provable=True)
    path.verify()
    assert path.opened(AWAY, 10, record(5))
    assert (path.address, path.verified) == (AWAY, False)
    assert path.may_send(30)
    assert not path.may_send(1)
    assert not path.opened(AWAY, 10, record(6))
    assert not path.verified
    assert path.opened(HOME, 10, record(7))
    assert (path.address, path.verified) == (HOME, True)


@pytest.mark.parametrize(
    ("late", "why"),
    [
        (record(9, epoch=1, newest=False), "not the newest"),
        (record(4, epoch=1), "an older answer"),
        (record(9, epoch=0), "an older epoch"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_no_other_record_moves_the_path(late: Opened, why: str) -> None:
    """Answers of calls that ran side by side come in any order."""
    path = Path(HOME, 1, provable=True)
    path.opened(HOME, 1, record(5, epoch=1))
    assert not path.opened(AWAY, 10, late), why
    assert path.address == HOME


ADDRESSES = st.sampled_from(["a", "b", "c"])
SIZES = st.integers(1, 1_500)
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("record"), ADDRESSES, SIZES, st.booleans(), st.integers(0, 30)),
        st.tuples(st.just("junk"), ADDRESSES, SIZES, st.booleans(), st.just(0)),
        st.tuples(st.just("send"), st.just(""), SIZES, st.booleans(), st.just(0)),
    ),
    max_size=60,
)


@given(EVENTS)
def test_nobody_is_flooded_by_a_player_who_forges_addresses(
    events: list[tuple[str, str, int, bool, int]],
) -> None:
    """Without a handshake at an address, what was sent there is at most three times what came from there."""
    path = Path("a", 100, provable=False)
    came: defaultdict[str, int] = defaultdict(int, a=100)
    sent: defaultdict[str, int] = defaultdict(int)
    for kind, source, size, flag, counter in events:
        if kind == "send":
            if path.may_send(size):
                sent[path.address] += size
            continue
        came[source] += size
        path.came(source, size)
        if kind == "record":
            path.opened(source, size, record(counter, newest=flag))
        assert not path.verified
    assert all(amount <= 3 * came[address] for address, amount in sent.items())


def known_session(number: int) -> Session:
    """A handle with a connection id."""
    info = noisegate.SessionInfo(
        session_id=bytes([number]) * 24,
        state=noisegate.SessionState.ESTABLISHED,
        termination_reason=noisegate.TerminationReason.NONE,
        mode=noisegate.RecordMode.DATAGRAM,
        role=noisegate.Role.RESPONDER,
        peer_id="",
        group="",
        established=None,
        epoch=0,
        sealed=0,
        opened=0,
        refused=0,
        age=0,
        idle=0,
        connection_id=connection_id(number),
        endpoint="",
    )
    return noisegate.connect("127.0.0.1:1").adopt(info)


def connection_id(number: int) -> bytes:
    """That of `known_session(number)`."""
    return bytes([number]) * 8


def test_half_open_sessions_cannot_push_out_live_ones() -> None:
    """A flood of forged first packets costs other half-open handshakes at most."""
    table: SessionTable[str] = SessionTable(2)
    table.add(known_session(1), Path(HOME, 0, provable=True), expires_at=None)
    for number in range(2, 10):
        table.add(known_session(number), Path(AWAY, 0, provable=True), expires_at=10)
    assert table.find(connection_id(1)) is not None
    assert [number for number in range(2, 10) if table.find(connection_id(number))] == [8, 9]
    assert len(table) == 3


def test_the_live_session_that_was_quiet_longest_gives_way() -> None:
    """The service finds it again by its connection id when it speaks."""
    table: SessionTable[str] = SessionTable(2)
    for number in (1, 2):
        table.add(known_session(number), Path(HOME, 0, provable=True), expires_at=None)
    table.find(connection_id(1))
    table.add(known_session(3), Path(HOME, 0, provable=True), expires_at=None)
    assert [number for number in (1, 2, 3) if table.find(connection_id(number))] == [1, 3]


def test_handshakes_expire_unless_they_are_settled() -> None:
    """What nobody finished is forgotten at its time, with its connection ids."""
    table: SessionTable[str] = SessionTable(4)
    finished = table.add(known_session(1), Path(HOME, 0, provable=True), expires_at=10)
    table.add(known_session(2), Path(HOME, 0, provable=True), expires_at=10)
    table.settle(finished)
    table.expire(9.9)
    assert len(table) == 2
    table.expire(10)
    assert table.find(connection_id(2)) is None
    assert table.find(connection_id(1)) is finished


def test_a_session_may_have_several_connection_ids() -> None:
    """The old one is valid for a while after a new one was given; both go with the session. Zeros name nobody."""
    table: SessionTable[str] = SessionTable(4)
    known = table.add(known_session(1), Path(HOME, 0, provable=True), expires_at=None)
    table.alias(known, b"new id..")
    table.alias(known, bytes(8))
    assert table.find(b"new id..") is table.find(connection_id(1)) is known
    assert table.find(bytes(8)) is None
    table.remove(known.session.id)
    assert table.find(b"new id..") is None
    assert len(table) == 0
