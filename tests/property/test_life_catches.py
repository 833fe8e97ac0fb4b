"""The driver of test_session_life can fail: each of these defects, put into the code, is found by a seeded walk."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random
from typing import Any, Final

import pytest

from noisegate_server.engine import network
from noisegate_server.session import connection_ids, datagram, frozen, inner, phases, ratchet, replay, rotation, salted
from noisegate_server.session.backoff import Backoff
from noisegate_server.session.constants import SALT
from noisegate_server.session.datagram import DatagramRecords
from noisegate_server.session.epoch import Epoch, retire
from noisegate_server.session.errors import DecryptFailed, SessionNotFound
from noisegate_server.session.limits import RotationLimits
from noisegate_server.session.replay import ReplayWindow, Verdict
from noisegate_server.session.roots import Root
from noisegate_server.store.vault import MemoryVault
from noisegate_server.trust.spent import SpentTickets
from tests.support.life import Life
from tests.support.owners import Variant
from tests.support.recording import NonceRepeated, install
from tests.support.steps import walk

pytestmark = [pytest.mark.fixed_ephemeral, pytest.mark.timeout(300)]
"""What is sealed here is recorded by a recorder of the test's own: repeats are wanted."""

LIVES: Final = 100
STEPS_EACH: Final = 80
SMALL: Final = RotationLimits(soft_messages=5, hard_messages=1_024 + 40)

Patch = Callable[[pytest.MonkeyPatch], None]


def counter_is_handed_back(patch: pytest.MonkeyPatch) -> None:
    """A record in nine is sealed under the counter of the one before."""
    genuine, count = DatagramRecords.record, iter(range(10**9))

    def record(self: DatagramRecords, epoch: Any, *arguments: Any) -> bytes:
        if next(count) % 9 == 8 and epoch.sender.counter and not self.ratchet:
            epoch.sender.counter -= 1
        return genuine(self, epoch, *arguments)

    patch.setattr(DatagramRecords, "record", record)


