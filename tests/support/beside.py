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


_SERVES: Final = "tests/integration/"
"""What puts our servers under load, and builds nothing."""


class Beside(LoadScopeScheduling):  # type: ignore[misc]  # Any, for want of types
    """A file of what only computes is done by whoever is free; all the rest is two pieces, each for one worker.

    So of these tests no two meet, nor do the compilers of other languages, and no core is idle meanwhile.
    """

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        if path.startswith(_COMPUTES):
            return path
        return "servers" if path.startswith(_SERVES) else "tools"
