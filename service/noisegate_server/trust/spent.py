"""Which tickets were used at this instance, for as long as one of them could still be shown again.

RFC 8446, section 8.1: a ticket is for once. The table is bounded, by tenant and in all; where it is full, the ticket
that was issued first makes room, and the floor rises to its time of issue: whatever was issued up to there counts as
used from then on. So forgetting never lets a replay in. Its price is a full handshake for a player whose ticket is
older than the floor. A ticket that is too old to be used raises the floor in the same way when its row goes, so that a
clock which was set back revives nothing. Where a vault knows every use as well, there is no floor, and no such price.
"""

from __future__ import annotations

import heapq
import math
from typing import Final

from noisegate_server.session.constants import TICKET_LIFETIME_S

MAX_SPENT: Final = 1_000_000
MAX_SPENT_PER_TENANT: Final = 250_000
_SPARE_ENTRIES: Final = 64


class _Tenant:
    """The rows of one tenant, first issued first."""

    __slots__ = ("floor", "ids", "order")

    def __init__(self) -> None:
        self.ids: Final[set[bytes]] = set()
        self.order: Final[list[tuple[float, bytes]]] = []
        self.floor = -math.inf

    def drop_first(self) -> float | None:
        """Forget the row that was issued first; when that was, or None where it had been taken back."""
        issued, number = heapq.heappop(self.order)
        if number not in self.ids:
            return None
        self.ids.remove(number)
        return issued


class SpentTickets:
    """Ids of used tickets by tenant. Times are unix seconds. Not safe for threads."""

    __slots__ = ("_alone", "_capacity", "_count", "_due", "_floor", "_share", "_tenants")

    def __init__(self, *, alone: bool = True, capacity: int = MAX_SPENT, share: int = MAX_SPENT_PER_TENANT) -> None:
        """At most `capacity` rows, and `share` of them of one tenant; `alone`: nobody else knows of the uses."""
        self._alone: Final = alone
        self._capacity: Final = capacity
        self._share: Final = share
        self._tenants: Final[dict[str, _Tenant]] = {}
        self._count = 0
        self._floor = -math.inf
        """Whatever was issued up to here has outlived its use."""
        self._due = math.inf
        """Before this moment no row has."""

    def __len__(self) -> int:
        return self._count

    def is_spent(self, tenant: str, number: bytes, issued_wall: float) -> bool:
        """Whether a ticket must be taken for used. Changes nothing."""
        rows = self._tenants.get(tenant)
        return issued_wall <= self._floor or (rows is not None and (issued_wall <= rows.floor or number in rows.ids))

    def spend(self, tenant: str, number: bytes, issued_wall: float) -> None:
        """Mark a ticket that is not spent."""
        rows = self._tenants.get(tenant)
        if rows is None:
            rows = self._tenants[tenant] = _Tenant()
        rows.ids.add(number)
        heapq.heappush(rows.order, (issued_wall, number))
        self._count += 1
        self._due = min(self._due, issued_wall + TICKET_LIFETIME_S)
        if len(rows.ids) > self._share:
            self._evict(rows)
        elif self._count > self._capacity:
            # Of the tenant that takes most room, so that one alone cannot raise the floor of the others.
            self._evict(max(self._tenants.values(), key=lambda each: len(each.ids)))

    def take_back(self, tenant: str, number: bytes) -> None:
        """The use of a ticket could not be made durable, and nobody had an answer: it may come again."""
        rows = self._tenants.get(tenant)
        if rows is not None and number in rows.ids:
            rows.ids.remove(number)
            self._count -= 1
            if len(rows.order) > 2 * len(rows.ids) + _SPARE_ENTRIES:
                # Entries of what was taken back; without this, tickets that come again and again while nothing can be
                # written would pile them up.
                rows.order[:] = sorted({entry for entry in rows.order if entry[1] in rows.ids})

    def forget(self, wall: float, budget: int) -> int:
        """Drop at most `budget` rows of tickets that are too old to be used at `wall`; how many."""
        if wall <= self._due:
            return 0
        left = budget
        oldest = wall - TICKET_LIFETIME_S
        for tenant, rows in list(self._tenants.items()):
            while rows.order and rows.order[0][0] < oldest:
                if left <= 0:
                    return budget
                left -= 1
                self._dropped(rows.drop_first())
            if not rows.order and rows.floor <= self._floor:
                del self._tenants[tenant]
        heads = (rows.order[0][0] for rows in self._tenants.values() if rows.order)
        self._due = min(heads, default=math.inf) + TICKET_LIFETIME_S
        return budget - left

    def _dropped(self, issued: float | None) -> None:
        if issued is not None:
            self._count -= 1
            if self._alone:
                self._floor = max(self._floor, issued)

    def _evict(self, rows: _Tenant) -> None:
        while True:
            issued = rows.drop_first()
            if issued is not None:
                self._count -= 1
                if self._alone:
                    rows.floor = max(rows.floor, issued)
                return
