"""Session crypto for multiplayer games as a service: the Python SDK of noisegate.

    async with noisegate.connect("127.0.0.1:7443") as client:
        async with client.respond(mode=RecordMode.NOISE, protocol=Protocol(Pattern.XX), message=first) as session:
            ...

Names are loaded when they are first used, so that importing `noisegate.v1` alone (the generated messages) imports
neither this SDK nor grpc.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ._away import NetworkChange, Suspended
    from ._calls import CallPolicy
    from ._client import Client, connect
    from ._events import Lagged, SessionEvent, SessionEventKind, Watching
    from ._model import (
        Capabilities,
        ControlKind,
        Direction,
        EarlyData,
        Established,
        Network,
        Opened,
        Pattern,
        Protocol,
        RecordMode,
        RetryReason,
        Role,
        Rotation,
        RotationKind,
        RotationLimits,
        Sealed,
        SessionInfo,
        SessionOptions,
        SessionState,
        Suite,
        SupportedProtocol,
        TerminationReason,
        Ticket,
    )
    from ._multiplexer import Multiplex
    from ._opening import Opening
    from ._received import Admission, Received
    from ._session import Session
    from ._sync import SyncClient, SyncSession, connect_sync
    from .datagram import DatagramReceiver
    from .errors import (
        BlobRejected,
        CallerForbidden,
        CallerUnauthenticated,
        CallRefused,
        Cancelled,
        ClientClosed,
        ClockSkew,
        CounterTooOld,
        DeadlineExceeded,
        DecryptFailed,
        Draining,
        EpochConflict,
        HandshakeFailed,
        HandshakeNotDue,
        IdempotencyConflict,
        InsecureTarget,
        InternalError,
        InvalidRequest,
        MessageTooLarge,
        NoisegateError,
        NotEstablished,
        Overloaded,
        PeerRevoked,
        PlayerMustRetry,
        PolicyRejected,
        RekeyRequired,
        ReplayDetected,
        ServiceUnavailable,
        SessionClosed,
        SessionNotFound,
        SessionQuota,
        StaleHandshake,
        TicketRejected,
        Unimplemented,
        UnsupportedProtocol,
        WrongOwner,
    )
    from .packet import PacketType, Peek, peek
    from .tls import Tls

__all__ = [
    "Admission",
    "BlobRejected",
    "CallPolicy",
    "CallRefused",
    "CallerForbidden",
    "CallerUnauthenticated",
    "Cancelled",
    "Capabilities",
    "Client",
    "ClientClosed",
    "ClockSkew",
    "ControlKind",
    "CounterTooOld",
    "DatagramReceiver",
    "DeadlineExceeded",
    "DecryptFailed",
    "Direction",
    "Draining",
    "EarlyData",
    "EpochConflict",
    "Established",
    "HandshakeFailed",
    "HandshakeNotDue",
    "IdempotencyConflict",
    "InsecureTarget",
    "InternalError",
    "InvalidRequest",
    "Lagged",
    "MessageTooLarge",
    "Multiplex",
    "Network",
    "NetworkChange",
    "NoisegateError",
    "NotEstablished",
    "Opened",
    "Opening",
    "Overloaded",
    "PacketType",
    "Pattern",
    "Peek",
    "PeerRevoked",
    "PlayerMustRetry",
    "PolicyRejected",
    "Protocol",
    "Received",
    "RecordMode",
    "RekeyRequired",
    "ReplayDetected",
    "RetryReason",
    "Role",
    "Rotation",
    "RotationKind",
    "RotationLimits",
    "Sealed",
    "ServiceUnavailable",
    "Session",
    "SessionClosed",
    "SessionEvent",
    "SessionEventKind",
    "SessionInfo",
    "SessionNotFound",
    "SessionOptions",
    "SessionQuota",
    "SessionState",
    "StaleHandshake",
    "Suite",
    "SupportedProtocol",
    "Suspended",
    "SyncClient",
    "SyncSession",
    "TerminationReason",
    "Ticket",
    "TicketRejected",
    "Tls",
    "Unimplemented",
    "UnsupportedProtocol",
    "Watching",
    "WrongOwner",
    "connect",
    "connect_sync",
    "peek",
]

_HOMES: Final[dict[str, tuple[str, ...]]] = {
    "_away": ("NetworkChange", "Suspended"),
    "_calls": ("CallPolicy",),
    "_client": ("Client", "connect"),
    "_events": ("Lagged", "SessionEvent", "SessionEventKind", "Watching"),
    "_model": (
        "Capabilities",
        "ControlKind",
        "Direction",
        "EarlyData",
        "Established",
        "Network",
        "Opened",
        "Pattern",
        "Protocol",
        "RecordMode",
        "RetryReason",
        "Role",
        "Rotation",
        "RotationKind",
        "RotationLimits",
        "Sealed",
        "SessionInfo",
        "SessionOptions",
        "SessionState",
        "Suite",
        "SupportedProtocol",
        "TerminationReason",
        "Ticket",
    ),
    "_multiplexer": ("Multiplex",),
    "_opening": ("Opening",),
    "_session": ("Session",),
    "_sync": ("SyncClient", "SyncSession", "connect_sync"),
    "_received": ("Admission", "Received"),
    "datagram": ("DatagramReceiver",),
    "packet": ("PacketType", "Peek", "peek"),
    "tls": ("Tls",),
}
# Every other public name is an error: a name that is in no module's row fails there with its own message.
_HOME_OF: Final[dict[str, str]] = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    """Load a public name from the module that defines it (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f".{_HOME_OF.get(name, 'errors')}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
