"""The composition root: owns clock, entropy, files and signals, and hands each layer what it needs.

Nothing below reads a clock, draws a random byte or opens a file by itself. Standard output has one line, once calls are
answered; everything else goes to the log, which the command line sends to standard error.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
import signal
import ssl
import stat
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final

import uvloop

from noisegate_server import __version__
from noisegate_server.config import Config, ConfigError, HostPort
from noisegate_server.engine import upkeep
from noisegate_server.engine.parts import INSTANCE, Parts, make_parts
from noisegate_server.engine.policy import Policy as EnginePolicy
from noisegate_server.noise import KeyPair
from noisegate_server.rpc.health import SERVICE, Health
from noisegate_server.rpc.policy import Policy, PolicyError, read_policy
from noisegate_server.rpc.repeats import Repeats
from noisegate_server.rpc.table import BY_NAME, METHODS, SERVICE_PREFIX, STREAMS, build_table
from noisegate_server.rpc.unary import Rpc
from noisegate_server.session.ticket import TicketKey, TicketKeys
from noisegate_server.store.base import StoreLimits
from noisegate_server.transport.grpcio import Credentials, GrpcioTransport
from noisegate_server.trust.identity import Identities

__all__ = ["Server", "run"]

_LOG: Final = logging.getLogger("noisegate")

_SWEEP_SECONDS: Final = 0.1
_SWEEP_BUDGET: Final = 256
"""Entries of one slice: about a millisecond, so that calls do not wait behind a sweep."""

_GC_THRESHOLDS: Final = (20_000, 20, 50)
"""New objects until a young collection, and how many of those until the next older one."""

_KEY_BYTES: Final = 32
_KEY_ID_BYTES: Final = 8
_KEY_ID_LABEL: Final = b"noisegate ticket key id\0"

Clock = Callable[[], float]
RandomBytes = Callable[[int], bytes]


class Server:
    """One instance of the service: parts, table, one grpcio listener and the sweeper."""

    def __init__(
        self,
        config: Config,
        *,
        clock: Clock = time.monotonic,
        wall: Clock = time.time,
        random_bytes: RandomBytes = os.urandom,
    ) -> None:
        self._config = config
        self._clock = clock
        self._wall = wall
        self._random_bytes = random_bytes
        self._health = Health()
        self._repeats = Repeats()
        self._parts: Parts | None = None
        self._transport: GrpcioTransport | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self) -> HostPort:
        """Listen and answer; returns the address. Raises ConfigError where a file or the address is of no use."""
        config = self._config
        policy = _policy(config)
        credentials = _credentials(config)
        identities = _identities(config, self._random_bytes)
        ticket_keys = _ticket_keys(config, self._random_bytes)
        transport = GrpcioTransport(
            policy=policy, clock=self._clock, credentials=credentials, reflected=(SERVICE,), on_defect=log_defect
        )
        try:
            bound = HostPort(host=config.address.host, port=transport.bind(config.address.host, config.address.port))
        except OSError:
            raise ConfigError(
                "--listen", "cannot listen there: is the port taken, is the address this machine's?"
            ) from None
        parts = make_parts(
            instance=self._random_bytes(INSTANCE),
            endpoint=config.advertise or ("" if bound.is_wildcard else str(bound)),
            version=__version__,
            identities=identities,
            ticket_keys=ticket_keys,
            policy=EnginePolicy(
                handshake_timeout=config.handshake_timeout,
                idle_timeout=config.idle_timeout,
                lifetime=config.lifetime,
            ),
            random_bytes=self._random_bytes,
            started_wall=self._wall(),
            limits=_limits(config),
            latch=asyncio.Event,
        )
        rpc = Rpc(
            parts=parts,
            clock=self._clock,
            wall=self._wall,
            policy=policy,
            repeats=self._repeats,
            health=self._health,
            on_defect=log_defect,
        )
        await transport.start(build_table(rpc))
        self._parts, self._transport = parts, transport
        self._sweeper = asyncio.create_task(self._sweep(parts), name="sweep")
        return bound

    @property
    def sessions(self) -> int:
        """How many sessions live, unfinished handshakes included."""
        return 0 if self._parts is None else self._parts.store.counts().sessions

    async def stop(self, *, now: bool = False) -> None:
        """Refuse new calls, let running ones finish, then end and wipe every session; with `now`, wait for nothing."""
        self._health.drain()
        if self._transport is not None:
            self._transport.drain()
            # A closed port tells a caller less than DRAINING does, and health checks need a moment to see it, too.
            await asyncio.sleep(0 if now else self._config.drain)
            await self._transport.stop(0 if now else self._config.grace)
        if self._sweeper is not None:
            self._sweeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._sweeper
        if self._parts is not None:
            upkeep.end_all(self._parts, self._clock())
        self._repeats.clear()

    async def _sweep(self, parts: Parts) -> None:
        """End what is over, in slices; between two slices calls have their turn."""
        while True:
            ended = 0
            try:
                now = self._clock()
                ended = len(upkeep.sweep(parts, now, self._wall(), _SWEEP_BUDGET))
                ended += self._repeats.expire(now, _SWEEP_BUDGET)
            except Exception as error:  # noqa: BLE001  # the outermost frame of its task: it must outlive a defect
                log_defect("sweep", error)
            await asyncio.sleep(0 if ended >= _SWEEP_BUDGET else _SWEEP_SECONDS)


def log_defect(where: str, error: Exception) -> None:
    """Log an unforeseen error: its type and place, not its text, which may hold what nobody may read."""
    frame = traceback.extract_tb(error.__traceback__)[-1:]
    place = f"{Path(frame[0].filename).name}:{frame[0].lineno}" if frame else "unknown place"
    _LOG.error("defect in %s: %s at %s", where, type(error).__name__, place)


def run(config: Config, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; a second signal cuts the grace short.

    `announce` gets the one line for standard output. Raises ConfigError where the server cannot start.
    """
    # A core dump would hold every key of every session.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _run_in_batches()
    # A seventh less CPU for a unary call than on asyncio's own loop, measured under grpc.aio.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(config, announce))


