"""The net under every test: which (key, nonce) pairs were sealed, in this process and in the servers that it starts.

A pair that comes twice is the one mistake that none of these ciphers forgives, so a repeat ends the run. What is kept
of a key is the beginning of its SHA-256.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from noisegate_server.noise import primitives
from noisegate_server.noise.primitives import Aead, BytesLike

SEALED_ENV = "NOISEGATE_TEST_SEALED"
"""Names the file to which `recorded_server` appends its pairs."""
KEY_PART = 12
"""Bytes of SHA-256(key) that stand for the key."""
NONCE = 12
REKEY_NONCE = b"\xff" * 8
REKEY_INPUT = bytes(32)
"""REKEY(k) seals zeros under the reserved nonce at both ends of a session, and sends nothing of it: a derivation."""
ROW = KEY_PART + NONCE


class NonceRepeated(BaseException):
    """Two seals under one key and nonce. No `except Exception` on the way may swallow it."""


class Recorder:
    """Every pair that was sealed; a repeat raises, and is kept for the end of the run."""

    def __init__(self, path: Path | None = None) -> None:
        """With a `path`, pairs are appended to that file at once, so that a killed process leaves them behind."""
        self.seen: set[bytes] = set()
        self.repeats: list[str] = []
        self.paused = False
        self._file = None if path is None else os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def record(self, key_part: bytes, nonce: bytes) -> None:
        """Called before each seal."""
        if self.paused:
            return
        row = key_part + nonce
        if self._file is not None:
            os.write(self._file, row)
        if row in self.seen:
            self.repeats.append(f"key {key_part.hex()}, nonce {nonce.hex()}")
            raise NonceRepeated(self.repeats[-1])
        self.seen.add(row)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Nothing is recorded: for tests whose ephemeral keys are fixed, as published vectors have them."""
        before, self.paused = self.paused, True
        try:
            yield
        finally:
            self.paused = before

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


class RecordingAead:
    """An AEAD context that tells the recorder what it is about to seal."""

    __slots__ = ("_inner", "_key_part", "_recorder", "decrypt", "decrypt_into")

    def __init__(self, inner: Aead, key: BytesLike, recorder: Recorder) -> None:
        self._inner = inner
        self._key_part = hashlib.sha256(key).digest()[:KEY_PART]
        self._recorder = recorder
        self.decrypt = inner.decrypt
        self.decrypt_into = inner.decrypt_into

    def encrypt(self, nonce: bytes, data: BytesLike, associated_data: BytesLike | None, /) -> bytes:
        if nonce[4:] != REKEY_NONCE or data != REKEY_INPUT:
            self._recorder.record(self._key_part, nonce)
        return self._inner.encrypt(nonce, data, associated_data)

    def encrypt_into(
        self, nonce: bytes, data: BytesLike, associated_data: BytesLike | None, buf: bytearray | memoryview, /
    ) -> int:
        self._recorder.record(self._key_part, nonce)
        return self._inner.encrypt_into(nonce, data, associated_data, buf)


def install(path: Path | None = None) -> tuple[Recorder, Callable[[], None]]:
    """Record all that is sealed from here on: the recorder, and what takes it out again."""
    recorder = Recorder(path)
    genuine = primitives.new_aead

    def recording(cipher_name: str, key: BytesLike) -> Aead:
        return RecordingAead(genuine(cipher_name, key), key, recorder)

    def remove() -> None:
        primitives.new_aead = genuine
        recorder.close()

    primitives.new_aead = recording
    return recorder, remove


def rows(path: Path) -> Iterator[bytes]:
    """The pairs of one file; a last one that a kill has cut short is left out."""
    data = path.read_bytes()
    for at in range(0, len(data) - ROW + 1, ROW):
        yield data[at : at + ROW]


def repeats_among(folder: Path, seen: set[bytes]) -> list[str]:
    """The pairs of all files in `folder` that are in `seen` or came before; each is named with its file."""
    merged = set(seen)
    repeats = []
    for path in sorted(folder.glob("*.sealed")):
        for row in rows(path):
            if row in merged:
                repeats.append(f"{path.name}: key {row[:KEY_PART].hex()}, nonce {row[KEY_PART:].hex()}")
            merged.add(row)
    return repeats
