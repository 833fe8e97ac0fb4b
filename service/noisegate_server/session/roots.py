"""Roots of epochs: what a salted epoch is made over, and all that a suspended session keeps of its keys.

docs/protocol.md, section 5. A root is a sibling of the traffic secrets: it opens nothing of its own epoch.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from noisegate_server.noise.primitives import wipe
from noisegate_server.session.constants import HASH, KEY, MAX_HELD_ROOTS
from noisegate_server.session.epoch import Epoch

ROOT_HEAD: Final = struct.Struct(f">IB{HASH}s")
_LAYOUT: Final = struct.Struct(f">IB{HASH}s{KEY}s")
CONFIRMED: Final = 1
_AGREED: Final = 2


@dataclass(slots=True, kw_only=True, repr=False)
class Root:
    """One epoch's root."""

    number: int
    h: bytes
    root: bytearray
    """32 bytes; shared with the epoch while that lives."""
    confirmed: bool
    """A record of this epoch from the peer has opened."""
    agreed: bool
    """Noise initiator: it has read rotate-2 of this epoch, so the peer holds it."""
    ours: bool
    """This side has added randomness to this epoch since it started; only then it may seal under what follows."""

    def __repr__(self) -> str:
        return f"Root(number={self.number}, confirmed={self.confirmed})"

    @property
    def serves(self) -> bool:
        """Whether a salted epoch of ours may be made over it."""
        return self.confirmed or self.agreed

    def wipe(self) -> None:
        """Overwrite the root."""
        wipe(self.root)


def root_of(epoch: Epoch, *, agreed: bool = False) -> Root:
    """The root of a living epoch, which it shares."""
    return Root(number=epoch.number, h=epoch.h, root=epoch.root, confirmed=epoch.confirmed, agreed=agreed, ours=True)


def wipe_roots(held: list[Root]) -> list[Root]:
    """Wipe them all; what is held after."""
    for root in held:
        root.wipe()
    return []


def bound_roots(held: list[Root]) -> None:
    """Let go of the oldest unconfirmed roots of `held` (oldest first) above MAX_HELD_ROOTS, and wipe them."""
    while len(held) > MAX_HELD_ROOTS:
        victim = next((root for root in held if not root.serves), held[0])
        victim.wipe()
        held.remove(victim)


def write_roots(roots: list[Root]) -> bytearray:
    """Their fixed layout, one after the other; the caller wipes it."""
    written = bytearray(_LAYOUT.size * len(roots))
    for at, root in enumerate(roots):
        kind = CONFIRMED * root.confirmed | _AGREED * root.agreed
        _LAYOUT.pack_into(written, at * _LAYOUT.size, root.number, kind, root.h, root.root)
    return written


def read_roots(data: memoryview) -> list[Root]:
    """The roots that `write_roots` wrote; none is `ours`. ValueError for anything else."""
    if len(data) % _LAYOUT.size:
        raise ValueError("roots: length")
    roots = []
    for at in range(0, len(data), _LAYOUT.size):
        number, kind, h = ROOT_HEAD.unpack_from(data, at)
        if kind > CONFIRMED | _AGREED:
            raise ValueError("roots: kind")
        roots.append(
            Root(
                number=number,
                h=h,
                # Straight from buffer to buffer: struct would leave a copy that nobody can wipe.
                root=bytearray(data[at + ROOT_HEAD.size : at + _LAYOUT.size]),
                confirmed=bool(kind & CONFIRMED),
                agreed=bool(kind & _AGREED),
                ours=False,
            )
        )
    return roots
