"""The suggestions of a project: the entries that add most to the texts that nobody has labelled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from ner.errors import InputError
from weak_labeling.folding import marked
from weak_labeling.suggesting.drafts import Draft, TermDraft
from weak_labeling.suggesting.evidence import (
    LEAST_DOCUMENTS,
    Candidate,
    Evidence,
    Found,
    KnownText,
    additions,
)
from weak_labeling.suggesting.patterns import pattern_candidates
from weak_labeling.suggesting.terms import places_of, term_candidates

# What a suggestion needs: the lower bound of its precision, and the share of what it adds that was right. A term that
# is right in two documents of two has a bound of 0.22.
LEAST_BOUND, LEAST_RIGHT = 0.2, 0.8
MOST_SUGGESTIONS = 100
Progress = Callable[[int], None]


@dataclass(frozen=True)
class Suggestion:
    """An entry, the evidence for it, and what it adds to the texts that are not labelled (place in them, span).

    Both leave out what suggestions further up in the list have already.
    """

    draft: Draft
    evidence: Evidence
    added: tuple[Found, ...]

    @property
    def number(self) -> int:
        """The number by which it is accepted."""
        return self.draft.number

    @property
    def expected(self) -> float:
        """How many right spans it adds at least, as its bound has it."""
        return self.evidence.low * len(self.added)


@dataclass(frozen=True, eq=False)
class _Offer:
    """A candidate with what it adds to the other texts."""

    candidate: Candidate
    added: frozenset[Found]

    def shares_with(self, best: _Offer) -> bool:
        """Whether a span that this one adds is one of the best."""
        own, others = self.candidate, best.candidate.added
        apart = own.added.isdisjoint(others) and own.held_back.isdisjoint(others)
        return not (apart and self.added.isdisjoint(best.added))


def suggestions(
    labelled: Sequence[KnownText], unlabelled: Sequence[KnownText], progress: Progress = lambda _: None
) -> tuple[Suggestion, ...]:
    """The entries that no source has yet, those first that add most right spans to the unlabelled texts.

    Each has labelled spans in two documents, a bound of 0.2, four fifths right, and a span to add. Numbers differ.
    progress: called with the number of entries that were tried.
    """
    left = [
        (offer, _rated(offer, labelled, frozenset(), frozenset())) for offer in _offers(labelled, unlabelled, progress)
    ]
    chosen: dict[int, Suggestion] = {}
    known: frozenset[Found] = frozenset()
    taken: frozenset[Found] = frozenset()
    while left and len(chosen) < MOST_SUGGESTIONS:
        # Of two that are alike the first counts: a term in any case, and the shape of more documents.
        best, suggestion = max(left, key=lambda one: (one[1].expected, one[1].evidence.spans))
        chosen[suggestion.number] = suggestion
        known |= best.candidate.added
        taken |= best.added
        again = (
            (offer, _rated(offer, labelled, known, taken) if offer.shares_with(best) else one) for offer, one in left
        )
        left = [(offer, one) for offer, one in again if _is_worth_it(one) and one.number not in chosen]
    return tuple(chosen.values())


def _offers(labelled: Sequence[KnownText], unlabelled: Sequence[KnownText], progress: Progress) -> Iterator[_Offer]:
    forms = [marked(text.text).marked for text in unlabelled]
    for done, candidate in enumerate(chain(term_candidates(labelled), pattern_candidates(labelled))):
        progress(done)
        draft = candidate.draft
        if _speaks(candidate.evidence(labelled)) and _is_allowed(draft):
            places = places_of(draft, forms) if isinstance(draft, TermDraft) else None
            added = additions(candidate.source, unlabelled, draft.label, places)
            if added:
                yield _Offer(candidate, added)


def _rated(
    offer: _Offer, labelled: Sequence[KnownText], known: frozenset[Found], taken: frozenset[Found]
) -> Suggestion:
    evidence = offer.candidate.evidence(labelled, known)
    return Suggestion(offer.candidate.draft, evidence, tuple(sorted(offer.added - taken)))


def _is_worth_it(one: Suggestion) -> bool:
    return bool(one.added) and _speaks(one.evidence)


def _speaks(evidence: Evidence) -> bool:
    surely = evidence.documents >= LEAST_DOCUMENTS and evidence.low >= LEAST_BOUND
    return surely and evidence.right >= LEAST_RIGHT * evidence.judged


def _is_allowed(draft: Draft) -> bool:
    """Whether weak.toml takes it: a pattern that backtracks is refused."""
    try:
        draft.build("suggested")
    except InputError:
        return False
    return True
