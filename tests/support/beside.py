"""Which tests run at the same time, in the workers of pytest-xdist."""

from __future__ import annotations

from typing import Final

from xdist.scheduler.loadscope import LoadScopeScheduling

_COMPUTES: Final = (
    "tests/unit/",
    "tests/property/",
    "tests/conformance/test_noise_vectors.py",
    "tests/conformance/test_wycheproof.py",
)
"""What starts no server and builds nothing."""


class Beside(LoadScopeScheduling):  # type: ignore[misc]  # Any, for want of types
    """A file of what only computes is done by whoever is free; all the rest is one piece, for one worker.

    So servers and the compilers of other languages do not meet, and the other cores are not idle meanwhile.
    """

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return path if path.startswith(_COMPUTES) else "one after the other"
