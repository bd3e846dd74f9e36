"""Apply labelling functions to documents; a function that breaks a rule is reported by name, and the run goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic

from ner.errors import InputError
from ner.spans import Span, check_span, flat_spans
from weak_labeling.functions import LabelingFunction
from weak_labeling.source import DocumentId, Vote


@dataclass(frozen=True)
class Failure(Generic[DocumentId]):
    """A function's votes on one document were set aside; `reason` says what the function did."""

    function: str
    document_id: DocumentId
    reason: str


@dataclass(frozen=True)
class AppliedFunctions(Generic[DocumentId]):
    """`votes` holds every document, in order, with its votes in text order: none where every function abstained."""

    votes: dict[DocumentId, tuple[Vote, ...]]
    failures: tuple[Failure[DocumentId], ...]

    def failures_by_function(self) -> dict[str, int]:
        """Documents on which a function failed, for each that did; in order of name."""
        return dict(sorted(Counter(failure.function for failure in self.failures).items()))


def apply_functions(
    functions: Iterable[LabelingFunction],
    documents: Iterable[tuple[DocumentId, str]],
    labels: Collection[str],
) -> AppliedFunctions[DocumentId]:
    """Every function on every `(id, text)`. All of a function's votes on a document are kept, or none of them.

    None are kept, and a Failure says why, when the function raises or yields something that is not a Span, a span that
    does not lie in the text, or a label outside `labels`. White space at the ends of a span does not count. Of
    overlapping spans of one function the longest counts. Scores are dropped.
    """
    functions = tuple(functions)
    votes: dict[DocumentId, tuple[Vote, ...]] = {}
    failures: list[Failure[DocumentId]] = []
    for document_id, text in documents:
        cast: list[Vote] = []
        for function in functions:
            try:
                spans = tuple(_checked(function, text, labels))
            except Exception as error:  # noqa: BLE001 - anything may happen in a user's function; none may end the run
                failures.append(Failure(function.name, document_id, _reason(error)))
            else:
                cast += (Vote(span, function.name) for span in flat_spans(text, set(spans)))
        votes[document_id] = tuple(sorted(cast, key=_place))
    return AppliedFunctions(votes, tuple(failures))


def _checked(function: LabelingFunction, text: str, labels: Collection[str]) -> Iterator[Span]:
    for span in function(text) or ():
        if not isinstance(span, Span) or type(span.start) is not int or type(span.end) is not int:
            raise InputError("a labelling function yields Spans with whole numbers", value=span)
        check_span(span, len(text))
        if span.label not in labels:
            raise InputError(f"a vote's label is one of {', '.join(labels)}", value=span.label)
        yield span.without_score()


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, InputError) else f"raised {type(error).__name__}: {error}"


def _place(vote: Vote) -> tuple[int, int, str, str]:
    return vote.span.start, vote.span.end, vote.span.label, vote.source
