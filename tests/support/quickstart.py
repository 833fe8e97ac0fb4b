"""What a client's README has to hold, whatever its language: how its examples are read, and how they are played."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from noisegate import Pattern
from tests.support.noise_client import Setup, datagram_player, noise_player
from tests.support.udp_echo import play

MOST_LINES: Final = 30
"""Of a quickstart."""
_SECONDS: Final = 10.0
_SETUP: Final = Setup(pattern=Pattern.XX, prologue=b"")


def examples_of(readme: Path, language: str) -> list[str]:
    """The README's blocks of a language, the quickstart first."""
    return re.findall(rf"```{language}\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL)


def greet(command: Sequence[str], *, reads_on: bool = False) -> None:
    """XX in three messages with the program of a quickstart, the player's name, the welcome.

    On its standard streams each message has its length before it, two bytes. It ends by itself, unless the runtime of
    its language `reads_on` until its input ends.
    """
    player = noise_player(_SETUP, b"")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None
        assert stdout is not None

        def send(message: bytes) -> None:
            stdin.write(len(message).to_bytes(2, "big") + message)
            stdin.flush()

        def read() -> bytes:
            return stdout.read(int.from_bytes(stdout.read(2), "big"))

        send(player.write_handshake())
        player.read_handshake(read())
        send(player.write_handshake())
        send(player.seal(b"ann"))
        assert player.open(read()) == b"welcome, ann"
        if reads_on:
            stdin.close()
        assert process.wait(_SECONDS) == 0


def play_over_udp(command: Sequence[str]) -> None:
    """A handshake over a socket and three echoes, with a program whose first line is its port."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = process.stdout.readline().strip().rpartition(":")[2]
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
                wire.connect(("127.0.0.1", int(port)))
                play(wire, datagram_player(_SETUP, b""))
        finally:
            process.kill()
