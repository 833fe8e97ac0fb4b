"""The reference of the batch rows: an AEAD loop in a process of its own.

For each line on standard input (`seal` or `open`) it goes through all contexts once, and prints the CPU
nanoseconds of one operation. Which instructions OpenSSL may use it inherits from the command, as the service does.
"""

from __future__ import annotations

import gc
import os
import struct
import sys
import time

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

_HEADER = 15


def serve(contexts: int, payload: int) -> None:
    """Answer lines until the input ends."""
    aeads = [ChaCha20Poly1305(os.urandom(32)) for _ in range(contexts)]
    inners = [os.urandom(payload + 1) for _ in aeads]
    headers = [os.urandom(_HEADER) for _ in aeads]
    nonce = struct.Struct("<4xQ").pack
    gc.collect()
    gc.freeze()
    opened: list[bytes] = []
    for at, line in enumerate(sys.stdin):
        began = time.thread_time_ns()
        sealed = [
            aead.encrypt(nonce(at), inner, header) for aead, inner, header in zip(aeads, inners, headers, strict=True)
        ]
        if line.strip() == "open":
            began = time.thread_time_ns()
            opened = [
                aead.decrypt(nonce(at), body, header) for aead, body, header in zip(aeads, sealed, headers, strict=True)
            ]
        spent = time.thread_time_ns() - began
        if line.strip() == "open" and opened != inners:
            raise RuntimeError("what was opened is not what was sealed")
        print(spent / contexts, flush=True)


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
