"""From a refused call to an exception."""

from __future__ import annotations

import pytest
from grpc import StatusCode

import noisegate
from noisegate.errors import BY_REASON, from_status
from tests.unit.sdk.scripted_service import Refusal


@pytest.mark.parametrize("reason", sorted(BY_REASON))
def test_a_reason_finds_its_class(reason: str) -> None:
    """ErrorInfo.reason decides, whatever the code."""
    error = from_status(StatusCode.ABORTED, "text", Refusal(StatusCode.ABORTED, reason, {"a": "b"}).details)
    assert type(error) is BY_REASON[reason]
    assert (error.code, error.reason, error.metadata) == (StatusCode.ABORTED, reason, {"a": "b"})


def test_an_unknown_reason_is_the_root_class() -> None:
    """A newer service's reason is kept, and is caught as NoisegateError."""
    error = from_status(StatusCode.ABORTED, "", Refusal(StatusCode.ABORTED, "NEWS").details)
    assert type(error) is noisegate.NoisegateError
    assert error.reason == "NEWS"


def test_a_reason_of_another_domain_is_not_ours() -> None:
    """A mesh or a gateway may attach an ErrorInfo of its own."""
    refusal = Refusal(StatusCode.UNAVAILABLE, "SESSION_NOT_FOUND", domain="mesh.example")
    error = from_status(StatusCode.UNAVAILABLE, "", refusal.details)
    assert type(error) is noisegate.ServiceUnavailable
    assert error.reason == ""


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (StatusCode.UNAVAILABLE, noisegate.ServiceUnavailable),
        (StatusCode.DEADLINE_EXCEEDED, noisegate.DeadlineExceeded),
        (StatusCode.CANCELLED, noisegate.Cancelled),
        (StatusCode.UNIMPLEMENTED, noisegate.Unimplemented),
        (StatusCode.RESOURCE_EXHAUSTED, noisegate.CallRefused),
    ],
)
@pytest.mark.parametrize("details", [b"", b"\xff\xff\xff"], ids=["none", "spoiled"])
def test_errors_without_a_reason_go_by_their_code(
    code: StatusCode, expected: type[noisegate.NoisegateError], details: bytes
) -> None:
    """gRPC's own errors have no ErrorInfo, and a spoiled trailer must not hide the code."""
    assert type(from_status(code, "text", details)) is expected


def test_retry_info_is_told_in_seconds() -> None:
    """RetryInfo.retry_delay is a duration."""
    refusal = Refusal(StatusCode.UNAVAILABLE, "OVERLOADED", retry_delay=0.25)
    assert from_status(StatusCode.UNAVAILABLE, "", refusal.details).retry_delay == 0.25


def test_draining_and_overload_are_caught_as_unavailable() -> None:
    """A game that only cares whether the service works needs one except clause."""
    assert issubclass(noisegate.Draining, noisegate.ServiceUnavailable)
    assert issubclass(noisegate.Overloaded, noisegate.ServiceUnavailable)


def test_metadata_has_typed_readers() -> None:
    """What a program acts on is an attribute and not a key to look up."""
    closed = noisegate.SessionClosed(StatusCode.FAILED_PRECONDITION, metadata={"cause": "IDLE", "resumable": "true"})
    assert (closed.cause, closed.resumable) == ("IDLE", True)
    owner = noisegate.WrongOwner(StatusCode.ABORTED, metadata={"owner": "10.0.0.1:1"}).owner
    assert owner == "10.0.0.1:1"
    unsupported = noisegate.UnsupportedProtocol(StatusCode.INVALID_ARGUMENT, metadata={"supported": "a,b"})
    assert unsupported.supported == ("a", "b")
