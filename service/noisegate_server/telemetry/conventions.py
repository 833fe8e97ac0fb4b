"""Names of the RPC semantic conventions as they are stable (OpenTelemetry semantic conventions 1.45), in one place.

Not the library's: opentelemetry-semantic-conventions 0.66b2 ends at schema 1.44, which still has other names for the
status code and takes the method apart. https://opentelemetry.io/docs/specs/semconv/rpc/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from noisegate_server.rpc.call import Code

__all__ = ["CODES", "SCHEMA_URL", "SERVER_ERRORS"]

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.45.0"

RPC_SYSTEM_NAME: Final = "rpc.system.name"
RPC_METHOD: Final = "rpc.method"
"""The full name, `package.Service/Method`."""
RPC_STATUS_CODE: Final = "rpc.status_code"
"""The code's name, `OK` for success."""
ERROR_TYPE: Final = "error.type"
"""The code's name too, on what counts as an error of the server alone."""
NETWORK_PEER_ADDRESS: Final = "network.peer.address"

CALL_DURATION: Final = "rpc.server.call.duration"

GRPC: Final = "grpc"

CODES: Final[Mapping[int, str]] = {code: code.name for code in Code}

SERVER_ERRORS: Final = frozenset(
    {
        Code.UNKNOWN,
        Code.DEADLINE_EXCEEDED,
        Code.UNIMPLEMENTED,
        Code.INTERNAL,
        Code.UNAVAILABLE,
        Code.DATA_LOSS,
    }
)
"""What the conventions count as a failure of the server. Whatever a caller or a player got wrong is none."""
