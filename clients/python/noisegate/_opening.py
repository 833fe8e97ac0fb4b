"""A session that is about to begin: `await` it for a handle to keep, or enter it for one that ends with the block."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from types import TracebackType
from typing import Final

from ._session import Session


class Opening:
    """What `client.respond(...)` and its siblings give. Nothing is sent before it is awaited or entered.

    session = await client.respond(...)           # lives until close(), or until the service ends it
    async with client.respond(...) as session:    # ends with the block, unless detach() was called
    """

    __slots__ = ("_begin", "_session")

    def __init__(self, begin: Callable[[], Awaitable[Session]]) -> None:
        self._begin: Final = begin
        self._session: Session | None = None

    def __await__(self) -> Generator[object, None, Session]:
        return self._once().__await__()

    async def __aenter__(self) -> Session:
        return await self._once()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.__aexit__(kind, error, trace)

    async def _once(self) -> Session:
        if self._session is None:
            self._session = await self._begin()
        return self._session
