"""Players at the far end of a session: `noiseprotocol` for NOISE mode, examples/dice's own code for DATAGRAM mode.

Neither shares a line of cryptography or wire format with the service. What the service sees comes through the SDK.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

import noisegate
from examples.dice.datagram_player import (
    FLAG_DATAGRAM,
    FLAG_MASK,
    FLAG_PAD,
    FLAG_TICKETS,
    NO_CONNECTION,
    DatagramPlayer,
    Settings,
)
from examples.dice.datagram_player import Protocol as WireProtocol
from examples.dice.noise_player import NoiseKeys, NoisePlayer
from noisegate import Client, Pattern, Protocol, RecordMode, Role, Session, Suite

NAMES: Final = {
    Pattern.XX: "XX",
    Pattern.IK: "IK",
    Pattern.NK: "NK",
    Pattern.XXPSK3: "XXpsk3",
    Pattern.IKPSK1: "IKpsk1",
    Pattern.IKPSK2: "IKpsk2",
    Pattern.NKPSK0: "NKpsk0",
    Pattern.NKPSK2: "NKpsk2",
}
CIPHERS: Final = {Suite.CHACHA20_POLY1305_X25519: "ChaChaPoly", Suite.AES256_GCM_X25519: "AESGCM"}
"""The classical suites, which these players speak. The hybrid one: tests/integration/test_hybrid.py."""
PSK: Final = bytes(range(1, 33))
PROLOGUE: Final = b"dice 1"
WITHOUT_REMOTE: Final = frozenset({Pattern.XX, Pattern.XXPSK3})
"""Patterns whose initiator does not know the responder's key beforehand."""
ANONYMOUS: Final = frozenset({Pattern.NK, Pattern.NKPSK0, Pattern.NKPSK2})
"""Patterns whose initiator has no key of its own."""


def public_key(private: bytes) -> bytes:
    """The X25519 public key of 32 private bytes."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def noise_name(pattern: Pattern, suite: Suite) -> str:
    """The canonical Noise name."""
    name = NAMES[pattern]
    if suite is Suite.MLKEM1024_X25519_CHACHA20_POLY1305:
        base, psk, place = name.partition("psk")
        return f"Noise_{base}hfs{psk and '+psk'}{place}_25519+MLKEM1024_ChaChaPoly_SHA256"
    return f"Noise_{name}_25519_{CIPHERS[suite]}_SHA256"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """How a session shall come about. `role` is the service's part."""

    pattern: Pattern = Pattern.XX
    suite: Suite = Suite.CHACHA20_POLY1305_X25519
    role: Role = Role.RESPONDER
    peer_id: str = ""
    group: str = ""
    prologue: bytes = PROLOGUE
    pad: bool = False
    mask: bool = False
    static: bytes = field(default_factory=lambda: os.urandom(32), repr=False)
    """The player's private key."""

    @property
    def protocol(self) -> Protocol:
        """As the SDK names it."""
        return Protocol(self.pattern, self.suite)

    @property
    def psk(self) -> bytes:
        """Of a psk pattern; else empty."""
        return PSK if "psk" in NAMES[self.pattern] else b""

    @property
    def player_key_for_service(self) -> bytes:
        """What an initiating service has to know."""
        return b"" if self.pattern in WITHOUT_REMOTE else public_key(self.static)

    @property
    def shown_key(self) -> bytes:
        """The player's static key as the service learns it: none where the player initiates anonymously."""
        anonymous = self.role is Role.RESPONDER and self.pattern in ANONYMOUS
        return b"" if anonymous else public_key(self.static)


def noise_player(setup: Setup, service_key: bytes) -> NoisePlayer:
    """A player that has sent and read nothing yet."""
    initiator = setup.role is Role.RESPONDER
    keys = NoiseKeys(
        static=setup.static,
        remote=service_key if initiator and setup.pattern not in WITHOUT_REMOTE else None,
        psk=setup.psk or None,
    )
    name = noise_name(setup.pattern, setup.suite)
    return NoisePlayer(name, keys, initiator=initiator, prologue=setup.prologue)


async def open_noise(
    client: Client, setup: Setup, options: noisegate.SessionOptions | None = None
) -> tuple[Session, NoisePlayer]:
    """An established NOISE session and its player."""
    player = noise_player(setup, (await client.capabilities()).static_key)
    if setup.role is Role.RESPONDER:
        session = await client.respond(
            mode=RecordMode.NOISE,
            protocol=setup.protocol,
            message=player.write_handshake(b"hi"),
            psk=setup.psk,
            prologue=setup.prologue,
            payload=b"welcome",
            peer_id=setup.peer_id,
            group=setup.group,
            options=options,
        )
        if session.payload != b"hi" or player.read_handshake(session.to_peer[0]) != b"welcome":
            raise ValueError("payloads of the handshake")
        if not player.established:
            await session.proceed(player.write_handshake())
        return session, player
    session = await client.initiate(
        mode=RecordMode.NOISE,
        protocol=setup.protocol,
        remote_static_key=setup.player_key_for_service,
        psk=setup.psk,
        prologue=setup.prologue,
        payload=b"hi",
        peer_id=setup.peer_id,
        group=setup.group,
        options=options,
    )
    if player.read_handshake(session.to_peer[0]) != b"hi":
        raise ValueError("payload of message 1")
    for message in await session.proceed(player.write_handshake(b"welcome")):
        player.read_handshake(message)
    return session, player


