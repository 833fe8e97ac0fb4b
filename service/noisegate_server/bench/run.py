"""Every claim measured, one after the other, printed and judged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from noisegate_server import process
from noisegate_server.bench import batch, handshakes, many, match, own_cost, seam, stream, telemetry
from noisegate_server.bench.claims import CLAIMS
from noisegate_server.bench.figures import Figure, Verdict, to_json
from noisegate_server.bench.measure import Taken
from noisegate_server.bench.plot import svg
from noisegate_server.bench.report import Report, environment

__all__ = ["measures", "run"]

_OF_A_MILLION: Final = {"idle-bytes", "stall-ms", "tail", "scale-1m"}
"""Rows that one process gives: it ends before another row can suffer from it."""


def measures(million: many.Million) -> dict[str, Callable[[], Coroutine[None, None, Taken]]]:
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


def run(ids: Sequence[str], json_file: Path | None = None, plot_file: Path | None = None) -> bool:
    """Measure these claims and print them, into the files as well; False where one is missed."""
    # What is measured in this process is to run as it does in the server's.
    process.keep_freed_memory()
    process.collect_what_is_new()
    report = Report(ids)
    figures = []
    million = many.Million()
    take = measures(million)
    with closing(million), report.live() as live:
        for number, id_ in enumerate(ids):
            began = time.monotonic()
            taken = asyncio.run(take[id_]())
            if not _OF_A_MILLION.intersection(ids[number + 1 :]):
                million.close()
            figures.append(Figure(id=id_, claim=CLAIMS[id_], taken=taken, seconds=time.monotonic() - began))
            report.add(figures[-1], live)
    report.explain()
    if json_file is not None:
        json_file.write_text(to_json(figures), encoding="utf-8")
    if plot_file is not None:
        plot_file.write_text(svg(figures, f"noisegate: {environment()}"), encoding="utf-8")
    return all(figure.verdict is not Verdict.MISSED for figure in figures)
