"""The service as it is shipped, but that it keeps one AEAD context: of many sessions none is ever cached."""

from __future__ import annotations

from noisegate_server.config import read_config
from noisegate_server.server import run
from noisegate_server.session.aeads import AeadCache


def _announce(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    AeadCache.__init__.__defaults__ = (1,)
    run(read_config({"dev": True, "listen": "127.0.0.1:0"}), _announce)
