"""The reference of `own-cost`: a bare grpc.aio server whose one method answers with as many bytes as Encrypt does.

It takes raw bytes and runs with the options of the service's own listener, in a process of its own.
"""

from __future__ import annotations

import asyncio
import signal
import sys

import grpc
import grpc.aio

from noisegate_server.transport.grpcio import SERVER_OPTIONS

METHOD = "/noisegate.bench.NoOp/Call"


class _Handlers(grpc.GenericRpcHandler):
    def __init__(self, answer: bytes) -> None:
        async def call(_body: bytes, _context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
            return answer

        self._handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(call)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        return self._handler if handler_call_details.method == METHOD else None


async def serve(answer_bytes: int) -> None:
    """Answer calls until SIGTERM; prints the port."""
    server = grpc.aio.server(options=SERVER_OPTIONS, maximum_concurrent_rpcs=10_000)
    server.add_generic_rpc_handlers([_Handlers(bytes(answer_bytes))])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"no-op listening on 127.0.0.1:{port}", flush=True)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()
    await server.stop(1)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
