"""Writes what a commit leaves behind for those after it: suspended sessions, blobs, tickets, a state file.

Run with that commit's code, not with this one's (README.md beside this file):

    PYTHONPATH=TREE:TREE/service:TREE/clients/python python write.py COMMIT FOLDER

Both ends of every session are instances of the service, and both are suspended: so the peer of what comes back is
itself a fixture. Clocks stand at a fixed moment; keys are random, and worth nothing.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any, Final

from noisegate_server.engine.policy import Options
from noisegate_server.session.state import RecordMode
from noisegate_server.session.suites import Pattern, Suite
from noisegate_server.store.base import StoreLimits
from noisegate_server.store.vault import KeptSession, MemoryVault, Revocation
from noisegate_server.vault.sqlite import SqliteVault
from tests.support.engines import ALL_OPTIONS, TENANT, End, Engine, Engines, Link, establish
from tests.support.suspending import put_away

HYBRID: Final = Suite.MLKEM1024_X25519_CHACHA20_POLY1305
AES: Final = Suite.AES256_GCM_X25519
CHACHA: Final = Suite.CHACHA20_POLY1305_X25519
CASES: Final[dict[str, dict[str, Any]]] = {
    "datagram": {"mode": RecordMode.DATAGRAM, "pattern": Pattern.IK, "suite": CHACHA, "options": Options(tickets=True)},
    "datagram-all-options": {
        "mode": RecordMode.DATAGRAM, "pattern": Pattern.XX, "suite": AES, "options": ALL_OPTIONS,
    },
    "datagram-ratchet-hybrid": {
        "mode": RecordMode.DATAGRAM,
        "pattern": Pattern.NK,
        "suite": HYBRID,
        "options": Options(tickets=True, ratchet=True, max_early=512),
    },
    "noise": {"mode": RecordMode.NOISE, "pattern": Pattern.XX, "suite": CHACHA, "options": Options()},
    "noise-ratchet-hybrid": {
        "mode": RecordMode.NOISE, "pattern": Pattern.IK, "suite": HYBRID, "options": Options(ratchet=True),
    },
}  # fmt: skip
LIFETIME_S: Final = 86_400.0


def written(value: Any) -> Any:
    """A value as JSON has it: bytes as hex behind a mark."""
    if isinstance(value, bytes | bytearray | memoryview):
        return f"hex:{bytes(value).hex()}"
    if isinstance(value, tuple):
        return [written(each) for each in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: written(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return value


def live(link: Link, mode: RecordMode) -> None:
    """Records each way, new keys, and a ticket for the initiator."""
    link.talk()
    if mode is RecordMode.DATAGRAM:
        link.initiator.renegotiate()
        link.settle()
        link.talk()
    service = link.responder
    for packet in service.engine.issue(service.session_id).to_peer:
        link.initiator.open(packet, ticket=mode is RecordMode.NOISE)


def kept_of(end: End, *, by_service: bool) -> KeptSession:
    """What an end leaves in its vault."""
    vault = end.engine.parts.vault
    if by_service:
        put_away(end)
    else:
        end.engine.suspend(end.session_id)
    assert isinstance(vault, MemoryVault)
    return vault._kept[end.session_id]


def instance(engines: Engines, issuer: bytes) -> Engine:
    """One side of all sessions."""
    return engines.make(vault=MemoryVault(issuer), limits=StoreLimits(sessions_per_peer=1_000))


def keys_of(engine: Engine) -> dict[str, Any]:
    """What the next process needs to be the same service."""
    tickets, blobs = engine.parts.ticket_keys.current, engine.parts.blob_keys.current
    return {
        "identity": written(engine.identity.private_bytes()),
        "ticket_key": [written(tickets.key_id), written(tickets.key)],
        "blob_key": [written(blobs.key_id), written(blobs.key)],
        "issuer": written(engine.parts.vault.issuer),
    }


async def write_state(path: Path, sessions: list[KeptSession], wall: float) -> None:
    """A state file with them, a used number and a revocation."""
    vault = SqliteVault(path, b"serv")
    await vault.keep(sessions)
    await vault.spend(b"a number of use.", wall + LIFETIME_S)
    await vault.revoke(Revocation(tenant=TENANT, peer_id="eve", revoked_wall=wall))
    await vault.close()


def main(commit: str, folder: Path) -> None:
    """Write both files."""
    engines = Engines()
    player, service = instance(engines, b"play"), instance(engines, b"serv")
    sessions, tickets, blobs = [], [], []
    for number, (name, case) in enumerate(CASES.items()):
        # A player's hellos are each later than the one before.
        engines.clock.step(1.0)
        link = establish(engines, initiator=player, responder=service, **case)
        live(link, case["mode"])
        given = player.parts.received.pop((TENANT, link.initiator.session_id), engines.clock.now)
        tickets.append({"name": name, "ticket": written(given)})
        ends = {"player": link.initiator, "service": link.responder}
        kept = {side: kept_of(end, by_service=bool(number % 2)) for side, end in ends.items()}
        sessions.append({"name": name} | {side: written(each) for side, each in kept.items()})
        if case["mode"] is RecordMode.DATAGRAM:
            engines.clock.step(1.0)
            other = establish(engines, initiator=player, responder=service, **case)
            live(other, case["mode"])
            for_player = kept_of(other.initiator, by_service=False)
            blob = service.suspend(other.responder.session_id, return_blob=True).blob
            blobs.append({"name": name, "player": written(for_player), "blob": written(blob)})
    vault = service.parts.vault
    assert isinstance(vault, MemoryVault)
    state = folder / "service.state"
    state.unlink(missing_ok=True)
    asyncio.run(write_state(state, list(vault._kept.values()), engines.clock.wall))
    left = {
        "commit": commit,
        "wall": engines.clock.wall,
        "tenant": TENANT,
        "player": keys_of(player),
        "service": keys_of(service),
        "sessions": sessions,
        "blobs": blobs,
        "tickets": tickets,
    }
    (folder / "left.json").write_text(json.dumps(left, indent=1) + "\n", encoding="ascii")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
