"""What a source may ask of a server: how many texts, at what cost, and no more of a server that is away."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from weak_labeling.sources.answers import PromptAnswer, Spent

FAILURES = 5
"""So many texts in a row, and the server is taken to be away."""


@dataclass(frozen=True, slots=True)
class SpendingLimits:
    """How many answers may be taken in all, and what they may cost; None for no limit."""

    texts: int | None = None
    cost: float | None = None


class Spending:
    """Counts what is asked, in several threads. `take` comes before each request, and `settle` after it.

    Requests that are under way when the limit on the cost is reached are still paid.
    """

    def __init__(self, limits: SpendingLimits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._answers, self._cost, self._under_way, self._failures = 0, 0.0, 0, 0
        self._patience = FAILURES

    def begin(self, spent: Spent) -> None:
        """Go on from what was spent. A server that was away before gets one text to show that it is back."""
        self._answers, self._cost, self._under_way = spent.answers, spent.cost, 0
        self._patience = 1 if self._failures >= self._patience else FAILURES
        self._failures = 0

    def take(self) -> str | None:
        """None where one more text may be asked about; else the reason why not, a sentence."""
        with self._lock:
            if self._failures >= self._patience:
                return f"the server gave no answer to {self._failures} in a row, and was not asked any more"
            if self._limits.texts is not None and self._answers + self._under_way >= self._limits.texts:
                return f"the limit of {self._limits.texts:,} texts is reached (max_texts)"
            if self._limits.cost is not None and self._cost >= self._limits.cost:
                return f"the limit of {self._limits.cost:g} on the cost is reached (max_cost)"
            self._under_way += 1
            return None

    def settle(self, answer: PromptAnswer | None, *, down: bool = False) -> None:
        """Note what came of a request: an answer, or a failure, which may mean that the server is away."""
        with self._lock:
            self._under_way -= 1
            if answer is not None:
                self._answers += 1
                self._cost += answer.cost or 0.0
            self._failures = self._failures + 1 if down else 0
