"""Apply labelling functions to documents; a function that breaks a rule is reported by name, and the run goes on.

`weak_labeling.workers` does the same in processes of their own, where a function may hang or end its process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Generic

from ner.errors import InputError
from ner.spans import Span, check_span, flat_spans
from weak_labeling.source import DocumentId, Fault, TextSource, Vote

_REASON_CHARS = 300


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
    functions: Iterable[TextSource],
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
            answer = answer_of(function, text, labels)
            if isinstance(answer, Fault):
                failures.append(Failure(function.name, document_id, answer.reason))
            else:
                cast += (Vote(span, function.name) for span in answer)
        votes[document_id] = tuple(sorted(cast, key=_place))
    return AppliedFunctions(votes, tuple(failures))


def answer_of(source: TextSource, text: str, labels: Collection[str]) -> tuple[Span, ...] | Fault:
    """What one source says of one text by the rules of `apply_functions`; a Fault when it breaks one."""
    try:
        return checked_spans(source(text) or (), text, labels)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - anything may happen in a user's function; none ends a run
        return Fault(reason_of(error))


def checked_spans(spans: Iterable[Span], text: str, labels: Collection[str]) -> tuple[Span, ...]:
    """The spans in text order, flat, without scores. Raises InputError for what is no vote on this text."""
    return flat_spans(text, {_checked(span, text, labels) for span in spans})


def reason_of(error: BaseException) -> str:
    """What a source did, in words for people."""
    if isinstance(error, InputError):
        return str(error)
    try:
        return f"raised {type(error).__name__}: {error}"[:_REASON_CHARS]
    except Exception:  # noqa: BLE001 - the error is the user's own, too
        return f"raised {type(error).__name__}"


def _checked(span: Span, text: str, labels: Collection[str]) -> Span:
    if not isinstance(span, Span) or type(span.start) is not int or type(span.end) is not int:
        raise InputError("a source of weak labels yields Spans with whole numbers", value=span)
    check_span(span, len(text))
    if span.label not in labels:
        raise InputError(f"a vote's label is one of {', '.join(labels)}", value=span.label)
    return span.without_score()


def _place(vote: Vote) -> tuple[int, int, str, str]:
    return vote.span.start, vote.span.end, vote.span.label, vote.source
