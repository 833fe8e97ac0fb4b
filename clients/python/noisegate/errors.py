"""What a call may be refused with: one class per reason, and one table that finds it.

Every refusal of noisegate is a google.rpc.Status whose ErrorInfo has the domain "noisegate" and a `reason` of the
contract's ErrorReason (proto/noisegate/v1/error_reason.proto). What gRPC itself refuses (a dead connection, a passed
deadline) has no ErrorInfo and is found by its code. A reason that this SDK does not know yet gives the root class.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar, Final, cast

from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode
from grpc.aio import AioRpcError

from ._model import RetryReason

DOMAIN: Final = "noisegate"
DETAILS_KEY: Final = "grpc-status-details-bin"


class NoisegateError(Exception):
    """Root of everything that this SDK raises about a call."""

    REASON: ClassVar[str] = ""

    def __init__(
        self,
        code: StatusCode,
        reason: str = "",
        message: str = "",
        metadata: Mapping[str, str] | None = None,
        *,
        retry_delay: float | None = None,
    ) -> None:
        super().__init__(f"{reason or code.name}: {message}" if message else reason or code.name)
        self.code: Final = code
        """The gRPC status code."""
        self.reason: Final = reason
        """The contract's ErrorReason without its prefix, e.g. "SESSION_NOT_FOUND"; empty for an error of gRPC's own."""
        self.message: Final = message
        """For people. Never a secret, never bytes of a request."""
        self.metadata: Final[Mapping[str, str]] = dict(metadata or {})
        """ErrorInfo.metadata: pairs for programs."""
        self.retry_delay: Final = retry_delay
        """RetryInfo.retry_delay in seconds; None where the service gave none."""


# --- errors of gRPC itself, found by their code ----------------------------------------------------------------------


class ServiceUnavailable(NoisegateError):
    """No answer: the service cannot be reached, the connection was cut, or it is refusing work. All repeats failed."""


class DeadlineExceeded(NoisegateError):
    """The deadline passed. Whether the service did what was asked is not known."""


class Cancelled(NoisegateError):
    """The call was cancelled on its way, not by this task."""


class Unimplemented(NoisegateError):
    """The other end has no such method: an older service, or none of noisegate."""


class CallRefused(NoisegateError):
    """Refused by gRPC or by something between here and the service, with another code and without our reason."""


# --- this SDK's own -------------------------------------------------------------------------------------------------


class ClientClosed(NoisegateError):
    """The client was closed before or during the call."""

    def __init__(self) -> None:
        super().__init__(StatusCode.CANCELLED, message="the client is closed")


class InsecureTarget(NoisegateError, ValueError):
    """Plaintext secrets would leave this machine: no TLS, and the address is not loopback. Nothing was sent."""

    def __init__(self, target: str) -> None:
        super().__init__(
            StatusCode.FAILED_PRECONDITION,
            message=f"{target} is not a loopback address: give tls=Tls(...), or insecure=True in a trusted network",
        )


class PlayerMustRetry(NoisegateError):
    """DATAGRAM: there is no session, and the player has to begin anew, otherwise. Send it `to_peer`, which says how."""

    def __init__(self, to_peer: Iterable[bytes], why: RetryReason) -> None:
        super().__init__(
            StatusCode.FAILED_PRECONDITION, f"RETRY_{why.name}", message="the player has to begin anew: send it to_peer"
        )
        self.to_peer: Final = tuple(to_peer)
        """One RETRY packet, smaller than the player's."""
        self.why: Final = why
        """Its choice or flags, or its clock."""


# --- refusals of noisegate, one class per ErrorReason ----------------------------------------------------------------


class InvalidRequest(NoisegateError):
    """A field is outside its limits, or the message is not valid."""

    REASON = "INVALID_REQUEST"


class UnsupportedProtocol(NoisegateError):
    """A pattern or suite that the service does not have; `supported` lists those that it has."""

    REASON = "UNSUPPORTED_PROTOCOL"

    @property
    def supported(self) -> tuple[str, ...]:
        """Canonical Noise names."""
        return tuple(name for name in self.metadata.get("supported", "").split(",") if name)


class MessageTooLarge(NoisegateError):
    """A plaintext or a part of the request is over its limit."""

    REASON = "MESSAGE_TOO_LARGE"


class PolicyRejected(NoisegateError):
    """The suite, pattern or flag is below the service's policy."""

    REASON = "POLICY_REJECTED"


class HandshakeFailed(NoisegateError):
    """A handshake message failed; never says why. NOISE: the handshake is over. DATAGRAM: drop the packet."""

    REASON = "HANDSHAKE_FAILED"


class HandshakeNotDue(NoisegateError):
    """This handshake step is not due."""

    REASON = "HANDSHAKE_STATE"


class ClockSkew(NoisegateError):
    """The player's clock is too far from the service's."""

    REASON = "CLOCK_SKEW"


class StaleHandshake(NoisegateError):
    """A handshake not newer than the last one accepted from that static key."""

    REASON = "STALE_HANDSHAKE"


class SessionNotFound(NoisegateError):
    """No such session for this caller: unknown, expired or another tenant's. Resume, or shake hands again."""

    REASON = "SESSION_NOT_FOUND"


