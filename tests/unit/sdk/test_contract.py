"""The SDK's words are the contract's, and are loaded only when they are used."""

from __future__ import annotations

import subprocess
import sys
from enum import IntEnum
from pathlib import Path

import pytest
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

import noisegate
from noisegate import errors
from noisegate.v1 import error_reason_pb2, session_crypto_service_pb2, session_pb2

ENUMS = [
    (noisegate.RecordMode, session_pb2.RecordMode),
    (noisegate.Role, session_pb2.Role),
    (noisegate.Pattern, session_pb2.Pattern),
    (noisegate.Suite, session_pb2.Suite),
    (noisegate.SessionState, session_pb2.SessionState),
    (noisegate.TerminationReason, session_pb2.TerminationReason),
    (noisegate.ControlKind, session_crypto_service_pb2.ControlKind),
    (noisegate.EarlyData, session_crypto_service_pb2.EarlyData),
    (noisegate.RotationKind, session_crypto_service_pb2.RotationKind),
    (noisegate.Direction, session_crypto_service_pb2.Direction),
    (noisegate.SessionEventKind, session_crypto_service_pb2.SessionEventKind),
    (noisegate.Network, session_pb2.Network),
    (noisegate.RetryReason, session_crypto_service_pb2.HandshakeRetry.Reason),
]


@pytest.mark.parametrize(("ours", "contract"), ENUMS, ids=lambda value: getattr(value, "__name__", ""))
def test_enums_have_the_names_and_numbers_of_the_contract(ours: type[IntEnum], contract: EnumTypeWrapper) -> None:
    """Every name of the contract is there, with its number; what is ours alone stands for "none" or "unknown"."""
    prefix_length = len(contract.Name(0)) - len("UNSPECIFIED")
    theirs = {name[prefix_length:]: number for name, number in contract.items() if number}
    assert {member.name: member.value for member in ours if member.value > 0} == theirs


def test_every_reason_of_the_contract_has_a_class() -> None:
    """A reason without a class would reach a game as the root class, which it cannot catch by name."""
    reasons = {name.removeprefix("ERROR_REASON_") for name, number in error_reason_pb2.ErrorReason.items() if number}
    assert set(errors.BY_REASON) == reasons


def test_every_public_name_can_be_loaded() -> None:
    """`__all__` names nothing that is missing, and what star-import gives is what it says."""
    assert sorted(noisegate.__all__) == sorted({*noisegate.__all__})
    assert all(getattr(noisegate, name) is not None for name in noisegate.__all__)


def test_every_error_class_is_public() -> None:
    """A game catches errors as `noisegate.SessionNotFound`, never from a private place."""
    classes = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.NoisegateError)
    }
    assert classes <= set(noisegate.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A typing mistake is told as one."""
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        noisegate.nonsense  # noqa: B018 -- the access is what is tested


def test_generated_messages_load_neither_grpc_nor_the_sdk() -> None:
    """The server's rpc layer imports the messages and must stay free of grpc."""
    program = (
        "import sys; import noisegate.v1.session_crypto_service_pb2; import noisegate.v1.error_reason_pb2;"
        "print(sorted(m for m in sys.modules if m == 'grpc' or m.startswith('noisegate.') and '.v1' not in m))"
    )
    path = str(Path(noisegate.__file__).parents[1])
    found = subprocess.run([sys.executable, "-c", program], env={"PYTHONPATH": path}, capture_output=True, check=True)
    assert found.stdout.strip() == b"[]"


def test_peek_loads_no_grpc() -> None:
    """A UDP front that only sorts packets pays for nothing else."""
    program = "import sys; from noisegate import peek; print('grpc' in sys.modules, 'google.protobuf' in sys.modules)"
    path = str(Path(noisegate.__file__).parents[1])
    found = subprocess.run([sys.executable, "-c", program], env={"PYTHONPATH": path}, capture_output=True, check=True)
    assert found.stdout.strip() == b"False False"


def test_numbers_of_a_later_contract_do_not_break_an_answer() -> None:
    """A newer service may say a state, an end or a control that this SDK does not know."""
    assert noisegate.SessionState(99) is noisegate.SessionState.UNKNOWN
    assert noisegate.TerminationReason(99) is noisegate.TerminationReason.UNKNOWN
    assert noisegate.SessionEventKind(99) is noisegate.SessionEventKind.UNKNOWN
    assert noisegate.ControlKind(99) is noisegate.ControlKind.UNKNOWN
