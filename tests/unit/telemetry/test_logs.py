"""The form of a log line, and what never stands in one."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace

from noisegate_server.telemetry.logs import LOG, configure_logging, log_defect, log_loop_defect
from tests.unit.telemetry.conftest import Spans


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where the log goes; afterwards all is as it was."""
    root, ours = logging.getLogger(), logging.getLogger("noisegate")
    before = root.handlers[:], root.level, ours.level
    yield io.StringIO()
    root.handlers[:], root.level = before[0], before[1]
    ours.setLevel(before[2])
    logging.captureWarnings(capture=False)


def written(stream: io.StringIO) -> dict[str, Any]:
    """The one line, which is one JSON object."""
    (line,) = stream.getvalue().splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_line_is_one_object_with_a_constant_event_and_fields(stream: io.StringIO) -> None:
    """Whatever the fields hold."""
    configure_logging("INFO", "json", stream)
    LOG.info("listening", what="callers", address='"\n')
    line = written(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "listening", "what": "callers", "address": '"\n', "level": "info", "logger": "noisegate"}


def test_a_person_can_have_text(stream: io.StringIO) -> None:
    """Without colours where it is no terminal."""
    configure_logging("INFO", "console", stream)
    LOG.warning("no --ticket-key", count=3)
    text = stream.getvalue()
    assert "no --ticket-key" in text
    assert "count=3" in text
    assert "\x1b" not in text


def test_the_level_is_for_our_own_lines(stream: io.StringIO) -> None:
    """Libraries say what matters, at INFO and above, in the same form."""
    configure_logging("WARNING", "json", stream)
    LOG.info("not shown")
    logging.getLogger("some.library").debug("nor this")
    logging.getLogger("some.library").warning("a %s", "library")
    line = written(stream)
    assert (line["event"], line["logger"], line["level"]) == ("a library", "some.library", "warning")


def test_debug_shows_what_the_service_does_unasked(stream: io.StringIO) -> None:
    """Only where it was asked for."""
    configure_logging("DEBUG", "json", stream)
    LOG.debug("swept", ended={"IDLE": 2})
    assert written(stream)["ended"] == {"IDLE": 2}


def test_a_defect_has_a_place_and_no_text(stream: io.StringIO) -> None:
    """Its text may hold what nobody may read."""
    configure_logging("INFO", "json", stream)
    try:
        raise ValueError("secret-key-bytes")
    except ValueError as error:
        log_defect("/s/M", error)
    line = written(stream)
    assert (line["event"], line["where"], line["error"], line["level"]) == ("defect", "/s/M", "ValueError", "error")
    assert line["place"].startswith("test_logs.py:")
    assert "secret" not in stream.getvalue()


def test_so_has_a_librarys_exception(stream: io.StringIO) -> None:
    """As asyncio logs what a task raised."""
    configure_logging("INFO", "json", stream)
    try:
        raise KeyError("secret-key-bytes")
    except KeyError as error:
        logging.getLogger("asyncio").error("Task exception was never retrieved", exc_info=error)
        logging.getLogger("asyncio").exception("again")
    assert "secret" not in stream.getvalue()
    assert "Traceback" not in stream.getvalue()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["error"] for line in lines] == ["KeyError", "KeyError"]


async def test_so_has_what_a_forgotten_task_raised(stream: io.StringIO) -> None:
    """The event loop tells of it when the task is collected."""
    configure_logging("INFO", "json", stream)
    asyncio.get_running_loop().set_exception_handler(log_loop_defect)

    async def fail() -> None:
        raise ValueError("secret-key-bytes")

    task = asyncio.ensure_future(fail())
    await asyncio.wait([task])
    del task
    gc.collect()
    line = written(stream)
    assert (line["event"], line["where"], line["error"]) == ("defect", "event loop", "ValueError")
    assert line["place"].startswith("test_logs.py:")
    assert "secret" not in stream.getvalue()


def test_a_line_within_a_span_names_it(stream: io.StringIO, spans: Spans) -> None:
    """As hexadecimal ids, and outside of any there are none."""
    configure_logging("INFO", "json", stream)
    span = spans.tracer.start_span("call")
    with trace.use_span(span):
        LOG.error("defect")
    LOG.info("stopped")
    within, outside = (json.loads(line) for line in stream.getvalue().splitlines())
    context = span.get_span_context()
    assert (within["trace_id"], within["span_id"]) == (f"{context.trace_id:032x}", f"{context.span_id:016x}")
    assert "trace_id" not in outside
