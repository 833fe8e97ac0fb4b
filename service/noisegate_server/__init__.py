"""noisegate's server: session crypto as a service for multiplayer games."""

from __future__ import annotations

from typing import Final

__version__: Final = "0.1.0"
