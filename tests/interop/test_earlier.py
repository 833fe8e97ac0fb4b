"""What earlier commits left behind is taken over: sessions, blobs, tickets and state files of tests/interop/earlier."""

from __future__ import annotations

import json
import shutil
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest

from noisegate_server.engine.restore import recall_suspended
from noisegate_server.noise import KeyPair
from noisegate_server.session.errors import BlobRejected, DecryptFailed, TicketRejected
from noisegate_server.session.limits import LowerLimits
from noisegate_server.session.received import ReceivedTicket
from noisegate_server.session.sealing import SealingKey, SealingKeys
from noisegate_server.session.state import RecordMode
from noisegate_server.session.suites import Suite
from noisegate_server.store.base import StoreLimits
from noisegate_server.store.suspended import Dormant
from noisegate_server.store.vault import KeptSession, MemoryVault
from noisegate_server.vault.sqlite import SqliteVault
from tests.support.engines import TENANT, End, Engine, Engines, Link, at_once
from tests.support.requests import resumption
from tests.support.suspending import wake

FOLDERS: Final = sorted(path.parent for path in (Path(__file__).parent / "earlier").glob("*/left.json"))
LEFT: Final[dict[str, Any]] = {path.name: json.loads((path / "left.json").read_text("ascii")) for path in FOLDERS}


def cases(kind: str) -> pytest.MarkDecorator:
    """Each of a kind that each commit has left: (all that the commit left, the case)."""
    found = [(left, case) for left in LEFT.values() for case in left[kind]]
    return pytest.mark.parametrize(("left", "case"), found, ids=[f"{a['commit']}-{b['name']}" for a, b in found])


def read(value: Any) -> Any:
    """A value as write.py has written it."""
    if isinstance(value, str) and value.startswith("hex:"):
        return bytes.fromhex(value[4:])
    if isinstance(value, list):
        return tuple(read(each) for each in value)
    return value


def kept(case: dict[str, Any]) -> KeptSession:
    """A suspended session as a vault has it."""
    return KeptSession(**{name: read(value) for name, value in case.items()})


def sealing_keys(value: list[str]) -> SealingKeys:
    """A ring of one key."""
    key_id, key = read(value)
    return SealingKeys(current=SealingKey(key_id=key_id, key=key))


def next_process(engines: Engines, left: dict[str, Any], side: str, *sessions: KeptSession) -> Engine:
    """An instance of this commit with the keys and the vault of an earlier one, a minute later."""
    engines.clock.wall = max(engines.clock.wall, left["wall"] + 60.0)
    keys = left[side]
    vault = MemoryVault(read(keys["issuer"]))
    at_once(vault.keep(sessions))
    engine = engines.make(
        identity=KeyPair.from_private(read(keys["identity"])),
        ticket_keys=sealing_keys(keys["ticket_key"]),
        blob_keys=sealing_keys(keys["blob_key"]),
        vault=vault,
        limits=StoreLimits(sessions_per_peer=1_000),
    )
    at_once(recall_suspended(engine.parts, engines.clock.now, engines.clock.wall))
    return engine


def link(player: Engine, player_id: bytes, service: Engine, service_id: bytes) -> Link:
    """Both ends of a session, and nothing on its way."""
    up: deque[bytes] = deque()
    down: deque[bytes] = deque()
    return Link(
        initiator=End(engine=player, session_id=player_id, inbox=down, outbox=up),
        responder=End(engine=service, session_id=service_id, inbox=up, outbox=down),
    )


def bring_back(end: End, session: KeptSession) -> None:
    """By its first call where the service had suspended it, otherwise by RestoreSession; its peer is told."""
    if not session.by_service:
        end.outbox.extend(end.engine.restore(end.session_id).to_peer)
        return
    with pytest.raises(Dormant) as dormant:
        end.engine.encrypt(end.session_id, b"is anybody there?")
    wake(end, dormant.value)


def meet(both: Link) -> None:
    """Deliver until all is said. Both ends were restored, so the epoch of one gives way: its first records are lost."""
    while waiting := [end for end in both.ends if end.inbox]:
        for end in waiting:
            with suppress(DecryptFailed):
                end.open(end.inbox.popleft())


