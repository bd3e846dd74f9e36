r"""What each labelling function contributes: coverage, overlap, conflict, and accuracy where there is gold.

The names and definitions are those of Snorkel's LFAnalysis (Ratner et al. 2017), with a token as the data point: a run
of `\w` or one other character that is not white space. A function votes on a token when one of its spans shares a
character with it.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ner.spans import Span
from weak_labeling.source import DocumentId, Vote

_TOKEN = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class FunctionReport:
    """Shares of all tokens of the corpus, 0..1, unless said otherwise.

    `coverage`: the function votes. `overlap`: another function votes, too. `conflict`: another function votes for
    another label. `accuracy`: of the tokens that the function votes on, the share whose gold label it names.
    `precision`: of the function's spans, the share that are gold exactly. Both are None without gold or votes.
    """

    name: str
    votes: int
    documents: int
    coverage: float
    overlap: float
    conflict: float
    accuracy: float | None = None
    precision: float | None = None


@dataclass
class _Tally:
    votes: int = 0
    documents: int = 0
    tokens: int = 0
    overlapping: int = 0
    conflicting: int = 0
    right_tokens: int = 0
    right_spans: int = 0


def analyse(
    names: Sequence[str],
    texts: Mapping[DocumentId, str],
    votes: Mapping[DocumentId, Sequence[Vote]],
    gold: Mapping[DocumentId, Sequence[Span]] | None = None,
) -> tuple[FunctionReport, ...]:
    """One report for each of `names`, in their order; a function that never voted is all zero.

    `votes` and `gold` are by document id; a document without an entry has none.
    """
    tallies: dict[str, _Tally] = {name: _Tally() for name in names}
    tokens = 0
    for document_id, text in texts.items():
        starts, ends = _token_bounds(text)
        tokens += len(starts)
        cast = [vote for vote in votes.get(document_id, ()) if vote.source in tallies]
        _count_votes(tallies, cast, {span.without_score() for span in (gold or {}).get(document_id, ())})
        gold_labels = _labels_by_token([Vote(span, "") for span in (gold or {}).get(document_id, ())], starts, ends)
        for token, by_source in _labels_by_token(cast, starts, ends).items():
            _count_token(tallies, by_source, gold_labels.get(token, {}).get(""))
    return tuple(_report(name, tally, tokens, gold is not None) for name, tally in tallies.items())


def _token_bounds(text: str) -> tuple[list[int], list[int]]:
    bounds = [match.span() for match in _TOKEN.finditer(text)]
    return [start for start, _ in bounds], [end for _, end in bounds]


def _labels_by_token(votes: Sequence[Vote], starts: list[int], ends: list[int]) -> dict[int, dict[str, str]]:
    """token index -> source -> label, for the tokens that have a vote."""
    labels: dict[int, dict[str, str]] = defaultdict(dict)
    for vote in votes:
        for token in range(bisect_right(ends, vote.span.start), bisect_left(starts, vote.span.end)):
            labels[token][vote.source] = vote.span.label
    return labels


def _count_votes(tallies: dict[str, _Tally], votes: Sequence[Vote], gold: set[Span]) -> None:
    for vote in votes:
        tallies[vote.source].votes += 1
        tallies[vote.source].right_spans += vote.span in gold
    for source in {vote.source for vote in votes}:
        tallies[source].documents += 1


def _count_token(tallies: dict[str, _Tally], by_source: dict[str, str], gold_label: str | None) -> None:
    for source, label in by_source.items():
        tally = tallies[source]
        tally.tokens += 1
        tally.overlapping += len(by_source) > 1
        tally.conflicting += any(other != label for other in by_source.values())
        tally.right_tokens += label == gold_label


def _report(name: str, tally: _Tally, tokens: int, has_gold: bool) -> FunctionReport:
    known = has_gold and tally.votes > 0
    return FunctionReport(
        name,
        votes=tally.votes,
        documents=tally.documents,
        coverage=tally.tokens / max(tokens, 1),
        overlap=tally.overlapping / max(tokens, 1),
        conflict=tally.conflicting / max(tokens, 1),
        accuracy=tally.right_tokens / max(tally.tokens, 1) if known else None,
        precision=tally.right_spans / tally.votes if known else None,
    )
