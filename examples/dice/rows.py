"""Events as lines of three columns: what the player says, what the table saw, what noisegate did."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

PATIENCE_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One event. `at`: seconds since the game began. `rpc`: the call and its time; `call`: without it."""

    at: float
    text: str
    wire: str = ""
    rpc: str = ""
    call: str = ""
    style: str = ""


def _rpc(fields: dict[str, Any]) -> str:
    return f"{fields['ms']:4.1f} ms  {fields['rpc']}" if "ms" in fields else " " * 9 + str(fields["rpc"])


@dataclass(slots=True)
class Rows:
    """Puts together what a player and the table tell of the same event, each from its own process."""

    _texts: dict[tuple[Any, ...], str] = field(default_factory=dict)
    _halves: dict[tuple[Any, ...], tuple[dict[str, Any], float]] = field(default_factory=dict)

    def add(self, fields: dict[str, Any], at: float) -> Row | None:
        """The line that is complete with this, if one is."""
        if fields["kind"] == "note":
            return self._row(fields["text"], fields, at)
        key = tuple(fields["key"])
        if "text" in fields:
            self._texts[key] = fields["text"]
        else:
            self._halves[key] = fields, at
        if key not in self._texts or key not in self._halves:
            return None
        return self._row(self._texts.pop(key), self._halves.pop(key)[0], at)

    def late(self, at: float) -> list[Row]:
        """Lines whose player has said nothing."""
        late = [key for key, (_, since) in self._halves.items() if at - since >= PATIENCE_S]
        return [self._row(f"{key[0]} ...", self._halves.pop(key)[0], at) for key in late]

    @staticmethod
    def _row(text: str, fields: dict[str, Any], at: float) -> Row:
        return Row(
            at=at, text=text, wire=fields["wire"], rpc=_rpc(fields), call=fields["rpc"], style=fields.get("style", "")
        )
