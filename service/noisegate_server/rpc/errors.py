"""ONE table from what went wrong to what the caller is told; the catalogue in docs/errors.md is made from it.

Every refusal is a google.rpc.Status with an ErrorInfo (domain "noisegate"). A type that is not in the table is a defect
of ours: INTERNAL, without a word of the exception.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from noisegate.v1 import error_reason_pb2 as reasons
from noisegate_server.rpc.call import Code, Reply
from noisegate_server.session import errors

__all__ = [
    "DOMAIN",
    "RULES",
    "CallerForbidden",
    "CallerUnauthenticated",
    "Draining",
    "IdempotencyConflict",
    "Rule",
    "defect",
    "item_refusal",
    "reason_name",
    "refusal",
]

DOMAIN: Final = "noisegate"
_PREFIX: Final = "ERROR_REASON_"

if TYPE_CHECKING:
    Reason: TypeAlias = reasons.ErrorReason.ValueType


class IdempotencyConflict(errors.SessionError):
    """A request_id was used again with another body."""

    def __init__(self) -> None:
        super().__init__("this request_id was used with another body")


class CallerUnauthenticated(errors.SessionError):
    """The connection showed no valid identity."""

    def __init__(self) -> None:
        super().__init__("the caller showed no valid identity: one SPIFFE id in the client certificate")


class CallerForbidden(errors.SessionError):
    """The caller is known and may not do this; `permission` names what was missing."""

    def __init__(self, permission: str) -> None:
        super().__init__("the policy does not allow this caller to do this")
        self.permission = permission

    @property
    def metadata(self) -> dict[str, str]:
        return {"permission": self.permission}


class Draining(errors.SessionError):
    """The server is stopping."""

    def __init__(self) -> None:
        super().__init__("the service is stopping; go to another instance")


# The builders take Any: which attributes an error has is what its row in RULES says, and the tests run every row.
Details = Callable[[Any], Message]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What the caller is told about one type of error."""

    code: Code
    """The gRPC status code."""
    reason: Reason
    """The ErrorInfo's reason."""
    details: Details | None = None
    """Makes the second detail, after ErrorInfo."""
    text: str = ""
    """The message, where the exception's own must not or cannot be shown."""


def _field(error: Any) -> Message:
    violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=error.description)
    detail: Message = error_details_pb2.BadRequest(field_violations=[violation])
    return detail


def _body(_: Any) -> Message:
    violation = error_details_pb2.BadRequest.FieldViolation(description="not a valid message of this method")
    detail: Message = error_details_pb2.BadRequest(field_violations=[violation])
    return detail


def _precondition(kind: str) -> Details:
    def build(error: Any) -> Message:
        violation = error_details_pb2.PreconditionFailure.Violation(
            type=kind, subject="session", description=str(error)
        )
        detail: Message = error_details_pb2.PreconditionFailure(violations=[violation])
        return detail

    return build


def _quota(error: Any) -> Message:
    violation = error_details_pb2.QuotaFailure.Violation(subject=error.subject, description=error.description)
    detail: Message = error_details_pb2.QuotaFailure(violations=[violation])
    return detail


def _retry(milliseconds: int) -> Details:
    def build(_: Any) -> Message:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(milliseconds)
        detail: Message = retry
        return detail

    return build


