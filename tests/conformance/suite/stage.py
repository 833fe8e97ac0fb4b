"""What a case plays on: a running service, and what stands between it and the SDK."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import TimeoutExpired
from tempfile import TemporaryDirectory
from typing import Any, Final

from google.rpc import error_details_pb2, status_pb2

from noisegate import admin
from noisegate.health import is_serving
from noisegate.v1 import error_reason_pb2 as reasons
from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.rpc.call import Call, Code, Method, Reply
from noisegate_server.rpc.errors import defect, reason_name, refusal
from noisegate_server.rpc.policy import LOCAL, Policy
from noisegate_server.rpc.running import Running
from noisegate_server.transport.grpcio import GrpcioTransport
from tests.conformance.suite.gate import Gate
from tests.conformance.suite.values import Unmet
from tests.support.answer_cutter import AnswerCutter
from tests.support.certificates import Authority
from tests.support.logs import listening
from tests.support.server import NotReadyError, RunningServer
from tools.make_error_catalogue import SAMPLES

DEV: Final = ("--dev", "--listen", "127.0.0.1:0", "--drain", "2")
_STRICT: Final = (
    *("--suites", "CHACHA20_POLY1305_X25519", "--max-handshakes", "1", "--handshakes-per-peer", "1"),
    *("--rotation-soft-bytes", "999", "--rotation-hard-bytes", "1000", "--admin-listen", "127.0.0.1:0"),
)
"""As little as may be is allowed, and operators may come."""
_SERVICE: Final = "/noisegate.v1.SessionCryptoService/"
_POLICY: Final = """
[[caller]]
id = "spiffe://game.example/player-service"
tenant = "game"
methods = ["*"]

