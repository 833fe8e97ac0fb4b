"""What can be wrong with a call, one class per caller-visible reason.

`noisegate_server.rpc.errors` maps each class to its gRPC code and ErrorReason; the catalogue in docs is made from
that table. What a *player* got wrong has one mute class (HandshakeFailed, DecryptFailed) whatever the cause; what the
*caller* got wrong says precisely what to mend. No message ever holds a secret or bytes of a request.
"""

from __future__ import annotations


class SessionError(Exception):
    """Root of every refusal that a caller may see."""

    @property
    def metadata(self) -> dict[str, str]:
        """Pairs for ErrorInfo.metadata; lowerCamel keys."""
        return {}


class InvalidField(SessionError):
    """A request field is outside its limits."""

    def __init__(self, field: str, description: str) -> None:
        super().__init__(f"{field}: {description}")
        self.field = field
        self.description = description


class MessageTooLarge(SessionError):
    """A plaintext or a part of the request is over its limit."""

    def __init__(self, field: str, limit: int) -> None:
        super().__init__(f"{field}: at most {limit} bytes")
        self.field = field
        self.description = f"at most {limit} bytes"


class UnsupportedProtocol(SessionError):
    """A pattern, suite or Noise name that the service does not have."""

    def __init__(self, supported: tuple[str, ...] = ()) -> None:
        super().__init__("the service does not have this protocol; GetCapabilities lists those that it has")
        self.supported = supported

    @property
    def metadata(self) -> dict[str, str]:
        return {"supported": ",".join(self.supported)} if self.supported else {}


class PolicyRejected(SessionError):
    """The suite, pattern or flag is below the service's policy."""


class HandshakeFailed(SessionError):
    """A handshake message failed; never says why."""

    def __init__(self) -> None:
        super().__init__("the handshake failed")


class HandshakeNotDue(SessionError):
    """This handshake step is not due."""


class ClockSkew(SessionError):
    """The timestamp of a hello is further from our clock than the policy allows."""


class StaleHandshake(SessionError):
    """The timestamp of a hello is not above the last one accepted from that static key, or is before our start."""


class SessionNotFound(SessionError):
    """No such session for this caller: unknown, expired or another tenant's, all with these same words."""

    def __init__(self) -> None:
        super().__init__("no such session")


class SessionClosed(SessionError):
    """The session has ended; its tombstone says why to its owner."""

    def __init__(self, cause: str, *, resumable: bool) -> None:
        super().__init__(f"the session has ended: {cause}")
        self.cause = cause
        self.resumable = resumable

    @property
    def metadata(self) -> dict[str, str]:
        return {"cause": self.cause, "resumable": "true" if self.resumable else "false"}


class NotEstablished(SessionError):
    """The session's handshake has not finished, or the session is suspended."""

    def __init__(self, state: str) -> None:
        super().__init__(f"the session is {state}")
        self.state = state

    @property
    def metadata(self) -> dict[str, str]:
        return {"state": self.state}


class DecryptFailed(SessionError):
    """A record did not open; never says why, and nothing has changed."""

    def __init__(self) -> None:
        super().__init__("the record did not open")


class ReplayDetected(SessionError):
    """An authentic record that was opened before."""

    def __init__(self) -> None:
        super().__init__("the record was opened before")


class CounterTooOld(SessionError):
    """An authentic record older than the replay window."""

    def __init__(self) -> None:
        super().__init__("the record is older than the replay window")


class RekeyRequired(SessionError):
    """A key's age, message or byte limit is reached: Rotate, then repeat."""


class EpochConflict(SessionError):
    """Another rotation came first, or the request's epoch is stale."""

    def __init__(self, current_epoch: int) -> None:
        super().__init__("another rotation is under way or came first")
        self.current_epoch = current_epoch

    @property
    def metadata(self) -> dict[str, str]:
        return {"currentEpoch": str(self.current_epoch)}


class TicketRejected(SessionError):
    """The ticket cannot be used, for whatever cause: run a full handshake."""

    def __init__(self) -> None:
        super().__init__("the ticket cannot be used; run a full handshake")


class PeerRevoked(SessionError):
    """The static key that the player has proved was revoked."""

    def __init__(self) -> None:
        super().__init__("this player's static key was revoked")


class BlobRejected(SessionError):
    """The blob of a suspended session cannot be used, for whatever cause."""

    def __init__(self) -> None:
        super().__init__("the blob cannot be used")


class SessionQuota(SessionError):
    """Sessions or half-open handshakes of a peer or tenant are at the cap."""

    def __init__(self, subject: str, description: str) -> None:
        super().__init__(f"{subject}: {description}")
        self.subject = subject
        self.description = description


class Overloaded(SessionError):
    """The process is at one of its own caps; another instance may not be."""