RULES: Final[Mapping[type[Exception], Rule]] = {
    DecodeError: Rule(
        code=Code.INVALID_ARGUMENT,
        reason=reasons.ERROR_REASON_INVALID_REQUEST,
        details=_body,
        text="the request is not a valid message of this method",
    ),
    errors.InvalidField: Rule(code=Code.INVALID_ARGUMENT, reason=reasons.ERROR_REASON_INVALID_REQUEST, details=_field),
    errors.UnsupportedProtocol: Rule(code=Code.INVALID_ARGUMENT, reason=reasons.ERROR_REASON_UNSUPPORTED_PROTOCOL),
    errors.MessageTooLarge: Rule(
        code=Code.INVALID_ARGUMENT, reason=reasons.ERROR_REASON_MESSAGE_TOO_LARGE, details=_field
    ),
    errors.PolicyRejected: Rule(code=Code.FAILED_PRECONDITION, reason=reasons.ERROR_REASON_POLICY_REJECTED),
    errors.HandshakeFailed: Rule(code=Code.INVALID_ARGUMENT, reason=reasons.ERROR_REASON_HANDSHAKE_FAILED),
    errors.HandshakeNotDue: Rule(
        code=Code.FAILED_PRECONDITION,
        reason=reasons.ERROR_REASON_HANDSHAKE_STATE,
        details=_precondition("HANDSHAKE_STATE"),
    ),
    errors.ClockSkew: Rule(code=Code.FAILED_PRECONDITION, reason=reasons.ERROR_REASON_CLOCK_SKEW),
    errors.StaleHandshake: Rule(code=Code.FAILED_PRECONDITION, reason=reasons.ERROR_REASON_STALE_HANDSHAKE),
    errors.SessionNotFound: Rule(code=Code.NOT_FOUND, reason=reasons.ERROR_REASON_SESSION_NOT_FOUND),
    errors.SessionClosed: Rule(code=Code.FAILED_PRECONDITION, reason=reasons.ERROR_REASON_SESSION_CLOSED),
    errors.NotEstablished: Rule(code=Code.FAILED_PRECONDITION, reason=reasons.ERROR_REASON_NOT_ESTABLISHED),
    errors.DecryptFailed: Rule(code=Code.INVALID_ARGUMENT, reason=reasons.ERROR_REASON_DECRYPT_FAILED),
    errors.ReplayDetected: Rule(code=Code.FAILED_PRECONDITION, reason=reasons.ERROR_REASON_REPLAY_DETECTED),
    errors.CounterTooOld: Rule(code=Code.FAILED_PRECONDITION, reason=reasons.ERROR_REASON_COUNTER_TOO_OLD),
    errors.RekeyRequired: Rule(
        code=Code.FAILED_PRECONDITION,
        reason=reasons.ERROR_REASON_REKEY_REQUIRED,
        details=_precondition("KEY_USAGE_LIMIT"),
    ),
    errors.EpochConflict: Rule(code=Code.ABORTED, reason=reasons.ERROR_REASON_EPOCH_CONFLICT),
    errors.TicketRejected: Rule(code=Code.FAILED_PRECONDITION, reason=reasons.ERROR_REASON_TICKET_REJECTED),
    errors.PeerRevoked: Rule(code=Code.FAILED_PRECONDITION, reason=reasons.ERROR_REASON_PEER_REVOKED),
    errors.BlobRejected: Rule(code=Code.FAILED_PRECONDITION, reason=reasons.ERROR_REASON_BLOB_REJECTED),
    errors.SessionQuota: Rule(code=Code.RESOURCE_EXHAUSTED, reason=reasons.ERROR_REASON_SESSION_QUOTA, details=_quota),
    errors.Overloaded: Rule(code=Code.UNAVAILABLE, reason=reasons.ERROR_REASON_OVERLOADED, details=_retry(1_000)),
    Draining: Rule(code=Code.UNAVAILABLE, reason=reasons.ERROR_REASON_DRAINING, details=_retry(100)),
    IdempotencyConflict: Rule(code=Code.ALREADY_EXISTS, reason=reasons.ERROR_REASON_IDEMPOTENCY_CONFLICT),
    CallerUnauthenticated: Rule(code=Code.UNAUTHENTICATED, reason=reasons.ERROR_REASON_CALLER_UNAUTHENTICATED),
    CallerForbidden: Rule(code=Code.PERMISSION_DENIED, reason=reasons.ERROR_REASON_CALLER_FORBIDDEN),
}
"""Type of error to what the caller is told. Looked up by the exact type: a subclass needs its own row."""


def reason_name(reason: Reason) -> str:
    """The reason as ErrorInfo has it: the enum's name without its prefix."""
    return reasons.ErrorReason.Name(reason).removeprefix(_PREFIX)


def _text(rule: Rule, error: Exception) -> str:
    return rule.text or str(error) or reason_name(rule.reason).lower().replace("_", " ")


def _reply(code: Code, text: str, reason: Reason, metadata: Mapping[str, str], more: Message | None) -> Reply:
    status = status_pb2.Status(code=code, message=text)
    info = error_details_pb2.ErrorInfo(reason=reason_name(reason), domain=DOMAIN, metadata=metadata)
    status.details.add().Pack(info)
    if more is not None:
        status.details.add().Pack(more)
    return int(code), status.SerializeToString()


def _mute(error: errors.SessionError) -> Reply:
    rule = RULES[type(error)]
    return _reply(rule.code, str(error), rule.reason, {}, None)


# These have no word of their own, and forged packets cause them in floods: they are made once.
_MUTE: Final[Mapping[type[Exception], Reply]] = {
    type(error): _mute(error)
    for error in (
        errors.SessionNotFound(),
        errors.DecryptFailed(),
        errors.HandshakeFailed(),
        errors.ReplayDetected(),
        errors.CounterTooOld(),
        errors.TicketRejected(),
        errors.BlobRejected(),
    )
}


def refusal(error: Exception) -> Reply | None:
    """The reply that `error` makes, or None where RULES has no row for its type: a defect, see `defect`."""
    kind = type(error)
    mute = _MUTE.get(kind)
    if mute is not None:
        return mute
    rule = RULES.get(kind)
    if rule is None:
        return None
    metadata = error.metadata if isinstance(error, errors.SessionError) else {}
    return _reply(rule.code, _text(rule, error), rule.reason, metadata, rule.details(error) if rule.details else None)


def item_refusal(error: errors.SessionError) -> tuple[int, Reason, str, Mapping[str, str]]:
    """(code, reason, message, metadata) that one item of a batch is answered. KeyError: a defect, no row of RULES."""
    rule = RULES[type(error)]
    return int(rule.code), rule.reason, _text(rule, error), error.metadata


def defect(request_id: str) -> Reply:
    """INTERNAL for an error that nobody foresaw; says which request it was and nothing else."""
    info = error_details_pb2.RequestInfo(request_id=request_id)
    return _reply(Code.INTERNAL, "a defect of the service", reasons.ERROR_REASON_INTERNAL, {}, info)
