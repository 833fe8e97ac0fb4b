"""When plaintext is allowed, and mutual TLS against a real server."""

from __future__ import annotations

import datetime
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import noisegate
from noisegate.tls import is_loopback
from noisegate.v1 import session_crypto_service_pb2 as service
from tests.unit.sdk.scripted_service import SESSION_ID, ScriptedService


@pytest.mark.parametrize(
    ("target", "loopback"),
    [
        ("127.0.0.1:7443", True),
        ("127.8.9.1:7443", True),
        ("[::1]:7443", True),
        ("localhost:7443", True),
        ("unix:/run/noisegate.sock", True),
        ("0.0.0.0:7443", False),
        ("192.0.2.1:7443", False),
        ("[2001:db8::1]:7443", False),
        ("noisegate:7443", False),
        ("localhost.example:7443", False),
        ("127.0.0.1.example:7443", False),
        ("dns:///127.0.0.1.example:7443", False),
        ("", False),
    ],
)
def test_only_addresses_of_this_machine_are_loopback(target: str, loopback: bool) -> None:
    """A name may resolve to anything, so that only localhost is believed."""
    assert is_loopback(target) is loopback


def test_plaintext_to_another_machine_is_refused_unless_it_is_asked_for() -> None:
    """Plaintexts and pre-shared keys travel in these calls; the error says what to write instead."""
    with pytest.raises(noisegate.InsecureTarget, match=r"tls=Tls.*insecure=True"):
        noisegate.connect("noisegate:7443")
    with pytest.raises(ValueError, match="not a loopback address"):
        noisegate.connect_sync("noisegate:7443")
    noisegate.connect("noisegate:7443", insecure=True)
    noisegate.connect("noisegate:7443", tls=noisegate.Tls())


@pytest.mark.parametrize(("certificate", "key"), [(b"pem", None), (None, b"pem")])
def test_a_certificate_without_its_key_is_refused(certificate: bytes | None, key: bytes | None) -> None:
    """Half of mutual TLS would silently be no mutual TLS."""
    with pytest.raises(ValueError, match="belong together"):
        noisegate.Tls(certificate=certificate, key=key)


class Authority:
    """A certificate authority for one test."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self.pem = self._sign(self._name, self._key, x509.BasicConstraints(ca=True, path_length=None))

    def _sign(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType) -> bytes:
        builder = x509.CertificateBuilder(issuer_name=self._name, subject_name=subject, public_key=key.public_key())
        builder = builder.serial_number(x509.random_serial_number()).add_extension(extension, critical=True)
        builder = builder.not_valid_before(datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
        builder = builder.not_valid_after(datetime.datetime(2120, 1, 1, tzinfo=datetime.UTC))
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def issue(self, name: x509.GeneralName) -> tuple[bytes, bytes]:
        """(certificate, key), both PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return self._sign(x509.Name([]), key, x509.SubjectAlternativeName([name])), pem


async def test_mutual_tls_names_both_sides(tmp_path: Path) -> None:
    """The service sees the caller's SPIFFE id, the client checks the service's name; files and bytes do alike."""
    authority = Authority()
    certificate, key = authority.issue(x509.DNSName("noisegate.internal"))
    caller_certificate, caller_key = authority.issue(x509.UniformResourceIdentifier("spiffe://example/match"))
    key_file = tmp_path / "key.pem"
    key_file.write_bytes(caller_key)
    scripted = ScriptedService()
    scripted.answer("Encrypt", service.EncryptResponse(ciphertext=b"record"))
    seen: list[object] = []

    class Watch(grpc.aio.ServerInterceptor):
        async def intercept_service(self, continuation, details):
            handler = await continuation(details)

            async def unary(body: bytes, context: grpc.aio.ServicerContext) -> bytes:
                seen.extend(context.auth_context().get("peer_spiffe_id", ()))
                answer: bytes = await handler.unary_unary(body, context)
                return answer

            return grpc.unary_unary_rpc_method_handler(unary)

    server = grpc.aio.server(interceptors=[Watch()])
    server.add_generic_rpc_handlers((scripted.handlers(),))
    credentials = grpc.ssl_server_credentials([(key, certificate)], authority.pem, require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    target = f"127.0.0.1:{port}"
    policy = noisegate.CallPolicy(packet_deadline=5, attempts=1)
    try:
        tls = noisegate.Tls(
            ca=authority.pem, certificate=caller_certificate, key=key_file, server_name="noisegate.internal"
        )
        async with noisegate.connect(target, tls=tls, policy=policy) as client:
            assert (await client.session(SESSION_ID).encrypt(b"hi")).packet == b"record"
        assert seen == [b"spiffe://example/match"]

        # Without the other name the certificate does not fit the address; without a certificate the service refuses.
        nameless = noisegate.Tls(ca=authority.pem, certificate=caller_certificate, key=caller_key)
        anonymous = noisegate.Tls(ca=authority.pem, server_name="noisegate.internal")
        for wrong in (nameless, anonymous):
            async with noisegate.connect(target, tls=wrong, policy=policy) as client:
                with pytest.raises(noisegate.ServiceUnavailable):
                    await client.session(SESSION_ID).encrypt(b"hi")
    finally:
        await server.stop(None)
    assert len(scripted.raw) == 1