def window_moves_before_the_tag(patch: pytest.MonkeyPatch) -> None:
    """What a header claims is believed before anything is verified."""
    genuine = replay.nearest

    def nearest(low: int, bits: int, highest: int) -> int:
        number = genuine(low, bits, highest)
        for window in windows:
            if window.highest == highest and number > highest:
                window.commit(number)
                window._mark()
                window._ring[number // 64 % 17] &= ~(1 << number % 64)
        return number

    windows: list[ReplayWindow] = []
    begin = ReplayWindow.__init__

    def begun(self: ReplayWindow) -> None:
        begin(self)
        windows.append(self)

    patch.setattr(ReplayWindow, "__init__", begun)
    patch.setattr(datagram, "nearest", nearest)


def replays_are_let_in(patch: pytest.MonkeyPatch) -> None:
    """The window calls everything fresh."""
    patch.setattr(ReplayWindow, "check", lambda _self, _counter: Verdict.FRESH)


def tag_is_not_checked(patch: pytest.MonkeyPatch) -> None:
    """What does not verify opens as an empty record."""
    genuine = inner.open_inner

    def open_inner(*arguments: Any) -> tuple[int, bytes]:
        try:
            return genuine(*arguments)
        except DecryptFailed:
            return 5, b""

    patch.setattr(datagram, "open_inner", open_inner)


def epoch_has_no_grace(patch: pytest.MonkeyPatch) -> None:
    """The keys of the previous epoch die with the first record of the new one."""
    patch.setattr(datagram, "GRACE_S", 0.0)


def phase_has_no_grace(patch: pytest.MonkeyPatch) -> None:
    """The keys of a passed phase die with the first record of the next."""
    patch.setattr(phases, "GRACE_S", 0.0)


def skipped_keys_are_not_kept(patch: pytest.MonkeyPatch) -> None:
    """With the ratchet, what was overtaken cannot be read any more."""
    patch.setattr(ratchet, "GRACE_S", 0.0)


def nothing_is_said_again(patch: pytest.MonkeyPatch) -> None:
    """A lost rotate-1 stays lost."""
    patch.setattr(Backoff, "due", lambda _self, _now: False)


def responder_seals_under_next(patch: pytest.MonkeyPatch) -> None:
    """The responder uses the new epoch before it knows that the initiator has it."""

    def offer(records: DatagramRecords, epoch: Any, aeads: Any) -> None:
        retire(records.previous, aeads)
        records.previous, records.current, records.next = records.current, epoch, None
        records.count_anew()

    patch.setattr(rotation, "offer", offer)


def limits_are_not_kept(patch: pytest.MonkeyPatch) -> None:
    """Data is sealed past the hard limit."""
    patch.setattr(RotationLimits, "is_hard_passed", lambda _self, _sealed, _bytes: False)


def salt_is_always_the_same(patch: pytest.MonkeyPatch) -> None:
    """Who is restored adds no randomness."""

    def own_epoch(base: Root, number: int, _salt: bytes, **others: Any) -> Epoch:
        return genuine(base, number, bytes(SALT), **others)

    genuine = salted.own_epoch
    patch.setattr(frozen, "own_epoch", own_epoch)
    patch.setattr(salted, "own_epoch", own_epoch)


def stored_roots_count_as_ours(patch: pytest.MonkeyPatch) -> None:
    """Rule 5 is left out: a restored side seals under the other restored side's salt, as its other owner does."""

    def roots_of(records: DatagramRecords) -> list[Root]:
        return [replace(root, ours=True) for root in genuine(records)]

    genuine = salted.roots_of
    patch.setattr(salted, "roots_of", roots_of)


def a_zombie_is_believed(patch: pytest.MonkeyPatch) -> None:
    """The epoch before a salted one still opens."""

    def give_way(records: DatagramRecords, base: Root, epoch: Epoch, aeads: Any) -> None:
        before = records.current
        genuine(records, base, epoch, aeads)
        records.previous = before

    genuine = salted._give_way
    patch.setattr(salted, "retire", lambda _epoch, _aeads: None)
    patch.setattr(salted, "_give_way", give_way)


def a_restored_number_is_not_above_all(patch: pytest.MonkeyPatch) -> None:
    """Who is restored forgets which numbers it had begun."""
    patch.setattr(frozen, "highest_known", lambda _records: 0)


def tickets_are_for_ever(patch: pytest.MonkeyPatch) -> None:
    """Nobody remembers which tickets were used."""

    async def spend(_self: MemoryVault, _number: bytes, _until_wall: float) -> bool:
        return True

    patch.setattr(MemoryVault, "spend", spend)
    patch.setattr(SpentTickets, "is_spent", lambda _self, _tenant, _number, _issued: False)


def a_new_id_ends_the_old_one_at_once(patch: pytest.MonkeyPatch) -> None:
    """Packets that are on their way under the connection id of before find no session."""

    def give_connection_id(records: DatagramRecords, connection_id: bytes, now: float, aeads: Any) -> tuple[bytes, ...]:
        given: tuple[bytes, ...] = genuine(records, connection_id, now, aeads)
        records.former_until = -math.inf
        records.reschedule()
        return given

    genuine = connection_ids.give_connection_id
    patch.setattr(network, "give_connection_id", give_connection_id)


DEFECTS: Final[dict[Patch, str]] = {
    counter_is_handed_back: "nonce",
    # Such a window has a highest counter without its bit, and a record refuses that where the session is packed first.
    window_moves_before_the_tag: "trace|nobody had to open|no record of a session",
    replays_are_let_in: "not fresh|nobody had to open|opened twice",
    tag_is_not_checked: "has opened",
    epoch_has_no_grace: "old keys died early|was lost",
    phase_has_no_grace: "was lost",
    skipped_keys_are_not_kept: "was lost",
    nothing_is_said_again: "hangs|different keys|refused though",
    responder_seals_under_next: "hangs|different keys|lost on a good network|refused though|was lost|died early",
    limits_are_not_kept: "past a hard limit",
    salt_is_always_the_same: "nonce",
    stored_roots_count_as_ours: "nonce",
    tickets_are_for_ever: "taken again|delivered twice",
    a_new_id_ends_the_old_one_at_once: "not found|unknown|session",
    a_zombie_is_believed: "lives beside",
    a_restored_number_is_not_above_all: "hangs",
}
"""What is wrong, and as what it shows."""


@pytest.fixture
def _own_net() -> Iterator[None]:
    _, remove = install()
    yield
    remove()


def walk_lives(count: int = LIVES) -> None:
    """Lives enough that every one of the defects shows; the same in each run."""
    for seed in range(count):
        random = Random(seed)
        life = Life(
            Variant(ratchet=random.random() < 0.5, mask=random.random() < 0.5, limits=(SMALL, RotationLimits()))
        )
        walk(life, random, STEPS_EACH)
        life.finish()
        life.shut_down()


@pytest.mark.parametrize("defect", list(DEFECTS), ids=lambda defect: defect.__name__)
@pytest.mark.usefixtures("_own_net")
def test_a_defect_is_found(defect: Patch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a few lives an invariant breaks, and it is the one that the defect is about."""
    defect(monkeypatch)
    with pytest.raises((AssertionError, NonceRepeated, SessionNotFound, ValueError), match=DEFECTS[defect]):
        walk_lives()


@pytest.mark.usefixtures("_own_net")
def test_without_a_defect_nothing_is_found() -> None:
    """The counter-check: the very same walk over the code as it is."""
    walk_lives(LIVES // 3)
