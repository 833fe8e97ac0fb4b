"""Who has how many unfinished handshakes.

An unfinished handshake costs its sender one packet and us memory until it times out, so it has caps of its own: for the
player and the tenant (their fault, SessionQuota) and for the process (nobody's fault, Overloaded).
"""

from __future__ import annotations

from noisegate_server.session.errors import Overloaded, SessionQuota
from noisegate_server.store.base import StoreLimits

__all__ = ["HalfOpenLedger"]


class HalfOpenLedger:
    """Handles of half-open sessions and counts for each tenant and player; never larger than `limits.half_open`."""

    __slots__ = ("_handles", "_limits", "_per_peer", "_per_tenant")

    def __init__(self, limits: StoreLimits) -> None:
        self._limits = limits
        self._handles: set[int] = set()
        self._per_tenant: dict[str, int] = {}
        self._per_peer: dict[tuple[str, str], int] = {}

    def __len__(self) -> int:
        return len(self._handles)

    def check_room(self, tenant: str, peer_id: str) -> None:
        """Errors: SessionQuota, Overloaded."""
        if peer_id and self._per_peer.get((tenant, peer_id), 0) >= self._limits.half_open_per_peer:
            raise SessionQuota(f"peer:{peer_id}", f"at most {self._limits.half_open_per_peer} unfinished handshakes")
        if len(self._handles) >= self._limits.half_open:
            raise Overloaded("too many unfinished handshakes")
        if self._per_tenant.get(tenant, 0) >= self._limits.half_open_per_tenant:
            raise SessionQuota("tenant", f"at most {self._limits.half_open_per_tenant} unfinished handshakes")

    def add(self, handle: int, tenant: str, peer_id: str) -> None:
        """Count a new half-open session."""
        self._handles.add(handle)
        self._per_tenant[tenant] = self._per_tenant.get(tenant, 0) + 1
        if peer_id:
            self._per_peer[tenant, peer_id] = self._per_peer.get((tenant, peer_id), 0) + 1

    def remove(self, handle: int, tenant: str, peer_id: str) -> bool:
        """Count a session no longer; False if it was not counted."""
        if handle not in self._handles:
            return False
        self._handles.remove(handle)
        if self._per_tenant[tenant] > 1:
            self._per_tenant[tenant] -= 1
        else:
            del self._per_tenant[tenant]
        if peer_id:
            if self._per_peer[tenant, peer_id] > 1:
                self._per_peer[tenant, peer_id] -= 1
            else:
                del self._per_peer[tenant, peer_id]
        return True

    def is_empty(self) -> bool:
        """Whether nothing is counted any more."""
        return not (self._handles or self._per_tenant or self._per_peer)
