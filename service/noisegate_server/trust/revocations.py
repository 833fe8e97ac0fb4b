"""Who was revoked: a player by its name, up to a moment; a static key, for good.

A name is the game's to give, so revoking one ends what there is of it, tickets and blobs of that moment or before, and
the player may come again by a full handshake. A key is the player's own: nothing of it is taken any more.
"""

from __future__ import annotations

from typing import Final

KEPT_S: Final = 8 * 86_400.0
"""Seconds for which a name's revocation is kept: longer than the 7 days after which nothing of before can be used."""


class Revocations:
    """Revocations by tenant. Times are unix seconds. Not safe for threads."""

    __slots__ = ("_keys", "_names")

    def __init__(self) -> None:
        self._names: Final[dict[tuple[str, str], float]] = {}
        self._keys: Final[set[tuple[str, bytes]]] = set()

    def __len__(self) -> int:
        return len(self._names) + len(self._keys)

    def revoke_name(self, tenant: str, peer_id: str, wall: float) -> None:
        """Refuse what was made for this player at `wall` or before. Never takes an earlier word back."""
        key = (tenant, peer_id)
        # Put at the end, so that rows lie in the order in which they go.
        self._names[key] = max(wall, self._names.pop(key, wall))

    def revoke_key(self, tenant: str, static_key: bytes) -> None:
        """Refuse whatever this key (32 bytes) begins or comes back with."""
        self._keys.add((tenant, static_key))

    def is_revoked(self, tenant: str, static_key: bytes) -> bool:
        """Whether a peer that has proved this key, empty for none, must be refused."""
        return (tenant, static_key) in self._keys

    def refuses(self, tenant: str, peer_id: str, static_key: bytes, made_wall: float) -> bool:
        """Whether a ticket or blob of this player that was made at `made_wall` must be refused."""
        revoked = self._names.get((tenant, peer_id)) if peer_id else None
        return (revoked is not None and made_wall <= revoked) or self.is_revoked(tenant, static_key)

    def forget(self, wall: float, budget: int) -> int:
        """Drop at most `budget` names whose revocation can concern nothing any more; how many."""
        for dropped in range(budget):
            first = next(iter(self._names), None)
            if first is None or wall - self._names[first] <= KEPT_S:
                return dropped
            del self._names[first]
        return budget
