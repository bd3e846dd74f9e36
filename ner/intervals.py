"""How far a share that was counted may be from the truth."""

from __future__ import annotations

import math
from statistics import NormalDist

CONFIDENCE = 0.95


def wilson(share: float, trials: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Wilson's interval (1927) of a share (0..1) of independent trials; there is at least one."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    wider = 1 + z * z / trials
    middle = (share + z * z / (2 * trials)) / wider
    half = z * math.sqrt(share * (1 - share) / trials + (z / (2 * trials)) ** 2) / wider
    # The interval holds the share; rounding alone may leave a share of 0 or 1 just outside.
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))
