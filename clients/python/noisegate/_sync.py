"""The same client for code without an event loop: every method runs its asynchronous namesake and waits for it.

Nothing is written twice: `blocking(Session.encrypt)` is a method with the parameters and the answer of that one.
grpc.aio wants one event loop to a process: a program that runs one already uses the asynchronous client in it.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from types import TracebackType
from typing import Any, Concatenate, Final, Generic, ParamSpec, Self, TypeVar

from ._calls import DEFAULT_POLICY, CallPolicy, Entropy
from ._client import Client, connect
from ._opening import Opening
from ._session import Session, SessionView
from .errors import ClientClosed
from .tls import Tls

P = ParamSpec("P")
T = TypeVar("T")
A = TypeVar("A", Client, Session)


class Loop:
    """A thread of its own with an event loop."""

    def __init__(self) -> None:
        self._started: Final[Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]] = Future()
        self._thread: Final = threading.Thread(target=self._main, name="noisegate", daemon=True)
        self._thread.start()
        self._loop, self._stopping = self._started.result()
        self._gate: Final = threading.Lock()
        self._stopped = False

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run to the end and wait; an interrupt of the waiting thread cancels the work. Raises ClientClosed."""
        with self._gate:
            # Work that passes the gate is on the loop before the order to stop, and so is ended by it at the latest.
            if self._stopped:
                work.close()
                raise ClientClosed
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except CancelledError:
            raise ClientClosed from None
        finally:
            future.cancel()

    def stop(self) -> None:
        """End the thread; what still runs on it is cancelled. May be called again."""
        with self._gate:
            if not self._stopped:
                self._stopped = True
                self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    def _main(self) -> None:
        asyncio.run(self._until_stopped())

    async def _until_stopped(self) -> None:
        stopping = asyncio.Event()
        self._started.set_result((asyncio.get_running_loop(), stopping))
        await stopping.wait()


class Blocking(Generic[A]):
    """An asynchronous object and the loop that it lives on."""

    def __init__(self, loop: Loop, inner: A) -> None:
        self._loop: Final = loop
        self._inner: A = inner


class blocking(Generic[A, P, T]):  # noqa: N801 -- reads as a function, like `property`
    """A method that runs a coroutine method of the inner object and waits for its answer."""

    def __init__(self, method: Callable[Concatenate[A, P], Coroutine[Any, Any, T]]) -> None:
        self._method: Callable[Concatenate[A, P], Coroutine[Any, Any, T]] = method
        self.__doc__ = method.__doc__

    def __get__(self, owner: Blocking[A], kind: type | None = None) -> Callable[P, T]:
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            work: Coroutine[Any, Any, T] = self._method(owner._inner, *args, **kwargs)
            return owner._loop.run(work)

        call.__doc__ = self.__doc__
        return call


class direct(Generic[A, P, T]):  # noqa: N801 -- reads as a function, like `property`
    """A method that calls a plain method of the inner object, on its loop."""

    def __init__(self, method: Callable[Concatenate[A, P], T]) -> None:
        self._method: Callable[Concatenate[A, P], T] = method
        self.__doc__ = method.__doc__

    def __get__(self, owner: Blocking[A], kind: type | None = None) -> Callable[P, T]:
        async def on_loop(*args: P.args, **kwargs: P.kwargs) -> T:
            answer: T = self._method(owner._inner, *args, **kwargs)
            return answer

        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            return owner._loop.run(on_loop(*args, **kwargs))

        call.__doc__ = self.__doc__
        return call


class iterating(Generic[A, P, T]):  # noqa: N801 -- reads as a function, like `property`
    """A method that gives the items of an asynchronous iterator, each when it is asked for."""

    def __init__(self, method: Callable[Concatenate[A, P], AsyncGenerator[T, None]]) -> None:
        self._method: Callable[Concatenate[A, P], AsyncGenerator[T, None]] = method
        self.__doc__ = method.__doc__

    def __get__(self, owner: Blocking[A], kind: type | None = None) -> Callable[P, Generator[T, None, None]]:
        async def following(items: AsyncIterator[T]) -> tuple[T, ...]:
            async for item in items:
                return (item,)
            return ()

        def call(*args: P.args, **kwargs: P.kwargs) -> Generator[T, None, None]:
            items = self._method(owner._inner, *args, **kwargs)
            try:
                while found := owner._loop.run(following(items)):
                    yield found[0]
            finally:
                with suppress(ClientClosed):
                    owner._loop.run(items.aclose())

        call.__doc__ = self.__doc__
        return call


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
    get_session = blocking(Client.get_session)
    list_sessions = iterating(Client.list_sessions)
    watch_sessions = iterating(Client.watch_sessions)


def connect_sync(
    target: str,
    *,
    tls: Tls | None = None,
    insecure: bool = False,
    policy: CallPolicy = DEFAULT_POLICY,
    entropy: Entropy = os.urandom,
) -> SyncClient:
    """`connect` for code without an event loop: starts a thread, which `close` or the end of `with` ends."""
    client = connect(target, tls=tls, insecure=insecure, policy=policy, entropy=entropy)
    return SyncClient(Loop(), client)
