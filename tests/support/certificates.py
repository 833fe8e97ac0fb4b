"""A small certificate authority for tests: PEM texts for a server and for callers with any URI names."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import noisegate

Pair = tuple[bytes, bytes]
"""Certificate and private key, PEM."""


class Authority:
    """Signs certificates that are valid now, and for some hours."""

    def __init__(self, hours: int = 1) -> None:
        self._hours = hours
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        builder = self._builder(self._name, self._key.public_key())
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        certificate = builder.add_extension(constraints, critical=True).sign(self._key, hashes.SHA256())
        self.certificate = certificate.public_bytes(serialization.Encoding.PEM)

    def server(self) -> Pair:
        """For 127.0.0.1."""
        return self.issue("server", [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])

    def caller(self, *uris: str) -> Pair:
        """With these URI names and a common name that must not count."""
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in uris]
        return self.issue("spiffe://game.example/common-name", names)

    def tls(self, caller: Pair | None) -> noisegate.Tls:
        """What a client of this authority's server gives to the SDK; None for no certificate of its own."""
        if caller is None:
            return noisegate.Tls(ca=self.certificate)
        return noisegate.Tls(ca=self.certificate, certificate=caller[0], key=caller[1])

    def write_server_files(self, folder: Path, *, mutual: bool = True) -> list[str]:
        """Writes a server's certificate, key and client roots; answers the options of `noisegate serve`."""
        certificate, key = self.server()
        files = {"server.pem": certificate, "server.key": key, "callers.pem": self.certificate}
        for name, text in files.items():
            (folder / name).touch(mode=0o600)
            (folder / name).write_bytes(text)
        options = ["--tls-certificate", str(folder / "server.pem"), "--tls-key", str(folder / "server.key")]
        return [*options, "--tls-client-ca", str(folder / "callers.pem")] if mutual else options

    def issue(self, common_name: str, names: Sequence[x509.GeneralName]) -> Pair:
        """A leaf with these subject alternative names; without any it has no such extension."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]), key.public_key())
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return certificate.public_bytes(serialization.Encoding.PEM), private

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=self._hours))
        )
