"""`noisegate doctor`: whether the service could start with these options, and what is wrong where it could not."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from noisegate_server.cli.options import with_settings
from noisegate_server.cli.sources import Settings
from noisegate_server.config import ConfigError
from noisegate_server.doctor.examination import examine
from noisegate_server.doctor.findings import Finding, Findings, State

__all__ = ["doctor"]

_STYLES: Final = {State.OK: "green", State.NOTE: "yellow", State.MEND: "bold red"}


@with_settings
def doctor(
    *,
    settings: Settings | ConfigError,
    as_json: Annotated[bool, typer.Option("--json", help="The findings as a JSON array.")] = False,
) -> None:
    """Examine options, certificates, keys, clock, state file and ports; say what to mend, and change nothing.

    Takes the options of `noisegate serve`, from the same places. Exit code 1 where something must be mended.
    """
    findings = Findings()
    if isinstance(settings, ConfigError):
        findings.mend(settings.option, "the service does not start so", settings.remedy)
    else:
        findings = examine(settings.config, time.time())
    if as_json:
        sys.stdout.write(json.dumps([_row(finding) for finding in findings], indent=2) + "\n")
    else:
        _print(findings)
    if not findings.healthy:
        raise typer.Exit(1)


def _row(finding: Finding) -> dict[str, str]:
    return {
        "check": finding.check,
        "state": finding.state.value,
        "finding": finding.text,
        "remedy": finding.remedy,
    }


def _print(findings: Iterable[Finding]) -> None:
    table = Table(Column("check", no_wrap=True), "", Column("finding", overflow="fold"), box=None, pad_edge=False)
    for finding in findings:
        style = _STYLES[finding.state]
        text = Text(finding.text)
        if finding.remedy:
            text.append(f"\n-> {finding.remedy}", style=style)
        table.add_row(Text(finding.check), Text(finding.state.value, style=style), text)
    Console().print(table)
