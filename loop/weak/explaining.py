"""Who voted what on one text, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from loop.settings.settings import Settings
from loop.weak.aggregating import MOST_UNLABELLED, VotedProject, outcome_of, voted_project
from loop.weak.applying import ask_about
from ner.documents import check_text
from ner.spans import Span
from store.database.schema import HOLDOUT, Project
from store.database.session import Store
from store.documents import find_document
from store.weak.sources import weak_sources
from store.weak.votes import votes_on
from weak_labeling.aggregate.contract import VotedText
from weak_labeling.source import Vote


@dataclass(frozen=True)
class VotedSpan:
    """A span of the text, the sources that vote for it, and those of them whose votes do not count."""

    start: int
    end: int
    label: str
    text: str
    sources: tuple[str, ...]
    muted: tuple[str, ...]


@dataclass(frozen=True)
class OutcomeSpan:
    """A span that the votes say together, with a score from 0 to 1."""

    start: int
    end: int
    label: str
    text: str
    score: float


@dataclass(frozen=True)
class Explained:
    """A text, the votes on it, and the outcome. method: how votes become labels, and reason: why so.

    faults: why a source said nothing, by source. gold: None where nobody labelled the text, or where it is held out.
    told: what sources that are models tell of their answers. asked: whether some source was asked about the text.
    """

    text: str
    document: int | None = None
    external_id: str | None = None
    held_out: bool = False
    votes: tuple[VotedSpan, ...] = ()
    outcome: tuple[OutcomeSpan, ...] = ()
    gold: tuple[Span, ...] | None = None
    method: str = ""
    reason: str = ""
    faults: Mapping[str, str] = field(default_factory=dict)
    told: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    asked: bool = True


def try_text(store: Store, settings: Settings, project: Project, text: str) -> Explained:
    """What the sources of the project's files say of a text now. No vote is stored; the answer of a prompted model is.
    Raises InputError for a text that no project takes in.
    """
    check_text(text)
    voted = voted_project(store, project, MOST_UNLABELLED)
    asked = ask_about(store, settings, project, text, voted.muted)
    explained = _explained(voted, VotedText("tried", text, asked.votes))
    return replace(explained, faults=asked.faults, told=asked.told, problems=asked.problems)


def explain(store: Store, project: Project, name: str) -> Explained:
    """The stored votes on a document, named by its external id or its id. Raises NotFoundError."""
    with store.read() as session:
        document = find_document(session, project.id, name)
        cast = votes_on(session, [document.document_id])
        asked = any(one.applied_to >= document.document_id for one in weak_sources(session, project.id))
    votes = tuple(Vote(vote.span, vote.source) for vote in cast if vote.span.label in project.labels)
    voted = voted_project(store, project, MOST_UNLABELLED)
    gold = voted.gold.get(document.document_id)
    return replace(
        _explained(voted, VotedText(document.document_id, document.text, votes)),
        document=document.document_id,
        external_id=document.external_id,
        held_out=document.split == HOLDOUT,
        gold=None if gold is None else tuple(gold),
        asked=asked or bool(votes),
    )


def _explained(voted: VotedProject, text: VotedText) -> Explained:
    done, spans = outcome_of(voted, text)
    said = tuple(OutcomeSpan(s.start, s.end, s.label, text.text[s.start : s.end], s.score or 0.0) for s in spans)
    votes = tuple(_by_span(text, voted.muted))
    return Explained(text.text, votes=votes, outcome=said, method=done.method, reason=done.reason)


def _by_span(text: VotedText, muted: frozenset[str]) -> Sequence[VotedSpan]:
    sources: dict[Span, list[str]] = {}
    for vote in sorted(text.votes):
        sources.setdefault(vote.span, []).append(vote.source)
    return [
        VotedSpan(
            span.start, span.end, span.label, text.text[span.start : span.end], tuple(names), _among(names, muted)
        )
        for span, names in sources.items()
    ]


def _among(names: Sequence[str], muted: frozenset[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name in muted)
