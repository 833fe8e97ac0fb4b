"""ChangeNetwork: a player's device is on another network, or on none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from noisegate_server.engine.counts import Cause
from noisegate_server.engine.parts import Parts
from noisegate_server.engine.records import parties, see_to
from noisegate_server.engine.restore import present
from noisegate_server.engine.suspend import put_away
from noisegate_server.noise import RandomBytes
from noisegate_server.session import rotation
from noisegate_server.session.connection_ids import give_again, give_connection_id, is_unused
from noisegate_server.session.constants import CONNECTION_ID, NO_CONNECTION_ID
from noisegate_server.session.datagram import DatagramRecords
from noisegate_server.session.errors import InvalidField, NotEstablished, SessionClosed, SessionNotFound
from noisegate_server.session.keep_alive import question, token_of
from noisegate_server.session.network import Network
from noisegate_server.session.packets import Kind
from noisegate_server.session.session import Session
from noisegate_server.session.state import Role, SessionState
from noisegate_server.store.base import ConnectionIdTaken
from noisegate_server.store.suspended import SuspendedSession

MAX_CHANGES: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkChange:
    """What a change of network did to one session."""

    session_id: bytes
    to_peer: tuple[bytes, ...] = ()
    state: int
    connection_id: bytes = b""
    keep_alive: float = 0.0
    """Seconds, as the next; 0 where the session is not established."""
    idle_timeout: float = 0.0
    rotation_due: bool = False
    token: bytes = b""
    """Of the question in `to_peer`."""


async def change_network(
    parts: Parts, tenant: str, session_id: bytes, network: Network, now: float, wall: float
) -> NetworkChange:
    """Tell one session of its player's network. NotEstablished for one whose handshake has not finished.

    WIFI and CELLULAR bring a suspended session back; NONE suspends, as its caller does. Overloaded where the vault
    fails: then nothing has changed.
    """
    record = parts.store.find_suspended(tenant, session_id, now)
    if network is Network.NONE and record is not None and not record.by_service and not record.moving:
        return NetworkChange(session_id=session_id, state=SessionState.SUSPENDED)
    session, is_back = await present(parts, tenant, session_id, now, wall)
    if session.records is None:
        raise NotEstablished(session.state.name)
    if network is Network.NONE:
        await put_away(parts, [session], by_service=False, now=now, wall=wall)
        return NetworkChange(session_id=session_id, state=SessionState.SUSPENDED)
    return _change(parts, session, network, now, is_back=is_back)


async def change_networks(
    parts: Parts, tenant: str, peer_id: str, network: Network, now: float, wall: float
) -> tuple[NetworkChange, ...]:
    """Tell all sessions of a player. One that ends meanwhile, or cannot come back, is in the answer as TERMINATED.

    InvalidField for a player of more than 1,000 sessions.
    """
    found, cursor = parts.store.select(tenant, peer_id=peer_id, limit=MAX_CHANGES)
    if cursor is not None:
        raise InvalidField("peer_id", f"has more than {MAX_CHANGES} sessions: name each by its session_id")
    ids = [session.session_id for session in found if not session.is_half_open]
    if network is Network.NONE:
        # By one operation of the vault, rather than one for each.
        live = [each for each in found if not isinstance(each, SuspendedSession) and each.records is not None]
        await put_away(parts, live, by_service=False, now=now, wall=wall)
    changes = []
    for session_id in ids:
        try:
            changes.append(await change_network(parts, tenant, session_id, network, now, wall))
        except (SessionClosed, SessionNotFound):
            changes.append(NetworkChange(session_id=session_id, state=SessionState.TERMINATED))
    return tuple(changes)


def _change(parts: Parts, session: Session, network: Network, now: float, *, is_back: bool) -> NetworkChange:
    records = session.records
    expired_at = session.expires_at
    session.join(network, parts.policy.idle_timeout)
    session.touch(now)
    if session.expires_at < expired_at:
        parts.store.hasten(session, now)
    to_peer: tuple[bytes, ...] = ()
    asked = b""
    if isinstance(records, DatagramRecords):
        # First, because an address that has proved nothing may not get all of this.
        asked = question(parts.random_bytes)
        if is_back:
            to_peer = (records.remind(Kind.KEEP_ALIVE, asked, now, parts.aeads),)
        else:
            to_peer = records.aside(Kind.KEEP_ALIVE, asked, parts.aeads)
        if network is Network.WIFI:
            to_peer += _new_connection_id(parts, session, records, now)
            if not is_back:
                to_peer += _rotate(parts, session, records, now)
        to_peer += see_to(parts, session, now)
        parts.counts.settle(session, Cause.NETWORK)
    return NetworkChange(
        session_id=session.session_id,
        to_peer=to_peer,
        state=session.state,
        connection_id=records.connection_id if isinstance(records, DatagramRecords) else b"",
        keep_alive=session.keep_alive,
        idle_timeout=session.idle_timeout,
        token=token_of(asked),
        rotation_due=network is Network.WIFI and not isinstance(records, DatagramRecords),
    )


def _new_connection_id(parts: Parts, session: Session, records: DatagramRecords, now: float) -> tuple[bytes, ...]:
    """So that who watches both networks cannot tell by the id that one player moved. Only who chose the id gives one.

    While the player has not used the last one that it was given, it is given that again.
    """
    if session.follows_connection_id or not records.has_room:
        return ()
    if is_unused(records):
        return give_again(records, parts.aeads)
    for former in records.former_connection_ids:
        parts.store.unbind_connection(session, former)
    return give_connection_id(records, _bound_id(parts, session, parts.random_bytes), now, parts.aeads)


def _bound_id(parts: Parts, session: Session, random_bytes: RandomBytes) -> bytes:
    while True:
        new = random_bytes(CONNECTION_ID)
        if new == NO_CONNECTION_ID or new in session.connection_ids():
            continue
        try:
            parts.store.bind_connection(session, new)
        except ConnectionIdTaken:
            continue
        return new


def _rotate(parts: Parts, session: Session, records: DatagramRecords, now: float) -> tuple[bytes, ...]:
    if session.role is not Role.INITIATOR:
        return rotation.wish(records, now, parts.aeads)
    if session.remote_static or records.begun is not None:
        return rotation.start(records, parties(parts, session), now, parts.aeads, parts.random_bytes)
    # A resumed session whose peer was anonymous: nobody can renegotiate it.
    return ()
