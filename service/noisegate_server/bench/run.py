"""Every claim measured, one after the other, printed and judged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from noisegate_server import process
from noisegate_server.bench import batch, handshakes, many, match, own_cost, seam, stream, telemetry
from noisegate_server.bench.claims import CLAIMS, Claim
from noisegate_server.bench.figures import Figure, Verdict, to_json
from noisegate_server.bench.measure import Taken
from noisegate_server.bench.plot import svg
from noisegate_server.bench.report import Report, environment

__all__ = ["Measure", "Row", "UnknownRow", "measures", "run"]

Measure = Callable[[], Coroutine[None, None, Taken]]

_OF_A_MILLION: Final = {"idle-bytes", "stall-ms", "tail", "scale-1m"}
"""Rows that one process gives: it ends before another row can suffer from it."""


class UnknownRow(ValueError):
    """No row has this id."""


@dataclass(frozen=True, slots=True)
class Row:
    """A claim, and what takes its figure."""

    claim: Claim
    measure: Measure


def measures(million: many.Million) -> dict[str, Measure]:
    """Id of a claim to what takes its figure; every claim has one."""
    return {
        "batch": batch.measure_batch,
        "batch-open": batch.measure_open,
        "batch-cold": batch.measure_cold,
        "broadcast": batch.measure_broadcast,
        "stream": stream.measure,
        "handshake-ik": handshakes.measure_ik,
        "resume": handshakes.measure_resume,
        "idle-bytes": million.measure_idle,
        "stall-ms": million.measure_stall,
        "tail": million.measure_tail,
        "scale-1m": million.measure_scale,
        "largest-call-ms": many.measure_largest,
        "match": match.measure,
        "own-cost": own_cost.measure,
        "seam": seam.measure,
        "telemetry": telemetry.measure_seam,
        "telemetry-unary": telemetry.measure_unary,
    }


def run(
    ids: Sequence[str] = (),
    json_file: Path | None = None,
    plot_file: Path | None = None,
    beside: Mapping[str, Row] = MappingProxyType({}),
) -> bool:
    """Measure the claims of these ids, else all, and print them, into the files as well; False where one is missed.

    `beside`: more rows, behind our own. UnknownRow before anything is measured.
    """
    million = many.Million()
    rows = {id_: Row(CLAIMS[id_], measure) for id_, measure in measures(million).items()} | dict(beside)
    unknown = [id_ for id_ in ids if id_ not in rows]
    if unknown:
        raise UnknownRow(f"no such row: {', '.join(unknown)}; there are {', '.join(rows)}")
    chosen = list(dict.fromkeys(ids or rows))
    # What is measured in this process is to run as it does in the server's.
    process.keep_freed_memory()
    process.collect_what_is_new()
    report = Report({id_: rows[id_].claim for id_ in chosen})
    figures = []
    with closing(million), report.live() as live:
        for number, id_ in enumerate(chosen):
            began = time.monotonic()
            taken = asyncio.run(rows[id_].measure())
            if not _OF_A_MILLION.intersection(chosen[number + 1 :]):
                million.close()
            figures.append(Figure(id=id_, claim=rows[id_].claim, taken=taken, seconds=time.monotonic() - began))
            report.add(figures[-1], live)
    report.explain()
    if json_file is not None:
        json_file.write_text(to_json(figures), encoding="utf-8")
    if plot_file is not None:
        plot_file.write_text(svg(figures, f"noisegate: {environment()}"), encoding="utf-8")
    return all(figure.verdict is not Verdict.MISSED for figure in figures)
