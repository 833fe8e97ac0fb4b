"""A driver of an SDK that is wrong in three ways, for the test that the suite sees it.

It takes every record for good, repeats no call, and knows no reasons.
"""

from __future__ import annotations

import asyncio

from noisegate import DecryptFailed, NoisegateError
from tests.conformance.drivers.python.driver import Answer, Driver, Request, raw, serve


class BrokenDriver(Driver):
    """As the Python driver, but for its faults."""

    async def connect(self, request: Request) -> Answer:
        """Calls are not repeated."""
        return await super().connect({**request, "attempts": 1})

    async def decrypt(self, request: Request) -> Answer:
        """What did not open is given to the game as it came."""
        try:
            answer = await super().decrypt(request)
        except NoisegateError as error:
            raise DecryptFailed(error.code) from error
        return {"refused": "", "plaintext": raw(request, "ciphertext").hex()} if answer["refused"] else answer

    async def encrypt(self, request: Request) -> Answer:
        """Why a call was refused is lost."""
        try:
            return await super().encrypt(request)
        except NoisegateError as error:
            raise NoisegateError(error.code) from error


if __name__ == "__main__":
    asyncio.run(serve(BrokenDriver()))