def _run_in_batches() -> None:
    """Let a thread of this process finish its work before another one that has just woken takes its core.

    grpc.aio hands each call from thread to thread. Under the default policy the one that is woken preempts the one that
    woke it, three to four times a call, and the answers of a burst leave one by one; under SCHED_BATCH they are
    gathered. Measured on two cores: 5 to 15 per cent less CPU for a unary call. Where the system has no such policy,
    nothing is lost.
    """
    with suppress(AttributeError, OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


async def _serve(config: Config, announce: Callable[[str], None]) -> None:
    signals: asyncio.Queue[int] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signals.put_nowait, number)
    server = Server(config)
    bound = await server.start()
    # What is there now stays: the collector need not look at it again, nor for cycles at every 700th object of calls
    # that make none.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    _say_what_is_missing(config)
    announce(f"noisegate listening on {bound}")
    await signals.get()
    _LOG.info("stopping: running calls have %g s", config.grace)
    stopping = asyncio.create_task(server.stop())
    hurry = asyncio.create_task(signals.get())
    await asyncio.wait((stopping, hurry), return_when=asyncio.FIRST_COMPLETED)
    if not stopping.done():
        stopping.cancel()
        with suppress(asyncio.CancelledError):
            await stopping
        await server.stop(now=True)
    hurry.cancel()
    _LOG.info("stopped")


def _say_what_is_missing(config: Config) -> None:
    if config.tls_client_ca is None:
        _LOG.warning("callers are not authenticated: only this machine can connect, and everyone is tenant 'local'")
    if config.dev:
        _LOG.warning("--dev: identity keys are new at each start; players that know the last one cannot connect")
    if config.ticket_key is None:
        _LOG.warning("no --ticket-key: tickets of this process end with it, and no other instance takes them")


