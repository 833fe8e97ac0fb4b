"""The clock: whether the kernel takes it for synchronised. Tickets, hellos and certificates are good by it."""

from __future__ import annotations

import ctypes
from typing import Final

from noisegate_server.doctor.findings import Findings

__all__ = ["examine_clock", "judge"]

_STA_UNSYNC: Final = 0x0040
"""adjtimex(2)."""
_TIME_ERROR: Final = 5
_SKEW_US: Final = 30_000_000
"""By so much a player's clock may differ from ours (engine/policy.py); ours should not use that up."""


class _Timex(ctypes.Structure):
    """The beginning of struct timex; the rest is room that the kernel fills."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    )


def examine_clock(findings: Findings) -> None:
    """Asks the kernel, which knows from whatever keeps the time: chrony, systemd-timesyncd, a hypervisor's clock."""
    timex = _Timex()
    try:
        state = int(ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex)))
    except (AttributeError, OSError):
        state = -1
    judge(findings, state, timex.status, timex.maxerror)


def judge(findings: Findings, state: int, status: int, largest_error: int) -> None:
    """What adjtimex(2) has answered: its return value, `status` and `maxerror` (microseconds)."""
    remedy = "run chrony or systemd-timesyncd on the host; in a container the host's clock is this one's"
    if state < 0:
        findings.note("clock", "the system does not say whether the clock is synchronised", remedy)
    elif state == _TIME_ERROR or status & _STA_UNSYNC:
        findings.note("clock", "the kernel does not know of any synchronisation", remedy)
    elif largest_error > _SKEW_US:
        findings.mend("clock", f"synchronised to {largest_error / 1e6:.0f} s only", remedy)
    else:
        findings.ok("clock", f"synchronised, off by {largest_error / 1e3:.0f} ms at most")
