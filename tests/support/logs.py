"""The log of a running service, as whoever collects it reads it."""

from __future__ import annotations

import json
from typing import Any

Line = dict[str, Any]


def lines(log: str) -> list[Line]:
    """Every line of ours. gRPC's own C library writes some of its own, in a form of its own."""
    return [json.loads(line) for line in log.splitlines() if line.startswith("{")]


def told(log: str, event: str, **fields: Any) -> list[Line]:
    """The lines of one event that have these fields."""
    return [line for line in lines(log) if line["event"] == event and fields.items() <= line.items()]


def listening(log: str, what: str) -> str:
    """Where it listens for callers, operators, probes or metrics."""
    (line,) = told(log, "listening", what=what)
    address: str = line["address"]
    return address
