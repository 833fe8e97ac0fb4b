"""The table of refusals: every row, and that none of them talks."""

from __future__ import annotations

import inspect

import pytest
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from noisegate.v1 import error_reason_pb2
from noisegate_server.rpc import errors as rpc_errors
from noisegate_server.rpc.call import Code, Reply
from noisegate_server.rpc.errors import RULES, defect, reason_name, refusal
from noisegate_server.rpc.trailers import trailers
from noisegate_server.session import errors
from tests.support.rpc_table import detail, error_info, reason

# The error catalogue, written out: an example of each, its code, its reason, and the type of its second detail.
CATALOGUE = [
    (DecodeError("wire text"), "INVALID_ARGUMENT", "INVALID_REQUEST", error_details_pb2.BadRequest),
    (errors.InvalidField("psk", "32 bytes"), "INVALID_ARGUMENT", "INVALID_REQUEST", error_details_pb2.BadRequest),
    (errors.UnsupportedProtocol(("a", "b")), "INVALID_ARGUMENT", "UNSUPPORTED_PROTOCOL", None),
    (errors.MessageTooLarge("plaintext", 9), "INVALID_ARGUMENT", "MESSAGE_TOO_LARGE", error_details_pb2.BadRequest),
    (errors.PolicyRejected("below policy"), "FAILED_PRECONDITION", "POLICY_REJECTED", None),
    (errors.HandshakeFailed(), "INVALID_ARGUMENT", "HANDSHAKE_FAILED", None),
    (errors.HandshakeNotDue(), "FAILED_PRECONDITION", "HANDSHAKE_STATE", error_details_pb2.PreconditionFailure),
    (errors.ClockSkew(), "FAILED_PRECONDITION", "CLOCK_SKEW", None),
    (errors.StaleHandshake(), "FAILED_PRECONDITION", "STALE_HANDSHAKE", None),
    (errors.SessionNotFound(), "NOT_FOUND", "SESSION_NOT_FOUND", None),
    (errors.SessionClosed("IDLE", resumable=True), "FAILED_PRECONDITION", "SESSION_CLOSED", None),
    (errors.NotEstablished("HANDSHAKING"), "FAILED_PRECONDITION", "NOT_ESTABLISHED", None),
    (errors.DecryptFailed(), "INVALID_ARGUMENT", "DECRYPT_FAILED", None),
    (errors.ReplayDetected(), "FAILED_PRECONDITION", "REPLAY_DETECTED", None),
    (errors.CounterTooOld(), "FAILED_PRECONDITION", "COUNTER_TOO_OLD", None),
    (errors.RekeyRequired("by age"), "FAILED_PRECONDITION", "REKEY_REQUIRED", error_details_pb2.PreconditionFailure),
    (errors.EpochConflict(3), "ABORTED", "EPOCH_CONFLICT", None),
    (errors.TicketRejected(), "FAILED_PRECONDITION", "TICKET_REJECTED", None),
    (errors.BlobRejected(), "FAILED_PRECONDITION", "BLOB_REJECTED", None),
    (errors.PeerRevoked(), "FAILED_PRECONDITION", "PEER_REVOKED", None),
    (errors.SessionQuota("peer", "16"), "RESOURCE_EXHAUSTED", "SESSION_QUOTA", error_details_pb2.QuotaFailure),
    (errors.Overloaded("full"), "UNAVAILABLE", "OVERLOADED", error_details_pb2.RetryInfo),
    (rpc_errors.Draining(), "UNAVAILABLE", "DRAINING", error_details_pb2.RetryInfo),
    (rpc_errors.IdempotencyConflict(), "ALREADY_EXISTS", "IDEMPOTENCY_CONFLICT", None),
    (rpc_errors.CallerUnauthenticated(), "UNAUTHENTICATED", "CALLER_UNAUTHENTICATED", None),
    (rpc_errors.CallerForbidden("Encrypt"), "PERMISSION_DENIED", "CALLER_FORBIDDEN", None),
]
METADATA = {
    "UNSUPPORTED_PROTOCOL": {"supported": "a,b"},
    "SESSION_CLOSED": {"cause": "IDLE", "resumable": "true"},
    "NOT_ESTABLISHED": {"state": "HANDSHAKING"},
    "EPOCH_CONFLICT": {"currentEpoch": "3"},
    "CALLER_FORBIDDEN": {"permission": "Encrypt"},
}


