"""What speaks for an entry: labelled spans that no source has yet, and how right the entry is where it was not made.

An entry is judged by cross-fitting (leave one document out): what it says of a document counts only where the other
documents alone would have given the entry. Only what the entry adds is judged, so that an entry does not live on spans
that sources have already. The spans of one document are no independent trials; each document counts as one.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from scipy.special import betaincinv

from ner.errors import InputError
from ner.spans import Span
from weak_labeling.apply import checked_spans
from weak_labeling.source import TextSource
from weak_labeling.suggesting.drafts import Draft

# How sure a bound is taken to be.
CERTAINTY = 0.95
# Documents that must speak for an entry, so that each can be judged by what the others say.
LEAST_DOCUMENTS = 2
Found = tuple[int, Span]  # place of the text in its sequence, span


@dataclass(frozen=True, slots=True)
class KnownText:
    """A text and what sources mark in it, of whatever sort the sources are.

    gold: None where nobody has labelled it. unannotated: types on which the gold is silent, and judges nothing.
    """

    text: str
    document: Hashable
    marked: frozenset[Span]
    gold: frozenset[Span] | None = None
    unannotated: frozenset[str] = frozenset()

    @property
    def missed(self) -> frozenset[Span]:
        """The gold spans that no source marks."""
        return (self.gold or frozenset()) - self.marked


@dataclass(frozen=True)
class Evidence:
    """spans: labelled spans that the entry finds and no source does, in so many documents.

    right, judged: of the spans that it adds to held-back documents, those that are gold exactly. low: the lower bound
    of that share, one-sided.
    """

    spans: int
    documents: int
    right: int
    judged: int
    low: float


@dataclass(frozen=True, eq=False)
class Candidate:
    """An entry, the spans that it adds to the labelled texts, and those by which it is judged: what the other documents
    alone would have made of it adds them to each document.

    tried: the entry is the best of so many, and so looks better than it is.
    """

    draft: Draft
    source: TextSource
    added: frozenset[Found]
    held_back: frozenset[Found]
    tried: int = 1

    def evidence(self, texts: Sequence[KnownText], taken: frozenset[Found] = frozenset()) -> Evidence:
        """What speaks for it. taken: spans that other entries have."""
        right = {one for one in self.added - taken if is_gold(texts, one)}
        judged: dict[Hashable, list[bool]] = {}
        for one in self.held_back - taken:
            judged.setdefault(texts[one[0]].document, []).append(is_gold(texts, one))
        verdicts = [verdict for said in judged.values() for verdict in said]
        documents = {texts[place].document for place, _ in right}
        return Evidence(
            len(right),
            len(documents),
            sum(verdicts),
            len(verdicts),
            lower_bound(judged.values(), self.tried),
        )


def lower_bound(documents: Iterable[Sequence[bool]], tried: int = 1) -> float:
    """Of the share of right verdicts (0..1), with each document as one trial; 0 without a right verdict.

    The exact bound of Clopper and Pearson 1934: Wilson's is too high for a few documents that are all right. The bounds
    of the best of `tried` entries hold with CERTAINTY all together (Bonferroni).
    """
    shares = [sum(verdicts) / len(verdicts) for verdicts in documents]
    right = sum(shares)
    if not right:
        return 0.0
    return float(betaincinv(right, len(shares) - right + 1, (1 - CERTAINTY) / tried))


def is_gold(texts: Sequence[KnownText], found: Found) -> bool:
    """Whether the span is gold of its text."""
    return found[1] in (texts[found[0]].gold or ())


def additions(
    source: TextSource, texts: Sequence[KnownText], label: str, places: Iterable[int] | None = None
) -> frozenset[Found]:
    """The spans that the source finds in the texts (at `places`, by default all) and that nothing marks yet, in texts
    that can tell about the label.

    Empty where the source fails on a text: such an entry is of no use.
    """
    added: list[Found] = []
    for place in range(len(texts)) if places is None else places:
        if label in texts[place].unannotated:
            continue
        text, marked = texts[place].text, texts[place].marked
        try:
            said = list(source(text) or ())
            spans = checked_spans(said, text, (label,)) if said else ()
        except InputError:
            return frozenset()
        added += ((place, span) for span in spans if span not in marked)
    return frozenset(added)
