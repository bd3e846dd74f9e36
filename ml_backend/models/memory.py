"""Give memory that was freed back to the system.

glibc keeps freed memory for the thread that asked for it. So a replaced model and a long text each leave tens of MB
behind, which the next model does not use again.
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
    """Gives free memory back when the process has grown by 16 MB, and once a minute. Only glibc needs this."""

    def __init__(self) -> None:
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        self._size, self._due = 0, 0.0

    def trim(self) -> bool:
        """Give memory back if there is a reason to; gives whether there was."""
        now = time.monotonic()
        if self._trim is None or (resident() < self._size + _STEP and now < self._due):
            return False
        self._trim(0)
        self._size, self._due = resident(), now + _EVERY_SECONDS
        return True


def resident() -> int:
    """Bytes of memory that this process uses, shared memory included; 0 where the system does not say."""
    try:
        return int(_STATM.read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
