"""The memory of a running service, searched for the secrets of sessions: there before their end, and not after it.

The service is the very process that an operator starts. What a search finds before the end proves that it would find it
after. A search looks for the second half of each secret: the first bytes of memory that was given back are the
allocator's, so a whole secret would be missed where most of it is still there.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field

import pytest

import noisegate
from noisegate import Client, Pattern, RotationKind, Session, SessionEvent, SessionEventKind, SessionOptions, Suite
from tests.support import memory
from tests.support.logs import told
from tests.support.needles import IN_CONTEXTS, of_datagram, of_noise
from tests.support.noise_client import CIPHERS, Setup, Udp, open_datagram, open_noise
from tests.support.server import RunningServer

PATIENT = noisegate.CallPolicy(packet_deadline=5.0, control_deadline=5.0)
SESSIONS = 3
"""Of each mode: what one of them leaves behind by chance shows as a share."""


@dataclass(slots=True)
class Planted:
    """A service, its sessions, and what is known of their secrets."""

    server: RunningServer
    client: Client
    sessions: list[Session] = field(default_factory=list)
    roads: list[Udp] = field(default_factory=list)
    needles: dict[str, bytes] = field(default_factory=dict)

    async def plant(self, suite: Suite, options: SessionOptions | None = None) -> None:
        """One session of each mode, used both ways."""
        number = len(self.sessions) + len(self.roads)
        session, player = await open_noise(self.client, Setup(suite=suite, group="planted"), options)
        assert (await session.decrypt(player.seal(b"roll"))).plaintext == b"roll"
        assert player.open((await session.encrypt(b"six")).packet) == b"six"
        self.sessions.append(session)
        self._know(f"NOISE {number}", of_noise(player))
        road = await open_datagram(self.client, Setup(pattern=Pattern.IK, suite=suite, mask=True, group="planted"))
        await road.talk()
        self.roads.append(road)
        self._know(f"DATAGRAM {number}", of_datagram(road.player))

    def _know(self, session: str, secrets: dict[str, bytes]) -> None:
        self.needles |= {f"{session}: {name}": secret for name, secret in secrets.items()}

    def found(self, needles: dict[str, bytes] | None = None) -> dict[str, int]:
        """How often the second half of each secret lies in the service's memory."""
        wanted = self.needles if needles is None else needles
        return memory.count(self.server.pid, {name: secret[len(secret) // 2 :] for name, secret in wanted.items()})


@pytest.fixture
async def planted() -> AsyncIterator[Planted]:
    """A service whose log is as loud as it can be, of this test alone."""
    server = RunningServer(["--dev", "--listen", "127.0.0.1:0", "--traceable", "--log-level", "DEBUG"])
    try:
        async with noisegate.connect(server.address, policy=PATIENT) as client:
            yield Planted(server, client)
    finally:
        code = server.stop()
        log = server.log()
    assert code == 0, log
    assert "defect" not in log, log


def _secret(name: str) -> str:
    return name.partition(": ")[2]


def _assert_all_are_there(found: dict[str, int]) -> None:
    """But for prk, which is wiped as soon as the session begins."""
    assert [name for name, times in found.items() if not times and _secret(name) != "prk"] == []


def _assert_gone(what: str, found: dict[str, int]) -> None:
    """Buffers of ours hold nothing; of keys that AEAD contexts had, the library may have left a few copies."""
    residue = {name: times for name, times in found.items() if times}
    keys = sum(_secret(name) in IN_CONTEXTS for name in found)
    sys.stderr.write(f"{what}: {len(found)} secrets, {len(residue)} of them left: {residue}\n")
    assert [name for name in residue if _secret(name) not in IN_CONTEXTS] == []
    assert len(residue) <= keys // 4


@pytest.mark.parametrize("suite", CIPHERS)
async def test_a_closed_session_leaves_no_secret(planted: Planted, suite: Suite) -> None:
    """Both modes: cipher keys, traffic secrets, roots, exporter secrets, header masks; and the log has none of them."""
    for _ in range(SESSIONS):
        await planted.plant(suite)
    _assert_all_are_there(planted.found())
    for session in (*planted.sessions, *(road.session for road in planted.roads)):
        await session.close()
    _assert_gone("closed", planted.found())
    log = planted.server.log()
    for name, secret in planted.needles.items():
        assert secret.hex() not in log, name
        assert repr(secret)[2:-1] not in log, name


async def test_what_the_service_only_hands_on_it_does_not_keep(planted: Planted) -> None:
    """The PSK of a ticket goes to the player, sealed; Split's PRK and the handshake's keys end with the handshake."""
    for suite in (*CIPHERS, *CIPHERS, *CIPHERS):
        await planted.plant(suite)
    tickets = {f"DATAGRAM {number}: ticket": _ticket_psk(road) for number, road in enumerate(planted.roads)}
    handed_on = tickets | {name: secret for name, secret in planted.needles.items() if _secret(name) == "prk"}
    residue = {name: times for name, times in planted.found(handed_on).items() if times}
    sys.stderr.write(f"handed on: {len(handed_on)} secrets, {len(residue)} of them left: {residue}\n")
    assert len(residue) <= len(handed_on) // 4


def _ticket_psk(road: Udp) -> bytes:
    session = road.player.session
    assert session is not None
    assert session.ticket is not None
    return session.ticket.psk


@pytest.mark.parametrize("idle_timeout", [2.0, 18.0], ids=["as an object", "packed"])
async def test_a_session_that_nobody_calls_for_any_more_leaves_no_secret(planted: Planted, idle_timeout: float) -> None:
    """The sweeper ends it in time and says so, in numbers and causes; after 15 s it ends a record, in its slot."""
    async with aclosing(planted.client.watch_sessions(group="planted")) as events:
        assert await anext(events) == noisegate.Watching()
        for suite in CIPHERS:
            await planted.plant(suite, SessionOptions(idle_timeout=idle_timeout))
        needles = {name: each for name, each in planted.needles.items() if "NOISE" in name}
        search = asyncio.create_task(asyncio.to_thread(planted.found, needles))
        while not search.done():
            for session in planted.sessions:
                await session.encrypt(b"still here")
        _assert_all_are_there(search.result())
        waiting = {session.id for session in planted.sessions}
        async with asyncio.timeout(30):
            while waiting:
                event = await anext(events)
                if isinstance(event, SessionEvent) and event.kind is SessionEventKind.ENDED:
                    waiting.discard(event.session_id)
    _assert_gone("idle", planted.found(needles))
    assert any("IDLE" in line["ended"] for line in told(planted.server.log(), "swept", level="debug"))


async def test_what_a_rotation_replaces_is_gone_but_for_what_the_grace_keeps(planted: Planted) -> None:
    """The root and what sealed are wiped at once; what opens late records stays for 30 s, and is found."""
    for suite in CIPHERS:
        await planted.plant(suite)
    before = {name: secret for name, secret in planted.needles.items() if "DATAGRAM" in name}
    _assert_all_are_there(planted.found(before))
    for road in planted.roads:
        await road.to_player((await road.session.rotate(RotationKind.RENEGOTIATE)).to_peer)
        await road.talk()
        assert (await road.session.describe()).epoch == 1
    found = planted.found(before)
    lasting = ("P(0) of what it opens", "export", "mask")
    _assert_all_are_there({name: times for name, times in found.items() if _secret(name) in lasting})
    replaced = ("P(0) of what it seals", "seals", "root")
    _assert_gone("rotated", {name: times for name, times in found.items() if _secret(name) in replaced})
    for road in planted.roads:
        await road.session.close()
    _assert_gone("rotated and closed", planted.found(before))


async def test_a_suspended_session_leaves_no_secret(planted: Planted) -> None:
    """What is kept of it is sealed. Back again, what lasts is there again, and the keys of before are not."""
    for suite in CIPHERS:
        await planted.plant(suite)
    _assert_all_are_there(planted.found())
    for session in (*planted.sessions, *(road.session for road in planted.roads)):
        await session.suspend()
    _assert_gone("suspended", planted.found())
    for road in planted.roads:
        await planted.client.restore(road.session.id)
    found = planted.found({name: each for name, each in planted.needles.items() if "DATAGRAM" in name})
    _assert_all_are_there({name: times for name, times in found.items() if _secret(name) in ("export", "mask")})
    traffic = ("P(0) of what it seals", "P(0) of what it opens", "seals", "opens")
    _assert_gone("restored", {name: times for name, times in found.items() if _secret(name) in traffic})
