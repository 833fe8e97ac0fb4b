"""Writes docs/errors.md, the catalogue of refusals, from the service's one table of errors (rpc/errors.py).

`python -m tools.make_error_catalogue` writes, `python -m tools.make_error_catalogue --check` only compares.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from noisegate import errors as sdk
from noisegate.v1 import error_reason_pb2 as reasons
from noisegate_server.rpc import errors as rpc
from noisegate_server.rpc.call import Code, Reply
from noisegate_server.session import errors

ROOT: Final = Path(__file__).resolve().parent.parent
FILE: Final = ROOT / "docs" / "errors.md"

SAMPLES: Final[tuple[Exception, ...]] = (
    DecodeError(),
    errors.InvalidField("session_id", "24 bytes"),
    errors.UnsupportedProtocol(("Noise_XX_25519_ChaChaPoly_SHA256",)),
    errors.MessageTooLarge("plaintext", 65_475),
    errors.PolicyRejected("below policy"),
    errors.HandshakeFailed(),
    errors.HandshakeNotDue("not due"),
    errors.ClockSkew("skew"),
    errors.StaleHandshake("stale"),
    errors.SessionNotFound(),
    errors.SessionClosed("IDLE", resumable=True),
    errors.NotEstablished("HANDSHAKING"),
    errors.DecryptFailed(),
    errors.ReplayDetected(),
    errors.CounterTooOld(),
    errors.RekeyRequired("limit"),
    errors.EpochConflict(1),
    errors.TicketRejected(),
    errors.BlobRejected(),
    errors.PeerRevoked(),
    errors.SessionQuota("peer", "at most 16"),
    errors.Overloaded("full"),
    rpc.Draining(),
    rpc.IdempotencyConflict(),
    rpc.CallerUnauthenticated(),
    rpc.CallerForbidden("Encrypt"),
)
"""One of each type in RULES: what the caller would see is read off the reply that it makes."""

WITHOUT_A_RULE: Final[Mapping[int, tuple[Code, str]]] = {
    reasons.ERROR_REASON_WRONG_OWNER: (
        Code.ABORTED,
        "The session lives elsewhere; `metadata.owner` has the HOST:PORT. Kept for instances that know of each other.",
    ),
    reasons.ERROR_REASON_INTERNAL: (Code.INTERNAL, "A defect of the service; no word of it is given."),
}
"""Reasons that no exception makes."""

SDK_DOES: Final[Mapping[str, str]] = {
    "WRONG_OWNER": "goes to `metadata.owner`, at most twice; then raises `WrongOwner`",
    "DRAINING": "repeats after RetryInfo's delay, until the deadline; then raises `Draining`",
    "OVERLOADED": "repeats after RetryInfo's delay, within attempts and deadline; then raises `Overloaded`",
}
"""What differs from raising the reason's class at once."""

HEAD: Final = """# Why a call was refused

Made from the service's table of errors by `python -m tools.make_error_catalogue`; do not edit.

Every refusal is a `google.rpc.Status`. Its first detail is an `ErrorInfo` with the domain `noisegate` and one of the
reasons below; programs may rely on code, reason and metadata, and on nothing else. What a *player* got wrong has one
mute answer whatever the cause; what the *caller* got wrong says what to mend. No message holds a secret or bytes of a
request.

A record that was refused has changed nothing: drop it and go on. A handshake ends at its first message that fails in
NOISE mode, at its sixteenth in DATAGRAM mode. Where an answer got lost, repeat the call with the same `request_id`.

| code | reason | when | details | what the Python SDK does |
|---|---|---|---|---|
"""

TAIL: Final = """
What gRPC itself refuses (a dead connection, a passed deadline, a method that does not exist) has no `ErrorInfo`. The
SDK repeats UNAVAILABLE and raises the others: `DeadlineExceeded`, `Cancelled`, `Unimplemented`, `CallRefused`.
"""


def metadata_and_details(reply: Reply) -> str:
    """The cell for what follows ErrorInfo's reason: metadata keys and further details."""
    status = status_pb2.Status.FromString(reply[1])
    info = error_details_pb2.ErrorInfo()
    found = []
    for detail in status.details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            detail.Unpack(info)
            found += [f"`metadata.{key}`" for key in sorted(info.metadata)]
        else:
            found.append(detail.type_url.rpartition(".")[2])
    return ", ".join(found)


def sentence(error: Exception) -> str:
    """When it happens: the first paragraph of the type's docstring."""
    if isinstance(error, DecodeError):
        return "The request is not a valid message of this method."
    text = type(error).__doc__ or ""
    return " ".join(text.split("\n\n")[0].split())


def rows() -> list[str]:
    """The table's rows, in the order of the contract's enum."""
    unseen = set(rpc.RULES) - {type(sample) for sample in SAMPLES}
    if unseen:
        raise ValueError(f"no sample of {', '.join(sorted(kind.__name__ for kind in unseen))}")
    lines = []
    for number in sorted(reasons.ErrorReason.values())[1:]:
        name = rpc.reason_name(number)
        does = SDK_DOES.get(name, f"raises `{sdk.BY_REASON[name].__name__}`")
        samples = [sample for sample in SAMPLES if rpc.RULES[type(sample)].reason == number]
        if samples:
            code = rpc.RULES[type(samples[0])].code
            when = " ".join(dict.fromkeys(map(sentence, samples)))
            replies = [reply for sample in samples if (reply := rpc.refusal(sample)) is not None]
            details = ", ".join(filter(None, dict.fromkeys(map(metadata_and_details, replies))))
        else:
            code, when = WITHOUT_A_RULE[number]
            details = metadata_and_details(rpc.defect("")) if code is Code.INTERNAL else "`metadata.owner`"
        lines.append(f"| {code.name} | {name} | {when} | {details or '-'} | {does} |")
    return lines


def render() -> str:
    """The document's text."""
    return HEAD + "\n".join(rows()) + "\n" + TAIL


def main(arguments: list[str]) -> int:
    """Writes the document, or with --check says whether it is stale; returns the exit code."""
    if arguments not in ([], ["--check"]):
        print("usage: python -m tools.make_error_catalogue [--check]", file=sys.stderr)
        return 2
    text = render()
    if not arguments:
        FILE.write_text(text, encoding="utf-8")
    elif not FILE.is_file() or FILE.read_text(encoding="utf-8") != text:
        print("docs/errors.md is stale: python -m tools.make_error_catalogue")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
