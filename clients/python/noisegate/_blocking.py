"""Code without an event loop: a thread that has one, and methods that run their asynchronous namesakes there."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import Any, Concatenate, Final, Generic, ParamSpec, TypeVar

from .errors import ClientClosed

P = ParamSpec("P")
T = TypeVar("T")
A = TypeVar("A")


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
