"""The cases: JSON files, each an object {"about": ..., "cases": [...]}.

A case has a name, its steps, where an SDK lacks what it is about `not_in` with that language, where it needs them
`service` (a stage of its own, stage.py) and `for_each`: rows of words, or lists of words to combine. The case is run
for each, with "{word}" replaced in every string; a string that is "{word}" and nothing else becomes the word's own
value, whatever its type.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).resolve().parents[1] / "cases"

SCRIPTED: Final[Mapping[str, str]] = {
    "WRONG_OWNER": "a single process has no other one to name",
    "IDEMPOTENCY_CONFLICT": "an SDK makes a new request_id for each call, and repeats it with the same body alone",
    "INTERNAL": "a defect cannot be asked for",
}
"""Reasons that no case makes the service itself answer, and why; all others must have one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One case."""

    topic: str
    """The file's name."""
    name: str
    service: dict[str, Any]
    steps: list[dict[str, Any]]
    not_in: frozenset[str]
    """Languages whose SDK does not have what the case is about."""

    @property
    def title(self) -> str:
        """What it is called among the cases of all topics."""
        return f"{self.topic}: {self.name}"


def load(folder: Path = FOLDER) -> list[Case]:
    """Every case of every file."""
    return [case for path in sorted(folder.glob("*.json")) for case in _read(path)]


def answered(cases: Sequence[Case]) -> set[str]:
    """Reasons for which the service itself, and no script in its place, refuses something in one of the cases."""
    return {reason for case in cases if "refuses" not in case.service for reason in _reasons(case.steps)}


def _reasons(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (value[key] for key in ("reason", "refused") if isinstance(value.get(key), str))
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for each in inner:
        yield from _reasons(each)


def _read(path: Path) -> Iterator[Case]:
    for case in json.loads(path.read_text(encoding="utf-8"))["cases"]:
        for words in _rows(case.get("for_each", [{}])):
            filled = _filled(case, words)
            yield Case(
                topic=path.stem,
                name=filled["name"],
                service=filled.get("service", {}),
                steps=filled["steps"],
                not_in=frozenset(filled.get("not_in", ())),
            )


def _rows(each: Any) -> list[dict[str, Any]]:
    if isinstance(each, list):
        return each
    return [dict(zip(each, words, strict=True)) for words in itertools.product(*each.values())]


def _filled(value: Any, words: dict[str, Any]) -> Any:
    if isinstance(value, str):
        for word, what in words.items():
            if value == "{" + word + "}":
                return what
            value = value.replace("{" + word + "}", str(what))
        return value
    if isinstance(value, dict):
        return {key: _filled(each, words) for key, each in value.items() if key != "for_each"}
    if isinstance(value, list):
        return [_filled(each, words) for each in value]
    return value
