"""Which of the processor's instructions OpenSSL may use: all but AVX-512, unless the operator says otherwise.

A packet of a game is short. For 64 to 1,200 bytes OpenSSL's 512-bit ChaCha20-Poly1305 takes 1.3 to 1.9 times as long
as its 256-bit one, and lowers the clock of the core for everything else that a call needs: a unary Encrypt on grpcio
cost a tenth more CPU with it (Intel Sapphire Rapids). OpenSSL reads the variable once, when `cryptography` is loaded,
so this module must be imported before that. The format is that of OPENSSL_ia32cap(3); other processors ignore it.
"""

from __future__ import annotations

import os
from typing import Final

AVX512: Final = ":~0xD0230000"
"""CPUID leaf 7, EBX: AVX512 F, DQ, IFMA, CD, BW and VL taken away."""

os.environ.setdefault("OPENSSL_ia32cap", AVX512)
