"""The chance of each span, against the paths written out one by one, and which spans are said."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest

from ner.labels import LabelSet
from ner.spans import Span
from weak_labeling.aggregate.chains import packing, posterior
from weak_labeling.aggregate.span_chances import best_of, span_chances

LABELS = LabelSet(("OS", "TOOL"))


def spans_of(path: tuple[int, ...], at: int) -> set[tuple[int, int, int]]:
    """(first word, word behind, number of the type) of the spans of a path that begins at word `at`."""
    begins = [place for place, tag in enumerate(path) if tag % 2 == 1]
    ends = [next((e for e in range(b + 1, len(path)) if path[e] != path[b] + 1), len(path)) for b in begins]
    return {(at + b, at + e, (path[b] - 1) // 2) for b, e in zip(begins, ends, strict=True)}


def test_chances_of_spans_are_those_of_all_paths_written_out() -> None:
    draw = np.random.default_rng(1)
    starts, scores = np.array([0, 4, 5, 8]), draw.normal(size=(8, 5))
    first = np.where(LABELS.allowed_start(), 0.0, -np.inf)
    moves = np.where(LABELS.allowed_transitions(), draw.normal(size=(5, 5)), -np.inf)
    expected: dict[tuple[int, int, int], float] = {}
    for start, stop in pairwise(starts.tolist()):
        weights = {
            path: np.exp(
                first[path[0]] + scores[range(start, stop), path].sum() + sum(moves[pair] for pair in pairwise(path))
            )
            for path in product(range(5), repeat=stop - start)
        }
        for path, weight in weights.items():
            for span in spans_of(path, start) if weight else ():
                expected[span] = expected.get(span, 0.0) + weight / sum(weights.values())
    found = span_chances(posterior(scores, first, moves, packing(starts)), moves)
    columns = (found.first.tolist(), found.stop.tolist(), found.kind.tolist())
    chances = dict(zip(zip(*columns, strict=True), found.chance.tolist(), strict=True))
    assert chances == pytest.approx({span: chance for span, chance in expected.items() if chance >= 0.02})
    assert len(chances) > 20


def test_the_likeliest_spans_that_do_not_overlap_are_said() -> None:
    likely, inside, unlikely = Span(3, 9, "OS", 0.6), Span(3, 5, "OS", 0.5), Span(20, 22, "OS", 0.39)
    before = Span(0, 3, "TOOL", 0.4)
    assert best_of([unlikely, inside, likely, before], 0.4) == (before, likely)
