"""Which of the processor's instructions OpenSSL may use: none of 512 bits, unless the operator says otherwise.

A packet of a game is short. For 64 to 1,200 bytes OpenSSL's 512-bit ChaCha20-Poly1305 takes 1.3 to 1.9 times as long
as its 256-bit one, and lowers the clock of the core for everything else that a call needs: a unary Encrypt on grpcio
cost a tenth more CPU with it (Intel Sapphire Rapids). OpenSSL takes code of 512 bits where it finds AVX-512 F, DQ and
IFMA, so these are taken away. VL and BW stay: they are that instruction set on 256 bits, and its rotations make a
packet's ChaCha20-Poly1305 a twentieth cheaper than AVX2 has it, one of 1,200 bytes a tenth.

OpenSSL reads the variable once, when `cryptography` is loaded, so this module must be imported before that. The format
is that of OPENSSL_ia32cap(3); other processors ignore it.
"""

from __future__ import annotations

import os
from typing import Final

NARROW: Final = ":~0x230000"
"""CPUID leaf 7, EBX: AVX-512 F, DQ and IFMA taken away."""

os.environ.setdefault("OPENSSL_ia32cap", NARROW)
