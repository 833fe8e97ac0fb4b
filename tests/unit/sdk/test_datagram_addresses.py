"""Where the receiver sends to: players who move, and addresses that have proved something or nothing."""

from __future__ import annotations

import noisegate
from tests.unit.sdk.receiving import (
    ANSWER,
    AWAY,
    DONE,
    HANDSHAKE_3,
    HELLO,
    HOME,
    PENDING,
    RECORD,
    SALTED,
    STRANGER,
    Game,
)
from tests.unit.sdk.scripted_service import (
    CONNECTION_ID,
    SESSION_ID,
)


async def test_an_address_is_followed_after_its_newest_record(game: Game) -> None:
    """A player who moved gets what is meant for it; an older record from elsewhere moves nothing."""
    session = await game.play()
    game.opens(counter=5)
    await game.receiver.receive(RECORD, HOME)
    game.opens(counter=4, newest=False, to_peer=(b"keep-alive",))
    late = await game.receiver.receive(RECORD, AWAY)
    assert (late.moved, late.plaintexts, late.to_send) == (False, (b"hi",), ((b"keep-alive", HOME),))
    game.opens(counter=6, to_peer=(b"keep-alive",))
    moved = await game.receiver.receive(SALTED, AWAY)
    assert (moved.moved, moved.to_send) == (True, ((b"keep-alive", AWAY),))
    assert game.receiver.address(session) == AWAY
    assert not game.receiver.verified(session)


async def test_a_moved_player_gets_three_times_what_it_sent_until_it_is_proved(game: Game) -> None:
    """The game's own messages count too; its own proof lifts the limit, for that address alone."""
    session = await game.play()
    assert game.receiver.route(session, [bytes(60_000)]) == [(bytes(60_000), HOME)]
    game.opens(counter=1, to_peer=(bytes(100),))
    moved = await game.receiver.receive(RECORD, AWAY)
    assert (moved.to_send, moved.withheld) == (((bytes(100), AWAY),), 0)
    left = 3 * len(RECORD) - 100
    assert game.receiver.route(session, [bytes(left + 1), bytes(left)]) == [(bytes(left), AWAY)]
    assert game.receiver.route(session, [b"."]) == []
    game.receiver.mark_verified(session, STRANGER)
    assert game.receiver.route(session, [b"."]) == []
    game.receiver.mark_verified(session, AWAY)
    assert game.receiver.route(session, [bytes(60_000)]) == [(bytes(60_000), AWAY)]


async def test_a_question_that_is_answered_where_it_was_sent_proves_the_address(game: Game) -> None:
    """From elsewhere, with another token, or after another move it proves nothing."""
    session = await game.play()
    game.opens(counter=1)
    await game.receiver.receive(RECORD, AWAY)
    change = noisegate.NetworkChange(
        session_id=SESSION_ID,
        to_peer=(b"question", bytes(10_000)),
        state=noisegate.SessionState.ESTABLISHED,
        connection_id=CONNECTION_ID,
        keep_alive=20,
        idle_timeout=600,
        rotation_due=False,
        token=b"token 01",
    )
    assert game.receiver.route_change(session, change) == [(b"question", AWAY)]
    for source, token, newest in ((STRANGER, b"token 01", False), (AWAY, b"token 02", True), (AWAY, b"", True)):
        game.answers(token, newest=newest)
        await game.receiver.receive(RECORD, source)
        assert not game.receiver.verified(session)
    game.answers(b"token 01", newest=False)
    await game.receiver.receive(RECORD, AWAY)
    assert game.receiver.verified(session)
    game.opens(counter=2)
    await game.receiver.receive(RECORD, STRANGER)
    game.answers(b"token 01", newest=False)
    await game.receiver.receive(RECORD, STRANGER)
    assert not game.receiver.verified(session)


async def test_a_handshake_at_a_strangers_address_does_not_prove_it(game: Game) -> None:
    """Begun with a forged source, read by a repeat from the own one, finished with the forged one again."""
    game.scripted.answer("Handshake", PENDING, PENDING, DONE)
    await game.receiver.receive(HELLO, STRANGER)
    again = await game.receiver.receive(HELLO, HOME)
    assert again.to_send == ((ANSWER, HOME),)
    done = await game.receiver.receive(HANDSHAKE_3, STRANGER)
    assert done.established
    assert done.session is not None
    assert not game.receiver.verified(done.session)
