"""Memory that was freed goes back to the system: glibc keeps it for each thread, for as long as anything is above it.

A model that was let go of and a long text leave tens of MB behind so, which the next model does not use again.
"""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path

_STEP = 16 * 1024 * 1024
_EVERY_SECONDS = 60.0
_STATM = Path("/proc/self/statm")


class Trimmer:
    """Gives free memory back when the process has grown by 16 MB, and once a minute; only glibc needs it."""

    def __init__(self) -> None:
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        self._size, self._due = 0, 0.0

    def trim(self) -> bool:
        """Called now and then; whether there was a reason to do it."""
        now = time.monotonic()
        if self._trim is None or (resident() < self._size + _STEP and now < self._due):
            return False
        self._trim(0)
        self._size, self._due = resident(), now + _EVERY_SECONDS
        return True


def resident() -> int:
    """Bytes of memory that this process has in use, shared ones included; 0 where the system does not say."""
    try:
        return int(_STATM.read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