@cases("sessions")
def test_a_suspended_session_comes_back_and_talks(engines: Engines, left: dict[str, Any], case: dict[str, Any]) -> None:
    """Both ends of it, by their vaults: with its names and under keys that both have."""
    for_player, for_service = kept(case["player"]), kept(case["service"])
    player = next_process(engines, left, "player", for_player)
    service = next_process(engines, left, "service", for_service)
    both = link(player, for_player.session_id, service, for_service.session_id)
    bring_back(both.initiator, for_player)
    bring_back(both.responder, for_service)
    both.initiator.send(b"still here")
    both.responder.send(b"so am I")
    meet(both)
    both.talk()
    assert (both.initiator.received[-1], both.responder.received[-1]) == (b"ping", b"ping")
    seen = service.view(for_service.session_id)
    assert (seen.peer_id, seen.group, seen.mode) == (for_service.peer_id, for_service.group, for_service.mode)


@cases("blobs")
def test_a_blob_in_a_callers_hands_opens_once(engines: Engines, left: dict[str, Any], case: dict[str, Any]) -> None:
    """The session goes on with its player."""
    for_player = kept(case["player"])
    player = next_process(engines, left, "player", for_player)
    service = next_process(engines, left, "service")
    restored = service.restore_blob(read(case["blob"]))
    both = link(player, for_player.session_id, service, restored.session.session_id)
    both.responder.outbox.extend(restored.to_peer)
    bring_back(both.initiator, for_player)
    meet(both)
    both.talk()
    assert both.responder.received[-1] == b"ping"
    with pytest.raises(BlobRejected):
        service.restore_blob(read(case["blob"]))


@cases("tickets")
def test_a_ticket_in_a_players_hands_resumes_once(engines: Engines, left: dict[str, Any], case: dict[str, Any]) -> None:
    """A new session of the same player, with what the old one had."""
    fields = {name: read(value) for name, value in case["ticket"].items()}
    lower = LowerLimits(**fields.pop("rotation"))
    ticket = ReceivedTicket(
        **fields
        | {"psk": bytearray(fields["psk"]), "mode": RecordMode(fields["mode"]), "suite": Suite(fields["suite"])},
        rotation=lower,
    )
    player, service = next_process(engines, left, "player"), next_process(engines, left, "service")
    player.parts.received.put((TENANT, b"of before"), ticket, engines.clock.now)
    begun = player.resume(b"of before")
    request = resumption(begun, ticket.mode)
    answered = service.accept_resume(request)
    player.finish_resume(begun.session_id, answered.to_peer[0])
    both = link(player, begun.session_id, service, answered.session_id)
    both.talk()
    assert both.responder.received == [b"ping"]
    assert service.view(answered.session_id).peer_id == "ann"
    engines.clock.step(11.0)
    with pytest.raises(TicketRejected):
        service.accept_resume(request)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
async def test_a_state_file_is_taken_over(folder: Path, tmp_path: Path) -> None:
    """Sessions with their blobs, used numbers, revocations and the issuer that stands in tickets."""
    left = LEFT[folder.name]
    path = tmp_path / "state"
    shutil.copyfile(folder / "service.state", path)
    path.chmod(0o600)
    vault = SqliteVault(path, b"else")
    expected = {session.session_id: session for session in (kept(case["service"]) for case in left["sessions"])}
    assert vault.issuer == read(left["service"]["issuer"])
    assert {session.session_id for session in await vault.kept()} == expected.keys()
    assert await vault.spend(b"a number of use.", left["wall"] + 86_400.0) is False
    assert [each.peer_id for each in await vault.revoked()] == ["eve"]
    for session_id, session in expected.items():
        assert await vault.take(session_id) == session.blob
    await vault.close()


def test_every_kind_was_left() -> None:
    """An empty table would let everything pass."""
    assert LEFT
    assert all(left[kind] for left in LEFT.values() for kind in ("sessions", "blobs", "tickets"))
