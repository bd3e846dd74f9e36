"""Candidates for patterns: the shapes of labelled spans that no source marks, with the words that make them precise."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace

from weak_labeling.suggesting.drafts import PatternDraft
from weak_labeling.suggesting.evidence import (
    LEAST_DOCUMENTS,
    Candidate,
    Found,
    KnownText,
    additions,
    is_gold,
)
from weak_labeling.suggesting.shapes import Shape, any_of, shapes_of, word_after, word_before

# Shapes that are tried, those of most documents first, and words in the hole of one.
MOST_SHAPES, _MOST_WORDS = 400, 40
# A word stays in a pattern where so many of the spans that it gives are right.
_LEAST_RIGHT = 0.7
# In the first texts, a word that gives many spans of which few are right is given up.
_FIRST, _MANY, _HOPELESS = 300, 20, 0.3


@dataclass(frozen=True)
class Family:
    """A shape and the words in its hole, with the documents that give each: the one word "" where it has no hole."""

    label: str
    shape: Shape
    words: Mapping[str, Set[Hashable]]

    @property
    def documents(self) -> Set[Hashable]:
        """Those that give it."""
        return {document for given in self.words.values() for document in given}

    def draft(self, words: Collection[str]) -> PatternDraft:
        """The pattern with these words."""
        chosen = [word for word in words if word]
        pattern = self.shape.pattern(chosen)
        if self.shape.slot == "before":
            return PatternDraft(self.label, pattern, before=rf"\b(?i:{_inner(chosen)})")
        if self.shape.slot == "after":
            return PatternDraft(self.label, pattern, after=rf"(?i:{_inner(chosen)})\b")
        return PatternDraft(self.label, pattern)

    def word_of(self, texts: Sequence[KnownText], found: Found) -> str:
        """The word that stands in the hole."""
        text, span = texts[found[0]].text, found[1]
        if self.shape.slot == "before":
            return word_before(text, span.start)
        if self.shape.slot == "after":
            return word_after(text, span.end)
        if not self.shape.slot:
            return ""
        within = text[span.start : span.end]
        fits = within.startswith if self.shape.slot == "first" else within.endswith
        return max((word for word in self.words if fits(word)), key=len, default="")


def pattern_candidates(texts: Sequence[KnownText]) -> Iterator[Candidate]:
    """Each shape of spans of two documents or more, with the words that are right.

    A span counts as held back where the other documents would have given the shape with its word, also where the word
    is left out in the end.
    """
    families = _families(texts)
    for family in families:
        tried = _Tried.of(_without_hopeless(family, texts[:_FIRST]), texts)
        words = [word for word in tried.family.words if tried.is_right(word)]
        if words:
            draft = family.draft(words)
            source = draft.untried("suggested")
            added = tried.found if len(words) == len(tried.family.words) else additions(source, texts, family.label)
            held_back = frozenset(filter(tried.is_held_back, tried.found))
            yield Candidate(draft, source, added, held_back, len(families))


@dataclass(frozen=True, eq=False)
class _Tried:
    """What a family finds with all its words. right, said: how many spans are gold, and how many there are, by (word,
    document), and of all documents by (word, None).
    """

    family: Family
    texts: Sequence[KnownText]
    found: frozenset[Found]
    right: Counter[tuple[str, Hashable]]
    said: Counter[tuple[str, Hashable]]

    @classmethod
    def of(cls, family: Family, texts: Sequence[KnownText]) -> _Tried:
        source = family.draft(family.words).untried("suggested")
        found = additions(source, texts if family.words else (), family.label)
        right: Counter[tuple[str, Hashable]] = Counter()
        said: Counter[tuple[str, Hashable]] = Counter()
        for one in found:
            word = family.word_of(texts, one)
            keys = (word, texts[one[0]].document), (word, None)
            said.update(keys)
            right.update(keys if is_gold(texts, one) else ())
        return cls(family, texts, found, right, said)

    def is_right(self, word: str, without: Hashable = None) -> bool:
        """Whether enough of what the word gives is gold, in all documents but one.

        Every word is of two documents or more, so that the other documents give the word, too. A shape without a hole
        has no choice of words.
        """
        if word not in self.family.words or not self.family.shape.slot:
            return word in self.family.words
        right, said = self.right[word, None], self.said[word, None]
        if without is not None:
            right, said = right - self.right[word, without], said - self.said[word, without]
        return right >= _LEAST_RIGHT * said

    def is_held_back(self, found: Found) -> bool:
        """Whether the other documents would have given it."""
        return self.is_right(self.family.word_of(self.texts, found), self.texts[found[0]].document)


def _without_hopeless(family: Family, texts: Sequence[KnownText]) -> Family:
    """The family without the words that are wrong again and again in the first texts."""
    tried = _Tried.of(family, texts)
    hopeless = {
        word
        for word in family.words
        if tried.said[word, None] >= _MANY and tried.right[word, None] < _HOPELESS * tried.said[word, None]
    }
    return replace(family, words={word: given for word, given in family.words.items() if word not in hopeless})


def _families(texts: Sequence[KnownText]) -> list[Family]:
    given: dict[tuple[str, Shape], dict[str, set[Hashable]]] = defaultdict(lambda: defaultdict(set))
    for text in texts:
        for span in sorted(text.missed):
            for shape, word in shapes_of(text.text, span.start, span.end):
                given[span.label, shape][word].add(text.document)
    families = []
    for (label, shape), words in given.items():
        common = sorted(words, key=lambda word: (-len(words[word]), word))[:_MOST_WORDS]
        kept = {word: frozenset(words[word]) for word in common if len(words[word]) >= LEAST_DOCUMENTS}
        if kept:
            families.append(Family(label, shape, kept))
    families.sort(key=lambda one: (-len(one.documents), one.label, one.shape))
    return families[:MOST_SHAPES]


def _inner(words: Sequence[str]) -> str:
    return any_of(words).removeprefix("(?:").removesuffix(")") if len(words) > 1 else any_of(words)
