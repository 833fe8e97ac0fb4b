"""Options of gRPC's channels travel by name, and a name that it does not know is ignored."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from noisegate import _channels
from noisegate_server.transport.grpcio import SERVER_OPTIONS


@pytest.mark.parametrize("options", [SERVER_OPTIONS, _channels._OPTIONS], ids=["service", "SDK"])
def test_every_option_is_one_that_grpc_has(options: tuple[tuple[str, object], ...]) -> None:
    """By the names that stand in its compiled code."""
    (library,) = (Path(grpc.__file__).parent / "_cython").glob("cygrpc*.so")
    known = library.read_bytes()
    assert [name for name, _ in options if name.encode() + b"\0" not in known] == []
