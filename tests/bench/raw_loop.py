"""The reference of the batch rows: an AEAD loop in a process of its own, with the service's choice of instructions.

For each line on standard input (`seal` or `open`) it goes through all contexts ROUNDS times, and prints the CPU
nanoseconds of one operation.
"""

from __future__ import annotations

import gc
import os
import struct
import sys
import time

# Before the AEADs: it decides what OpenSSL may use.
import noisegate_server.cli.instructions  # noqa: F401  # isort: skip

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

ROUNDS = 20
_HEADER = 15


def serve(contexts: int, payload: int) -> None:
    """Answer lines until the input ends."""
    aeads = [ChaCha20Poly1305(os.urandom(32)) for _ in range(contexts)]
    inners = [os.urandom(payload + 1) for _ in aeads]
    headers = [os.urandom(_HEADER) for _ in aeads]
    nonce = struct.Struct("<4xQ").pack
    gc.collect()
    gc.freeze()
    first = 0
    for line in sys.stdin:
        spent = 0
        for at in range(first, first + ROUNDS):
            began = time.thread_time_ns()
            sealed = [
                aead.encrypt(nonce(at), inner, header)
                for aead, inner, header in zip(aeads, inners, headers, strict=True)
            ]
            ended = time.thread_time_ns()
            if line.strip() == "open":
                began = time.thread_time_ns()
                opened = [
                    aead.decrypt(nonce(at), body, header)
                    for aead, body, header in zip(aeads, sealed, headers, strict=True)
                ]
                ended = time.thread_time_ns()
                if opened != inners:
                    raise RuntimeError("what was opened is not what was sealed")
            spent += ended - began
        first += ROUNDS
        print(spent / ROUNDS / contexts, flush=True)


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
