"""How the chance of a false promotion is spent over the looks at one holdout.

Each look tests one candidate at its own alpha, and the alphas of an epoch add up to no more than its total. By the
union bound the chance that a candidate that is as good as the incumbent is promoted in the epoch is then at most that
total, although all are judged on the same documents and often have a parent in common. It holds for candidates that are
made without regard to what the looks showed: who reads the errors on the holdout and mends them has used it up.
"""

from __future__ import annotations

import math
from collections.abc import Callable

_MOST = 1_000_000
EVEN, DECREASING = "even", "decreasing"


def even(total: float, looks: int, number: int) -> float:
    """The same for each of the looks (Bonferroni 1936)."""
    del number
    return total / looks


def decreasing(total: float, looks: int, number: int) -> float:
    """In proportion to 1 / number^2, so that the first looks find more: 65 % of the total for the first of ten."""
    return total / number**2 / sum(1 / other**2 for other in range(1, looks + 1))


SCHEDULES: dict[str, Callable[[float, int, int], float]] = {EVEN: even, DECREASING: decreasing}


def alpha_of(schedule: str, total: float, looks: int, number: int) -> float:
    """What look `number` (from 1) of `looks` may spend; 0 from the last one on, when nothing is left."""
    return SCHEDULES[schedule](total, looks, number) if number <= looks else 0.0


def spent_after(schedule: str, total: float, looks: int, number: int) -> float:
    """What `number` looks have spent together; never more than `total`."""
    return min(total, sum(alpha_of(schedule, total, looks, one) for one in range(1, number + 1)))


def permutations_for(alpha: float, at_least: int) -> int:
    """How many permutations tell p-values apart around `alpha`: 20 / alpha, and a million at most."""
    return max(at_least, min(_MOST, math.ceil(20 / alpha))) if alpha > 0 else at_least
