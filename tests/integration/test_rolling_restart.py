"""Two instances are restarted in turn while players play: no call fails, no session is lost, no counter comes twice.

`make chaos` restarts them for a minute (NOISEGATE_CHAOS: seconds); a test run does it once each.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

import pytest

import noisegate
from examples.dice.noise_player import NoisePlayer
from noisegate import Client, Multiplex, Pattern, Session
from tests.integration.conftest import Launch
from tests.support.noise_client import Setup, Udp, open_datagram, open_noise
from tests.support.server import RunningServer

CHAOS: Final = int(os.environ.get("NOISEGATE_CHAOS", "0"))
DEADLINE: Final = noisegate.CallPolicy(packet_deadline=10.0, control_deadline=10.0)
PLAYERS: Final = 4
"""Of each mode, for each client of each instance."""
THINKING: Final = 0.02
"""Seconds between two turns of a player: load, and yet time for a process that starts on the same cores."""

T = TypeVar("T")


@dataclass(slots=True)
class Tally:
    """What the load has seen."""

    calls: Counter[str] = field(default_factory=Counter)
    longest: float = 0.0
    """Seconds of one call."""
    sealed: Counter[tuple[bytes, int, int]] = field(default_factory=Counter)
    """Session, epoch and counter of everything that the service has sealed."""
    lost: Counter[bytes] = field(default_factory=Counter)
    """Packets of a session's player that were sealed before a restart and came after it."""

    async def call(self, name: str, waiting: Awaitable[T]) -> T:
        """One call; whatever it raises ends the test."""
        began = time.monotonic()
        answer = await waiting
        self.longest = max(self.longest, time.monotonic() - began)
        self.calls[name] += 1
        return answer


Play = Callable[[], Awaitable[None]]
"""One turn of a game."""


@dataclass(slots=True)
class Game:
    """Somebody who plays on and on."""

    play: Play
    played: asyncio.Event = field(default_factory=asyncio.Event)

    async def go_on(self, over: asyncio.Event) -> None:
        """Turn by turn, and once more when it is over: whatever was suspended is back."""
        while not over.is_set():
            await self.play()
            self.played.set()
            await asyncio.sleep(THINKING)
        await self.play()


class Instance:
    """A service at one address with files of its own: every process of it is the same service."""

    def __init__(self, launch: Launch, folder: Path, keys: tuple[str, ...]) -> None:
        self._launch = launch
        self._options = (*keys, "--state-file", str(folder))
        self.server = launch("--listen", "127.0.0.1:0", *self._options)
        self.address = self.server.address
        self.sessions: set[bytes] = set()
        self.games: list[Game] = []
        self.restarts = 0
        self.away = 0.0
        """The longest time from SIGTERM to the next process's first word, in seconds."""

    async def restart(self) -> None:
        """SIGTERM, and the next process at the same address."""
        before, began = self.server, time.monotonic()
        try:
            assert await asyncio.to_thread(before.stop) == 0
            self.server = await asyncio.to_thread(self._again)
        finally:
            self.away = max(self.away, time.monotonic() - began)
        assert "sessions suspended" in before.log()
        assert "that are left end" not in before.log()
        self.restarts += 1
        # The next one's turn comes when this one has all its players again.
        for game in self.games:
            game.played.clear()
        for game in self.games:
            await game.played.wait()

    def _again(self) -> RunningServer:
        return self._launch("--listen", self.address, *self._options)


@pytest.fixture
def instances(launch: Launch, tmp_path: Path) -> list[Instance]:
    """Two that share identity and keys, as the pods of a StatefulSet do, each with a state file of its own."""
    options: list[str] = []
    for name in ("identity", "ticket-key", "blob-key"):
        path = tmp_path / name
        path.touch(mode=0o600)
        path.write_text(os.urandom(32).hex() + "\n")
        options += [f"--{name}", str(path)]
    return [Instance(launch, tmp_path / f"state-{number}", tuple(options)) for number in range(2)]


