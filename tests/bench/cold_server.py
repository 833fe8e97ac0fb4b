"""The service as it is shipped, but that it keeps one AEAD context: of many sessions none is ever cached."""

from __future__ import annotations

from noisegate_server.cli import main
from noisegate_server.session.aeads import AeadCache

if __name__ == "__main__":
    AeadCache.__init__.__defaults__ = (1,)
    main()
