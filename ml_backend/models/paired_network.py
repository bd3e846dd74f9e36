"""A lone request gets every core; requests beside one another get one core each."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from ner.arrays import Logits
from ner.models.network import Network

# Requests that arrive together do not overlap in every run: the interpreter lock keeps them apart now and then.
_TOGETHER_SECONDS = 0.05


class PairedNetwork(Network):
    """Two sessions on one graph: `wide` runs windows on several threads, `narrow` on one. Their logits are the same.

    Side by side, runs on one thread get more done in all. A run that is alone would leave the other cores idle. A run
    counts as alone when no two runs have overlapped for a moment.
    """

    def __init__(self, narrow: Network, wide: Network) -> None:
        self._narrow, self._wide = narrow, wide
        self.windows_share_runs = narrow.windows_share_runs
        self._lock = threading.Lock()
        self._running = 0
        self._overlapped_at = float("-inf")

    def logits_of_run(self, windows: Sequence[Sequence[int]]) -> Logits:
        """As `Network.logits_of_run`."""
        network = self._enter()
        try:
            return network.logits_of_run(windows)
        finally:
            with self._lock:
                self._running -= 1

    def _enter(self) -> Network:
        with self._lock:
            self._running += 1
            now = time.monotonic()
            if self._running > 1:
                self._overlapped_at = now
            return self._wide if now - self._overlapped_at > _TOGETHER_SECONDS else self._narrow
