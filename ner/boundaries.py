"""The joint between two tokens, and the cost of beginning or ending an entity at each kind of joint.

Sub-word encoders do not see whitespace: `recv()` and `recv ( )` are the same ids. In gold, entities hardly ever begin
or end at some kinds of joint, such as inside a word. The decoder learns this as a cost in nats, by counting. The cost
is the one kind of transition weight of a linear-chain CRF (Lafferty et al. 2001) that the encoder cannot supply. A cost
forbids nothing, so that texts of another style than the training's can still be tagged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from ner.arrays import BoolArray, FloatArray, IntArray

GAP, PUNCTUATION, WORD = "gap", "punctuation", "word"
KINDS = (GAP, PUNCTUATION, WORD)
HIGHEST_COST = 4.0


def joint_kinds(text: str, offsets: IntArray) -> IntArray:
    """(n,) ids into KINDS: what stands before each token of (n, 2) offsets that carry text.

    gap: whitespace or other characters without a token; the first token has a gap before it, too. word: the joint lies
    between two letters or digits of one word. punctuation: any other place where two tokens touch.
    """
    kinds = np.zeros(len(offsets), dtype=np.int64)
    for index in (np.flatnonzero(offsets[1:, 0] <= offsets[:-1, 1]) + 1).tolist():
        within = text[offsets[index - 1, 1] - 1].isalnum() and text[offsets[index, 0]].isalnum()
        kinds[index] = KINDS.index(WORD if within else PUNCTUATION)
    return kinds


def is_break(tags: IntArray) -> BoolArray:
    """(n,) for the tags of a valid path: whether an entity begins or ends between a token and the one before it."""
    breaks: BoolArray = tags % 2 == 1
    breaks[1:] |= (tags[1:] == 0) & (tags[:-1] > 0)
    breaks[:1] = False
    return breaks


def learned_costs(examples: Iterable[tuple[IntArray, IntArray]]) -> dict[str, float]:
    """The cost of a break at each kind of joint, in nats, from (kinds, gold tags) of texts.

    The cost is the log-odds of staying inside an entity against breaking, add-one smoothed, over the joints at which an
    entity could go on. It lies between 0 and HIGHEST_COST; a kind of joint that was never seen costs nothing.
    """
    breaks, stays = np.zeros(len(KINDS)), np.zeros(len(KINDS))
    for kinds, tags in examples:
        broken = is_break(tags)
        inside = (tags > 0) & (tags % 2 == 0)
        breaks += np.bincount(kinds[broken], minlength=len(KINDS))
        stays += np.bincount(kinds[inside], minlength=len(KINDS))
    odds = np.log((stays + 1) / (breaks + 1)).clip(0.0, HIGHEST_COST)
    return dict(zip(KINDS, odds.tolist(), strict=True))


def joint_costs(text: str, offsets: IntArray, costs: Mapping[str, float]) -> FloatArray | None:
    """(n,) the cost of a break before each token; None when every break is free."""
    if not any(costs.values()):
        return None
    return np.array([costs.get(kind, 0.0) for kind in KINDS])[joint_kinds(text, offsets)]


def check_costs(costs: Mapping[str, object]) -> bool:
    """Whether `costs` maps kinds of joints to finite numbers from 0 on."""
    return all(
        kind in KINDS and isinstance(cost, (int, float)) and not isinstance(cost, bool) and 0 <= cost < math.inf
        for kind, cost in costs.items()
    )
