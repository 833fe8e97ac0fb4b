"""The net under all other tests has no hole: what seals twice under one key and nonce is found."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from noisegate_server.noise import CipherState
from noisegate_server.noise.primitives import CIPHERS, new_aead
from tests.support.recording import ROW, NonceRepeated, Recorder, RecordingAead, repeats_among, rows


def recorded(recorder: Recorder, key: bytes) -> RecordingAead:
    """A context of `key` whose seals go to `recorder`."""
    return RecordingAead(new_aead("ChaChaPoly", key), key, recorder)


def test_every_context_of_the_product_is_under_the_net(nonces: Recorder) -> None:
    """A seal anywhere in the product is one row more."""
    before = len(nonces.seen)
    CipherState(CIPHERS["AESGCM"], os.urandom(32)).encrypt_with_ad(b"", b"roll")
    assert len(nonces.seen) == before + 1


@pytest.mark.fixed_ephemeral
def test_a_repeat_raises_what_nothing_swallows() -> None:
    """The same nonce under the same key, in two contexts, raises outside of Exception and is kept for the report."""
    recorder, key, nonce = Recorder(), os.urandom(32), os.urandom(12)
    recorded(recorder, key).encrypt(nonce, b"roll", b"")
    recorded(recorder, os.urandom(32)).encrypt(nonce, b"roll", b"")
    recorded(recorder, key).encrypt(os.urandom(12), b"roll", b"")
    assert recorder.repeats == []
    with pytest.raises(NonceRepeated):
        recorded(recorder, key).encrypt(nonce, b"another", b"")
    assert len(recorder.repeats) == 1
    assert not issubclass(NonceRepeated, Exception)


@pytest.mark.fixed_ephemeral
def test_rekey_is_a_derivation_and_a_message_under_its_nonce_is_not() -> None:
    """Both ends run REKEY on one key; a message under the reserved nonce is recorded like any other."""
    recorder, key, reserved = Recorder(), os.urandom(32), bytes(4) + b"\xff" * 8
    for _ in range(2):
        recorded(recorder, key).encrypt(reserved, bytes(32), b"")
    assert not recorder.seen
    recorded(recorder, key).encrypt(reserved, b"roll", b"")
    assert len(recorder.seen) == 1


@pytest.mark.fixed_ephemeral
def test_repeats_across_processes_are_found(tmp_path: Path) -> None:
    """Files of several servers are merged with what this process has sealed; a row cut short by a kill is left out."""
    key, other = os.urandom(32), os.urandom(32)
    shared, own = bytes(12), b"\x01" * 12
    for name, keys in (("1", (key, other)), ("2", (key,))):
        recorder = Recorder(tmp_path / f"{name}.sealed")
        for each in keys:
            recorded(recorder, each).encrypt(shared, b"roll", b"")
        recorder.close()
    here = Recorder()
    recorded(here, other).encrypt(own, b"roll", b"")
    assert [found.split(":")[0] for found in repeats_among(tmp_path, here.seen)] == ["2.sealed"]
    recorded(here, other).encrypt(shared, b"roll", b"")
    assert len(repeats_among(tmp_path, here.seen)) == 2
    first = tmp_path / "1.sealed"
    first.write_bytes(first.read_bytes()[:-1])
    assert len(list(rows(first))) == 1
    assert first.stat().st_size == 2 * ROW - 1
