"""How cases write bytes and what they expect.

Bytes: {"text": "six"}, {"hex": "0100"}, {"zeros": 24}, {"random": 65000}, {"joined": [...]}, {"flip": VALUE} with its
last bit turned.
A string that begins with "$" is what a step has kept under that name; "$name.0" is a part of it.
Expectations: a value, or {"size": 32} of bytes or a list, {"at_least": 1} of a number, {"not": VALUE}.
"""

from __future__ import annotations

import os
from typing import Any, Final

_FLIP: Final = 1


class Unmet(Exception):
    """What was expected did not come about."""


def resolved(value: Any, kept: dict[str, Any]) -> Any:
    """The value with names and descriptions of bytes replaced by what they stand for."""
    match value:
        case str() if value.startswith("$"):
            return at_path(kept, value[1:])
        case {"text": str(text)}:
            return text.encode()
        case {"hex": str(digits)}:
            return bytes.fromhex(digits)
        case {"zeros": int(size)}:
            return bytes(size)
        case {"random": int(size)}:
            return os.urandom(size)
        case {"flip": inner}:
            whole = bytearray(resolved(inner, kept))
            whole[-1] ^= _FLIP
            return bytes(whole)
        case {"joined": [*parts]}:
            return b"".join(resolved(part, kept) for part in parts)
        case dict():
            return {key: resolved(each, kept) for key, each in value.items()}
        case list():
            return [resolved(each, kept) for each in value]
    return value


def at_path(root: Any, path: str) -> Any:
    """What stands at "name.0.name". Unmet where nothing does."""
    found = root
    for part in path.split("."):
        try:
            found = found[int(part)] if isinstance(found, list) else found[part]
        except (KeyError, IndexError, TypeError) as error:
            raise Unmet(f"there is no {part!r} of {path!r}") from error
    return found


def to_wire(value: Any) -> Any:
    """As the drivers read it: bytes as hexadecimal digits."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: to_wire(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [to_wire(each) for each in value]
    return value


def expect(wanted: Any, found: Any, where: str = "") -> None:
    """Raises Unmet where `found` is not what was wanted. Of an object what is wanted must be there; more may be."""
    match wanted:
        case {"size": int(size)}:
            got = len(found) if isinstance(found, list) else len(found) // 2
            if got != size:
                raise Unmet(f"{where}: {got} instead of {size}")
        case {"at_least": int(least)}:
            if found < least:
                raise Unmet(f"{where}: {found}, at least {least}")
        case {"not": other}:
            if found == to_wire(other):
                raise Unmet(f"{where}: {shown(found)} must not be")
        case dict():
            _expect_parts(wanted, found, where)
        case list() if isinstance(found, list) and len(found) == len(wanted):
            _expect_parts({str(number): each for number, each in enumerate(wanted)}, found, where)
        case _:
            if to_wire(wanted) != found:
                raise Unmet(f"{where}: {shown(found)} instead of {shown(to_wire(wanted))}")


def _expect_parts(wanted: dict[str, Any], found: Any, where: str) -> None:
    for key, each in wanted.items():
        expect(each, at_path(found, key), f"{where}.{key}" if where else key)


def shown(value: Any) -> str:
    """Short enough for a table."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]}... ({len(text)} characters)"