class Udp:
    """A DATAGRAM player and the road to its session: what either side has to say travels at once."""

    def __init__(self, player: DatagramPlayer, session: Session | None = None) -> None:
        self.player = player
        self._session = session

    @property
    def session(self) -> Session:
        """The service's end."""
        if self._session is None:
            raise RuntimeError("there is no session yet")
        return self._session

    def join(self, session: Session) -> None:
        """The service's end is this one."""
        self._session = session

    async def to_player(self, packets: Sequence[bytes]) -> list[bytes]:
        """Deliver packets of the service, and every answer in turn; what the player read as data."""
        read: list[bytes] = []
        waiting = list(packets)
        while waiting:
            received = self.player.receive(waiting.pop(0), time.monotonic())
            read += received.plaintexts
            for packet in received.to_send:
                waiting += (await self.session.decrypt(packet)).to_peer
        return read

    async def to_service(self, packets: Sequence[bytes]) -> list[bytes]:
        """Deliver packets of the player, and every answer in turn; what the service read as data."""
        read: list[bytes] = []
        for packet in packets:
            opened = await self.session.decrypt(packet)
            if opened.plaintext is not None:
                read.append(opened.plaintext)
            await self.to_player(opened.to_peer)
        return read

    async def talk(self, down: bytes = b"six", up: bytes = b"roll") -> None:
        """One message each way; ValueError where one does not arrive."""
        if await self.to_service([self.player.send(up)]) != [up]:
            raise ValueError("the player's record")
        if await self.to_player((await self.session.encrypt(down)).messages) != [down]:
            raise ValueError("the service's record")


def datagram_player(setup: Setup, service_key: bytes, *, tickets: bool = True) -> DatagramPlayer:
    """A player that has sent and read nothing yet."""
    initiator = setup.role is Role.RESPONDER
    flags = FLAG_DATAGRAM | (FLAG_TICKETS if tickets else 0)
    flags |= (FLAG_PAD if setup.pad else 0) | (FLAG_MASK if setup.mask else 0)
    settings = Settings(
        offer=(WireProtocol(int(setup.pattern), int(setup.suite)),),
        flags=flags,
        static=setup.static,
        remote=service_key if initiator and setup.pattern not in WITHOUT_REMOTE else None,
        psk=setup.psk or None,
        prologue=setup.prologue,
        connection_id=NO_CONNECTION,
        mtu=65_507,  # these roads lead below the SDK's receiver, which puts fragments together
    )
    return DatagramPlayer(settings, random_bytes=os.urandom, wall=time.time)


async def open_datagram(client: Client, setup: Setup, *, tickets: bool = True, max_early_data_bytes: int = 0) -> Udp:
    """An established DATAGRAM session and its player."""
    player = datagram_player(setup, (await client.capabilities()).static_key, tickets=tickets)
    road = Udp(player)
    now = time.monotonic()
    if setup.role is Role.RESPONDER:
        road.join(
            await client.respond(
                mode=RecordMode.DATAGRAM,
                message=player.start(now)[0],
                psk=setup.psk,
                prologue=setup.prologue,
                peer_id=setup.peer_id,
                group=setup.group,
                options=noisegate.SessionOptions(max_early_data_bytes=max_early_data_bytes),
            )
        )
        for packet in player.receive(road.session.to_peer[0], now).to_send:
            await road.to_player(await road.session.proceed(packet))
        return road
    options = noisegate.SessionOptions(pad=setup.pad, mask=setup.mask, tickets=tickets)
    road.join(
        await client.initiate(
            mode=RecordMode.DATAGRAM,
            protocol=setup.protocol,
            remote_static_key=setup.player_key_for_service,
            psk=setup.psk,
            prologue=setup.prologue,
            peer_id=setup.peer_id,
            group=setup.group,
            options=options,
        )
    )
    answer = player.receive(road.session.to_peer[0], now).to_send[0]
    for packet in await road.session.proceed(answer):
        for reply in player.receive(packet, now).to_send:
            # The last handshake packet is answered by a record.
            await road.to_player((await road.session.decrypt(reply)).to_peer)
    return road
