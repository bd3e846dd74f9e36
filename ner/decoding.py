"""Logits to log-probabilities to the best valid tag path to scored spans.

Training-side evaluation, the queue and serving all decode here, so that what is measured is what is shown.

A path pays a cost where an entity begins or ends, by the kind of the joint between two tokens. Sub-word encoders do not
see whitespace: `recv()` and `recv ( )` are the same ids. In gold, entities hardly ever begin or end at some kinds of
joint, such as inside a word. The cost is learned by counting, in nats. It is the one kind of transition weight of a
linear-chain CRF (Lafferty et al. 2001) that the encoder cannot supply. A cost forbids nothing, so that texts of another
style than the training's can still be tagged. Styles differ at the edges of words: some corpora put a blank before each
comma. So a cost is low there, and may be high within words. Where a script writes no blanks, nothing tells an edge from
the inside of a word, and other texts must not make breaks dear there.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

import numpy as np

from ner.arrays import BoolArray, FloatArray, IntArray, Logits
from ner.labels import LabelSet
from ner.spans import Span

GAP, PUNCTUATION, INSIDE, WORD = "gap", "punctuation", "inside", "word"
KINDS = (GAP, PUNCTUATION, INSIDE, WORD)
# What the log-odds count, and the highest cost, at each of KINDS. A network is surer than it is right. BENCHMARKS.md
# measures what the weight within words is worth, and what it would cost at their edges.
_WEIGHTS = np.array([1.0, 1.0, 2.0, 2.0])
HIGHEST_COSTS = np.array([4.0, 4.0, 12.0, 12.0])
# Scripts that write words without blanks, and their marks: Thai and Lao, Myanmar, Khmer; from the ideographic blank to
# kana and Han; Hangul, where particles follow a name at once; compatible and wide forms; more of Han.
UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3000-\u9fff\uac00-\ud7ff\uf900-\ufaff"
    "\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff9f\U00020000-\U0003ffff]"
)


def log_softmax(logits: Logits) -> FloatArray:
    """(n, t) log-probabilities in nats, in float64; stable for logits of any finite size."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True, initial=-np.inf)
    shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return shifted


def is_valid_path(tags: IntArray, labels: LabelSet) -> bool:
    """True when every I-X of (n,) tags follows a B-X or I-X."""
    if not len(tags):
        return True
    return bool(labels.allowed_start()[tags[0]]) and bool(labels.allowed_transitions()[tags[:-1], tags[1:]].all())


def viterbi(log_probs: FloatArray, labels: LabelSet, costs: FloatArray | None = None) -> IntArray:
    """(n,) the tags of the most probable valid path through (n, t) log-probabilities (Viterbi 1967).

    costs: (n,) nats from 0 on, what a path pays where an entity begins or ends just before a token (`joint_costs`);
    the first token's cost is not read. Tokens depend on each other only by these costs and by the hard transitions of
    `LabelSet`. So when the best tags of all tokens make a valid path that pays nothing, this path is the best one, and
    nothing is searched.
    """
    best: IntArray = log_probs.argmax(axis=1)
    if is_valid_path(best, labels) and (costs is None or not costs[is_break(best)].any()):
        return best
    return _search(log_probs, np.zeros(len(log_probs)) if costs is None else costs)


