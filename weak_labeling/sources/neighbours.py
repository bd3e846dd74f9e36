"""Kind "neighbours": what the other sources call a name elsewhere in the document, the name is here, too."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from pydantic import Field

from ner.spans import Span, trim_whitespace
from weak_labeling.folding import marked_term
from weak_labeling.gazetteers import LetterCase, TermFinder, TermRules
from weak_labeling.source import Vote
from weak_labeling.sources.entry import SourceContext, SourceEntry, Text, digest_of

_VERSION = 1

# (index of the text, start, end) -> votes for each label
_Places = dict[tuple[int, int, int], Counter[str]]


@dataclass(frozen=True)
class NeighboursSource:
    """Votes for a name wherever it stands in the texts of a group, if it got at least `votes` votes elsewhere there.

    "Elsewhere" is every other place of the name; several sources at one place count as several votes. Of several labels
    the one with most votes there counts, and none where two have as many. labels: for which names it votes; () for all.
    shortest: characters of a name. Label consistency within a document: Lison et al. 2021 (skweak).
    """

    name: str
    votes: int = 2
    labels: tuple[str, ...] = ()
    case: LetterCase = "smart"
    shortest: int = 3
    kind: ClassVar[str] = "neighbours"

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the keys; the votes depend on those of the other sources as well."""
        return digest_of(_VERSION, self)

    def find_beside(self, texts: Sequence[str], votes: Sequence[Sequence[Vote]], /) -> list[list[Span]]:
        """The spans in each text of one group, in order; `votes` are those of the other sources on each."""
        cast = self._cast(texts, votes)
        totals = {name: sum(places.values(), Counter[str]()) for name, places in cast.items()}
        enough = {name: name for name, total in totals.items() if total.total() >= self.votes}
        find = TermFinder(enough, self._rules)
        return [
            [
                Span(span.start, span.end, label)
                for span in find(text)
                if (label := self._winner(totals[span.label] - cast[span.label][index, span.start, span.end]))
            ]
            for index, text in enumerate(texts)
        ]

    def _cast(self, texts: Sequence[str], votes: Sequence[Sequence[Vote]]) -> dict[str, _Places]:
        """The votes on each name, by their place."""
        cast: dict[str, _Places] = defaultdict(lambda: defaultdict(Counter))
        for index, (text, given) in enumerate(zip(texts, votes, strict=True)):
            for _, span in sorted({(vote.source, vote.span.without_score()) for vote in given}):
                start, end = trim_whitespace(text, span.start, span.end)
                name = self._name(text[start:end])
                if len(name) >= self.shortest and marked_term(name) and (not self.labels or span.label in self.labels):
                    cast[name][index, start, end][span.label] += 1
        return cast

    def _name(self, found: str) -> str:
        name = self._rules.key(found)
        return name if self._rules.keeps_case(name) else name.casefold()

    def _winner(self, counts: Counter[str]) -> str | None:
        best = counts.most_common(2)
        if not best or best[0][1] < self.votes or (len(best) > 1 and best[1][1] == best[0][1]):
            return None
        return best[0][0]

    @property
    def _rules(self) -> TermRules:
        return TermRules(self.case)


class NeighboursEntry(SourceEntry):
    """`votes` that a name needs elsewhere in its document; the keys are the fields of NeighboursSource."""

    votes: int = Field(2, ge=1)
    labels: tuple[Text, ...] = ()
    case: LetterCase = "smart"
    shortest: int = Field(3, ge=1)

    def used_labels(self) -> Iterator[tuple[str, str]]:
        """(key, label) of every label that the entry names."""
        return (("labels", label) for label in self.labels)

    def build(self, _: SourceContext, /) -> NeighboursSource:
        """Nothing is left that could be wrong."""
        return NeighboursSource(self.name, self.votes, tuple(sorted(set(self.labels))), self.case, self.shortest)
