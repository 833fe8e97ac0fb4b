"""What a keep-alive record says: nothing, a question for a record, or an answer (docs/protocol.md, section 3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from noisegate_server.session.constants import KEEP_ALIVE_TOKEN

_ASK: Final = b"\x01"
_ANSWER: Final = b"\x02"


def question(random_bytes: Callable[[int], bytes]) -> bytes:
    """The content of a keep-alive that the peer must answer."""
    return _ASK + random_bytes(KEEP_ALIVE_TOKEN)


def token_of(asked: bytes) -> bytes:
    """The token of a question of ours."""
    return asked[1:]


def answered(content: bytes) -> bytes:
    """The token of the question that a keep-alive of the peer answers; empty for none."""
    return content[1:] if len(content) == 1 + KEEP_ALIVE_TOKEN and content[:1] == _ANSWER else b""


def answer_to(content: bytes) -> bytes:
    """The content that answers a keep-alive of the peer; empty where it asks for none."""
    asks = len(content) == 1 + KEEP_ALIVE_TOKEN and content[:1] == _ASK
    return _ANSWER + content[1:] if asks else b""
