"""Connections to the service: one channel per endpoint, made when first needed, all with the same credentials."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

import grpc

from .errors import ClientClosed
from .tls import Tls, check_plaintext

MAX_CHANNELS: Final = 64

_SERVICE_CONFIG: Final[dict[str, list[dict[str, dict[str, str]]]]] = {
    # New sessions spread over the instances behind a headless name; a session's own calls go to its one endpoint.
    "loadBalancingConfig": [{"round_robin": {}}],
}

_OPTIONS: Final[Options] = (
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    # A name server must not be able to change how calls are repeated.
    ("grpc.service_config_disable_resolution", 1),
    # Repeats are decided in `_calls` alone: they need the same request_id and one deadline over all attempts.
    ("grpc.enable_retries", 0),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # A packet's deadline is 250 ms: gRPC's own second before it connects again would fail every packet of it.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # A pod that is started again has another address; gRPC would not ask for it within 30 s of the last time.
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
    # A page of 1,000 sessions is the longest answer; requests are limited by the service, which says so precisely.
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
    ("grpc.max_send_message_length", 4 * 1024 * 1024),
    ("grpc.primary_user_agent", "noisegate-python"),
)

RawMethod = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
RawStream = grpc.aio.UnaryStreamMultiCallable[bytes, bytes]

Options = tuple[tuple[str, int | str], ...]
"""Arguments of gRPC's channels."""


class Lane:
    """One channel with its methods; bytes in, bytes out."""

    __slots__ = ("_methods", "channel", "in_flight")

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel: Final = channel
        self.in_flight = 0
        self._methods: dict[str, RawMethod] = {}

    def method(self, path: str) -> RawMethod:
        """The method at /package.Service/Method."""
        try:
            return self._methods[path]
        except KeyError:
            # Without serialisers: a repeat then sends the very same bytes.
            method: RawMethod = self.channel.unary_unary(path, request_serializer=None, response_deserializer=None)
            self._methods[path] = method
            return method

    def stream(self, path: str) -> RawStream:
        """The method at /package.Service/Method that answers with many messages."""
        stream: RawStream = self.channel.unary_stream(path, request_serializer=None, response_deserializer=None)
        return stream


class Channels:
    """At most `limit` lanes, unless more are in use; the longest idle gives way. Belongs to one event loop."""

    def __init__(
        self, target: str, *, tls: Tls | None, insecure: bool, limit: int = MAX_CHANNELS, options: Options = ()
    ) -> None:
        check_plaintext(target, tls=tls, insecure=insecure)
        self._target = target
        self._tls = tls
        self._insecure = insecure
        self._limit = limit
        self._options: Final = (*_OPTIONS, *options)
        self._credentials = None if tls is None else tls.credentials()
        self._lanes: OrderedDict[str, Lane] = OrderedDict()
        self.closed = False

    @property
    def target(self) -> str:
        """The client's own."""
        return self._target

    async def lane(self, endpoint: str) -> Lane:
        """The lane to HOST:PORT, empty for the client's own target. Raises InsecureTarget, ClientClosed.

        It comes with one call in flight counted, which the caller takes off when its call is over.
        """
        if self.closed:
            raise ClientClosed
        address = endpoint or self._target
        lane = self._lanes.get(address)
        if lane is not None:
            self._lanes.move_to_end(address)
            lane.in_flight += 1
            return lane
        lane = self._lanes[address] = Lane(self._open(address))
        # Counted before the first await, so that nobody else closes it meanwhile.
        lane.in_flight += 1
        await self._make_room()
        if self.closed:
            raise ClientClosed
        return lane

    def check(self, endpoint: str) -> None:
        """Raises InsecureTarget where `own` would."""
        # An endpoint comes from the service: it must not talk this client out of TLS.
        check_plaintext(endpoint or self._target, tls=self._tls, insecure=self._insecure)

    def own(self, endpoint: str) -> grpc.aio.Channel:
        """A channel with a connection of its own, which the caller closes. Raises InsecureTarget, ClientClosed."""
        if self.closed:
            raise ClientClosed
        return self._open(endpoint or self._target, ("grpc.use_local_subchannel_pool", 1))

    async def close(self) -> None:
        """Close every channel; calls under way end with ClientClosed. May be called again."""
        self.closed = True
        while self._lanes:
            _, lane = self._lanes.popitem()
            await lane.channel.close(grace=None)

    def _open(self, address: str, *more: tuple[str, int | str]) -> grpc.aio.Channel:
        self.check(address)
        if self._credentials is None or self._tls is None:
            # A proxy of the environment is for the world outside; plaintext is for this machine or a trusted network.
            return grpc.aio.insecure_channel(address, options=(*self._options, *more, ("grpc.enable_http_proxy", 0)))
        name = self._tls.server_name
        override: Sequence[tuple[str, str]] = [("grpc.ssl_target_name_override", name)] if name else []
        return grpc.aio.secure_channel(address, self._credentials, options=(*self._options, *more, *override))

    async def _make_room(self) -> None:
        while len(self._lanes) > self._limit:
            idle = next(
                (address for address, lane in self._lanes.items() if not lane.in_flight and address != self._target),
                None,
            )
            if idle is None:
                return
            await self._lanes.pop(idle).channel.close(grace=None)
