"""ChangeNetwork: what a network means for a session, and what becomes of suspended ones."""

from __future__ import annotations

from typing import Any

import pytest

from noisegate_server.engine import network
from noisegate_server.engine.network import NetworkChange
from noisegate_server.engine.policy import Options
from noisegate_server.session.errors import Overloaded, SessionClosed, SessionNotFound
from noisegate_server.session.network import Network
from noisegate_server.session.state import RecordMode, SessionState
from noisegate_server.store.base import StoreLimits
from tests.support.engines import TENANT, End, Engines, at_once, establish
from tests.support.slow_vault import SlowVault
from tests.support.suspending import MODES, put_away

PEER = "ann"
CONNECTION_ID = 4
"""The contract's ControlKind."""


def change(end: End, to: Network, tenant: str = TENANT) -> NetworkChange:
    """Tell one session; what must go to the player is on its way."""
    clock, parts = end.engine.clock, end.engine.parts
    changed = at_once(network.change_network(parts, tenant, end.session_id, to, clock.now, clock.wall))
    end.outbox.extend(changed.to_peer)
    return changed


def change_all(end: End, to: Network, peer_id: str) -> tuple[NetworkChange, ...]:
    """Tell all sessions of a player."""
    clock, parts = end.engine.clock, end.engine.parts
    return at_once(network.change_networks(parts, TENANT, peer_id, to, clock.now, clock.wall))


def test_wifi_gives_new_keys_and_a_new_connection_id(engines: Engines) -> None:
    """The player follows both by itself; packets under the old id are found until 30 s after the new one was used."""
    link = establish(engines)
    end, player = link.initiator, link.responder
    before = end.datagrams.connection_id
    late = player.seal(b"late")
    changed = change(end, Network.WIFI)
    assert changed.connection_id == end.datagrams.connection_id != before
    assert (changed.keep_alive, changed.idle_timeout, changed.rotation_due) == (20.0, 600.0, False)
    assert end.engine.decrypt(b"", late).plaintext == b"late"
    link.settle()
    link.talk()
    assert link.epochs() == (1, 1)
    assert player.datagrams.connection_id == changed.connection_id
    packet = player.seal(b"new")
    assert packet[1:9] == changed.connection_id
    assert end.engine.decrypt(b"", packet).plaintext == b"new"
    engines.clock.step(31)
    link.talk()
    with pytest.raises(SessionNotFound):
        end.engine.decrypt(b"", late)


def test_an_id_that_the_player_has_not_used_is_given_again(engines: Engines) -> None:
    """Records get lost: the id under which the player sends must stay valid, however often it is told a new one."""
    link = establish(engines)
    end, player = link.initiator, link.responder
    first = change(end, Network.WIFI)
    link.lose_everything()
    second = change(end, Network.WIFI)
    assert first.connection_id == second.connection_id
    assert end.engine.decrypt(b"", player.seal(b"under the old one")).plaintext == b"under the old one"
    link.settle()
    link.talk()
    assert player.datagrams.connection_id == second.connection_id
    third = change(end, Network.WIFI)
    assert third.connection_id != second.connection_id
    assert end.engine.decrypt(b"", player.seal(b"under the second")).plaintext == b"under the second"


def test_an_id_that_got_lost_is_given_again_until_it_is_used(engines: Engines) -> None:
    """Otherwise the player would stay under its old id, by which it can be followed from one network to the other."""
    link = establish(engines)
    end, player = link.initiator, link.responder
    changed = change(end, Network.WIFI)
    link.settle()
    link.talk()
    changed = change(end, Network.WIFI)
    link.lose_everything()
    assert player.datagrams.connection_id != changed.connection_id
    engines.clock.step(0.9)
    link.talk()
    assert player.datagrams.connection_id != changed.connection_id
    engines.clock.step(0.2)
    link.talk()
    assert player.datagrams.connection_id == changed.connection_id
    link.talk()
    given = player.controls.count(CONNECTION_ID)
    engines.clock.step(6)
    link.talk()
    assert player.controls.count(CONNECTION_ID) == given, "a used id is given no more"


def test_the_answer_to_the_question_of_a_change_is_told(engines: Engines) -> None:
    """By its token, so that whoever holds the socket knows that the player gets what is sent to it."""
    link = establish(engines)
    end, player = link.initiator, link.responder
    changed = change(end, Network.CELLULAR)
    assert len(changed.token) == 8
    (question,) = end.outbox
    end.outbox.clear()
    (answer,) = player.engine.decrypt(player.session_id, question).to_peer
    told = end.engine.decrypt(end.session_id, answer)
    assert (told.plaintext, told.answered) == (None, changed.token)
    assert end.open(player.seal(b"x")).answered == b""


def test_who_did_not_choose_the_connection_id_gives_none(engines: Engines) -> None:
    """The peer that chose it looks it up, so only that one may give another; new keys come all the same."""
    link = establish(engines)
    end = link.responder
    before = end.datagrams.connection_id
    assert change(end, Network.WIFI).connection_id == before
    link.settle()
    link.talk()
    assert link.epochs() == (1, 1)


@pytest.mark.parametrize("role", ["initiator", "responder"])
def test_cellular_is_told_seldom_and_sends_less(engines: Engines, role: str) -> None:
    """A keep-alive each minute, half an hour of silence, no padding of what we seal; what the peer pads still opens."""
    link = establish(engines, options=Options(pad=True))
    end: End = getattr(link, role)
    assert len(end.seal(b"")) == 15 + 32 + 16
    changed = change(end, Network.CELLULAR)
    assert (changed.keep_alive, changed.idle_timeout) == (60.0, 1_800.0)
    assert len(end.seal(b"")) == 15 + 1 + 16
    assert link.epochs() == (0, 0)
    link.settle()
    link.talk()
    change(end, Network.WIFI)
    assert len(end.seal(b"")) == 15 + 32 + 16