def noise_turn(tally: Tally, session: Session, player: NoisePlayer) -> Play:
    """A message each way; both arrive, in their order, whatever happens between."""

    async def play() -> None:
        opened = await tally.call("Decrypt", session.decrypt(player.seal(b"roll")))
        assert opened.plaintext == b"roll"
        sealed = await tally.call("Encrypt", session.encrypt(b"six"))
        tally.sealed[session.id, sealed.epoch, sealed.counter] += 1
        assert player.open(sealed.packet) == b"six"

    return play


def datagram_turn(tally: Tally, road: Udp) -> Play:
    """A message each way; what the player sealed before a restart is lost, as packets are, and the game's arrives."""

    async def play() -> None:
        opened = await tally.call("Decrypt", road.session.decrypt(road.player.send(b"roll")))
        if opened.plaintext is None:
            tally.lost[road.session.id] += 1
        else:
            assert opened.plaintext == b"roll"
        await road.to_player(opened.to_peer)
        sealed = await tally.call("Encrypt", road.session.encrypt(b"six"))
        tally.sealed[road.session.id, sealed.epoch, sealed.counter] += 1
        assert await road.to_player(sealed.messages) == [b"six"]

    return play


def batch_turn(tally: Tally, client: Client, roads: list[Udp]) -> Play:
    """One message to all of them, in one call."""

    async def play() -> None:
        answers = await tally.call("EncryptBatch", client.encrypt_batch([(road.session, b"all") for road in roads]))
        for road, sealed in zip(roads, answers, strict=True):
            assert isinstance(sealed, noisegate.Sealed), sealed
            tally.sealed[road.session.id, sealed.epoch, sealed.counter] += 1
            assert await road.to_player(sealed.messages) == [b"all"]

    return play


def listing_turn(tally: Tally, client: Client, instance: Instance) -> Play:
    """All sessions of the instance are there, in memory or out of it."""

    async def listed() -> set[bytes]:
        return {info.session_id async for info in client.list_sessions()}

    async def play() -> None:
        assert await tally.call("ListSessions", listed()) == instance.sessions

    return play


async def open_games(stack: AsyncExitStack, tally: Tally, instance: Instance) -> None:
    """Players of both modes behind a client that makes single calls, and behind one that multiplexes."""
    plays: list[Play] = []
    for multiplex in (None, Multiplex()):
        client = await stack.enter_async_context(
            noisegate.connect(instance.address, policy=DEADLINE, multiplex=multiplex)
        )
        roads = [await open_datagram(client, Setup(pattern=Pattern.IK)) for _ in range(2 * PLAYERS)]
        noises = [await open_noise(client, Setup(pattern=Pattern.IK)) for _ in range(PLAYERS)]
        plays += [datagram_turn(tally, road) for road in roads[:PLAYERS]]
        plays += [noise_turn(tally, *noise) for noise in noises]
        plays += [batch_turn(tally, client, roads[PLAYERS:]), listing_turn(tally, client, instance)]
        instance.sessions |= {road.session.id for road in roads} | {session.id for session, _ in noises}
    instance.games = [Game(play) for play in plays]


async def test_a_rolling_restart_under_load_loses_no_call_and_no_session(
    instances: list[Instance], capsys: pytest.CaptureFixture[str]
) -> None:
    """Calls to the instance that restarts wait, and succeed within their deadline of 10 s."""
    tally, over = Tally(), asyncio.Event()

    try:
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            for instance in instances:
                await open_games(stack, tally, instance)
                for game in instance.games:
                    group.create_task(game.go_on(over))
            until = time.monotonic() + CHAOS
            while any(not instance.restarts for instance in instances) or time.monotonic() < until:
                for instance in instances:
                    await instance.restart()
            over.set()
    finally:
        with capsys.disabled():
            sys.stdout.write(
                f"\n{sum(instance.restarts for instance in instances)} restarts of up to"
                f" {max(instance.away for instance in instances):.2f} s under {sum(tally.calls.values())} calls"
                f" ({', '.join(f'{name} {count}' for name, count in sorted(tally.calls.items()))}),"
                f" of which the longest took {tally.longest:.2f} s\n"
            )
    assert set(tally.sealed.values()) == {1}
    restarts = max(instance.restarts for instance in instances)
    assert max(tally.lost.values(), default=0) <= restarts
