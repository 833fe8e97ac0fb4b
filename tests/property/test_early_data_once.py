"""Early data is delivered at most once, whatever comes in whatever order: hypothesis drives one service over a vault.

The player's packets (several, with one ticket), copies of them, the vault's answers, its failures, crashes of the
service with the vault or without it, sweeps and steps of both clocks interleave as hypothesis likes. Calls are
driven by hand: one that waits for the vault stands still until the vault has its turn.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Coroutine, Generator
from dataclasses import dataclass, replace
from types import coroutine
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from noisegate_server.engine import redeem
from noisegate_server.engine.opening import resume_handshake
from noisegate_server.engine.outcomes import Early, ResumeStep
from noisegate_server.engine.policy import Options, Policy
from noisegate_server.engine.redeem import ResumeRequested
from noisegate_server.engine.waiting import Turns
from noisegate_server.session.errors import SessionError
from noisegate_server.session.hello import resume_prologue
from noisegate_server.session.packets import ResumeStep1, decode_resume, encode_resume
from noisegate_server.session.ticket import open_ticket
from noisegate_server.store.vault import MemoryVault, Vault, VaultFailed
from tests.support.engines import TENANT, Engine, Engines
from tests.support.tickets import give_ticket, resume_request, with_ticket

TICKETS = 2
PACKETS = 3
"""Different packets with each ticket, by somebody who knows its PSK."""
POLICY = Policy(max_early=100)


@coroutine
def _stand() -> Generator[str, bool, bool]:
    """Stands still until the machine says whether the vault's write went through."""
    return (yield "vault")


class SteppedVault(MemoryVault):
    """Outlives crashes, and is as slow as the machine likes."""

    @property
    def survives(self) -> bool:
        return True

    async def spend(self, number: bytes, until_wall: float) -> bool:
        if not await _stand():
            raise VaultFailed("as the test wants", certain=False)
        return await super().spend(number, until_wall)


@dataclass(slots=True)
class Call:
    """A resume under way."""

    running: Coroutine[Any, Any, ResumeStep]
    ticket: int
    in_vault: bool = False
    """It waits for the vault; otherwise for another call."""


class OneDelivery(RuleBasedStateMachine):
    """One service at a time, and the tickets of one player; it may crash and come back."""

    def __init__(self) -> None:
        super().__init__()
        self.engines = Engines()
        first = self.engine = self._service(SteppedVault(os.urandom(4)))
        link = with_ticket(self.engines, options=Options(max_early=100), responder=first)
        self.packets: list[ResumeRequested] = []
        for ticket in range(TICKETS):
            request = resume_request(link, early_data=b"%d" % ticket)
            self.packets += [request, *(_again(first, request, b"%d" % ticket) for _ in range(PACKETS - 1))]
            give_ticket(link)
        self.calls: list[Call] = []
        self.delivered: Counter[int] = Counter()
        self.sessions: dict[int, set[bytes]] = {ticket: set() for ticket in range(TICKETS)}
        self.remembers = True
        """Every service so far has had the first one's vault."""

    def _service(self, vault: Vault, before: Engine | None = None) -> Engine:
        identity, keys = (before.identity, before.parts.ticket_keys) if before else (None, None)
        engine = self.engines.make(policy=POLICY, vault=vault, identity=identity, ticket_keys=keys)
        engine.parts = replace(engine.parts, latch=Turns)
        return engine

    def _advance(self, call: Call, written: bool | None = None) -> None:
        try:
            waits_for = call.running.send(written)
        except StopIteration as done:
            step: ResumeStep = done.value
            assert (step.early is Early.ACCEPTED) is bool(step.early_data)
            if step.early_data:
                assert step.early_data == b"%d" % call.ticket
                self.delivered[call.ticket] += 1
            self.sessions[call.ticket].add(step.session_id)
        except SessionError:
            pass
        else:
            call.in_vault = waits_for == "vault"
            self.calls.append(call)

    @rule(packet=st.integers(0, TICKETS * PACKETS - 1), wanted=st.booleans())
    def a_packet_comes(self, packet: int, wanted: bool) -> None:
        """New or again, in a call that wants early data or not."""
        request = replace(self.packets[packet], accept_early=wanted)
        clock = self.engine.clock
        running = redeem.respond(self.engine.parts, TENANT, request, clock.now, clock.wall)
        self._advance(Call(running, packet // PACKETS))

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), written=st.sampled_from([True, True, True, False]))
    def a_call_goes_on(self, data: st.DataObject, written: bool) -> None:
        """The vault has answered it, or it looks whether the call that it waits for has its answer."""
        call = self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))
        self._advance(call, written if call.in_vault else None)

    @rule(keeps_vault=st.booleans())
    def the_service_crashes(self, keeps_vault: bool) -> None:
        """Kill -9, and another process with the same keys: over the same state, or over none."""
        for call in self.calls:
            call.running.close()
        self.calls.clear()
        vault = self.engine.parts.vault if keeps_vault else SteppedVault(os.urandom(4))
        self.remembers &= keeps_vault
        self.engine = self._service(vault, self.engine)

    @rule(seconds=st.sampled_from([1.0, 11.0, 3_600.0, 90_000.0]))
    def time_passes(self, seconds: float) -> None:
        """And what is over is swept."""
        self.engines.clock.step(seconds)
        self.engine.sweep()

    @rule(seconds=st.sampled_from([-90_000.0, -3_600.0, 3_600.0, 90_000.0]))
    def the_wall_clock_is_set(self, seconds: float) -> None:
        """As an operator or a time server does."""
        self.engines.clock.wall += seconds
        self.engine.sweep()

    @invariant()
    def nothing_was_delivered_twice(self) -> None:
        """Nor is there a second session of a ticket, unless a service came up that knows nothing of the first."""
        assert all(count <= 1 for count in self.delivered.values())
        if self.remembers:
            assert all(len(sessions) <= 1 for sessions in self.sessions.values())

    def teardown(self) -> None:
        for call in self.calls:
            call.running.close()


def _again(engine: Engine, request: ResumeRequested, early_data: bytes) -> ResumeRequested:
    """Another RESUME packet with the same ticket."""
    packet = decode_resume(request.message)
    assert isinstance(packet, ResumeStep1)
    ticket = open_ticket(engine.parts.ticket_keys, TENANT, packet.ticket, engine.clock.wall)
    noise = resume_handshake(
        engine.parts,
        ticket.suite,
        bytes(ticket.psk),
        resume_prologue(packet.hello, packet.ticket, b""),
        initiator=True,
    )
    return replace(request, message=encode_resume(replace(packet, message=noise.write_message(early_data))))


OneDelivery.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestOneDelivery = OneDelivery.TestCase
