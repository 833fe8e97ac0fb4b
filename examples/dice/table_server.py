"""The table server: a process with a game and three doors, and no crypto. noisegate does that, over gRPC.

Run by `python -m examples.dice`. Nothing here or below imports a crypto library or the service's own code.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import asdict
from typing import Any

from websockets.asyncio.server import ServerConnection, serve

from examples.dice.child import Commands, emit, imported, run_child
from examples.dice.script import GROUP, GUESTS
from examples.dice.table_calls import Counts
from examples.dice.table_datagrams import DatagramDoor
from examples.dice.table_game import GameStuckError, Table
from examples.dice.table_streams import StreamDoor
from examples.dice.table_watch import Watch
from examples.dice.wires import TcpWire, WebSocketWire
from noisegate import CallPolicy, Client, NoisegateError, connect

# A NOISE session does not survive a call whose answer came too late; a loaded machine is no reason to lose it.
POLICY = CallPolicy(packet_deadline=5.0, control_deadline=5.0)


async def main(commands: Commands) -> int:
    """Configuration in, ports out, then the game; the books last."""
    config = await commands.get()
    try:
        await _evening(config, commands)
    except (GameStuckError, NoisegateError, ValueError) as error:
        emit("failed", text=str(error))
        return 1
    return 0


async def _evening(config: dict[str, Any], commands: Commands) -> None:
    """Opens the doors, plays, and tells the books. GameStuckError, NoisegateError, ValueError."""
    counts = Counts()
    table = Table(config, counts)
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(connect(config["noisegate"], policy=POLICY))
        streams, datagrams = StreamDoor(client, table, counts), DatagramDoor(client, table, counts)

        async def tcp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await streams.serve(TcpWire(reader, writer), "TCP")

        async def websocket(connection: ServerConnection) -> None:
            await streams.serve(WebSocketWire(connection), "WebSocket")

        capabilities = await client.capabilities()
        listener = await stack.enter_async_context(await asyncio.start_server(tcp, "127.0.0.1", 0))
        sockets = await stack.enter_async_context(serve(websocket, "127.0.0.1", 0, compression=None))
        ports = {
            "TCP": listener.sockets[0].getsockname()[1],
            "WebSocket": next(iter(sockets.sockets)).getsockname()[1],
            "UDP": await datagrams.open(),
        }
        watch = Watch(client, table.name_of)
        watching = asyncio.create_task(watch.run())
        stack.push_async_callback(_cancel, {watching})
        await watch.begun.wait()
        emit("listening", ports=ports, service_key=capabilities.static_key.hex())
        game = asyncio.create_task(table.play(commands.get()))
        tasks = {game, *map(asyncio.create_task, (datagrams.run(), table.repeat(), _tell(table, datagrams)))}
        stack.push_async_callback(_cancel, tasks)
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        emit("over")
        await commands.get()  # all others are done
        await datagrams.drained()
        await watch.settled(len(GUESTS) + table.counts.resumed, patience_s=2.0)
        emit("books", **_books(table, await _open_sessions(client)), told=dict(watch.told))


async def _open_sessions(client: Client) -> int:
    """How many sessions of this table still live; after a clean end none does."""
    return len([session async for session in client.list_sessions(group=GROUP)])


async def _tell(table: Table, datagrams: DatagramDoor) -> None:
    while True:
        await asyncio.sleep(0.1)
        datagrams.tell_refused()
        emit("counts", counts=table.tally())


async def _cancel(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _books(table: Table, open_sessions: int) -> dict[str, object]:
    return {
        "start": table.start,
        "total": table.bank.total,
        "house": table.bank.house,
        "bankrolls": table.bank.bankrolls,
        "rounds": [asdict(played) for played in table.rounds],
        "sent": {seat.name: seat.talk.sent for seat in table.seats.values()},
        "delivered": {seat.name: seat.talk.delivered for seat in table.seats.values()},
        "refused": {str(port): pair for port, pair in table.counts.refused.items()},
        "counts": table.tally(),
        "open_sessions": open_sessions,
        "modules": imported("cryptography", "noise", "noisegate_server", "nacl", "Crypto"),
    }


if __name__ == "__main__":
    run_child(main)
