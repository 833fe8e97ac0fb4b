"""Certificates: whether chain and roots are in order, valid today and for how long, and for the right name."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID

from noisegate_server import files
from noisegate_server.config import Config, HostPort, parse_host_port
from noisegate_server.doctor.findings import Findings

__all__ = ["examine_certificates"]

_SOON_DAYS: Final = 14
"""Before its end a certificate should have been replaced by then."""


def examine_certificates(findings: Findings, config: Config, wall: float) -> None:
    """The listener's chain and key, and the roots of callers and operators."""
    if config.tls_certificate is None or config.tls_key is None:
        findings.note("--tls-certificate", "none: plaintext, for callers of this machine alone")
    else:
        with findings.of_options():
            files.credentials(config)
            findings.ok("--tls-key", f"{config.tls_key}: the key of the certificate, for its owner alone")
        _examine_chain(findings, config, config.tls_certificate, wall)
    for option, path in (("--tls-client-ca", config.tls_client_ca), ("--admin-client-ca", config.admin_client_ca)):
        if path is not None:
            _examine_roots(findings, option, path, wall)


def _examine_chain(findings: Findings, config: Config, path: Path, wall: float) -> None:
    option = "--tls-certificate"
    chain = _read(findings, option, path)
    if not chain:
        return
    for certificate, issuer in pairwise(chain):
        try:
            certificate.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature):
            findings.mend(
                option,
                f"{path}: {_name(certificate)} is not signed by {_name(issuer)}, which comes behind it",
                "put the leaf first, and behind each certificate the one that signed it",
            )
    for certificate in chain:
        _examine_dates(findings, option, path, certificate, wall)
    _examine_use(findings, path, chain[0])
    _examine_names(findings, config, path, chain[0])


def _examine_roots(findings: Findings, option: str, path: Path, wall: float) -> None:
    for certificate in _read(findings, option, path):
        _examine_dates(findings, option, path, certificate, wall)
        if not _is_authority(certificate):
            findings.mend(
                option,
                f"{path}: {_name(certificate)} is no authority's certificate",
                "give the certificate of the authority that signs the callers'",
            )


def _read(findings: Findings, option: str, path: Path) -> Sequence[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        findings.mend(option, f"{path}: cannot be read ({error.strerror})", "let the service's user read the file")
    except ValueError:
        findings.mend(option, f"{path}: no certificate in it", "give a file in PEM form")
    return ()


def _examine_dates(findings: Findings, option: str, path: Path, certificate: x509.Certificate, wall: float) -> None:
    now = datetime.fromtimestamp(wall, UTC)
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    about = f"{path}: {_name(certificate)}"
    if now < begins:
        findings.mend(option, f"{about} is valid only from {begins:%Y-%m-%d %H:%M} UTC", "set this machine's clock")
    elif now >= ends:
        findings.mend(option, f"{about} was valid until {ends:%Y-%m-%d %H:%M} UTC", "have it issued anew")
    elif (ends - now).days < _SOON_DAYS:
        findings.note(option, f"{about} is valid for {(ends - now).days} days more", "have it issued anew")
    else:
        findings.ok(option, f"{about}, valid until {ends:%Y-%m-%d}")


def _examine_use(findings: Findings, path: Path, leaf: x509.Certificate) -> None:
    try:
        uses = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    if ExtendedKeyUsageOID.SERVER_AUTH not in uses:
        findings.mend(
            "--tls-certificate",
            f"{path}: {_name(leaf)} is not for servers (extended key usage)",
            "have one issued with the usage serverAuth",
        )


def _examine_names(findings: Findings, config: Config, path: Path, leaf: x509.Certificate) -> None:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        findings.mend(
            "--tls-certificate",
            f"{path}: {_name(leaf)} has no subject alternative name, and no client looks at another one",
            "have one issued with the name that callers use",
        )
        return
    called = _called(config)
    if called is None:
        findings.note("--tls-certificate", "under which name callers come is not known", "give --advertise HOST:PORT")
    elif not _covers(names, called.host):
        findings.mend(
            "--tls-certificate",
            f"{path}: not for {called.host}, under which callers come",
            f"have one issued with that name, or give the right --advertise (now {called})",
        )
    else:
        findings.ok("--tls-certificate", f"{path}: for {called.host}, under which callers come")


def _called(config: Config) -> HostPort | None:
    """Where callers come; None where only they know."""
    if config.advertise:
        return parse_host_port(config.advertise)
    return None if config.address.is_wildcard else config.address


def _covers(names: x509.SubjectAlternativeName, host: str) -> bool:
    try:
        return ip_address(host) in names.get_values_for_type(x509.IPAddress)
    except ValueError:
        known = {name.lower() for name in names.get_values_for_type(x509.DNSName)}
    # A wildcard is for one label, the first (RFC 9525, section 6.3).
    return host.lower() in known or f"*.{host.lower().partition('.')[2]}" in known


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or f"serial {certificate.serial_number:x}"
