"""Who is asked about next: pure functions from confidences to an order, and the place of the holdout in it.

Label Studio serves tasks in ascending prediction score, so a score is a confidence in 0..1: low means worth labelling.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence


def least_confident_first(confidences: Mapping[int, float]) -> list[int]:
    """The keys in ascending confidence; ties by key, so that the order can be repeated.

    Uncertainty sampling: Lewis and Gale, "A sequential algorithm for training text classifiers", SIGIR 1994.
    """
    return sorted(confidences, key=lambda key: (confidences[key], key))


def spread(keys: Mapping[int, str], confidences: Sequence[float], salt: str) -> dict[int, float]:
    """A score for each of `keys` (an id and its name) that puts them evenly among `confidences` when sorted.

    The holdout is met in the stream at the rate at which it stands in the open tasks, whatever the model thinks of it.
    Stratified: with h keys over m confidences, the j-th of the shuffled keys lands at a random place within ranks
    j*m/h..(j+1)*m/h. Shuffle and places come from hashes of salt and name: the same in every run, and even in the long
    run when keys come one at a time.
    """
    ladder = [0.0, *sorted(confidences), 1.0]
    shuffled = sorted(keys, key=lambda key: _uniform(salt, "order", keys[key]))
    return {
        key: _score_at((j + _uniform(salt, "place", keys[key])) / len(shuffled), ladder)
        for j, key in enumerate(shuffled)
    }


def _score_at(quantile: float, ladder: Sequence[float]) -> float:
    """The score at `quantile` (0..1) of the ranks: between the two confidences that stand around that place."""
    gaps = len(ladder) - 1
    place = min(quantile * gaps, gaps - 1e-9)
    below = int(place)
    return ladder[below] + (ladder[below + 1] - ladder[below]) * (place - below)


def _uniform(*parts: str) -> float:
    """A number in 0..1 (1 excluded) from the SHA-256 of the parts."""
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
