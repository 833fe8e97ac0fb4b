"""`noisegate`, as a program of its own, whose seals are recorded in the file that NOISEGATE_TEST_SEALED names.

NOISEGATE_TEST_SEALED=run/1.sealed python -m tests.support.recorded_server serve --listen 127.0.0.1:0
"""

from __future__ import annotations

import os
from pathlib import Path

from noisegate_server.cli import main
from tests.support.recording import SEALED_ENV, install

if __name__ == "__main__":
    install(Path(os.environ[SEALED_ENV]))
    main()
