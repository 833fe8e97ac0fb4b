"""The blocking client, against a real server that runs on threads, as the client's caller does."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from grpc import StatusCode

import noisegate
from noisegate import Client, RecordMode, Session, SyncClient, SyncSession
from noisegate.v1 import session_crypto_service_pb2 as service
from noisegate.v1 import session_pb2 as contract
from tests.unit.sdk.scripted_service import REQUESTS, SERVICE, SESSION_ID, Refusal, established

QUICK = noisegate.CallPolicy(packet_deadline=5, control_deadline=5, first_backoff=0.001)
WAIT = 10.0


class ThreadedService:
    """Answers by method name; a Refusal refuses."""

    def __init__(self) -> None:
        self.address = ""
        self.calls: list[str] = []
        self.pages = [
            service.ListSessionsResponse(sessions=[_session(1)], next_page_token="more"),
            service.ListSessionsResponse(sessions=[_session(2)]),
        ]
        self.begun = service.HandshakeResponse(session_id=SESSION_ID, established=established())
        self.silent = threading.Event()
        self.arrived = threading.Event()

    def handle(self, name: str, context: grpc.ServicerContext) -> bytes:
        """One call."""
        self.calls.append(name)
        if name == "Handshake":
            return self.begun.SerializeToString()
        if name == "Encrypt":
            return service.EncryptResponse(ciphertext=b"record").SerializeToString()
        if name == "CloseSession":
            return service.CloseSessionResponse().SerializeToString()
        if name == "ListSessions":
            return self.pages.pop(0).SerializeToString()
        if name == "GetCapabilities":
            self.arrived.set()
            self.silent.wait(WAIT)
            return b""
        refusal = Refusal(StatusCode.INVALID_ARGUMENT, "DECRYPT_FAILED")
        if name == "Rotate":
            self.arrived.set()
            refusal = Refusal(StatusCode.UNAVAILABLE, "OVERLOADED", retry_delay=WAIT)
        context.set_trailing_metadata((("grpc-status-details-bin", refusal.details),))
        context.abort(refusal.code, "scripted")
        raise AssertionError("abort does not return")

    def handlers(self) -> grpc.GenericRpcHandler:
        """What a server serves."""
        rows: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            name: grpc.unary_unary_rpc_method_handler(lambda _, context, name=name: self.handle(name, context))
            for name in REQUESTS
        }
        return grpc.method_handlers_generic_handler(SERVICE, rows)


def _session(number: int) -> contract.Session:
    return contract.Session(
        session_id=bytes([number]) * 24, mode=contract.RECORD_MODE_NOISE, role=contract.ROLE_RESPONDER
    )


@pytest.fixture
def threaded() -> Iterator[ThreadedService]:
    """A running service."""
    running = ThreadedService()
    with ThreadPoolExecutor() as pool:
        server = grpc.server(pool)
        server.add_generic_rpc_handlers((running.handlers(),))
        running.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        try:
            yield running
        finally:
            running.silent.set()
            server.stop(None).wait(WAIT)


def test_a_session_begins_seals_and_ends_without_an_event_loop(threaded: ThreadedService) -> None:
    """The block closes the session, as the asynchronous one does."""
    with (
        noisegate.connect_sync(threaded.address, policy=QUICK) as client,
        client.respond(mode=RecordMode.NOISE, message=b"message 1") as session,
    ):
        assert session.id == SESSION_ID
        assert session.established is not None
        assert session.encrypt(b"hi").packet == b"record"
        with pytest.raises(noisegate.DecryptFailed):
            session.decrypt(b"forged")
    assert threaded.calls == ["Handshake", "Encrypt", "Decrypt", "CloseSession"]


def test_a_player_who_has_to_begin_anew_is_an_exception_here_too(threaded: ThreadedService) -> None:
    """There is no session to give, and nothing to close; the RETRY to send is in the exception."""
    retry = service.HandshakeRetry(reason=service.HandshakeRetry.REASON_CLOCK)
    threaded.begun = service.HandshakeResponse(to_peer=[b"retry"], retry=retry)
    with (
        noisegate.connect_sync(threaded.address, policy=QUICK) as client,
        pytest.raises(noisegate.PlayerMustRetry) as caught,
    ):
        client.respond(mode=RecordMode.DATAGRAM, message=b"step 1")
    assert (caught.value.to_peer, caught.value.why) == ((b"retry",), noisegate.RetryReason.CLOCK)
    assert threaded.calls == ["Handshake"]


def test_sessions_are_listed_page_by_page_as_they_are_asked_for(threaded: ThreadedService) -> None:
    """A caller that stops early asks for no further page."""
    with noisegate.connect_sync(threaded.address, policy=QUICK) as client:
        listed = client.list_sessions()
        info = next(listed)
        assert threaded.calls == ["ListSessions"]
        handle = client.adopt(info)
        handle.detach()
        assert [info.session_id, *(rest.session_id for rest in listed)] == [b"\1" * 24, b"\2" * 24]
        assert handle.id == info.session_id


@pytest.mark.parametrize("waits_for", ["an answer", "a repeat"])
def test_closing_from_another_thread_frees_a_waiting_caller(threaded: ThreadedService, waits_for: str) -> None:
    """A thread that waits is told, and later calls are refused; closing again is no error."""
    client = noisegate.connect_sync(
        threaded.address, policy=noisegate.CallPolicy(control_deadline=10 * WAIT, first_backoff=0.001)
    )
    session = client.session(SESSION_ID)
    wanted: Callable[[], object] = client.capabilities if waits_for == "an answer" else session.rotate
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            wanted()
        except noisegate.NoisegateError as error:
            caught.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    assert threaded.arrived.wait(WAIT)
    client.close()
    thread.join(WAIT)
    assert [type(error) for error in caught] == [noisegate.ClientClosed]
    with pytest.raises(noisegate.ClientClosed):
        client.capabilities()
    client.close()


def test_the_thread_ends_with_the_client(threaded: ThreadedService) -> None:
    """A client leaves nothing running behind."""
    with noisegate.connect_sync(threaded.address, policy=QUICK) as client:
        client.session(SESSION_ID).encrypt(b"hi")
        assert [thread for thread in threading.enumerate() if thread.name == "noisegate"]
    assert not [thread for thread in threading.enumerate() if thread.name == "noisegate"]


@pytest.mark.parametrize(("ours", "theirs"), [(SyncClient, Client), (SyncSession, Session)])
def test_every_public_name_of_the_asynchronous_client_is_there(ours: type, theirs: type) -> None:
    """Written once, offered twice; the two that find sessions by packet are the datagram receiver's."""
    skipped = {"find_and_decrypt", "find_and_proceed"}
    names = {name for name in dir(theirs) if not name.startswith("_")} - skipped
    assert names <= {name for name in dir(ours) if not name.startswith("_")}


def test_blocking_methods_are_documented_as_their_namesakes(threaded: ThreadedService) -> None:
    """`help` shows the one text."""
    with noisegate.connect_sync(threaded.address) as client:
        session = client.session(SESSION_ID)
        assert inspect.getdoc(session.encrypt) == inspect.getdoc(Session.encrypt)
        assert inspect.getdoc(client.respond) == inspect.getdoc(Client.respond)
