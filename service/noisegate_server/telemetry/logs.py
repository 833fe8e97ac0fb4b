"""The log: one JSON object a line on standard error, or text for a person; ours and that of the libraries alike.

An event is a constant sentence, and what varies stands in fields. Levels: ERROR, somebody must act; WARNING, somebody
should know before it becomes one; INFO, the life of the process; DEBUG, what it does unasked. No line for a message, a
call or a session, and no exception's text, which may hold what nobody may read.
"""

from __future__ import annotations

import logging
import sys
import traceback
from asyncio import AbstractEventLoop
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, Final, Literal, TextIO

import structlog
from structlog.typing import FilteringBoundLogger, Processor

__all__ = ["LOG", "configure_logging", "is_detailed", "log_defect", "log_loop_defect", "place_of"]

_NAME: Final = "noisegate"
_LOGGER: Final = logging.getLogger(_NAME)

Line = MutableMapping[str, Any]

LOG: Final[FilteringBoundLogger] = structlog.wrap_logger(
    _LOGGER,
    wrapper_class=structlog.stdlib.BoundLogger,
    processors=[structlog.stdlib.filter_by_level, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
)
"""Ours. It goes the way of the standard library's, so that whoever embeds a server can take it from there."""


def is_detailed() -> bool:
    """Whether lines for debugging are wanted at all: for who would otherwise make one a thousand times a second."""
    return _LOGGER.isEnabledFor(logging.DEBUG)


def configure_logging(level: str, form: Literal["json", "console"], stream: TextIO = sys.stderr) -> None:
    """Send everything to `stream`. `level` is for our own lines: what libraries say in their detail is not ours."""
    shown: list[Processor] = [
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _without_text,
        _with_trace,
    ]
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(colors=stream.isatty())
        if form == "console"
        else structlog.processors.JSONRenderer()
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[*shown, structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer]
        )
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    logging.getLogger(_NAME).setLevel(level)


def log_defect(where: str, error: BaseException) -> None:
    """Log an unforeseen error: its type and place, not its text."""
    LOG.error("defect", where=where, error=type(error).__name__, place=place_of(error))


def log_loop_defect(_loop: AbstractEventLoop, context: dict[str, Any]) -> None:
    """An event loop's exception handler. The loop's own writes the exception's text, and what its callback got."""
    error = context.get("exception")
    if isinstance(error, BaseException):
        log_defect("event loop", error)
    else:
        LOG.error("defect", where="event loop", error="", place="unknown place")


def place_of(error: BaseException) -> str:
    """File and line where it was raised."""
    frame = traceback.extract_tb(error.__traceback__)[-1:]
    return f"{Path(frame[0].filename).name}:{frame[0].lineno}" if frame else "unknown place"


def _without_text(_logger: Any, _method: str, line: Line) -> Line:
    """A library's exception as its type and place."""
    raised = line.pop("exc_info", None)
    if isinstance(raised, tuple):
        raised = raised[1]
    elif raised is True:
        raised = sys.exc_info()[1]
    if isinstance(raised, BaseException):
        line["error"], line["place"] = type(raised).__name__, place_of(raised)
    return line


def _with_trace(_logger: Any, _method: str, line: Line) -> Line:
    """The ids of the span that is current, where anybody makes spans."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is not None:
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            line["trace_id"] = f"{context.trace_id:032x}"
            line["span_id"] = f"{context.span_id:016x}"
    return line
