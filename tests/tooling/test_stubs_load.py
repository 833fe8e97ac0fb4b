"""The generated stubs load on the oldest and on the newest runtimes that the SDK allows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Runs without site-packages: only the runtime under test and the SDK's folder can be imported.
PROGRAM = """
import sys
sys.path[:0] = sys.argv[1:]
from noisegate.v1 import error_reason_pb2, session_crypto_service_pb2, session_pb2
assert "grpc" not in sys.modules, "messages must not need grpc"
request = session_crypto_service_pb2.HandshakeRequest(
    request_id="r-1",
    initiate=session_crypto_service_pb2.InitiateHandshake(
        mode=session_pb2.RECORD_MODE_DATAGRAM,
        protocol=session_pb2.Protocol(pattern=session_pb2.PATTERN_XX, suite=session_pb2.SUITE_AES256_GCM_X25519),
        payload=bytes(range(256)),
        options=session_pb2.SessionOptions(pad=True),
    ),
)
again = session_crypto_service_pb2.HandshakeRequest.FromString(request.SerializeToString())
assert again == request and again.WhichOneof("step") == "initiate"
assert error_reason_pb2.ErrorReason.Name(12) == "ERROR_REASON_DECRYPT_FAILED"
from noisegate.v1 import session_crypto_service_pb2_grpc
assert session_crypto_service_pb2_grpc.SessionCryptoServiceStub
import google.protobuf
print(google.protobuf.__version__)
"""


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("lock", "expected"), [("stubs-protobuf6.txt", "6.31."), ("stubs-protobuf7.txt", "7.")])
def test_stubs_round_trip_a_message_on_the_runtime(lock: str, expected: str, tmp_path: Path) -> None:
    """Messages survive serialisation and the client stub imports, without a warning, on this pair of runtimes."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "--target", str(tmp_path), "--require-hashes", "-r", str(ROOT / "requirements" / lock)], check=True
    )
    python = [sys.executable, "-I", "-S", "-W", "error", "-c", PROGRAM]
    result = subprocess.run(
        [*python, str(tmp_path), str(ROOT / "clients" / "python")], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(expected)
