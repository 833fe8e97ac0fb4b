"""`make bench-peers`: `noisegate bench` with rows that compare it with other projects.

`python -m tests.bench [ID ...] [--json FILE] [--plot FILE]`. It needs cargo and go; what it builds stays in the user's
cache folder. Exit code 1 where a row is missed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

# Before anything loads `cryptography`: it decides what OpenSSL may use, as it does in the command.
import noisegate_server.cli  # noqa: F401  # isort: skip

from noisegate_server.bench.run import UnknownRow, run
from tests.bench.rows import PEER_ROWS
from tests.support.go_program import NotAvailable


def main() -> int:
    """Measure, print, judge."""
    arguments = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    arguments.add_argument("rows", nargs="*", metavar="ID", help="rows to take; default: all")
    arguments.add_argument("--json", type=Path, metavar="FILE", help="also write the rows there")
    arguments.add_argument("--plot", type=Path, metavar="FILE", help="also draw them there, as SVG")
    options = arguments.parse_args()
    try:
        return 0 if run(options.rows, options.json, options.plot, beside=PEER_ROWS) else 1
    except (UnknownRow, NotAvailable) as error:
        arguments.error(str(error))


if __name__ == "__main__":
    sys.exit(main())
