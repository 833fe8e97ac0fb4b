"""What the use cases work with: one frozen record of parts, made by the composition root."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final

from noisegate_server.engine.counts import Counts
from noisegate_server.engine.events import Events
from noisegate_server.engine.keyring import KeyRing
from noisegate_server.engine.outcomes import HandshakeStep, ResumeStep
from noisegate_server.engine.packing import SessionPacker
from noisegate_server.engine.policy import Policy
from noisegate_server.engine.waiting import Latch, Turns, Underway
from noisegate_server.noise import RandomBytes
from noisegate_server.session.aeads import AeadCache
from noisegate_server.session.constants import KEY, REPEAT_ANSWER_S, SESSION_ID
from noisegate_server.session.received import ReceivedTicket
from noisegate_server.session.sealing import KEY_ID, SealingKey, SealingKeys
from noisegate_server.session.session import Session
from noisegate_server.session.ticket import TicketKeys
from noisegate_server.store.base import SessionStore, StoreLimits
from noisegate_server.store.expiring import ExpiringTable
from noisegate_server.store.sharded import ShardedStore
from noisegate_server.store.vault import MemoryVault, Vault
from noisegate_server.trust.identity import Identities
from noisegate_server.trust.revocations import Revocations
from noisegate_server.trust.spent import SpentTickets
from noisegate_server.trust.timestamps import Timestamps

INSTANCE: Final = 4
"""Bytes of an instance id, with which every session id of the instance begins."""

Answer = HandshakeStep | ResumeStep

_ANSWER_BYTES: Final = 64 * 1024 * 1024
_ROW_BYTES: Final = 1_024
"""What a row of `answers` costs beside its messages: objects, keys and places in dicts, rounded up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """One instance of the service, below the seam."""

    instance: bytes
    endpoint: str
    """HOST:PORT under which callers reach this instance."""
    version: str
    identities: Identities
    ticket_ring: KeyRing
    policy: Policy
    random_bytes: RandomBytes
    store: SessionStore[Session]
    vault: Vault
    """What must outlive memory."""
    blob_ring: KeyRing
    """Under which suspended sessions are sealed."""
    packer: SessionPacker
    """The store's."""
    aeads: AeadCache = field(default_factory=AeadCache)
    answers: ExpiringTable[tuple[str, bytes], Answer]
    """(tenant, SHA-256 of a packet) to what it was answered: a repeated packet gets the same answer."""
    spent: SpentTickets
    """Tickets that were used at this instance. What earlier processes know, a vault that survives knows."""
    redeeming: dict[tuple[str, bytes], Underway] = field(default_factory=dict)
    """Resumes that wait for the vault, by the key that `answers` will have: a repeat waits with the first."""
    latch: Callable[[], Latch]
    revocations: Revocations = field(default_factory=Revocations)
    received: ExpiringTable[tuple[str, bytes], ReceivedTicket]
    """(tenant, session id) to the ticket that the session's peer gave us."""
    timestamps: Timestamps
    """Of the hellos that were accepted, by tenant and static key."""
    events: Events
    """Who is told what happens to sessions."""
    counts: Counts
    """How much of what has happened."""

    @property
    def ticket_keys(self) -> TicketKeys:
        """Those of this moment."""
        return self.ticket_ring.keys

    @property
    def blob_keys(self) -> SealingKeys:
        """Those of this moment."""
        return self.blob_ring.keys

    def session_id(self) -> bytes:
        """A new session id: the instance, then 160 random bits."""
        return self.instance + self.random_bytes(SESSION_ID - INSTANCE)


def make_parts(
    *,
    instance: bytes,
    endpoint: str,
    version: str,
    identities: Identities,
    ticket_keys: TicketKeys,
    policy: Policy,
    random_bytes: RandomBytes,
    started_wall: float,
    limits: StoreLimits | None = None,
    vault: Vault | None = None,
    blob_keys: SealingKeys | None = None,
    latch: Callable[[], Latch] = Turns,
) -> Parts:
    """The parts of an instance whose sessions live in memory. ValueError: an instance id of another length.

    `started_wall`: when the service began (unix seconds). `vault`: one in memory unless given; `latch` is for one that
    may have to wait. `blob_keys`: made here unless given.
    """
    if len(instance) != INSTANCE:
        raise ValueError(f"instance: {INSTANCE} bytes")
    limits = limits or StoreLimits()
    vault = vault or MemoryVault(random_bytes(INSTANCE))
    counts = Counts()
    events = Events(counts)
    aeads = AeadCache()
    packer = SessionPacker(policy, aeads)
    return Parts(
        instance=instance,
        endpoint=endpoint,
        version=version,
        identities=identities,
        ticket_ring=KeyRing(ticket_keys, started_wall),
        policy=policy,
        random_bytes=random_bytes,
        store=ShardedStore(
            limits,
            resumable=attrgetter("ticket_given"),
            on_end=events.ended,
            on_given_up=events.given_up,
            packer=packer,
        ),
        packer=packer,
        aeads=aeads,
        answers=ExpiringTable(
            ttl=REPEAT_ANSWER_S, capacity=limits.half_open * 2, weigh=_answer_bytes, budget=_ANSWER_BYTES
        ),
        vault=vault,
        blob_ring=KeyRing(
            blob_keys or SealingKeys(current=SealingKey(key_id=random_bytes(KEY_ID), key=random_bytes(KEY))),
            started_wall,
        ),
        spent=SpentTickets(alone=not vault.survives),
        latch=latch,
        received=ExpiringTable(ttl=policy.ticket_lifetime, capacity=limits.tombstones, on_drop=ReceivedTicket.wipe),
        timestamps=Timestamps(started_wall),
        events=events,
        counts=counts,
    )


def _answer_bytes(answer: Answer) -> int:
    return _ROW_BYTES + len(answer.payload) + sum(map(len, answer.to_peer))
