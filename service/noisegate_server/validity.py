"""From when until when the certificates in use are valid, for who looks at metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cryptography import x509

from noisegate_server.telemetry.logs import LOG
from noisegate_server.transport.grpcio import Credentials

__all__ = ["Validity"]


class Validity:
    """Of one instance's listeners."""

    def __init__(self) -> None:
        self._dates: Final[dict[str, tuple[float, float]]] = {}

    @property
    def dates(self) -> Mapping[str, tuple[float, float]]:
        """(begin, end) by certificate, unix seconds; of several in one file those of the one that ends first."""
        return self._dates

    def use(self, credentials: Credentials, roots: str) -> None:
        """A listener has these from now on; `roots` names its client roots."""
        for name, text in (("server", credentials.certificate), (roots, credentials.client_ca)):
            if text is not None:
                self._dates.pop(name, None)
                try:
                    self._dates[name] = _first_to_end(text)
                except ValueError:
                    LOG.warning("nobody can say how long a certificate is valid", certificate=name)


def _first_to_end(text: bytes) -> tuple[float, float]:
    first = min(x509.load_pem_x509_certificates(text), key=lambda each: each.not_valid_after_utc)
    return first.not_valid_before_utc.timestamp(), first.not_valid_after_utc.timestamp()
