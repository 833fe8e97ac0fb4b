"""The same client for code without an event loop: every method runs its asynchronous namesake and waits for it.

Nothing is written twice: `blocking(Session.encrypt)` is a method with the parameters and the answer of that one.
grpc.aio wants one event loop to a process: a program that runs one already uses the asynchronous client in it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Concatenate, Generic, ParamSpec, Self

from ._batch import Item
from ._blocking import Blocking, Loop, blocking, direct, iterating
from ._calls import DEFAULT_POLICY, CallPolicy, Entropy
from ._client import Client, connect
from ._facts import SessionView
from ._model import Opened, Sealed
from ._multiplexer import Multiplex
from ._opening import Opening
from ._session import Session
from .errors import ClientClosed, NoisegateError
from .tls import Tls

P = ParamSpec("P")
SyncItem = tuple["SyncSession", bytes] | tuple["SyncSession", bytes, bytes]
"""As `Client.encrypt_batch` takes them."""


class handing(Generic[P]):  # noqa: N801 -- reads as a function, like `property`
    """A method that gives a session's handle, which is a context manager; begins the session where it has to."""

    def __init__(self, method: Callable[Concatenate[Client, P], Opening | Session]) -> None:
        self._method: Callable[Concatenate[Client, P], Opening | Session] = method
        self.__doc__ = method.__doc__

    def __get__(self, owner: Blocking[Client], kind: type | None = None) -> Callable[P, SyncSession]:
        async def begin(*args: P.args, **kwargs: P.kwargs) -> Session:
            handle = self._method(owner._inner, *args, **kwargs)
            return handle if isinstance(handle, Session) else await handle

        def call(*args: P.args, **kwargs: P.kwargs) -> SyncSession:
            return SyncSession(owner._loop, owner._loop.run(begin(*args, **kwargs)))

        call.__doc__ = self.__doc__
        return call


class SyncSession(SessionView, Blocking[Session]):
    """`Session` for code without an event loop; any thread may call it."""

    def __init__(self, loop: Loop, session: Session) -> None:
        Blocking.__init__(self, loop, session)
        SessionView.__init__(self, session._facts)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.run(self._inner.__aexit__(kind, error, trace))

    proceed = blocking(Session.proceed)
    encrypt = blocking(Session.encrypt)
    decrypt = blocking(Session.decrypt)
    rotate = blocking(Session.rotate)
    issue_ticket = blocking(Session.issue_ticket)
    export_secret = blocking(Session.export_secret)
    suspend = blocking(Session.suspend)
    change_network = blocking(Session.change_network)
    describe = blocking(Session.describe)
    close = blocking(Session.close)
    detach = direct(Session.detach)


class SyncClient(Blocking[Client]):
    """`Client` for code without an event loop; any thread may call it. Made by `connect_sync`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every connection and the thread. Sessions live on at the service."""
        try:
            self._loop.run(self._inner.close())
        except ClientClosed:
            # Closed before: the thread is gone already.
            return
        finally:
            self._loop.stop()

    capabilities = blocking(Client.capabilities)
    respond = handing(Client.respond)
    initiate = handing(Client.initiate)
    respond_resume = handing(Client.respond_resume)
    initiate_resume = handing(Client.initiate_resume)
    session = handing(Client.session)
    adopt = handing(Client.adopt)
    restore = handing(Client.restore)
    change_network = blocking(Client.change_network)

    def encrypt_batch(self, items: Iterable[SyncItem]) -> list[Sealed | NoisegateError]:
        """As `Client.encrypt_batch`."""
        return self._loop.run(self._inner.encrypt_batch([_inner(item) for item in items]))

    def decrypt_batch(self, items: Iterable[SyncItem]) -> list[Opened | NoisegateError]:
        """As `Client.decrypt_batch`."""
        return self._loop.run(self._inner.decrypt_batch([_inner(item) for item in items]))

    def broadcast(
        self, sessions: Iterable[SyncSession], plaintext: bytes, associated_data: bytes = b""
    ) -> list[Sealed | NoisegateError]:
        """As `Client.broadcast`."""
        return self._loop.run(self._inner.broadcast([each._inner for each in sessions], plaintext, associated_data))

    get_session = blocking(Client.get_session)
    list_sessions = iterating(Client.list_sessions)
    watch_sessions = iterating(Client.watch_sessions)


def _inner(item: SyncItem) -> Item:
    return (item[0]._inner, item[1]) if len(item) == 2 else (item[0]._inner, item[1], item[2])


def connect_sync(
    target: str,
    *,
    tls: Tls | None = None,
    insecure: bool = False,
    policy: CallPolicy = DEFAULT_POLICY,
    multiplex: Multiplex | None = None,
    entropy: Entropy = os.urandom,
) -> SyncClient:
    """`connect` for code without an event loop: starts a thread, which `close` or the end of `with` ends."""
    client = connect(target, tls=tls, insecure=insecure, policy=policy, multiplex=multiplex, entropy=entropy)
    return SyncClient(Loop(), client)
