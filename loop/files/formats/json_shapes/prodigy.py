"""Prodigy's answers (`prodigy db-out`): `text`, `spans`, and whether a person accepted, rejected or ignored them.

Only an accepted answer of an interface in which all entities of a text are marked is gold. In a binary answer
(`ner.teach`) a person says yes or no to one span. An answer of another interface, such as a choice, says nothing of
entities. These answers are counted and shown. All rows with one text are one document: with one annotation for each
person where several people marked it. https://prodi.gy/docs/api-interfaces
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from loop.files.formats.json_shapes.same_text import REJECTED
from loop.files.formats.json_shapes.shapes import JsonShape, Place, record_of, text_of
from loop.files.formats.json_shapes.span_items import first_of, regions_of
from loop.files.records import GOLD, Record, as_moment, labelling
from ner.errors import InputError
from ner.label_studio.label_config import NotLearned
from store.annotations import NewAnnotation

IGNORED, UNANSWERED = "ignored answer", "spans without an answer"
BINARY, OTHER_INTERFACE = "yes or no to single spans", "answer of an interface that does not mark entities"
NO_SPANS = "accepted answer without `spans`"
_ANSWERS = {"accept": None, "reject": REJECTED, "ignore": IGNORED}
_OWN_KEYS = ("_input_hash", "_task_hash", "_view_id", "_is_binary", "_session_id", "_annotator_id", "_timestamp")
_NO_META = (*_OWN_KEYS, "tokens", "options", "accept", "config", "versions", "view_id", "relations", "html", "label")
_MARKING = frozenset({"ner_manual", "spans_manual"})
_MIXED = frozenset({"blocks", "review"})
# What `ner.teach` writes beside a span; where tokens are given, the span was marked by hand or could have been.
_SUGGESTED = ("score", "rank", "priority", "pattern")


def _claims(value: Any) -> bool:
    if not isinstance(value, dict) or isinstance(value.get("data"), dict):
        return False
    return any(key in value for key in _OWN_KEYS) or value.get("answer") in tuple(_ANSWERS)


def _record(value: dict[str, Any], place: Place) -> Record:
    text = text_of(value, "text")
    read, dropped = ("spans", "answer"), _NO_META
    if place.source.texts_only:
        return record_of(value, place, (), text=text, read=read, dropped=dropped)
    reason = _reason(value)
    said = [_annotation(value, place)] if reason is None and _has_answer(value) else []
    payload = {"spans": value.get("spans"), "answer": value.get("answer"), "by": _person(value)[0]}
    aside = () if reason is None else (NotLearned(reason, payload),)
    record = record_of(value, place, said, text=text, read=read, dropped=dropped, made_id=place.naming.id_of(text))
    return replace(record, aside=aside)


def _has_answer(value: Mapping[str, Any]) -> bool:
    return value.get("answer") is not None


def _reason(value: Mapping[str, Any]) -> str | None:
    """Why a row is not learned from.

    None for a row in which all entities of the text were marked, and for an input that nobody answered.
    """
    if not _has_answer(value):
        return UNANSWERED if value.get("spans") else None
    answer = value["answer"]
    if not isinstance(answer, str) or answer not in _ANSWERS:
        raise InputError("`answer` is accept, reject or ignore", value=answer, next_step="Correct `answer`.")
    spans = value.get("spans") or []
    spans = spans if isinstance(spans, list) else []
    if _is_binary(value, spans):
        return BINARY if answer != "ignore" else IGNORED
    if _ANSWERS[answer] is not None or not _marks_entities(value):
        return _ANSWERS[answer] or OTHER_INTERFACE
    return None if value.get("spans") is not None else NO_SPANS


def _is_binary(value: Mapping[str, Any], spans: Sequence[Any]) -> bool:
    """Whether the answer is about single spans, and not about all entities of the text."""
    view = _view(value)
    answers = [item["answer"] for item in spans if isinstance(item, dict) and item.get("answer") is not None]
    if view in _MARKING:
        return value.get("_is_binary") is True or any(answer != "accept" for answer in answers)
    if value.get("_is_binary") is True or view == "ner" or answers:
        return True
    meta = value.get("meta")
    if view is None and isinstance(meta, dict) and "score" in meta:
        return True
    suggested = (item for item in spans if isinstance(item, dict) and "token_start" not in item)
    return any(key in item for item in suggested for key in _SUGGESTED)


def _view(value: Mapping[str, Any], key: str = "_view_id") -> str | None:
    """The name of the interface; None where an old version left it out."""
    view = value.get(key)
    return view if view is None or isinstance(view, str) else "unknown"


def _marks_entities(value: Mapping[str, Any]) -> bool:
    """Whether the interface marks all entities. Where a row does not name the interface, its spans show it."""
    view = _view(value)
    if view == "review":
        view = _view(value, "view_id")
    if view in _MARKING:
        return True
    if view is not None and view not in _MIXED:
        return False
    has_spans = isinstance(value.get("spans"), list)
    if view in _MIXED:
        return has_spans and isinstance(value.get("tokens"), list)
    return has_spans and not any(key in value for key in ("options", "label"))


def _annotation(value: Mapping[str, Any], place: Place) -> NewAnnotation:
    spans = _with_words(value, place.survey or TokenNumbers())
    regions = regions_of(spans, "spans", place.source.config)
    source_id, who = _person(value)
    when = as_moment(value.get("_timestamp"))
    return replace(labelling(regions), source_updated_at=when, source_id=source_id, creator=who)


def _person(value: Mapping[str, Any]) -> tuple[str, str | None]:
    """The id of the annotation of whoever answered, and who that is, where the row names the person."""
    who = first_of(value, ("_annotator_id", "_session_id"))
    return (f"{GOLD}:{who}", who) if isinstance(who, str) and who.strip() and "\0" not in who else (GOLD, None)


def _with_words(value: Mapping[str, Any], numbers: TokenNumbers) -> Any:
    """The spans with the words that the tokens repeat, which prove the offsets of the file.

    The tokens are those at the offsets of the span. A span that begins or ends inside a token gets the whole tokens
    that it touches: these words differ from those at its offsets, so that the span is in doubt. Such offsets often have
    an inclusive end.

    Where the file's numbers of tokens are right, a span whose numbers name other tokens gets the words of these, and is
    in doubt, too: offsets that were shifted often stand at the borders of other tokens. Where the numbers are not
    right or not there, a program may have cut the text at white space. A span that leaves out only marks of its tokens,
    such as the full stop of `Lyon.`, is then believed.
    """
    spans, tokens = value["spans"], _Tokens.of(value)
    if not isinstance(spans, list) or tokens is None:
        return spans
    return [{**item, "text": words} if (words := _words(item, tokens, numbers)) else item for item in spans]


def _words(item: Any, tokens: _Tokens, numbers: TokenNumbers) -> str | None:
    """What the tokens say that a span covers; None where they say nothing, or the span repeats its words itself."""
    at_offsets = tokens.at_offsets(item)
    if at_offsets is None or isinstance(item.get("text"), str):
        return None
    words = tokens.words(*at_offsets)
    named = numbers.tokens_of(item)
    beyond = tokens.beyond(item, *at_offsets)
    if named is None and beyond and not any(map(str.isalnum, beyond)):
        return None
    if named is None or named == at_offsets:
        return words
    first, behind = named
    other = tokens.words(first, behind)
    # The same words may stand in two places.
    return other if other.strip() and other != words else f"{other} (tokens {first} to {behind - 1})".strip()


@dataclass(frozen=True)
class _Tokens:
    """The tokens of a row; `by_start` and `by_end`: their places in the row by their offsets."""

    tokens: Sequence[Mapping[str, Any]]
    by_start: Mapping[int, int]
    by_end: Mapping[int, int]

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> _Tokens | None:
        tokens = value.get("tokens")
        if not isinstance(tokens, list) or not all(map(_is_token, tokens)):
            return None
        by_start, by_end = ({token[key]: at for at, token in enumerate(tokens)} for key in ("start", "end"))
        return cls(tokens, by_start, by_end)

    def at_offsets(self, item: Any) -> tuple[int, int] | None:
        """(first, behind) of the tokens that a span touches; equal where it touches none. None for a broken span."""
        start, end = (item.get("start"), item.get("end")) if isinstance(item, dict) else (None, None)
        if type(start) is not int or type(end) is not int:
            return None
        first, last = self.by_start.get(start), self.by_end.get(end)
        if first is not None and last is not None and first <= last:
            return first, last + 1
        touched = [at for at, token in enumerate(self.tokens) if token["start"] < end and start < token["end"]]
        return (touched[0], touched[-1] + 1) if touched else (0, 0)

    def beyond(self, item: Mapping[str, Any], first: int, behind: int) -> str:
        """The characters of these tokens that stand outside of the span."""
        if first == behind:
            return ""
        begin, last = self.tokens[first], self.tokens[behind - 1]
        before: str = begin["text"][: max(0, item["start"] - begin["start"])]
        after: str = last["text"][max(0, item["end"] - last["start"]) :]
        return before + after

    def words(self, first: int, behind: int) -> str:
        return " ".join(token["text"] for token in self.tokens[max(0, first) : max(0, behind)])


@dataclass
class TokenNumbers:
    """Whether `token_start` and `token_end` of a file name the tokens that stand at the offsets of its spans.

    Prodigy counts tokens from 0, and `token_end` is the last token; spaCy's `Span.end`, which programs write in its
    place, is the token behind. Many programs write any numbers at all. The numbers of a file are read only where most
    of them fit the offsets: those that do not fit show a span that was damaged.
    """

    fitting: Counter[int] = field(default_factory=Counter)
    total: int = 0

    def see(self, value: Any) -> None:
        """Count the spans of a row that have numbers."""
        tokens = _Tokens.of(value) if value.get("spans") else None
        if tokens is None or not isinstance(value["spans"], list):
            return
        for item in value["spans"]:
            at_offsets = tokens.at_offsets(item)
            if at_offsets is not None and (numbers := _numbers(item)) is not None:
                self.total += 1
                self.fitting.update(more for more in (0, 1) if (numbers[0], numbers[1] + more) == at_offsets)

    def said(self) -> Sequence[str]:
        """A sentence where the numbers of the file are not read."""
        if self._more() is not None or not self.total:
            return ()
        wrong = self.total - max(self.fitting.values(), default=0)
        return (
            f"`token_start` and `token_end` of {wrong:,} of {self.total:,} spans name other tokens than their offsets. "
            "The offsets are read, and these numbers are not.",
        )

    def tokens_of(self, item: Mapping[str, Any]) -> tuple[int, int] | None:
        """(first, behind) of the tokens that the numbers of a span name; None where they are not there or not read."""
        more, numbers = self._more(), _numbers(item)
        return None if more is None or numbers is None else (numbers[0], numbers[1] + more)

    def _more(self) -> int | None:
        """What makes of `token_end` the token behind: 1, or 0 for spaCy's; None where most numbers do not fit."""
        more, count = max(self.fitting.items(), key=lambda one: one[1], default=(1, 0))
        return more if 2 * count > self.total else None


def _numbers(item: Mapping[str, Any]) -> tuple[int, int] | None:
    first, end = item.get("token_start"), item.get("token_end")
    return (first, end) if type(first) is int and type(end) is int else None


def _is_token(token: Any) -> bool:
    return (
        isinstance(token, dict)
        and isinstance(token.get("text"), str)
        and type(token.get("start")) is int
        and type(token.get("end")) is int
    )


SHAPE = JsonShape(
    name="prodigy",
    title="Prodigy: {text, spans, answer}",
    claims=_claims,
    record=_record,
    survey=lambda _: TokenNumbers(),
    joins=True,
)