def test_the_idle_time_is_the_networks_unless_the_caller_set_one(engines: Engines) -> None:
    """It counts from the change on; a caller's own stays, and the keep-alive fits into it three times."""
    link = establish(engines)
    end = link.responder
    change(end, Network.CELLULAR)
    engines.clock.step(1_799)
    assert end.engine.view(end.session_id).state == SessionState.ESTABLISHED
    engines.clock.step(1)
    with pytest.raises(SessionClosed):
        end.engine.encrypt(end.session_id, b"late")
    own = establish(engines, options=Options(idle_timeout=30)).responder
    changed = change(own, Network.CELLULAR)
    assert (changed.keep_alive, changed.idle_timeout) == (10.0, 30.0)


@pytest.mark.parametrize("mode", MODES)
def test_the_network_survives_a_suspension(engines: Engines, mode: RecordMode) -> None:
    """With its idle time, and without padding."""
    link = establish(engines, mode=mode, options=Options(pad=mode is RecordMode.DATAGRAM))
    end = link.responder
    change(end, Network.CELLULAR)
    link.settle()
    end.engine.suspend(end.session_id)
    end.outbox.extend(end.engine.restore(end.session_id).to_peer)
    view = end.engine.view(end.session_id)
    assert view.network == Network.CELLULAR
    assert view.established is not None
    assert (view.established.keep_alive, view.established.idle_timeout) == (60.0, 1_800.0)
    link.settle()
    link.talk()
    if mode is RecordMode.DATAGRAM:
        assert not end.datagrams.padded


def test_a_noise_session_is_told_to_renegotiate(engines: Engines) -> None:
    """The game carries the messages; nothing goes to the player by itself."""
    link = establish(engines, mode=RecordMode.NOISE)
    changed = change(link.responder, Network.WIFI)
    assert (changed.to_peer, changed.rotation_due, changed.connection_id) == ((), True, b"")
    assert not change(link.responder, Network.CELLULAR).rotation_due
    link.talk()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("to", [Network.WIFI, Network.CELLULAR])
@pytest.mark.parametrize("by_service", [True, False])
def test_a_network_brings_back_what_was_suspended(
    engines: Engines, mode: RecordMode, to: Network, by_service: bool
) -> None:
    """Whoever suspended it; both directions flow again."""
    link = establish(engines, mode=mode)
    end = link.responder
    if by_service:
        put_away(end)
    else:
        assert change(end, Network.NONE).state == SessionState.SUSPENDED
        assert change(end, Network.NONE).state == SessionState.SUSPENDED
    changed = change(end, to)
    assert changed.state in {SessionState.ESTABLISHED, SessionState.ROTATING}
    link.settle()
    link.talk()
    assert end.engine.view(end.session_id).network == to


def test_all_sessions_of_a_player_go_and_come_back_together(engines: Engines) -> None:
    """Those of others stay; one that cannot come back is told as ended."""
    vault = SlowVault()
    vault.gate.set()
    first = engines.make()
    second = engines.make(vault=vault, limits=StoreLimits(sessions_per_peer=50))
    links = [establish(engines, initiator=first, responder=second) for _ in range(10)]
    peer_id = second.view(links[0].responder.session_id).peer_id
    assert peer_id
    gone = change_all(links[0].responder, Network.NONE, peer_id)
    assert {each.state for each in gone} == {SessionState.SUSPENDED}
    assert len(gone) == second.parts.store.counts().suspended == 10
    at_once(vault.forget([links[3].responder.session_id]))
    back = {each.session_id: each for each in change_all(links[0].responder, Network.WIFI, peer_id)}
    assert back[links[3].responder.session_id].state == SessionState.TERMINATED
    for number, link in enumerate(links):
        if number != 3:
            link.responder.outbox.extend(back[link.responder.session_id].to_peer)
            link.settle()
            link.talk()
    assert change_all(links[0].responder, Network.WIFI, "nobody") == ()


def test_a_vault_that_fails_leaves_all_sessions_of_the_player_as_they_are(engines: Engines) -> None:
    """Overloaded, to be tried again; not one of them is gone."""
    vault = SlowVault()
    vault.gate.set()
    first, second = engines.make(), engines.make(vault=vault)
    links = [establish(engines, initiator=first, responder=second) for _ in range(3)]
    vault.broken = True
    with pytest.raises(Overloaded):
        change_all(links[0].responder, Network.NONE, second.view(links[0].responder.session_id).peer_id)
    for link in links:
        link.talk()


@pytest.mark.parametrize("to", list(Network))
def test_a_foreign_session_is_as_unknown_as_one_that_never_was(engines: Engines, to: Network) -> None:
    """Living or suspended; nothing changes."""
    link = establish(engines)
    end = link.responder
    for _ in range(2):
        with pytest.raises(SessionNotFound):
            change(end, to, "cards")
        end.engine.suspend(end.session_id)
    end.outbox.extend(end.engine.restore(end.session_id).to_peer)
    link.settle()
    link.talk()


def test_a_session_begins_on_the_network_that_its_caller_names(engines: Engines) -> None:
    """The hints of its first answer are that network's."""
    link = establish(engines, options=Options(network=Network.CELLULAR, pad=True))
    view: Any = link.responder.engine.view(link.responder.session_id).established
    assert (view.keep_alive, view.idle_timeout) == (60.0, 1_800.0)
    assert not link.responder.datagrams.padded
    link.talk()
