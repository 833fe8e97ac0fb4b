"""What an operator may do, at the address of --admin-listen.

async with noisegate.admin.connect("127.0.0.1:7444") as operator:
    await operator.revoke_peer("arena", peer_id="eve")
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from noisegate.v1 import admin_service_pb2 as service

from ._blocking import Blocking, Loop, blocking
from ._calls import DEFAULT_POLICY, CallPolicy, Calls, Entropy, Method
from ._channels import Channels
from .errors import ClientClosed
from .tls import Tls

__all__ = ["AdminClient", "Revoked", "SyncAdminClient", "connect", "connect_sync"]

ADMIN_SERVICE: Final = "noisegate.v1.AdminService"
REVOKE_PEER: Final = Method("RevokePeer", service.RevokePeerRequest, service.RevokePeerResponse, service=ADMIN_SERVICE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoked:
    """What a revocation ended at one instance."""

    sessions_ended: int
    suspended_deleted: int


class AdminClient:
    """Calls to the AdminService of one instance. Belongs to the event loop that first uses it."""

    def __init__(self, calls: Calls) -> None:
        self._calls: Final = calls

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End every connection."""
        await self._calls.close()

    async def revoke_peer(self, tenant: str, *, peer_id: str = "", static_key: bytes = b"") -> Revoked:
        """End at once what a player of `tenant` has at this instance: sessions, handshakes, suspended ones, tickets.

        Give one of `peer_id` (at most 64 bytes; it may come again by a full handshake) and `static_key` (32 bytes;
        refused from now on). May be repeated. Raises InvalidRequest.
        """
        if static_key and peer_id:
            raise ValueError("give one of peer_id and static_key")
        if static_key:
            request = service.RevokePeerRequest(tenant=tenant, static_key=static_key)
        else:
            request = service.RevokePeerRequest(tenant=tenant, peer_id=peer_id)
        answer = (await self._calls.call(REVOKE_PEER, request)).message
        return Revoked(sessions_ended=answer.sessions_ended, suspended_deleted=answer.suspended_deleted)


class SyncAdminClient(Blocking[AdminClient]):
    """`AdminClient` for code without an event loop. Made by `connect_sync`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every connection and the thread."""
        try:
            self._loop.run(self._inner.close())
        except ClientClosed:
            # Closed before: the thread is gone already.
            return
        finally:
            self._loop.stop()

    revoke_peer = blocking(AdminClient.revoke_peer)


def connect(
    target: str,
    *,
    tls: Tls | None = None,
    insecure: bool = False,
    policy: CallPolicy = DEFAULT_POLICY,
    entropy: Entropy = os.urandom,
) -> AdminClient:
    """A client for the operators' listener at `target`, HOST:PORT; the arguments are those of `noisegate.connect`."""
    return AdminClient(Calls(Channels(target, tls=tls, insecure=insecure), policy, entropy))


def connect_sync(
    target: str,
    *,
    tls: Tls | None = None,
    insecure: bool = False,
    policy: CallPolicy = DEFAULT_POLICY,
    entropy: Entropy = os.urandom,
) -> SyncAdminClient:
    """`connect` for code without an event loop: starts a thread, which `close` or the end of `with` ends."""
    return SyncAdminClient(Loop(), connect(target, tls=tls, insecure=insecure, policy=policy, entropy=entropy))
