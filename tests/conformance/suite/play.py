"""Plays one case for one language: asks its driver, moves the players, sets the stage, compares.

A step is one of

    {"sdk": OP, ...}        an operation of the driver; `start` lets it run under a name until
    {"finish": NAME}        waits for it;
    {"cancel": NAME}        cancels it
    {"player": OP, ...}     seal, open, resume, finish, ...: what the player `of` does
    {"play": OP, ...}       what takes several turns: handshake, arrive, talk, deliver, renegotiate
    {"stage": OP}           what happens to the service (stage.py)

`expect` compares what a step gave, `keep` gives parts of it names, `fails` says with which error it must end.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any, Final

from examples.dice.datagram_player.fragments import cut
from noisegate import RecordMode, Role
from tests.conformance.suite.cases import Case
from tests.conformance.suite.driver import Driver
from tests.conformance.suite.players import DatagramEnd, MakeNoisePlayer, NoiseEnd, player_of, setup_of
from tests.conformance.suite.stage import Stage
from tests.conformance.suite.values import Unmet, expect, resolved, to_wire
from tests.support.noise_client import PROLOGUE

_OWN: Final = frozenset({"sdk", "expect", "keep", "fails", "start", "client_is"})

_PATH_BYTES: Final = 1_200
_MESSAGE_ID: Final = 7


class Play:
    """One case, under way."""

    def __init__(self, driver: Driver, stage: Stage, case: Case, number: int, noise_player: MakeNoisePlayer) -> None:
        self._driver = driver
        self._noise_player = noise_player
        self._stage = stage
        self._case = case
        # A driver lives through many cases: what one of them called "s" must be nobody else's.
        self._prefix = f"{number}."
        self._kept: dict[str, Any] = {"target": stage.address, **stage.words}
        self._players: dict[str, NoiseEnd | DatagramEnd] = {}
        self._started: dict[str, tuple[int, asyncio.Future[dict[str, Any]]]] = {}
        self._clients: list[str] = []

    async def run(self) -> None:
        """Every step. Raises Unmet with the number of the one that was not as it should be."""
        try:
            for number, step in enumerate(self._case.steps, 1):
                try:
                    await self._step(step)
                # What a wrong answer leads to further on, e.g. in a player, is the driver's failure, too.
                except Exception as error:
                    said = str(error) if isinstance(error, Unmet) else repr(error)
                    raise Unmet(f"step {number} ({_title(step)}): {said}") from error
        finally:
            for client in self._clients:
                await self._driver.ask("disconnect", client=client)

    async def _step(self, step: dict[str, Any]) -> None:
        if "stage" in step:
            await self._stage.run(step["stage"], resolved(step, self._kept))
        elif "cancel" in step:
            self._driver.cancel(self._started[step["cancel"]][0])
        elif "finish" in step:
            answer = await self._driver.answer(self._started.pop(step["finish"])[1])
            self._judge(step, answer)
        elif "sdk" in step:
            await self._sdk(step)
        elif "play" in step:
            await self._act(step)
        else:
            self._judge(step, {"ok": self._player(step)})

    async def _sdk(self, step: dict[str, Any]) -> None:
        arguments = {key: resolved(value, self._kept) for key, value in step.items() if key not in _OWN}
        for _ in range(arguments.pop("times", 1) - 1):
            self._judge(step, await self._ask(step["sdk"], arguments))
        if "start" in step:
            self._started[step["start"]] = self._driver.begin(step["sdk"], **self._addressed(arguments))
            return
        self._judge(step, await self._ask(step["sdk"], arguments))

    async def _ask(self, op: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if op == "connect":
            arguments = {"target": self._stage.address, **arguments}
            self._clients.append(self._prefix + arguments.get("client", "c"))
        return await self._driver.ask(op, **self._addressed(arguments))

    def _addressed(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """With the default names, and all names made this case's own."""
        named = {"client": "c", "session": "s", "receiver": "r", **arguments}
        for key in ("client", "session", "receiver"):
            named[key] = self._prefix + named[key]
        if "items" in named:
            named["items"] = [{**item, "session": self._prefix + item.get("session", "s")} for item in named["items"]]
        if "sessions" in named:
            named["sessions"] = [self._prefix + name for name in named["sessions"]]
        found: dict[str, Any] = to_wire(named)
        return found

    async def _done(self, op: str, **arguments: Any) -> dict[str, Any]:
        """An operation that must succeed."""
        answer = await self._ask(op, arguments)
        if "error" in answer:
            raise Unmet(f"{op}: {answer['error']}")
        found: dict[str, Any] = answer["ok"]
        return found

    def _judge(self, step: dict[str, Any], answer: dict[str, Any]) -> None:
        if "fails" in step:
            if "error" not in answer:
                raise Unmet("it succeeded")
            expect(resolved(step["fails"], self._kept), answer["error"])
            return
        if "error" in answer:
            raise Unmet(f"it failed: {answer['error']}")
        found = answer["ok"]
        expect(resolved(step.get("expect", {}), self._kept), found)
        for name, path in step.get("keep", {}).items():
            self._kept[name] = _from_wire(_part(found, path))

    # --- players -----------------------------------------------------------------------------------------------------

    def _player(self, step: dict[str, Any]) -> dict[str, Any]:
        player = self._players[step.get("of", "p")]
        given = {key: resolved(value, self._kept) for key, value in step.items() if key not in _OWN}
        beside = given.get("associated_data", b"")
        match step["player"]:
            case "seal":
                packet = [player.seal(given["text"], beside) for _ in range(given.get("times", 1))][-1]
                parts = cut(packet, _MESSAGE_ID, _PATH_BYTES) if isinstance(player, DatagramEnd) else [packet]
                return {"packet": packet.hex(), "parts": [part.hex() for part in parts]}
            case "open":
                texts, _ = player.receive(given["packet"], beside)
                return {"text": texts[0].hex() if texts else ""}
            case "take ticket" if isinstance(player, NoiseEnd):
                player.take_ticket(given["packet"])
                return {}
            case "resume":
                found: dict[str, Any] = to_wire(player.resume())
                return found
            case "finish":
                player.finish(given["messages"])
                return {"handshake_hash": player.handshake_hash.hex()}
            case "rekey receive" if isinstance(player, NoiseEnd):
                return {"counter": player.noise.rekey_receive()}
            case "rekey send" if isinstance(player, NoiseEnd):
                return {"counter": player.noise.rekey_send()}
        raise ValueError(f"no player does that: {step['player']}")

    # --- what takes several turns ------------------------------------------------------------------------------------

    async def _act(self, step: dict[str, Any]) -> None:
        match step["play"]:
            case "handshake":
                await self._handshake(step)
            case "talk":
                for number in range(step.get("times", 1)):
                    await self._talk(step, number)
            case "renegotiate":
                await self._renegotiate(step)
            case "arrive":
                await self._arrive(step)
            case "deliver":
                await self._deliver(step, resolved(step["packets"], self._kept), step.get("read", []))
            case _:
                raise ValueError(f"no such act: {step['play']}")

    async def _handshake(self, step: dict[str, Any]) -> None:
        """Payloads both ways, the hash, and the player's key as the service learned it.

        Under the session's name is kept what the service answered at last and the player's `first_message`; where a
        DATAGRAM player begins `twice`, also the message that was `held_back`.
        """
        names = {"client": step.get("client", "c"), "session": step.get("session", "s")}
        setup = setup_of(step)
        mode = RecordMode[step["mode"]]
        key = bytes.fromhex((await self._done("capabilities", client=names["client"]))["static_key"])
        player = self._players[step.get("player", "p")] = player_of(mode, setup, key, self._noise_player)
        words = {
            "mode": mode.name,
            "psk": setup.psk,
            "prologue": PROLOGUE,
            "peer_id": setup.peer_id,
            "group": setup.group,
            "tickets": step.get("tickets", True) and mode is RecordMode.DATAGRAM,
            **names,
        }
        protocol = {"pattern": setup.pattern.name, "suite": setup.suite.name}
        first = held_back = player.begin() if setup.role is Role.RESPONDER else b""
        if step.get("twice"):
            first = player.begin()
        if isinstance(player, NoiseEnd):
            answer = await self._noise(player, first, {**words, **protocol}, setup.player_key_for_service)
        elif first:
            answer = await self._done("respond", message=first, **words)
            answer = await self._answers(player, answer, names)
        else:
            answer = await self._done("initiate", **protocol, remote_static_key=setup.player_key_for_service, **words)
            answer = await self._answers(player, answer, names)
        expect(
            {"established": True, "handshake_hash": player.handshake_hash, "remote_static_key": setup.shown_key}, answer
        )
        kept = {key: _from_wire(value) for key, value in answer.items()}
        self._kept[names["session"]] = {**kept, "first_message": first, "held_back": held_back}

    async def _noise(
        self, player: NoiseEnd, first: bytes, words: dict[str, Any], remote_static_key: bytes
    ) -> dict[str, Any]:
        noise = player.noise
        where = {"session": words["session"], "client": words["client"]}
        if first:
            answer = await self._done("respond", message=first, payload=b"welcome", **words)
            expect({"payload": b"hi", "to_peer": {"size": 1}}, answer)
            expect({"payload": b"welcome"}, {"payload": noise.read_handshake(_raw(answer["to_peer"][0])).hex()})
            if not noise.established:
                expect({"established": False}, answer)
                answer = await self._done("proceed", message=noise.write_handshake(), **where)
            return answer
        answer = await self._done("initiate", payload=b"hi", remote_static_key=remote_static_key, **words)
        expect({"payload": b"hi"}, {"payload": noise.read_handshake(_raw(answer["to_peer"][0])).hex()})
        answer = await self._done("proceed", message=noise.write_handshake(b"welcome"), **where)
        expect({"payload": b"welcome"}, answer)
        for message in answer["to_peer"]:
            noise.read_handshake(_raw(message))
        return answer

    async def _answers(self, player: DatagramEnd, answer: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
        """Carry DATAGRAM packets to and fro until nobody has any more."""
        waiting = list(answer["to_peer"])
        while waiting:
            _, said = player.receive(_raw(waiting.pop(0)))
            for packet in said:
                if answer["established"]:
                    opened = await self._done("decrypt", ciphertext=packet, session=names["session"])
                    waiting += opened["to_peer"]
                else:
                    answer = await self._done("proceed", message=packet, session=names["session"])
                    waiting += answer["to_peer"]
        return answer

    async def _renegotiate(self, step: dict[str, Any]) -> None:
        """NOISE: a new handshake step by step, then one direction after the other goes over to its keys."""
        session = step.get("session", "s")
        player = self._players[step.get("player", "p")]
        if not isinstance(player, NoiseEnd):
            raise TypeError("DATAGRAM players renegotiate by `deliver`")
        fresh = player.noise.renegotiate()
        answer: dict[str, Any] = {}
        while not fresh.established:
            message = fresh.write_handshake()
            answer = await self._done("rotate", session=session, kind="RENEGOTIATE", message=message)
            for reply in answer["to_peer"]:
                fresh.read_handshake(_raw(reply))
        expect({"ready_to_switch": True, "state": "ROTATING"}, answer)
        await self._talk(step, 0)
        await self._done("rotate", session=session, kind="RENEGOTIATE", switch_send=True)
        player.noise.switch_receive(fresh)
        await self._talk(step, 1)
        answer = await self._done("rotate", session=session, kind="RENEGOTIATE", switch_receive=True)
        player.noise.switch_send(fresh)
        expect({"ready_to_switch": False, "state": "ESTABLISHED", "epoch": 1}, answer)

    async def _arrive(self, step: dict[str, Any]) -> None:
        """A DATAGRAM handshake by way of the SDK's receive path, from the address `source`."""
        # The receiver admits anyone, without a prologue.
        setup = replace(setup_of(step), prologue=b"")
        where = {key: step[key] for key in ("client", "session", "receiver") if key in step}
        key = bytes.fromhex((await self._done("capabilities", **where))["static_key"])
        player = self._players[step.get("player", "p")] = DatagramEnd(setup, key)
        player.set_clock(step.get("clock_s", 0))
        waiting, established, refused = [player.begin()], 0, []
        while waiting:
            answer = await self._done("receive", packet=waiting.pop(0), source=step["source"], **where)
            refused += [answer["refused"]] if answer["refused"] else []
            established += answer["established"]
            for message in answer["to_send"]:
                waiting += player.receive(_raw(message))[1]
        expect(1, established, "how often it was established")
        expect(step.get("refused", []), refused, "refused")

    async def _talk(self, step: dict[str, Any], number: int) -> None:
        """A record each way."""
        session = step.get("session", "s")
        player = self._players[step.get("player", "p")]
        up, down = b"roll %d" % number, b"six %d" % number
        opened = await self._done("decrypt", session=session, ciphertext=player.seal(up))
        expect({"refused": "", "plaintext": up}, opened)
        await self._deliver(step, [_raw(packet) for packet in opened["to_peer"]], [])
        sealed = await self._done("encrypt", session=session, plaintext=down)
        await self._deliver(
            step, [_raw(each) for each in (*sealed["to_peer"], sealed["packet"])], [{"text": down.decode()}]
        )

    async def _deliver(self, step: dict[str, Any], packets: list[bytes], read: list[Any]) -> None:
        """The player gets packets, and the service what the player says to them; `read` is what it must read."""
        player = self._players[step.get("player", "p")]
        texts: list[str] = []
        waiting = list(packets)
        while waiting:
            heard, said = player.receive(waiting.pop(0))
            texts += [text.hex() for text in heard]
            for packet in said:
                opened = await self._done("decrypt", session=step.get("session", "s"), ciphertext=packet)
                waiting += [_raw(each) for each in opened["to_peer"]]
        expect(resolved(read, self._kept), texts, "what the player read")


def _part(answer: Any, path: str) -> Any:
    """What stands under "items.0.packet". Unmet where the answer does not have it."""
    value = answer
    for part in path.split("."):
        try:
            value = value[int(part)] if isinstance(value, list) else value[part]
        except (KeyError, IndexError) as error:
            raise Unmet(f"there is no {path} in {answer}") from error
    return value


def _raw(digits: str) -> bytes:
    return bytes.fromhex(digits)


def _from_wire(value: Any) -> Any:
    """Bytes where the digits of some stand; a word of letters alone stays one."""
    if isinstance(value, list):
        return [_from_wire(each) for each in value]
    if isinstance(value, str):
        try:
            return bytes.fromhex(value)
        except ValueError:
            return value
    return value


def _title(step: dict[str, Any]) -> str:
    return json.dumps({key: step[key] for key in list(step)[:2]})
