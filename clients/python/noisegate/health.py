"""Whether an instance takes calls: one question to its grpc.health.v1, as load balancers and probes ask it.

if await noisegate.health.is_serving("127.0.0.1:7443"):
    ...
"""

from __future__ import annotations

from typing import Final

import grpc

from ._channels import Channels
from .errors import from_rpc_error
from .tls import Tls

__all__ = ["SERVICE", "is_serving"]

SERVICE: Final = "noisegate.v1.SessionCryptoService"

_CHECK: Final = "/grpc.health.v1.Health/Check"
_NAME_FIELD: Final = b"\x0a"
_SERVING: Final = b"\x08\x01"


async def is_serving(
    target: str, *, service: str = SERVICE, tls: Tls | None = None, insecure: bool = False, seconds: float = 5.0
) -> bool:
    """Whether the instance at HOST:PORT takes calls for `service`; with an empty one, whether its process lives.

    An instance that drains lives and takes none. `insecure` allows plaintext away from loopback, for the address of
    --health-listen. `seconds` to wait at most. Raises NoisegateError where nobody answers, InsecureTarget.
    """
    # Two messages of one field each are written and read by hand: their package would be a dependency for them alone.
    name = service.encode()
    request = _NAME_FIELD + bytes((len(name),)) + name if name else b""
    channels = Channels(target, tls=tls, insecure=insecure)
    try:
        lane = await channels.lane("")
        answer: bytes = await lane.method(_CHECK)(request, timeout=seconds)
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from None
    finally:
        await channels.close()
    return answer == _SERVING
