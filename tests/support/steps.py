"""What may happen in a session's life, one function a step: safe in any state, with everything checked by `Life`.

`STEPS` is the table of them with the choices of their arguments, from which a state machine of hypothesis and a seeded
walk are made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from noisegate_server.engine.network import change_network
from noisegate_server.engine.rotate import REKEY, RENEGOTIATE, RotateCommand
from noisegate_server.session.errors import RekeyRequired
from noisegate_server.session.network import Network
from tests.support import resumes, returns
from tests.support.engine import TENANT, at_once
from tests.support.fingerprint import fingerprint
from tests.support.life import Life
from tests.support.oracle import GRACE_S

LAST_PHASE: Final = 63


def send(life: Life, side: int, size: int = 0, pick: int = 0) -> bool:
    """One plaintext of the game; whether it was sealed."""
    owner = life.owner(side, pick)
    if owner is None:
        return False
    plaintext = b"%d:" % next(life.numbers) + bytes(size)
    session = owner.session
    assert session is not None
    refusable = life.is_past_a_hard_limit(owner)
    before = fingerprint(session) if refusable else ""
    try:
        sealed = owner.engine.encrypt(owner.session_id, plaintext)
    except RekeyRequired:
        assert refusable, "data was refused below the limits"
        assert fingerprint(session) == before, "a refused plaintext has left a trace"
        return False
    assert not refusable, "data was sealed past a hard limit"
    life.emit(owner, (sealed.ciphertext, *sealed.to_peer), plaintext)
    life.check(owner)
    return True


def burst(life: Life, side: int, size: int, pick: int = 0) -> None:
    """So many that phases of the ratchet, the window and limits are passed."""
    for _ in range(size):
        if not send(life, side, pick=pick):
            return


def deliver(life: Life, side: int, place: int, pick: int = 0) -> None:
    """One of the packets on their way arrives, whichever."""
    inbox = life.sides[side].inbox
    owner = life.owner(side, pick)
    if inbox and owner is not None:
        inbox.rotate(-(place % len(inbox)))
        life.take(owner, inbox.popleft())


def deliver_in_order(life: Life, side: int) -> None:
    """All that is on its way to the rightful owner arrives."""
    inbox = life.sides[side].inbox
    for number in range(len(inbox)):
        owner = life.owner(side)
        if owner is None:
            return
        life.take(owner, inbox.popleft(), traced=number % 16 == 0)


def duplicate(life: Life, side: int, place: int) -> None:
    """A packet comes twice."""
    inbox = life.sides[side].inbox
    if inbox:
        inbox.append(inbox[place % len(inbox)])


def lose(life: Life, side: int, place: int) -> None:
    """A packet is lost."""
    inbox = life.sides[side].inbox
    if inbox:
        del inbox[place % len(inbox)]


def replay(life: Life, side: int, place: int, pick: int = 0) -> None:
    """Something comes again that has opened long ago, whoever has the session by now."""
    replayable, owner = life.sides[side].replayable, life.owner(side, pick)
    if replayable and owner is not None:
        life.take(owner, replayable[place % len(replayable)])


def forge(life: Life, side: int, place: int, pick: int = 0) -> None:
    """One bit of a genuine packet is another; the genuine one may still come."""
    inbox, owner = life.sides[side].inbox, life.owner(side, pick)
    if inbox and owner is not None:
        forged = bytearray(inbox[place % len(inbox)].wire)
        forged[place // 8 % len(forged)] ^= 1 << place % 8
        life.refuse(owner, bytes(forged), "forged")


def reflect(life: Life, side: int, place: int, pick: int = 0) -> None:
    """A packet goes back to the side that has sent it."""
    inbox, owner = life.sides[1 - side].inbox, life.owner(side, pick)
    if inbox and owner is not None:
        life.refuse(owner, inbox[place % len(inbox)].wire, "reflected")


def rekey(life: Life, side: int, times: int, pick: int = 0) -> None:
    """REKEY by command."""
    for _ in range(times):
        owner = life.owner(side, pick)
        records = owner.records if owner is not None else None
        if records is None:
            return
        epoch, phase = records.current, records.current.sender.phase
        _rotate(life, side, pick, RotateCommand(kind=REKEY))
        if not life.variant.ratchet and phase < LAST_PHASE:
            assert epoch.sender.phase == phase + 1


def renegotiate(life: Life, side: int, pick: int = 0) -> None:
    """RENEGOTIATE by command."""
    _rotate(life, side, pick, RotateCommand(kind=RENEGOTIATE))


def _rotate(life: Life, side: int, pick: int, command: RotateCommand) -> None:
    owner = life.owner(side, pick)
    if owner is None:
        return
    records = owner.records
    assert records is not None
    try:
        done = owner.engine.rotate(owner.session_id, command)
    except RekeyRequired:
        assert not records.has_room, "a rotation was refused though there was room for its records"
        return
    life.emit(owner, done.to_peer)
    life.check(owner)


def join_wifi(life: Life, side: int) -> None:
    """The player is on another network: it gets another connection id, if this side gives them, and new keys."""
    owner = life.owner(side)
    if owner is not None:
        now, wall = life.clock.now, life.clock.wall
        coming = change_network(owner.engine.parts, TENANT, owner.session_id, Network.WIFI, now, wall)
        change = at_once(coming)
        assert change.connection_id == owner.held_session.connection_ids()[0]
        life.emit(owner, change.to_peer)
        life.check(owner)


def wait(life: Life, seconds: float) -> None:
    """Time passes."""
    life.clock.step(seconds)


def doze(life: Life) -> None:
    """Nobody calls for a while: every service packs what is idle and at rest."""
    life.clock.step(16.0)
    for engine in life.engines.made:
        engine.sweep()


def set_clock(life: Life, hours: int) -> None:
    """Somebody sets the clock of the machine: keys live by the monotonic one."""
    life.clock.wall += hours * 3_600


@dataclass(frozen=True, slots=True)
class Step:
    """One kind of step, how often it comes, and what its arguments may be."""

    run: Callable[..., object]
    weight: int
    choices: Mapping[str, Sequence[Any]]


_SIDES = (0, 1)
_PICKS = (0, 0, 0, 1, 2)
_WAYS = ("id", "blob", "silent")
_PLACES = range(100_000)

STEPS: Final = (
    Step(send, 6, {"side": _SIDES, "size": (0, 1, 40, 300), "pick": _PICKS}),
    Step(burst, 1, {"side": _SIDES, "size": (5, 5, 20, 20, 300, 1_100)}),
    Step(deliver, 8, {"side": _SIDES, "place": _PLACES, "pick": _PICKS}),
    Step(deliver_in_order, 6, {"side": _SIDES}),
    Step(duplicate, 2, {"side": _SIDES, "place": _PLACES}),
    Step(lose, 3, {"side": _SIDES, "place": _PLACES}),
    Step(replay, 2, {"side": _SIDES, "place": _PLACES, "pick": _PICKS}),
    Step(forge, 2, {"side": _SIDES, "place": _PLACES, "pick": _PICKS}),
    Step(reflect, 1, {"side": _SIDES, "place": _PLACES, "pick": _PICKS}),
    Step(rekey, 2, {"side": _SIDES, "times": (1, 1, 1, 5, 70), "pick": _PICKS}),
    Step(renegotiate, 3, {"side": _SIDES, "pick": _PICKS}),
    Step(join_wifi, 2, {"side": _SIDES}),
    Step(wait, 5, {"seconds": (0.1, 1.0, 2.5, 5.5, 10.5, GRACE_S + 0.5, 125.0, 190.0)}),
    Step(doze, 3, {}),
    Step(returns.come_back, 2, {"side": _SIDES, "way": _WAYS}),
    Step(returns.both_come_back, 1, {"way": _WAYS}),
    Step(returns.keep_a_record, 1, {"side": _SIDES}),
    Step(returns.take_over, 1, {"side": _SIDES, "place": _PLACES, "tells": (True, True, False)}),
    Step(returns.twice, 1, {"side": _SIDES}),
    Step(
        resumes.resume,
        2,
        {"asked": (0, 1, 1, 2), "answered": (0, 1, 1, 2), "early": (True, False), "is_closed": (True, True, False)},
    ),
    Step(resumes.show_again, 1, {"place": _PLACES, "pick": _PICKS}),
    Step(set_clock, 1, {"hours": (-25, -1, 1, 25)}),
)


def walk(life: Life, random: Random, count: int) -> None:
    """So many steps at random."""
    weights = [step.weight for step in STEPS]
    for step in random.choices(STEPS, weights, k=count):
        step.run(life, **{name: random.choice(values) for name, values in step.choices.items()})
