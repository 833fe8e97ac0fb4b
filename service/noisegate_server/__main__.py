"""`python -m noisegate_server` is the program `noisegate`."""

from __future__ import annotations

from noisegate_server.cli import main

if __name__ == "__main__":
    main()
