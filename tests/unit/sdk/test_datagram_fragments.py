"""Fragments on the receive path of a UDP game: the service sees whole packets, the path sees none above its MTU."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

import pytest

import noisegate
from noisegate import DatagramReceiver, Received
from noisegate.fragments import Reassembler, ReassemblyLimits, split
from noisegate.v1 import session_crypto_service_pb2 as service
from tests.unit.sdk.scripted_service import (
    CONNECTION_ID,
    SESSION_ID,
    ScriptedService,
    established,
    pending,
    scripted_service,
)

Address = tuple[str, int]
HOME: Address = ("198.51.100.1", 4_000)
AWAY: Address = ("203.0.113.9", 5_000)
STRANGER: Address = ("192.0.2.7", 53)
QUICK = noisegate.CallPolicy(packet_deadline=5, control_deadline=5, first_backoff=0.001, max_backoff=0.002)

HELLO = b"\x09" + bytes(8) + b"\x01" + b"hello and message 1".ljust(1_650, b".")
RESUME = b"\x0c" + bytes(8) + b"\x01" + b"hello, ticket and two messages".ljust(4_400, b".")
ANSWER = b"\x09" + CONNECTION_ID + b"\x02" + b"message 2".ljust(1_680, b".")
ROTATE_1 = b"\x0a" + CONNECTION_ID + b"rotate-1".ljust(1_720, b".")
ROTATE_2 = b"\x0a" + CONNECTION_ID + b"rotate-2".ljust(1_670, b".")

PENDING = service.HandshakeResponse(
    session_id=SESSION_ID, connection_id=CONNECTION_ID, to_peer=[ANSWER], pending=pending(10)
)
DONE = service.HandshakeResponse(
    session_id=SESSION_ID, connection_id=CONNECTION_ID, to_peer=[ANSWER], established=established()
)


class Game:
    """A receiver and the service behind it."""

    def __init__(self, scripted: ScriptedService, client: noisegate.Client) -> None:
        self.scripted = scripted
        self.client = client
        self.seconds = 0.0
        self.receiver: DatagramReceiver[Address] = DatagramReceiver(client, now=lambda: self.seconds)

    async def hear(self, datagrams: Iterable[bytes], source: Address = HOME) -> list[Received[Address]]:
        """What each of these was."""
        return [await self.receiver.receive(datagram, source) for datagram in datagrams]

    def opens(self, *to_peer: bytes) -> None:
        """What the next records open to."""
        self.scripted.answer(
            "Decrypt",
            service.DecryptResponse(
                session_id=SESSION_ID,
                counter=1,
                newest=True,
                to_peer=to_peer,
                control=service.Control(kind=service.CONTROL_KIND_ROTATION),
            ),
        )


@pytest.fixture
async def game() -> AsyncIterator[Game]:
    """A receiver over a running scripted service."""
    async with scripted_service() as scripted, noisegate.connect(scripted.address, policy=QUICK) as client:
        yield Game(scripted, client)


def whole(sent: Iterable[tuple[bytes, Address]]) -> list[bytes]:
    """What a player puts together from what was sent."""
    reassembler: Reassembler[Address] = Reassembler()
    packets = []
    for datagram, address in sent:
        assert len(datagram) <= 1_200
        packet = reassembler.add(datagram, address, 0.0) if datagram[:1] == b"\x0d" else datagram
        packets += [] if packet is None else [packet]
    return packets


async def test_a_first_packet_in_fragments_is_one_call(game: Game) -> None:
    """The parts before the last one are nothing yet; the answer goes out in fragments as well."""
    game.scripted.answer("Handshake", PENDING)
    waiting, last = await game.hear(reversed(split(HELLO, 1)))
    assert waiting == Received()
    assert (last.new_session, last.withheld) == (True, 0)
    assert [request.respond.message for request in game.scripted.requests("Handshake")] == [HELLO]
    assert whole(last.to_send) == [ANSWER]
    assert {address for _, address in last.to_send} == {HOME}


async def test_a_resume_and_a_rotation_in_fragments_reach_their_calls(game: Game) -> None:
    """Whatever is larger than the MTU is put together for the call of its type."""
    game.scripted.answer("Resume", service.ResumeResponse(
        session_id=SESSION_ID, connection_id=CONNECTION_ID, to_peer=[b"\x0c" + ANSWER[1:]], established=established()
    ))  # fmt: skip
    await game.hear(split(RESUME, 1))
    assert game.scripted.requests("Resume")[0].respond.message == RESUME
    game.opens(ROTATE_2)
    heard = await game.hear(split(ROTATE_1, 2))
    assert game.scripted.requests("Decrypt")[0].ciphertext == ROTATE_1
    assert (heard[0].session, heard[0].refused) == (heard[1].session, "")
    assert whole(heard[1].to_send) == [ROTATE_2]


async def test_the_games_own_messages_are_cut_too(game: Game) -> None:
    """`route` and `cut` give what the path takes; every set has a message id of its own; foreign bytes stay whole."""
    game.scripted.answer("Handshake", DONE)
    session = (await game.hear(split(HELLO, 1)))[-1].session
    assert session is not None
    game.opens()
    await game.hear([ROTATE_1[:40]])
    routed = game.receiver.route(session, [ROTATE_1, ROTATE_1, b"small"])
    assert whole(routed) == [ROTATE_1, ROTATE_1, b"small"]
    assert len({datagram[9:11] for datagram, _ in routed if datagram[:1] == b"\x0d"}) == 2
    assert whole((datagram, HOME) for datagram in game.receiver.cut([HELLO])) == [HELLO]
    assert game.receiver.cut([bytes(60_000)]) == [bytes(60_000)]


async def test_an_address_pays_for_fragments_with_fragments(game: Game) -> None:
    """A message goes whole or not at all, headers included in the three times that an unproven address may get."""
    datagrams = split(HELLO, 1)
    received = len(HELLO)
    answers = [b"\x09" + CONNECTION_ID + b"\x02" + bytes(size) for size in (1_690, 1_690, 1_500)]
    game.scripted.answer("Handshake", service.HandshakeResponse(
        session_id=SESSION_ID, connection_id=CONNECTION_ID, to_peer=answers, pending=pending(10)
    ))  # fmt: skip
    heard = (await game.hear(datagrams, STRANGER))[-1]
    sent = sum(len(datagram) for datagram, _ in heard.to_send)
    assert heard.withheld == 1
    assert whole(heard.to_send) == answers[:2]
    assert sent <= 3 * received < sent + len(answers[2]) + 26


@pytest.mark.parametrize(
    "datagram",
    [
        b"\x0d" + CONNECTION_ID + b"\0\x01\x02\x02part",
        b"\x0d" + CONNECTION_ID + b"\0\x01\0\x01",
        b"\x0d" + CONNECTION_ID + b"\0\x01\0\x01" + b"\x0d" + CONNECTION_ID + b"\0\x01\0\x01nested",
        b"\x0d" + CONNECTION_ID + b"\0\x01\0\x01" + b"\x0a" + b"dddddddd" + b"another connection",
    ],
)
async def test_bad_fragments_cost_no_call(game: Game, datagram: bytes) -> None:
    """Malformed, nested, or of another connection than they say."""
    assert (await game.receiver.receive(datagram, STRANGER)).refused == "NOT_A_PACKET"
    assert game.scripted.raw == []


async def test_fragments_of_two_addresses_do_not_mix(game: Game) -> None:
    """A player who moves in the middle of a set sends it again."""
    head, tail = split(HELLO, 1)
    assert await game.hear([head], HOME) + await game.hear([tail], AWAY) == [Received(), Received()]
    assert game.scripted.raw == []


async def test_a_set_that_takes_too_long_is_dropped(game: Game) -> None:
    """The last part comes after the time of the limits: nothing is put together."""
    head, tail = split(HELLO, 1)
    await game.hear([head])
    game.seconds = 2.0
    await game.hear([tail])
    assert game.scripted.raw == []


async def test_limits_and_mtu_are_the_games_to_set(game: Game) -> None:
    """A jumbo path needs no fragments; a receiver may be told to keep less."""
    wide: DatagramReceiver[Address] = DatagramReceiver(
        game.client, mtu=9_000, reassembly=ReassemblyLimits(total_bytes=1_000)
    )
    game.scripted.answer("Handshake", PENDING)
    for datagram in split(HELLO, 1):
        await wide.receive(datagram, HOME)
    assert game.scripted.raw == []
    assert (await wide.receive(HELLO, HOME)).to_send == ((ANSWER, HOME),)
    with pytest.raises(ValueError, match="576"):
        DatagramReceiver(game.client, mtu=575)
