"""A Noise library of another language as one end of a session: a program that is driven line by line.

`tests/interop/snow/src/main.rs` and `tests/interop/flynn/main.go` have the lines; those of noise-c.wasm are flynn's.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from examples.dice.noise_player import NoiseRefusedError
from noisegate import Role
from noisegate_server.noise import HandshakeState
from tests.support.noise_client import WITHOUT_REMOTE, Setup, noise_name

_TRANSPORT_SIZES: Final = (0, 1, 65_519)


class Refused(NoiseRefusedError):
    """The program has answered with an error."""


class NoisePeer:
    """The program, one end at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, command: str, data: bytes = b"") -> bytes:
        """One request; Refused where the answer is an error."""
        return self.line(f"{command} {data.hex() or '-'}")

    def line(self, line: str) -> bytes:
        """A whole line; Refused where the answer is an error."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        word, _, rest = self._process.stdout.readline().strip().partition(" ")
        if word != "ok":
            raise Refused(rest)
        return bytes.fromhex("" if rest == "-" else rest)


PeerT = TypeVar("PeerT", bound=NoisePeer)


@contextmanager
def running(program: Path | Sequence[str], kind: type[PeerT]) -> Iterator[PeerT]:
    """Run it, a program or a command; it must still live at the end."""
    command = [program] if isinstance(program, Path) else program
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield kind(process)
        assert process.poll() is None
        assert process.stdin is not None
        process.stdin.close()


def open_end(
    peer: NoisePeer,
    name: str,
    *,
    initiator: bool,
    prologue: bytes,
    static: bytes,
    remote: bytes,
    psk: bytes,
    kem: str = "",
) -> None:
    """Begin a handshake at flynn/noise or noise-c, or at snow, which is told a KEM; what is empty it does not get."""
    _, is_psk, place = name.split("_")[1].partition("psk")
    head = [word for word in ("open", name, kem, "initiator" if initiator else "responder") if word]
    words = [each.hex() or "-" for each in (prologue, static, remote, psk if is_psk else b"")]
    peer.line(" ".join((*head, *words, place or "0")))


def agree(peer: NoisePeer, ours: HandshakeState, name: str) -> None:
    """All messages of a handshake that both ends have begun, its hash, and transport messages both ways."""
    for index in range(len(ours.protocol.pattern.messages)):
        payload = b"payload" * index
        if ours.is_my_turn:
            assert peer.ask("read", ours.write_message(payload)) == payload, (name, index)
        else:
            assert ours.read_message(peer.ask("write", payload)) == payload, (name, index)
    assert peer.ask("hash") == ours.handshake_hash, name
    peer.ask("split")
    first, second = ours.split()
    send, receive = (first, second) if ours.initiator else (second, first)
    for size in _TRANSPORT_SIZES:
        plaintext = bytes([size % 251]) * size
        assert peer.ask("unseal", send.encrypt_with_ad(b"", plaintext)) == plaintext, (name, size)
        assert receive.decrypt_with_ad(b"", peer.ask("seal", plaintext)) == plaintext, (name, size)


class PeerPlayer:
    """A player that such a program plays, with the face of `examples.dice.noise_player.NoisePlayer`."""

    def __init__(self, peer: NoisePeer, setup: Setup, service_key: bytes, kem: str = "") -> None:
        self._peer = peer
        self._name = noise_name(setup.pattern, setup.suite)
        self.is_initiator = setup.role is Role.RESPONDER
        self._messages_left = 3 if self._name.split("_")[1].startswith("XX") else 2
        self.handshake_hash = b""
        remote = service_key if self.is_initiator and setup.pattern not in WITHOUT_REMOTE else b""
        anonymous = self.is_initiator and self._name.split("_")[1].startswith("N")
        open_end(
            peer,
            self._name,
            initiator=self.is_initiator,
            prologue=setup.prologue,
            static=b"" if anonymous else setup.static,
            remote=remote,
            psk=setup.psk,
            kem=kem,
        )

    @property
    def established(self) -> bool:
        """Whether transport messages may flow."""
        return not self._messages_left

    def write_handshake(self, payload: bytes = b"") -> bytes:
        """The next handshake message."""
        return self._turn(self._peer.ask("write", payload))

    def read_handshake(self, message: bytes) -> bytes:
        """The payload of the service's handshake message."""
        return self._turn(self._peer.ask("read", message))

    def seal(self, plaintext: bytes) -> bytes:
        """A transport message."""
        return self._peer.ask("seal", plaintext)

    def open(self, message: bytes) -> bytes:
        """The plaintext of one."""
        return self._peer.ask("unseal", message)

    def _turn(self, answer: bytes) -> bytes:
        self._messages_left -= 1
        if self.established:
            self.handshake_hash = self._peer.ask("hash")
            self._peer.ask("split")
        return answer
