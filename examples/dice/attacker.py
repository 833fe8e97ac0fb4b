"""The attacker: sits on the path of one player's UDP packets, forwards and copies them, and attacks with the copies.

It has no key. When its victim begins, it tells it to choose a classical suite, which is what RETRY is for; anybody can
forge one. Its other forgeries go to the table's port from a socket of its own: random bytes behind a real connection
id, real packets with one bit flipped, and real packets once more. Run by `python -m examples.dice`.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Callable
from typing import Any, Final

from examples.dice.child import Commands, emit, run_child

Address = tuple[str, int]
HANDSHAKE, RECORD, FRAGMENT, RETRY = 0x09, 0x0A, 0x0D, 0x0E
CHOOSE_THE_SECOND: Final = b"\x01\x01\xff"
"""Reason 1, place 1 of the offer, every flag granted."""
HEADER_BYTES: Final = 15
EVERY: Final = 6
"""Records of the player between two volleys."""
VOLLEYS: Final = 3
SHOTS: Final = 4
"""Packets of each kind in a volley."""


class _Socket(asyncio.DatagramProtocol):
    def __init__(self, on_packet: Callable[[bytes, Address], None]) -> None:
        self._on_packet = on_packet

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self._on_packet(data, addr)


async def _socket(on_packet: Callable[[bytes, Address], None], **ends: Address) -> asyncio.DatagramTransport:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: _Socket(on_packet),
        local_addr=ends.get("local_addr"),
        remote_addr=ends.get("remote_addr"),
    )
    return transport


class Forwarder:
    """Forwards one player's packets to the table and back, and keeps a copy of every record of the player."""

    def __init__(self) -> None:
        self.captured: list[bytes] = []
        self.lures = 0
        self._parts: dict[bytes, dict[int, bytes]] = {}
        self.news = asyncio.Event()
        self._player: Address | None = None
        self._inner: asyncio.DatagramTransport | None = None
        self._outer: asyncio.DatagramTransport | None = None

    async def open(self, table_port: int) -> int:
        """The port that the player takes for the table's."""
        self._outer = await _socket(self._to_player, remote_addr=("127.0.0.1", table_port))
        self._inner = await _socket(self._to_table, local_addr=("127.0.0.1", 0))
        return int(self._inner.get_extra_info("sockname")[1])

    def _to_table(self, packet: bytes, source: Address) -> None:
        self._player = source
        whole = self._whole(packet)
        if whole[:1] == bytes([HANDSHAKE]) and not self.lures:
            self._lure(whole, source)
        if self._outer is not None:
            self._outer.sendto(packet)
        if packet[0] == RECORD:
            self.captured.append(packet)
            self.news.set()

    def _whole(self, packet: bytes) -> bytes:
        """The packet itself, or the one of which this was the last fragment to come; else nothing."""
        if packet[0] != FRAGMENT:
            return packet
        parts = self._parts.setdefault(packet[1:11], {})
        parts[packet[11]] = packet[13:]
        return b"".join(part for _, part in sorted(parts.items())) if len(parts) == packet[12] else b""

    def _lure(self, packet: bytes, player: Address) -> None:
        """Before the packet goes on: whoever answers it is second."""
        self.lures += 1
        retry = bytes([RETRY]) + bytes(8) + hashlib.sha256(packet).digest()[:8] + CHOOSE_THE_SECOND
        text = "The attacker forges a RETRY: choose a classical one."
        emit("note", style="attack", text=text, wire="", rpc="")
        if self._inner is not None:
            self._inner.sendto(retry, player)

    def _to_player(self, packet: bytes, _source: Address) -> None:
        if self._inner is not None and self._player is not None:
            self._inner.sendto(packet, self._player)


class Attacker:
    """Sends volleys, and counts what it sent."""

    def __init__(self, forwarder: Forwarder, config: dict[str, Any], out: asyncio.DatagramTransport) -> None:
        self._forwarder, self._out, self._victim = forwarder, out, config["victim"]
        self._pause = 0.05 if config["fast"] else 0.5
        self._random = random.Random(config["seed"])
        self.sent = {"forged": 0, "replayed": 0}
        self.last_call = False

    async def run(self) -> None:
        """A volley whenever enough has been copied; after the last call the rest of them at once."""
        for volley in range(1, VOLLEYS + 1):
            while len(self._forwarder.captured) < EVERY * volley and not self.last_call:
                self._forwarder.news.clear()
                await self._forwarder.news.wait()
            # Long enough that the genuine packet is there first: what comes second is the replay.
            await asyncio.sleep(self._pause)
            copies = self._random.choices(self._forwarder.captured, k=SHOTS)
            name = self._victim
            self._shoot([self._noise(copy) for copy in copies], "forged", f"forges {SHOTS} packets in {name}'s name.")
            await asyncio.sleep(self._pause)
            self._shoot([self._flip(copy) for copy in copies], "forged", f"flips a bit in {SHOTS} packets of {name}'s.")
            await asyncio.sleep(self._pause)
            self._shoot(copies, "replayed", f"replays {SHOTS} packets of {name}'s.")
        await asyncio.sleep(self._pause)

    def _noise(self, copy: bytes) -> bytes:
        return copy[:HEADER_BYTES] + self._random.randbytes(len(copy) - HEADER_BYTES)

    def _flip(self, copy: bytes) -> bytes:
        forged = bytearray(copy)
        forged[self._random.randrange(HEADER_BYTES, len(copy))] ^= 1 << self._random.randrange(8)
        return bytes(forged)

    def _shoot(self, packets: list[bytes], what: str, how: str) -> None:
        for packet in packets:
            self._out.sendto(packet)
        self.sent[what] += len(packets)
        emit("note", style="attack", text=f"The attacker {how}", wire="", rpc="")


async def main(commands: Commands) -> int:
    """Configuration in, the false port out; forwards and attacks until told to stop."""
    config = await commands.get()
    forwarder = Forwarder()
    port = await forwarder.open(config["port"])
    out = await _socket(lambda _packet, _source: None, remote_addr=("127.0.0.1", config["port"]))
    emit("forwarding", port=port)
    attacker = Attacker(forwarder, config, out)
    attack = asyncio.create_task(attacker.run())
    await commands.get()  # the last round is over
    attacker.last_call = True
    forwarder.news.set()
    await attack
    emit("done")
    await commands.get()  # everybody has left
    emit(
        "books",
        port=out.get_extra_info("sockname")[1],
        captured=len(forwarder.captured),
        lures=forwarder.lures,
        **attacker.sent,
    )
    return 0


if __name__ == "__main__":
    run_child(main)
