"""Which of the processor's instructions OpenSSL and gRPC may use: none of 512 bits, unless the operator says otherwise.

A packet of a game is short. For 64 to 1,200 bytes OpenSSL's 512-bit ChaCha20-Poly1305 takes 1.3 to 1.9 times as long
as its 256-bit one, and lowers the clock of the core for everything else that a call needs: a unary Encrypt on grpcio
cost a tenth more CPU with it (Intel Sapphire Rapids). So two sets of AVX-512 are taken away: F, without which OpenSSL
has no code of 512 bits, and BW, without which the BoringSSL in grpcio, which reads the same variable, has none in its
AES-GCM of TLS. VL stays: with it OpenSSL's ChaCha20 is 256 bits wide and has a rotation as an instruction, and a record
of 256 bytes is a twentieth cheaper than with AVX2 alone, one of 1,200 a tenth.

AES-GCM pays for it: by itself it takes a tenth longer for 256 bytes without 512 bits, a fifth for 1,200. The variable
does not tell the two apart, and two of the three suites have ChaCha20-Poly1305.

Both libraries read the variable once, when they are loaded, so this module must be imported before that. The format is
that of OPENSSL_ia32cap(3); other processors ignore it.
"""

from __future__ import annotations

import os
from typing import Final

NARROW: Final = ":~0x40010000"
"""CPUID leaf 7, EBX: AVX-512 F (bit 16) and BW (bit 30) taken away."""

os.environ.setdefault("OPENSSL_ia32cap", NARROW)
