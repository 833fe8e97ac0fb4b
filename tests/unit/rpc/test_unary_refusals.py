"""What stays of a refused call: nothing."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest

from noisegate.v1 import session_crypto_service_pb2 as pb
from tests.support.match import Match


def _forged(match: Match, player: int) -> bytes:
    packet = bytearray(match.packet(player, b"move"))
    packet[-1] ^= 1
    return bytes(packet)


def _repeated(match: Match, player: int) -> bytes:
    packet = match.packet(player, b"move")
    match.near.call("Decrypt", pb.DecryptRequest(session_id=match.ids[player], ciphertext=packet))
    return packet


@pytest.mark.parametrize("player", [0, 4], ids=["plain", "ratchet"])
@pytest.mark.parametrize("refused", [_forged, _repeated])
def test_a_refused_packet_leaves_nothing_for_the_garbage_collector(
    refused: Callable[[Match, int], bytes], player: int
) -> None:
    """No cycle of the refusal, its traceback and what its frames held: the packet, a plaintext, a key's context."""
    match = Match(f"{refused.__name__} {player}")
    packet = refused(match, player)
    request = pb.DecryptRequest(session_id=match.ids[player], ciphertext=packet).SerializeToString()
    gc.collect()
    gc.disable()
    try:
        code, _ = match.near.raw("Decrypt", request)
        assert code
        assert gc.collect() == 0
    finally:
        gc.enable()