class SessionClosed(NoisegateError):
    """The session has ended."""

    REASON = "SESSION_CLOSED"

    @property
    def cause(self) -> str:
        """Why it ended."""
        return self.metadata.get("cause", "")

    @property
    def resumable(self) -> bool:
        """Whether a ticket may bring the player back."""
        return self.metadata.get("resumable") == "true"


class NotEstablished(NoisegateError):
    """The session's handshake has not finished."""

    REASON = "NOT_ESTABLISHED"


class DecryptFailed(NoisegateError):
    """A record did not open; never says why, and nothing has changed. Drop it."""

    REASON = "DECRYPT_FAILED"


class ReplayDetected(NoisegateError):
    """An authentic record that was opened before. Drop it."""

    REASON = "REPLAY_DETECTED"


class CounterTooOld(NoisegateError):
    """An authentic record older than the replay window. Drop it."""

    REASON = "COUNTER_TOO_OLD"


class RekeyRequired(NoisegateError):
    """A key's age, message or byte limit is reached: `session.rotate()`, then repeat."""

    REASON = "REKEY_REQUIRED"


class EpochConflict(NoisegateError):
    """Another rotation came first, or the request's epoch is stale."""

    REASON = "EPOCH_CONFLICT"


class WrongOwner(NoisegateError):
    """The session lives elsewhere, and this SDK was sent in a circle looking for it."""

    REASON = "WRONG_OWNER"

    @property
    def owner(self) -> str:
        """HOST:PORT of the instance that has it; empty where the service did not say."""
        return self.metadata.get("owner", "")


class PeerRevoked(NoisegateError):
    """The player's static key was revoked: it will not come back."""

    REASON = "PEER_REVOKED"


class BlobRejected(NoisegateError):
    """The blob of a suspended session cannot be used: used already, too old, or sealed under a key that is gone."""

    REASON = "BLOB_REJECTED"


class TicketRejected(NoisegateError):
    """The ticket cannot be used, for whatever cause. Run a full handshake."""

    REASON = "TICKET_REJECTED"


class SessionQuota(NoisegateError):
    """Sessions or half-open handshakes of this peer or tenant are at the cap."""

    REASON = "SESSION_QUOTA"


class Draining(ServiceUnavailable):
    """The service is stopping."""

    REASON = "DRAINING"


class Overloaded(ServiceUnavailable):
    """The service sheds load."""

    REASON = "OVERLOADED"


class IdempotencyConflict(NoisegateError):
    """This request_id was used with another body."""

    REASON = "IDEMPOTENCY_CONFLICT"


class CallerUnauthenticated(NoisegateError):
    """The caller showed no valid identity."""

    REASON = "CALLER_UNAUTHENTICATED"


class CallerForbidden(NoisegateError):
    """The caller may not use this tenant or method; metadata["permission"] names what was missing."""

    REASON = "CALLER_FORBIDDEN"


class InternalError(NoisegateError):
    """A defect of the service; no detail is given."""

    REASON = "INTERNAL"


BY_REASON: Final[Mapping[str, type[NoisegateError]]] = {
    refusal.REASON: refusal
    for refusal in (
        InvalidRequest,
        UnsupportedProtocol,
        MessageTooLarge,
        PolicyRejected,
        HandshakeFailed,
        HandshakeNotDue,
        ClockSkew,
        StaleHandshake,
        SessionNotFound,
        SessionClosed,
        NotEstablished,
        DecryptFailed,
        ReplayDetected,
        CounterTooOld,
        RekeyRequired,
        EpochConflict,
        WrongOwner,
        BlobRejected,
        TicketRejected,
        PeerRevoked,
        SessionQuota,
        Draining,
        Overloaded,
        IdempotencyConflict,
        CallerUnauthenticated,
        CallerForbidden,
        InternalError,
    )
}

BY_CODE: Final[Mapping[StatusCode, type[NoisegateError]]] = {
    StatusCode.UNAVAILABLE: ServiceUnavailable,
    StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    StatusCode.CANCELLED: Cancelled,
    StatusCode.UNIMPLEMENTED: Unimplemented,
}


def from_status(code: StatusCode, message: str, details: bytes) -> NoisegateError:
    """The exception for a refused call. `details`: a serialised google.rpc.Status, empty where there was none."""
    status = status_pb2.Status()
    try:
        status.ParseFromString(details)
    except DecodeError:
        # Something on the way spoiled the trailer; the code alone still says enough to act on.
        status.Clear()
    info = error_details_pb2.ErrorInfo()
    retry = error_details_pb2.RetryInfo()
    for detail in status.details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            detail.Unpack(info)
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            detail.Unpack(retry)
    delay = max(0.0, retry.retry_delay.ToTimedelta().total_seconds()) if retry.HasField("retry_delay") else None
    if info.domain != DOMAIN:
        return BY_CODE.get(code, CallRefused)(code, "", message, retry_delay=delay)
    refusal = BY_REASON.get(info.reason, NoisegateError)
    return refusal(code, info.reason, status.message or message, dict(info.metadata), retry_delay=delay)


def from_rpc_error(error: AioRpcError) -> NoisegateError:
    """The exception for a call that grpc.aio gave up."""
    # Published types of this method disagree with each other; at run time it gives pairs.
    trailers = cast("Iterable[tuple[str, str | bytes]]", error.trailing_metadata() or ())
    details = next((value for key, value in trailers if key == DETAILS_KEY and isinstance(value, bytes)), b"")
    return from_status(error.code(), error.details() or "", details)
