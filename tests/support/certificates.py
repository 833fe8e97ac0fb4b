"""A certificate authority for one test: server certificates by name, caller certificates by SPIFFE id."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import noisegate

LOOPBACK = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A leaf certificate and its key, both PEM."""

    certificate: bytes
    key: bytes = field(repr=False)


class Authority:
    """Signs for a hundred years, so that no test depends on the date."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self.pem = self._sign(self._name, self._key, x509.BasicConstraints(ca=True, path_length=None))

    def issue(self, *names: x509.GeneralName, common_name: str = "") -> Issued:
        """A leaf with these subject alternative names; without any it has no such extension."""
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else []
        extension: x509.ExtensionType = x509.BasicConstraints(ca=False, path_length=None)
        if names:
            extension = x509.SubjectAlternativeName(list(names))
        return Issued(certificate=self._sign(x509.Name(attributes), key, extension), key=pem)

    def server(self) -> Issued:
        """A certificate for 127.0.0.1."""
        return self.issue(LOOPBACK)

    def caller(self, *spiffe_ids: str) -> Issued:
        """A caller's certificate with these URI names."""
        return self.issue(*(x509.UniformResourceIdentifier(each) for each in spiffe_ids), common_name="caller")

    def tls(self, caller: Issued | None) -> noisegate.Tls:
        """What a client of this authority's server gives to the SDK; None for no certificate of its own."""
        if caller is None:
            return noisegate.Tls(ca=self.pem)
        return noisegate.Tls(ca=self.pem, certificate=caller.certificate, key=caller.key)

    def write_server_files(self, folder: Path, *, mutual: bool = True) -> list[str]:
        """Writes a server's certificate, key and client roots; answers the options of `noisegate serve`."""
        server = self.server()
        certificate, key, roots = folder / "server.pem", folder / "server.key", folder / "callers.pem"
        certificate.write_bytes(server.certificate)
        key.touch(mode=0o600)
        key.write_bytes(server.key)
        roots.write_bytes(self.pem)
        options = ["--tls-certificate", str(certificate), "--tls-key", str(key)]
        return [*options, "--tls-client-ca", str(roots)] if mutual else options

    def _sign(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType) -> bytes:
        builder = x509.CertificateBuilder(issuer_name=self._name, subject_name=subject, public_key=key.public_key())
        builder = builder.serial_number(x509.random_serial_number()).add_extension(extension, critical=True)
        builder = builder.not_valid_before(datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
        builder = builder.not_valid_after(datetime.datetime(2120, 1, 1, tzinfo=datetime.UTC))
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
