"""The composition root: owns clock, entropy, files and signals, and hands each layer what it needs.

Nothing below reads a clock, draws a random byte or opens a file by itself. Standard output has one line, once calls are
answered; everything else goes to the log, which the command line sends to standard error.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

import uvloop

from noisegate_server import __version__, files, process
from noisegate_server.config import Config, ConfigError, HostPort
from noisegate_server.engine import upkeep
from noisegate_server.engine.keyring import KeyRing
from noisegate_server.engine.parts import INSTANCE, Parts, make_parts
from noisegate_server.huge_pages import keep_huge
from noisegate_server.renewal import Renewal
from noisegate_server.rpc.admin import ADMIN_SERVICE, build_admin_table
from noisegate_server.rpc.health import SERVICE, Health, health_methods
from noisegate_server.rpc.policy import Policy
from noisegate_server.rpc.repeats import Repeats
from noisegate_server.rpc.running import Running
from noisegate_server.rpc.table import build_table
from noisegate_server.rpc.unary import Rpc
from noisegate_server.session.sealing import SealingKeys
from noisegate_server.sweeper import REST, Sweeper
from noisegate_server.telemetry.destinations import NOWHERE, Destinations
from noisegate_server.telemetry.logs import LOG, log_defect, log_loop_defect
from noisegate_server.telemetry.pipeline import Telemetry
from noisegate_server.transport.grpcio import Credentials, GrpcioTransport
from noisegate_server.validity import Validity
from noisegate_server.vault.keeper import Keeper
from noisegate_server.vault.key_dates import KeyDates
from noisegate_server.vault.opening import open_vault
from noisegate_server.wiring import callers_policy, engine_policy, store_limits, what_is_missing

__all__ = ["Server", "run"]

_RETRY_SECONDS: Final = 0.1
"""Until the next sweep where one has failed."""

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
        destinations: Destinations = NOWHERE,
    ) -> None:
        self._config = config
        self._destinations = destinations
        self._clock = clock
        self._wall = wall
        self._random_bytes = random_bytes
        self._health = Health()
        self._admin_health = Health(ADMIN_SERVICE)
        self._admin: GrpcioTransport | None = None
        self.admin_bound: HostPort | None = None
        """Where operators are answered, once it listens."""
        self._probe_health = Health()
        self._probes: GrpcioTransport | None = None
        self.health_bound: HostPort | None = None
        """Where probes are answered without TLS, once it listens."""
        self.metrics_bound: HostPort | None = None
        """Where Prometheus is answered, once it listens."""
        self._repeats = Repeats()
        self._running = Running()
        self._parts: Parts | None = None
        self._transport: GrpcioTransport | None = None
        self._keeper: Keeper | None = None
        self._telemetry: Telemetry | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._renewal = Renewal()
        self._validity = Validity()

    async def start(self) -> HostPort:
        """Listen and answer; returns the address. Raises ConfigError where a file or the address is of no use."""
        config = self._config
        policy = callers_policy(config)
        tls = files.tls_files(config)
        credentials = None if tls is None else tls.read()
        identities = files.identities(config, self._random_bytes)
        ticket_keys, ticket_file = files.sealing_keys(
            "--ticket-key", config.ticket_key, files.TICKET_KEYS, self._random_bytes
        )
        blob_keys, blob_file = files.sealing_keys("--blob-key", config.blob_key, files.BLOB_KEYS, self._random_bytes)
        transport = GrpcioTransport(
            policy=policy,
            clock=self._clock,
            credentials=credentials,
            running=self._running,
            reflected=(SERVICE,),
            on_defect=log_defect,
        )
        bound = _bind(transport, "--listen", config.address)
        admin = self._admin_listener(config)
        probes = self._probe_listener(config)
        parts = make_parts(
            instance=self._random_bytes(INSTANCE),
            endpoint=config.advertise or ("" if bound.is_wildcard else str(bound)),
            version=__version__,
            identities=identities,
            ticket_keys=ticket_keys,
            policy=engine_policy(config, policy),
            random_bytes=self._random_bytes,
            started_wall=self._wall(),
            limits=store_limits(config),
            vault=open_vault(config, self._random_bytes),
            blob_keys=blob_keys,
            latch=asyncio.Event,
        )
        rpc = Rpc(
            parts=parts,
            clock=self._clock,
            wall=self._wall,
            policy=policy,
            repeats=self._repeats,
            running=self._running,
            health=self._health,
            refusals=parts.counts.refusals,
            on_defect=log_defect,
        )
        keeper = Keeper(parts, config, clock=self._clock, wall=self._wall)
        await keeper.recall()
        telemetry = Telemetry(
            self._destinations,
            config,
            parts,
            clock=self._clock,
            wall=self._wall,
            random_bytes=self._random_bytes,
            certificates=self._validity.dates,
        )
        await telemetry.start()
        self.metrics_bound = telemetry.metrics_bound
        await transport.start(telemetry.watch(build_table(rpc, telemetry.carry)))
        if admin is not None:
            # Who is an operator, the listener's own roots say; all of them have every right.
            admin_rpc = replace(rpc, policy=Policy(), health=self._admin_health)
            await admin.start(telemetry.watch(build_admin_table(admin_rpc)))
            self._admin = admin
        if probes is not None:
            await probes.start(health_methods(self._probe_health))
            self._probes = probes
        dates = KeyDates(config.state_file)
        for file, ring in ((ticket_file, parts.ticket_ring), (blob_file, parts.blob_ring)):
            if file is not None:
                ring.since = dates.since(file.option, ring.keys, file.written_at, self._wall())
                self._renewal.watch(file, _renewing_keys(file, ring, dates, self._wall))
        if tls is not None and credentials is not None:
            self._renewal.watch(tls, self._renewing_certificate(transport, credentials, "client_ca"))
        self._parts, self._transport, self._keeper, self._telemetry = parts, transport, keeper, telemetry
        sweeper = Sweeper(parts, self._repeats, self._clock, self._wall)
        self._sweeper = asyncio.create_task(self._sweep(sweeper, keeper), name="sweep")
        return bound

    def _admin_listener(self, config: Config) -> GrpcioTransport | None:
        if config.admin_address is None:
            return None
        tls = files.admin_tls_files(config)
        credentials = None if tls is None else tls.read()
        listener = GrpcioTransport(
            policy=Policy(),
            clock=self._clock,
            credentials=credentials,
            reflected=(ADMIN_SERVICE,),
            on_defect=log_defect,
        )
        self.admin_bound = _bind(listener, "--admin-listen", config.admin_address)
        if tls is not None and credentials is not None:
            self._renewal.watch(tls, self._renewing_certificate(listener, credentials, "admin_client_ca"))
        return listener

    def _renewing_certificate(
        self, listener: GrpcioTransport, first: Credentials, roots: str
    ) -> Callable[[Credentials], str]:
        self._validity.use(first, roots)

        def take(credentials: Credentials) -> str:
            listener.renew(credentials)
            self._validity.use(credentials, roots)
            return "new connections have its certificate"

        return take

    def _probe_listener(self, config: Config) -> GrpcioTransport | None:
        """Without TLS, because a kubelet has no certificate; and so with health alone, watches of its own included."""
        if config.health_address is None:
            return None
        listener = GrpcioTransport(policy=Policy(), clock=self._clock, credentials=None, on_defect=log_defect)
        self.health_bound = _bind(listener, "--health-listen", config.health_address)
        return listener

    @property
    def sessions(self) -> int:
        """How many sessions live, unfinished handshakes included."""
        return 0 if self._parts is None else self._parts.store.counts().sessions

    async def stop(self, *, now: bool = False) -> None:
        """Refuse new calls, let running ones finish, suspend or end every session.

        With `now` no call is waited for, as after a stop that was cancelled; sessions are suspended all the same.
        """
        until = self._clock() + self._config.drain + self._config.grace
        self._health.drain()
        self._admin_health.drain()
        self._probe_health.drain()
        if self._transport is not None:
            self._transport.drain()
            # A closed port tells a caller less than DRAINING does, and health checks need a moment to see it, too.
            await asyncio.sleep(0 if now else self._config.drain)
            await self._transport.stop(0 if now else self._config.grace)
        # For what waits to be sent; sessions have time of their own to be suspended.
        left = max(0.0, until - self._clock())
        if self._admin is not None:
            await self._admin.stop(0)
        if self._sweeper is not None:
            self._sweeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._sweeper
        if self._keeper is not None:
            # A task, because half of it would lose sessions: whoever is cancelled here leaves it at work.
            if self._leaving is None:
                self._leaving = asyncio.create_task(self._keeper.drain(self._config.suspend_grace), name="leaving")
            await asyncio.shield(self._leaving)
        if self._parts is not None:
            count = upkeep.end_all(self._parts, self._clock())
            LOG.debug("ended and wiped at the stop", count=count)
            await self._parts.vault.close()
        if self._telemetry is not None:
            await self._telemetry.stop(left)
        if self._probes is not None:
            # Last of all: who stops is alive, however long it takes.
            await self._probes.stop(0)
        self._repeats.clear()

    def read_files_again(self) -> None:
        """Take over what the files of keys and certificates hold now; one that is of no use leaves what was before."""
        self._renewal.renew_all()

    async def _sweep(self, sweeper: Sweeper, keeper: Keeper) -> None:
        """Do what is due, in slices; between two slices others have some turns."""
        while True:
            pause = _RETRY_SECONDS
            try:
                self._renewal.look(self._clock())
                more = sweeper.sweep()
                await keeper.tick()
                pause = 0.0 if more else REST
            except Exception as error:  # noqa: BLE001  # the outermost frame of its task: it must outlive a defect
                log_defect("sweep", error)
            await (asyncio.sleep(pause) if pause else sweeper.give_way())


def run(config: Config, announce: Callable[[str], None], destinations: Destinations = NOWHERE) -> None:
    """Serve until SIGTERM or SIGINT; a second signal cuts the grace short.

    `announce` gets the one line for standard output; `destinations`: of telemetry. Raises ConfigError where the server
    cannot start.
    """
    process.forbid_core_files()
    if not config.traceable and not process.hide_memory():
        LOG.warning("the system cannot keep other processes of this user from reading this one's memory")
    process.run_in_batches()
    process.keep_freed_memory()
    if config.huge_pages:
        keep_huge()
    # A seventh less CPU for a unary call than on asyncio's own loop, measured under grpc.aio.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(config, announce, destinations))


async def _serve(config: Config, announce: Callable[[str], None], destinations: Destinations) -> None:
    signals: asyncio.Queue[int] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(log_loop_defect)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signals.put_nowait, number)
    server = Server(config, destinations=destinations)
    loop.add_signal_handler(signal.SIGHUP, server.read_files_again)
    bound = await server.start()
    process.collect_what_is_new()
    for line in what_is_missing(config):
        LOG.warning(line)
    for what, address in (
        ("callers", bound),
        ("operators", server.admin_bound),
        ("probes", server.health_bound),
        ("metrics", server.metrics_bound),
    ):
        if address is not None:
            LOG.info("listening", what=what, address=str(address))
    announce(f"noisegate listening on {bound}")
    await signals.get()
    LOG.info("stopping: running calls first, then sessions", grace=config.grace, suspend_grace=config.suspend_grace)
    stopping = asyncio.create_task(server.stop())
    hurry = asyncio.create_task(signals.get())
    await asyncio.wait((stopping, hurry), return_when=asyncio.FIRST_COMPLETED)
    if not stopping.done():
        stopping.cancel()
        with suppress(asyncio.CancelledError):
            await stopping
        await server.stop(now=True)
    hurry.cancel()
    LOG.info("stopped")


def _renewing_keys(file: files.KeyFile, ring: KeyRing, dates: KeyDates, wall: Clock) -> Callable[[SealingKeys], str]:
    def take(keys: SealingKeys) -> str:
        if keys.current.key_id != ring.keys.current.key_id:
            ring.since = dates.since(file.option, keys, file.written_at, wall())
        ring.keys = keys
        return f"seals under key {keys.current.key_id.hex()}"

    return take


def _bind(transport: GrpcioTransport, option: str, address: HostPort) -> HostPort:
    try:
        return HostPort(host=address.host, port=transport.bind(address.host, address.port))
    except OSError:
        raise ConfigError(option, "cannot listen there: is the port taken, is the address this machine's?") from None
