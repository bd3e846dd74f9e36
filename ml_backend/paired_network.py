"""A lone caller gets every core, several at once get one each."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from ner.arrays import Logits
from ner.network import Network

# Callers that come back within this time are at work together, even when their runs happen not to overlap.
_TOGETHER_SECONDS = 0.05


class PairedNetwork(Network):
    """Two sessions on one graph: `wide` runs a window on several threads, `narrow` on one. Their logits are the same.

    Side by side, single-threaded runs do more in all; but one that is alone would leave the other cores idle.
    """

    def __init__(self, narrow: Network, wide: Network) -> None:
        self._narrow, self._wide = narrow, wide
        self._lock = threading.Lock()
        self._running = 0
        self._caller, self._called_at, self._other_at = 0, 0.0, 0.0

    def logits(self, ids: Sequence[int]) -> Logits:
        """As `Network.logits`."""
        network = self._enter()
        try:
            return network.logits(ids)
        finally:
            with self._lock:
                self._running -= 1

    def _enter(self) -> Network:
        caller, now = threading.get_ident(), time.monotonic()
        with self._lock:
            self._running += 1
            if caller != self._caller:
                self._caller, self._other_at = caller, self._called_at
            self._called_at = now
            alone = self._running == 1 and now - self._other_at > _TOGETHER_SECONDS
        return self._wide if alone else self._narrow