[[caller]]
id = "spiffe://game.example/observer"
tenant = "game"
methods = ["GetCapabilities", "GetSession"]
"""


class Stage:
    """The service of one case. `shared` is the one of all cases that need nothing special of it."""

    def __init__(self, shared: RunningServer, wanted: dict[str, Any]) -> None:
        self._shared = shared
        self._wanted = wanted
        self._own: RunningServer | None = None
        self._options: list[str] = []
        self._scratch: TemporaryDirectory[str] | None = None
        self._gate: Gate | None = None
        self._cutter: AnswerCutter | None = None
        self._refusing: GrpcioTransport | None = None
        self.address = shared.address
        """HOST:PORT that the SDK is told."""
        self.words: dict[str, Any] = {"shared": shared.address}
        """What cases may name besides: the shared service, and certificates."""

    async def __aenter__(self) -> Stage:
        wanted = self._wanted
        if "refuses" in wanted:
            self.address = await self._refuse(wanted["refuses"], self._shared.address if wanted.get("sends") else "")
        elif wanted:
            try:
                await self._launch(wanted)
            except (NotReadyError, OSError) as error:
                await self.__aexit__()
                raise Unmet(f"the service did not come up: {error}") from error
        return self

    async def __aexit__(self, *_: object) -> None:
        for proxy in (self._gate, self._cutter):
            if proxy is not None:
                await proxy.__aexit__(None, None, None)
        if self._refusing is not None:
            await self._refusing.stop(0)
        if self._own is not None:
            # A drain would wait for whoever is connected, and there is nothing left to save.
            await asyncio.to_thread(self._own.kill)
        if self._scratch is not None:
            self._scratch.cleanup()

    @property
    def serves_again(self) -> bool:
        """Whether another case may play on it afterwards."""
        return "refuses" not in self._wanted and "lasting" not in self._wanted

    def clear(self) -> None:
        """For the next case: nothing is held back, nothing will be lost."""
        if self._gate is not None:
            self._gate.release()
        if self._cutter is not None:
            self._cutter.swallow(0)

    async def run(self, op: str, step: dict[str, Any]) -> None:
        """One step of a case: what happens to the service, or on the way to it."""
        match op:
            case "swallow":
                self._present(self._cutter).swallow(step.get("answers", 1))
            case "hold":
                self._present(self._gate).hold()
            case "asked":
                await asyncio.wait_for(self._present(self._gate).asked(), 10)
            case "release":
                self._present(self._gate).release()
            case "begin to stop":
                self._present(self._own).signal(signal.SIGTERM)
            case "drain":
                self._present(self._own).signal(signal.SIGTERM)
                while await is_serving(self.address):
                    pass  # each look is a call of its own
            case "stopped":
                await self._stopped()
            case "revoke":
                await self._revoke(step["static_key"])
            case "start":
                await self._start_again()
            case _:
                raise ValueError(f"no such thing on stage: {op}")

    async def _launch(self, wanted: dict[str, Any]) -> None:
        options = [*DEV]
        if wanted.get("tls"):
            self._scratch = TemporaryDirectory()
            options += self._certificates(Path(self._scratch.name))
        if wanted.get("lasting"):
            # It comes back at the same address, with the same keys and the sessions that it has put away.
            self._scratch = TemporaryDirectory()
            options = [*self._files(Path(self._scratch.name)), "--listen", f"127.0.0.1:{_free_port()}"]
        address = ""
        if wanted.get("behind") == "gate":
            self._gate = Gate()
            address = (await self._gate.__aenter__()).address
        elif wanted.get("behind") == "cutter":
            self._cutter = AnswerCutter()
            address = (await self._cutter.__aenter__()).address
        if address:
            options += ["--advertise", address]
        if wanted.get("strict"):
            options += _STRICT
        self._options = [*options, *wanted.get("options", [])]
        self._own = await asyncio.to_thread(RunningServer, self._options)
        for proxy in (self._gate, self._cutter):
            if proxy is not None:
                proxy.aim(self._own.port)
        self.address = address or self._own.address

    def _certificates(self, folder: Path) -> list[str]:
        """Callers need a certificate of the authority, and only `player-service` may do more than look."""
        authority, stranger = Authority(), Authority()
        self.words["ca"] = authority.certificate
        self.words["stranger"] = stranger.certificate
        for name in ("player-service", "observer"):
            certificate, key = authority.caller(f"spiffe://game.example/{name}")
            self.words[name] = {"certificate": certificate, "key": key}
        certificate, key = authority.issue("nobody", [])
        self.words["nobody"] = {"certificate": certificate, "key": key}
        policy = folder / "policy.toml"
        policy.write_text(_POLICY, encoding="utf-8")
        return [*authority.write_server_files(folder), "--policy", str(policy)]

    async def _stopped(self) -> None:
        try:
            await asyncio.to_thread(self._present(self._own).wait)
        except TimeoutExpired as error:
            raise Unmet(f"the service has not ended: {error}") from error

    async def _start_again(self) -> None:
        await self._stopped()
        try:
            self._own = await asyncio.to_thread(RunningServer, self._options)
        except NotReadyError as error:
            raise Unmet(f"the service did not come back: {error}") from error

    async def _revoke(self, static_key: bytes) -> None:
        """As an operator does; callers without credentials are the tenant LOCAL."""
        operators = listening(self._present(self._own).log(), "operators")
        async with admin.connect(operators) as operator:
            await operator.revoke_peer(LOCAL, static_key=static_key)

    @staticmethod
    def _files(folder: Path) -> list[str]:
        options = ["--state-file", str(folder / "state")]
        for name in ("identity", "blob-key"):
            path = folder / name
            path.touch(mode=0o600)
            path.write_text(os.urandom(32).hex() + "\n", encoding="ascii")
            options += [f"--{name}", str(path)]
        return options

    async def _refuse(self, reason: str, owner: str) -> str:
        """A transport as the service's own, whose methods refuse everything for one reason of the real catalogue."""
        reply = _reply(reason, owner)
        transport = GrpcioTransport(
            policy=Policy(), clock=time.monotonic, credentials=None, running=Running(), unary_seconds=5.0, reflected=()
        )
        port = transport.bind("127.0.0.1", 0)
        table = {
            _SERVICE + "Encrypt": Method(unary=lambda _call, _body: reply),
            _SERVICE + "EncryptBatch": Method(unary=_item(reply)),
        }
        await transport.start(table)
        self._refusing = transport
        return f"127.0.0.1:{port}"

    def _present(self, part: Any) -> Any:
        if part is None:
            raise ValueError("the case's stage does not have that")
        return part


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _reply(reason: str, owner: str) -> Reply:
    """What the service answers for this reason; WRONG_OWNER, which nothing in it makes, as docs/errors.md has it."""
    if reason == "INTERNAL":
        return defect("request")
    if reason == "WRONG_OWNER":
        status = status_pb2.Status(code=int(Code.ABORTED), message="the session lives elsewhere")
        info = error_details_pb2.ErrorInfo(reason=reason, domain="noisegate", metadata={"owner": owner})
        status.details.add().Pack(info)
        return int(Code.ABORTED), status.SerializeToString()
    for sample in SAMPLES:
        reply = refusal(sample)
        if reply is not None and _reason_of(reply) == reason:
            return reply
    raise ValueError(f"no sample of {reason}")


def _info(reply: Reply) -> error_details_pb2.ErrorInfo:
    info = error_details_pb2.ErrorInfo()
    status_pb2.Status.FromString(reply[1]).details[0].Unpack(info)
    return info


def _reason_of(reply: Reply) -> str:
    found: str = _info(reply).reason
    return found


def _item(reply: Reply) -> Callable[[Call, bytes], Reply]:
    """The refusal as that of a batch's only item."""
    info = _info(reply)
    number = next(each for each in reasons.ErrorReason.values() if reason_name(each) == info.reason)
    error = pb.ItemError(index=0, code=reply[0], reason=number, message="refused", metadata=dict(info.metadata))
    body = pb.EncryptBatchResponse(lengths=[0], counters=[0], errors=[error]).SerializeToString()
    return lambda _call, _body: (0, body)
