"""Runs languages over cases, and shows what became of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.conformance.suite.cases import Case
from tests.conformance.suite.driver import Driver
from tests.conformance.suite.languages import Language
from tests.conformance.suite.play import Play
from tests.conformance.suite.players import MakeNoisePlayer
from tests.conformance.suite.stage import DEV, Stage
from tests.conformance.suite.values import Unmet
from tests.support.go_program import NotAvailable
from tests.support.noise_client import noise_player as dice_player
from tests.support.server import RunningServer

CASE_SECONDS: Final = 60.0


@dataclass(slots=True, kw_only=True)
class Row:
    """What became of one language."""

    name: str
    skipped: str = ""
    """Why it was not run."""
    broken: str = ""
    """Why no case could be played."""
    failures: dict[str, str] = field(default_factory=dict)
    """Title of a case to why it failed."""
    passed: int = 0

    def break_down(self, cases: Sequence[Case], why: str) -> None:
        """Nothing of it works, so every case fails."""
        self.broken = why
        self.failures = {case.title: why for case in cases if self.name not in case.not_in}


def run(
    languages: Sequence[Language], cases: Sequence[Case], *, noise_player: MakeNoisePlayer = dice_player
) -> list[Row]:
    """Every language over every case, one after the other; `noise_player` makes the players of NOISE mode."""
    rows = [Row(name=language.name) for language in languages]
    with TemporaryDirectory() as scratch, ExitStack() as stack:
        commands: list[tuple[Row, Sequence[str]]] = []
        for row, language in zip(rows, languages, strict=True):
            try:
                commands.append((row, language.build(Path(scratch))))
            except NotAvailable as reason:
                row.skipped = str(reason)
            except RuntimeError as error:
                row.break_down(cases, str(error))
        if commands:
            shared = RunningServer(DEV)
            stack.callback(shared.kill)
            for row, command in commands:
                asyncio.run(_fill(row, command, cases, shared, noise_player))
    return rows


async def _fill(
    row: Row, command: Sequence[str], cases: Sequence[Case], shared: RunningServer, noise_player: MakeNoisePlayer
) -> None:
    async with AsyncExitStack() as stack:
        try:
            driver = await Driver.start(command)
        except OSError as error:
            row.break_down(cases, f"the driver does not start: {error}")
            return
        stack.push_async_callback(driver.stop)
        stages: dict[str, Stage] = {}
        for number, case in enumerate(cases):
            if row.name in case.not_in:
                continue
            try:
                async with asyncio.timeout(CASE_SECONDS):
                    await _one(driver, case, number, noise_player, shared, stages, stack)
            except (Unmet, TimeoutError) as why:
                row.failures[case.title] = str(why) or "took too long"
            else:
                row.passed += 1


async def _one(
    driver: Driver,
    case: Case,
    number: int,
    noise_player: MakeNoisePlayer,
    shared: RunningServer,
    stages: dict[str, Stage],
    stack: AsyncExitStack,
) -> None:
    """One case on its stage; cases that want the same play on the same, one after the other."""
    wanted = json.dumps(case.service)
    stage = stages.get(wanted)
    if stage is None:
        stage = Stage(shared, case.service)
        if not stage.serves_again:
            async with stage:
                await Play(driver, stage, case, number, noise_player).run()
            return
        stages[wanted] = await stack.enter_async_context(stage)
    try:
        await Play(driver, stage, case, number, noise_player).run()
    finally:
        stage.clear()


def shown(rows: Sequence[Row], cases: Sequence[Case]) -> str:
    """The table: topics down, languages across; then every failure; then the closing line."""
    topics = list(dict.fromkeys(case.topic for case in cases))
    head = ["topic", "cases", *(row.name for row in rows)]
    lines = []
    for topic in topics:
        among = [case for case in cases if case.topic == topic]
        cells = [topic, str(len(among)), *(_cell(row, among) for row in rows)]
        lines.append(cells)
    widths = [max(len(cells[at]) for cells in (head, *lines)) for at in range(len(head))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) for cells in (head, *lines)]
    for row in rows:
        if row.skipped:
            text.append(f"{row.name}: skipped, {row.skipped}")
        text += [
            f"{row.name}: {case.title}: left out, its SDK does not have it" for case in cases if row.name in case.not_in
        ]
        if row.broken:
            text.append(f"{row.name}: {row.broken}")
        else:
            text += [f"{row.name}: {title}: {why}" for title, why in row.failures.items()]
    text.append(f"{sum(row.passed for row in rows)} passed, {sum(len(row.failures) for row in rows)} failed")
    return "\n".join(line.rstrip() for line in text)


def _cell(row: Row, cases: Sequence[Case]) -> str:
    """What became of one topic in one language; "-" where its SDK has nothing of it."""
    if row.skipped:
        return "skipped"
    if all(row.name in case.not_in for case in cases):
        return "-"
    failed = sum(case.title in row.failures for case in cases)
    return f"{failed} FAILED" if failed else "ok"
