"""What gold says that the sources of a project lack, and where it would vote. The holdout is never looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from loop.settings.settings import Settings
from loop.weak.aggregating import VotedProject, voted_project
from loop.weak.applying import label_weakly
from loop.weak.sources import has_sources
from ner.documents import content_hash
from ner.spans import Span
from store.database.schema import Project
from store.database.session import Store
from store.documents import StoredDocument
from weak_labeling.aggregate.contract import VotedText
from weak_labeling.suggesting.evidence import CERTAINTY, KnownText
from weak_labeling.suggesting.ranking import Suggestion, suggestions

# Texts that are read, at most: labelled texts, and texts to which suggestions would add something.
MOST_LABELLED, MOST_UNLABELLED = 3_000, 5_000
_EXAMPLES, _AROUND = 3, 60
Progress = Callable[[int], None]


@dataclass(frozen=True)
class SpanExample:
    """A span that would be added, between the words around it. document: the external id, or the number."""

    document: str
    before: str
    span: str
    after: str


@dataclass(frozen=True)
class SuggestedEntry:
    """An entry of weak.toml that no source has yet. keys: what it would say there.

    spans: labelled spans that the entry finds and no source does, in so many documents. right, judged: of what it adds
    to documents that it was not made from, the spans that are gold. low: the lower bound of that share (0..1), which
    holds with this certainty; for patterns, the bounds of all patterns hold with it together. new_spans: what it adds
    to unlabelled texts, in so many texts.
    """

    number: int
    kind: str
    label: str
    keys: Mapping[str, str | Sequence[str]]
    spans: int
    documents: int
    right: int
    judged: int
    low: float
    certainty: float
    new_spans: int
    new_texts: int
    examples: tuple[SpanExample, ...]


@dataclass(frozen=True)
class SuggestionList:
    """The suggestions of a project, the best first.

    labelled, unlabelled: texts that were read. open_texts: all texts that nobody has labelled.
    """

    suggestions: tuple[SuggestedEntry, ...]
    labelled: int
    unlabelled: int
    open_texts: int


@dataclass(frozen=True)
class FoundSuggestions:
    """The suggestions as they are told, and as they are accepted."""

    told: SuggestionList
    ranked: tuple[Suggestion, ...]


def suggest(
    store: Store,
    settings: Settings,
    project: Project,
    *,
    asked: Progress | None = None,
    tried: Progress = lambda _: None,
) -> FoundSuggestions:
    """Ask the sources about what is new, and find what gold has beyond their votes; votes of muted sources, too, count
    as known.

    asked: called with the number of texts that the sources were asked about. tried: called with the number of entries
    that were tried.
    """
    if has_sources(settings):
        label_weakly(store, settings, project, retry=False, progress=asked)
    voted = voted_project(store, project, None)
    by_chance = sorted(zip(voted.documents, voted.texts, strict=True), key=lambda one: content_hash(one[1].text))
    labelled = [one for one in by_chance if one[1].key in voted.gold][:MOST_LABELLED]
    others = [one for one in by_chance if one[1].key not in voted.gold and one[0].document_id not in voted.doubtful]
    unlabelled = others[:MOST_UNLABELLED]
    found = suggestions(
        [_known(document, text, voted) for document, text in labelled],
        [_known(document, text, voted) for document, text in unlabelled],
        tried,
    )
    documents = [document for document, _ in unlabelled]
    entries = tuple(_entry(one, documents) for one in found)
    return FoundSuggestions(SuggestionList(entries, len(labelled), len(unlabelled), len(others)), found)


def _known(document: StoredDocument, text: VotedText, voted: VotedProject) -> KnownText:
    gold = voted.gold.get(document.document_id)
    return KnownText(
        text.text,
        document.group_key,
        frozenset(vote.span.without_score() for vote in text.votes),
        None if gold is None else frozenset(span.without_score() for span in gold if span.label in voted.labels.types),
        voted.unannotated.get(document.document_id, frozenset()),
    )


def _entry(one: Suggestion, documents: Sequence[StoredDocument]) -> SuggestedEntry:
    evidence, draft = one.evidence, one.draft
    return SuggestedEntry(
        one.number,
        draft.kind,
        draft.label,
        draft.keys(),
        evidence.spans,
        evidence.documents,
        evidence.right,
        evidence.judged,
        evidence.low,
        CERTAINTY,
        len(one.added),
        len({place for place, _ in one.added}),
        tuple(_example(documents[place], span) for place, span in _different(one, documents)),
    )


def _different(one: Suggestion, documents: Sequence[StoredDocument]) -> list[tuple[int, Span]]:
    """A few of the spans that it adds, of different words and texts where there are any."""
    first: dict[str, tuple[int, Span]] = {}
    for place, span in one.added:
        first.setdefault(documents[place].text[span.start : span.end].casefold(), (place, span))
    return sorted([*first.values(), *(found for found in one.added if found not in first.values())][:_EXAMPLES])


def _example(document: StoredDocument, span: Span) -> SpanExample:
    text = document.text
    return SpanExample(
        document.external_id or str(document.document_id),
        text[max(0, span.start - _AROUND) : span.start],
        text[span.start : span.end],
        text[span.end : span.end + _AROUND],
    )
