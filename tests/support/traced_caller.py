"""A game service that traces its calls, to where OTEL_... says: `python -m tests.support.traced_caller ADDRESS`."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

import noisegate
from noisegate import Multiplex, NoisegateError, Pattern
from tests.support.noise_client import Setup, open_datagram, open_noise

PATIENT = noisegate.CallPolicy(packet_deadline=5.0, control_deadline=5.0)


async def join(address: str, tracer: trace.Tracer) -> None:
    """A player joins, packets travel one by one and together, and one call goes wrong."""
    async with noisegate.connect(address, policy=PATIENT) as client:
        with tracer.start_as_current_span("player joins"):
            session, player = await open_noise(client, Setup(pattern=Pattern.XX))
            await session.decrypt(player.seal(b"roll"))
            with suppress(NoisegateError):
                await session.decrypt(os.urandom(40))
    async with noisegate.connect(address, policy=PATIENT, multiplex=Multiplex()) as client:
        with tracer.start_as_current_span("packets travel"):
            road = await open_datagram(client, Setup(pattern=Pattern.IK))
            await road.talk()
            await road.session.close()


def main() -> None:
    """Everything in one process that then ends."""
    provider = TracerProvider(resource=Resource({"service.name": "match"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    tracer = trace.get_tracer("match")
    asyncio.run(join(sys.argv[1], tracer))
    with tracer.start_as_current_span("without a loop"), noisegate.connect_sync(sys.argv[1], policy=PATIENT) as client:
        client.capabilities()
    provider.shutdown()


if __name__ == "__main__":
    main()