def tags_to_spans(
    tags: IntArray, offsets: IntArray, labels: LabelSet, probs: FloatArray | None = None
) -> tuple[Span, ...]:
    """The spans of a valid path, in text order, never overlapping.

    tags: (n,). offsets: (n, 2) half-open code points, trimmed; tokens without characters give a span no boundary.
    probs: (n, t); a span's score is the geometric mean of its tags' probabilities along it, None without probs.
    Raises ValueError for a path that is not valid.
    """
    if not tags.any():
        return ()
    if not is_valid_path(tags, labels):
        raise ValueError("an I- tag follows a B- or I- tag of its own type: decode with viterbi() first")
    spans: list[Span] = []
    free = 0
    ids, bounds = tags.tolist(), offsets.tolist()
    chosen = None if probs is None else probs[np.arange(len(ids)), tags].tolist()
    for first, stop in _entities(ids):
        start, end = _covered(bounds[first:stop], free)
        if start < end:
            score = None if chosen is None else _geometric_mean(chosen[first:stop])
            spans.append(Span(start, end, labels.types[(ids[first] - 1) // 2], score))
            free = end
    return tuple(spans)


def _search(log_probs: FloatArray, costs: FloatArray) -> IntArray:
    """Viterbi in O(n t), since few predecessors have to be compared for each tag.

    I-X follows B-X or I-X. O follows O for nothing, or the best tag at a cost. The best predecessor is the same for
    every B-X. The path is valid even where probabilities are 0: a backpointer of I-X is B-X or I-X, and I-X as the
    first tag scores minus infinity.
    """
    score = log_probs.copy()
    score[0, 2::2] = -np.inf
    begins, insides, own = score[:, 1::2], score[:, 2::2], log_probs[:, 2::2]
    stays = np.empty(insides.shape, dtype=np.bool_)
    best, left = [0] * len(score), [0] * len(score)
    for step, cost in enumerate(costs[1:].tolist(), start=1):
        before = step - 1
        best[step] = int(score[before].argmax())
        broken = score[before, best[step]] - cost
        left[step] = best[step] if broken > score[before, 0] else 0
        np.greater(insides[before], begins[before], out=stays[step])
        score[step, 0] += max(broken, score[before, 0])
        begins[step] += broken
        np.add(own[step], np.maximum(insides[before], begins[before]), out=insides[step])
    path = [int(score[-1].argmax())]
    for step in range(len(score) - 1, 0, -1):
        tag = path[-1]
        if tag == 0:
            path.append(left[step])
        elif tag % 2 == 1:
            path.append(best[step])
        else:
            path.append(tag - (not stays[step, tag // 2 - 1]))
    return np.array(path[::-1], dtype=np.int64)


def _entities(tags: list[int]) -> list[tuple[int, int]]:
    """The half-open token ranges of the entities of a valid path."""
    ranges: list[tuple[int, int]] = []
    first: int | None = None
    for index, tag in enumerate([*tags, 0]):
        if first is not None and (tag == 0 or tag % 2 == 1):
            ranges.append((first, index))
            first = None
        if tag % 2 == 1:
            first = index
    return ranges


def _covered(bounds: list[list[int]], free: int) -> tuple[int, int]:
    """The range of the tokens' characters from `free` on; (free, free) when nothing is left.

    The byte-level tokens of one character (the bytes of an emoji) share its offsets, so two entities can meet in it.
    """
    real = [(start, end) for start, end in bounds if start < end]
    return (max(real[0][0], free), max(real[-1][1], free)) if real else (free, free)


def _geometric_mean(probabilities: list[float]) -> float:
    if 0.0 in probabilities:
        return 0.0
    return math.exp(math.fsum(map(math.log, probabilities)) / len(probabilities))


def joint_kinds(text: str, offsets: IntArray) -> IntArray:
    """(n,) ids into KINDS: what stands before each token of (n, 2) offsets that carry text.

    gap: whitespace or other characters without a token; the first token has a gap before it, too. word: the joint lies
    between two letters or digits. Any other place where two tokens touch is `inside` where letters or digits stand both
    before and behind it in the run of tokens that touch ("node.js"), and punctuation where not ("Windows,"). A joint
    beside a character of UNSPACED is punctuation, and ends the run.
    """
    kinds = np.zeros(len(offsets), dtype=np.int64)
    touching = np.flatnonzero(offsets[1:, 0] <= offsets[:-1, 1]) + 1
    unspaced = _is_unspaced(text, offsets, touching)
    kinds[touching[unspaced]] = KINDS.index(PUNCTUATION)
    touching = touching[~unspaced]
    for index in touching.tolist():
        within = text[offsets[index - 1, 1] - 1].isalnum() and text[offsets[index, 0]].isalnum()
        kinds[index] = KINDS.index(WORD if within else PUNCTUATION)
    edges = touching[kinds[touching] == KINDS.index(PUNCTUATION)]
    if len(edges):
        kinds[edges[_is_inside(text, offsets, touching, edges)]] = KINDS.index(INSIDE)
    return kinds


def _is_unspaced(text: str, offsets: IntArray, joints: IntArray) -> BoolArray:
    """For each of the joints, whether a character of UNSPACED stands beside it; not between the bytes of one."""
    if not UNSPACED.search(text):
        return np.zeros(len(joints), dtype=np.bool_)
    sides = zip(offsets[joints - 1, 1].tolist(), offsets[joints, 0].tolist(), strict=True)
    found = (end == start and UNSPACED.search(text, end - 1, start + 1) is not None for end, start in sides)
    return np.fromiter(found, np.bool_, len(joints))


def _is_inside(text: str, offsets: IntArray, touching: IntArray, joints: IntArray) -> BoolArray:
    """For each of the joints, whether a letter or digit stands before it and one behind it in its run of tokens."""
    worded = [any(map(str.isalnum, text[start:end])) for start, end in offsets.tolist()]
    before = np.concatenate([[0], np.cumsum(worded)])
    starts = np.setdiff1d(np.arange(len(offsets)), touching)
    run = np.searchsorted(starts, joints, side="right")
    first, end = starts[run - 1], np.append(starts, len(offsets))[run]
    inside: BoolArray = (before[joints] > before[first]) & (before[end] > before[joints])
    return inside


def is_break(tags: IntArray) -> BoolArray:
    """(n,) for the tags of a valid path: whether an entity begins or ends between a token and the one before it."""
    breaks: BoolArray = tags % 2 == 1
    breaks[1:] |= (tags[1:] == 0) & (tags[:-1] > 0)
    breaks[:1] = False
    return breaks


def learned_costs(examples: Iterable[tuple[IntArray, IntArray]]) -> dict[str, float]:
    """The cost of a break at each kind of joint, in nats, from (kinds, gold tags) of texts.

    The cost is the log-odds of staying inside an entity against breaking, add-one smoothed, over the joints at which an
    entity could go on; within words it counts twice. It lies between 0 and that of HIGHEST_COSTS; a kind of joint that
    was never seen costs nothing.
    """
    breaks, stays = np.zeros(len(KINDS)), np.zeros(len(KINDS))
    for kinds, tags in examples:
        broken = is_break(tags)
        inside = (tags > 0) & (tags % 2 == 0)
        breaks += np.bincount(kinds[broken], minlength=len(KINDS))
        stays += np.bincount(kinds[inside], minlength=len(KINDS))
    costs = (_WEIGHTS * np.log((stays + 1) / (breaks + 1))).clip(0.0, HIGHEST_COSTS)
    return dict(zip(KINDS, costs.tolist(), strict=True))


def cost_of_each(costs: Mapping[str, float]) -> dict[str, float]:
    """The cost of each of KINDS. Bundles of earlier releases know no `inside`, and mean punctuation."""
    return {kind: costs.get(kind, costs.get(PUNCTUATION, 0.0) if kind == INSIDE else 0.0) for kind in KINDS}


def joint_costs(text: str, offsets: IntArray, costs: Mapping[str, float]) -> FloatArray | None:
    """(n,) the cost of a break before each token; None when every break is free."""
    if not any(costs.values()):
        return None
    return np.array(list(cost_of_each(costs).values()))[joint_kinds(text, offsets)]


def check_costs(costs: Mapping[str, object]) -> bool:
    """Whether `costs` maps kinds of joints to finite numbers from 0 on."""
    return all(
        kind in KINDS and isinstance(cost, (int, float)) and not isinstance(cost, bool) and 0 <= cost < math.inf
        for kind, cost in costs.items()
    )