def refused(error: Exception) -> Reply:
    """The reply to an error that has a row."""
    reply = refusal(error)
    assert reply is not None
    return reply


@pytest.mark.parametrize(("error", "code", "expected", "more"), CATALOGUE, ids=[row[2] for row in CATALOGUE])
def test_every_row_of_the_catalogue(error: Exception, code: str, expected: str, more: type | None) -> None:
    """Code, reason, metadata and details of each refusal, as the catalogue has them."""
    reply = refused(error)
    assert Code(reply[0]).name == code
    assert reason(reply) == expected
    assert dict(error_info(reply).metadata) == METADATA.get(expected, {})
    if more is None:
        assert len(status_pb2.Status.FromString(reply[1]).details) == 1
    else:
        assert detail(reply, more).ByteSize()


def test_the_catalogue_has_every_error_that_we_may_raise() -> None:
    """A class without a row would be INTERNAL in production."""
    classes = {
        found
        for module in (errors, rpc_errors)
        for _, found in inspect.getmembers(module, inspect.isclass)
        if issubclass(found, errors.SessionError) and found is not errors.SessionError
    }
    assert classes | {DecodeError} == set(RULES) == {type(row[0]) for row in CATALOGUE}


def test_every_reason_of_the_contract_is_used_or_known_to_come_later() -> None:
    """The contract's enum and the table cannot drift apart unseen."""
    later = {error_reason_pb2.ERROR_REASON_WRONG_OWNER, error_reason_pb2.ERROR_REASON_UNSPECIFIED}
    used = {rule.reason for rule in RULES.values()} | {error_reason_pb2.ERROR_REASON_INTERNAL}
    assert used | later == set(error_reason_pb2.ErrorReason.values())
    assert reason_name(error_reason_pb2.ERROR_REASON_INTERNAL) == "INTERNAL"


def test_a_stranger_is_a_defect() -> None:
    """Also one that derives from an error with a row: what it means is not known."""

    class Derived(errors.DecryptFailed):
        pass

    assert refusal(ValueError("secret")) is None
    assert refusal(Derived()) is None
    assert reason(defect("id")) == "INTERNAL"


def test_the_parsers_words_do_not_reach_the_caller() -> None:
    """They may quote the request."""
    assert b"wire text" not in refused(DecodeError("wire text"))[1]


def test_what_a_player_did_wrong_is_always_the_same_bytes() -> None:
    """No cause can leak where there is but one answer."""
    first = refused(errors.DecryptFailed())
    assert refused(errors.DecryptFailed()) is first


def test_trailers_repeat_the_retry_delay_for_grpc_itself() -> None:
    """gRFC A6: libraries look at grpc-retry-pushback-ms, not at RetryInfo."""
    status = refused(rpc_errors.Draining())[1]
    message, pairs = trailers(status)
    assert message == "the service is stopping; go to another instance"
    assert pairs == (("grpc-status-details-bin", status), ("grpc-retry-pushback-ms", "100"))
    mute = refused(errors.DecryptFailed())[1]
    assert trailers(mute)[1] == (("grpc-status-details-bin", mute),)


def test_a_refusal_that_comes_again_is_not_parsed_again() -> None:
    """A stranger's packets are refused in the same words each: what these are on the wire is known by then."""
    mute = refused(errors.DecryptFailed())[1]
    assert trailers(mute) is trailers(bytes(bytearray(mute)))
