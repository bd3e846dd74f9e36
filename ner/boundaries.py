"""What stands between two tokens, and what it costs an entity to begin or end there.

Sub-word encoders do not see whitespace: `recv()` and `recv ( )` are the same ids. Where the gold hardly ever bounds an
entity (inside words, say), the decoder is told so by a cost in nats, learned by counting: the one kind of transition
weight of a linear-chain CRF (Lafferty et al. 2001) that the encoder cannot supply. It is a cost and no ban, so that
texts of another style than the training's can still be tagged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from ner.alignment import IntArray

GAP, PUNCTUATION, WORD = "gap", "punctuation", "word"
KINDS = (GAP, PUNCTUATION, WORD)
HIGHEST_COST = 4.0


def joint_kinds(text: str, offsets: IntArray) -> IntArray:
    """(n,) ids into KINDS: what stands before each token of (n, 2) offsets that carry text.

    gap: whitespace or other characters without a token, also before the first token; word: the joint lies between two
    letters or digits of one word; punctuation: any other place where two tokens touch.
    """
    kinds = np.zeros(len(offsets), dtype=np.int64)
    for index in (np.flatnonzero(offsets[1:, 0] <= offsets[:-1, 1]) + 1).tolist():
        within = text[offsets[index - 1, 1] - 1].isalnum() and text[offsets[index, 0]].isalnum()
        kinds[index] = KINDS.index(WORD if within else PUNCTUATION)
    return kinds


def is_break(tags: IntArray) -> npt.NDArray[np.bool_]:
    """(n,) for the tags of a valid path: whether an entity begins or ends between a token and the one before it."""
    breaks: npt.NDArray[np.bool_] = tags % 2 == 1
    breaks[1:] |= (tags[1:] == 0) & (tags[:-1] > 0)
    breaks[:1] = False
    return breaks


def learned_costs(examples: Iterable[tuple[IntArray, IntArray]]) -> dict[str, float]:
    """The cost of a break at each kind of joint, in nats, from (kinds, gold tags) of texts.

    The log-odds of staying inside an entity against breaking, over the joints at which an entity could go on, add-one
    smoothed, between 0 and HIGHEST_COST: nothing seen costs nothing.
    """
    breaks, stays = np.zeros(len(KINDS)), np.zeros(len(KINDS))
    for kinds, tags in examples:
        broken = is_break(tags)
        inside = (tags > 0) & (tags % 2 == 0)
        breaks += np.bincount(kinds[broken], minlength=len(KINDS))
        stays += np.bincount(kinds[inside], minlength=len(KINDS))
    odds = np.log((stays + 1) / (breaks + 1)).clip(0.0, HIGHEST_COST)
    return dict(zip(KINDS, odds.tolist(), strict=True))


def joint_costs(text: str, offsets: IntArray, costs: Mapping[str, float]) -> npt.NDArray[np.float64] | None:
    """(n,) what a break before each token costs; None when every break is free."""
    if not any(costs.values()):
        return None
    return np.array([costs.get(kind, 0.0) for kind in KINDS])[joint_kinds(text, offsets)]


def check_costs(costs: Mapping[str, object]) -> bool:
    """Whether `costs` maps kinds of joints to finite numbers from 0 on."""
    return all(
        kind in KINDS and isinstance(cost, (int, float)) and not isinstance(cost, bool) and 0 <= cost < math.inf
        for kind, cost in costs.items()
    )
