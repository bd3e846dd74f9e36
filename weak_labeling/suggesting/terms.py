"""Candidates for gazetteers: the words of labelled spans that no source marks, as gazetteers compare words."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Sequence

from weak_labeling.folding import marked, marked_term
from weak_labeling.gazetteers import TermRules
from weak_labeling.suggesting.drafts import Case, TermDraft
from weak_labeling.suggesting.evidence import LEAST_DOCUMENTS, Candidate, KnownText, additions

_LONGEST = 100
CASES: tuple[Case, ...] = ("smart", "exact")


def term_candidates(texts: Sequence[KnownText]) -> Iterator[Candidate]:
    """Each term that is gold in two documents or more, in any case and as it is written.

    A term of two documents is given by the documents without any one of them, so that every document judges it.
    """
    forms = [marked(text.text).marked for text in texts]
    for draft in _drafts(texts):
        source = draft.build("suggested")
        added = additions(source, texts, draft.label, places_of(draft, forms))
        yield Candidate(draft, source, added, added)


def places_of(draft: TermDraft, forms: Sequence[str]) -> list[int]:
    """The places of the texts that may hold the term. forms: the marked forms of the texts."""
    form = marked_term(draft.term)
    return [place for place, text in enumerate(forms) if form in text]


def _drafts(texts: Sequence[KnownText]) -> Iterator[TermDraft]:
    for case in CASES:
        rules = TermRules(case)
        written: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        documents: dict[tuple[str, str], set[Hashable]] = defaultdict(set)
        for text in texts:
            for span in text.missed:
                term = text.text[span.start : span.end].strip()
                if _is_word(term):
                    key = span.label, _key(term, rules)
                    written[key][" ".join(term.split())] += 1
                    documents[key].add(text.document)
        for key in sorted(key for key, found in documents.items() if len(found) >= LEAST_DOCUMENTS):
            term = min(written[key], key=lambda form: (-written[key][form], form))
            if case == "smart" or _differs_by_case(term):
                yield TermDraft(key[0], term, case)


def _key(term: str, rules: TermRules) -> str:
    """What terms have in common that a gazetteer holds to be one."""
    key = rules.key(term)
    return key if rules.keeps_case(term) else key.casefold()


def _is_word(term: str) -> bool:
    letters = sum(character.isalpha() for character in term)
    return letters > 0 and 1 < len(term) <= _LONGEST


def _differs_by_case(term: str) -> bool:
    """Whether a gazetteer that heeds the case finds less of this term."""
    return term.lower() != term.upper() and not TermRules("smart").keeps_case(term)