def _limits(config: Config) -> StoreLimits:
    return StoreLimits(
        capacity=config.max_sessions,
        sessions_per_tenant=config.sessions_per_tenant,
        sessions_per_peer=config.sessions_per_peer,
        half_open=config.max_handshakes,
        half_open_per_tenant=config.handshakes_per_tenant,
        half_open_per_peer=config.handshakes_per_peer,
    )


def _policy(config: Config) -> Policy:
    if config.policy is None:
        return Policy() if config.dev else Policy(withheld=BY_NAME)
    text = _read("--policy", config.policy).decode("utf-8", "replace")
    try:
        return read_policy(text, [SERVICE_PREFIX + name for name in (*METHODS, *STREAMS)], BY_NAME)
    except PolicyError as error:
        raise ConfigError("--policy", str(error)) from None


def _credentials(config: Config) -> Credentials | None:
    if config.tls_certificate is None or config.tls_key is None:
        return None
    _check_tls(config.tls_certificate, config.tls_key, config.tls_client_ca)
    return Credentials(
        certificate=_read("--tls-certificate", config.tls_certificate),
        private_key=_read_secret("--tls-key", config.tls_key),
        client_ca=None if config.tls_client_ca is None else _read("--tls-client-ca", config.tls_client_ca),
    )


def _check_tls(certificate: Path, key: Path, client_ca: Path | None) -> None:
    """Read the files as TLS would: grpcio says of a file that it cannot use only that it cannot listen."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigError("--tls-key", f"{key}: is not the key of --tls-certificate {certificate}") from None
        raise ConfigError(
            "--tls-certificate", f"{certificate} and --tls-key {key}: not a PEM chain and its key"
        ) from None
    except OSError:
        return  # a file that cannot be opened is named where it is read
    try:
        if client_ca is not None:
            context.load_verify_locations(client_ca)
    except ssl.SSLError:
        raise ConfigError("--tls-client-ca", f"{client_ca}: no certificate in it") from None
    except OSError:
        return


def _identities(config: Config, random_bytes: RandomBytes) -> Identities:
    if config.dev:
        return Identities({}, generate=random_bytes)
    default = None
    pairs = {}
    for entry in config.identity:
        tenant, _, path = entry.partition("=") if "=" in entry else ("", "", entry)
        keys = _read_keys("--identity", Path(path), at_most=1)
        pair = KeyPair.from_private(keys[0])
        if tenant:
            pairs[tenant] = pair
        else:
            default = pair
    return Identities(pairs, default=default)


def _ticket_keys(config: Config, random_bytes: RandomBytes) -> TicketKeys:
    if config.ticket_key is None:
        return TicketKeys(current=_ticket_key(random_bytes(_KEY_BYTES)))
    keys = [_ticket_key(key) for key in _read_keys("--ticket-key", config.ticket_key, at_most=2)]
    return TicketKeys(current=keys[0], previous=keys[1] if len(keys) > 1 else None)


def _ticket_key(key: bytes) -> TicketKey:
    # The id follows from the key, so that instances with the same file agree; a hash of 32 random bytes tells nothing.
    return TicketKey(key_id=sha256(_KEY_ID_LABEL + key).digest()[:_KEY_ID_BYTES], key=key)


def _read_keys(option: str, path: Path, *, at_most: int) -> list[bytes]:
    lines = _read_secret(option, path).split()
    with suppress(ValueError):
        keys = [bytes.fromhex(line.decode("ascii", "replace")) for line in lines]
        if 1 <= len(keys) <= at_most and all(len(key) == _KEY_BYTES and any(key) for key in keys):
            return keys
    raise ConfigError(option, f"{path}: must hold a key of 64 hex digits, as `noisegate keygen --out FILE` writes it")


def _read_secret(option: str, path: Path) -> bytes:
    text = _read(option, path)
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(option, f"{path}: others on this machine may read it; run chmod 600 on it")
    return text


def _read(option: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(option, f"{path}: cannot be read ({error.strerror})") from None
