"""Until when certificates are valid: what metrics and alerts are told of a file with one or several."""

from __future__ import annotations

import logging

import pytest
from cryptography import x509

from noisegate_server.transport.grpcio import Credentials
from noisegate_server.validity import Validity
from tests.support.certificates import Authority


def end(text: bytes) -> float:
    """Of the one certificate in a text."""
    return x509.load_pem_x509_certificate(text).not_valid_after_utc.timestamp()


def credentials(certificate: bytes, client_ca: bytes | None) -> Credentials:
    """With a key that nobody looks at."""
    return Credentials(certificate=certificate, private_key=b"", client_ca=client_ca)


def test_of_several_in_a_file_the_one_that_ends_first_counts() -> None:
    """An intermediate one as well as a root that is about to be replaced."""
    short, long = Authority(hours=2).certificate, Authority(hours=9).certificate
    validity = Validity()
    validity.use(credentials(long + short, short + long), "client_ca")
    assert {name: until for name, (_, until) in validity.dates.items()} == {
        "server": end(short),
        "client_ca": end(short),
    }
    assert all(begin < until for begin, until in validity.dates.values())


def test_listeners_have_roots_of_their_own() -> None:
    """And what is renewed takes the place of what was there; without roots there is nothing to tell."""
    first, second, third = (Authority(hours=hours).certificate for hours in (2, 4, 6))
    validity = Validity()
    validity.use(credentials(first, None), "client_ca")
    assert validity.dates.keys() == {"server"}
    validity.use(credentials(second, third), "admin_client_ca")
    assert validity.dates["server"][1] == end(second)
    assert validity.dates["admin_client_ca"][1] == end(third)


def test_a_certificate_that_cannot_be_read_has_no_dates(caplog: pytest.LogCaptureFixture) -> None:
    """Not those of the one before it either, and the log says so: the service itself can do without."""
    validity = Validity()
    validity.use(credentials(Authority().certificate, None), "client_ca")
    with caplog.at_level(logging.WARNING, "noisegate"):
        validity.use(credentials(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", None), "client_ca")
    assert validity.dates == {}
    assert "nobody can say how long" in caplog.text
