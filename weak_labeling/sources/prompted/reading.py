"""The words of a prompted model as spans: strict JSON, labels of the project, and quotes that stand in the text.

Nothing that a text tells a model can bring in a label outside the project, or a vote outside the text.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ner.errors import InputError
from ner.spans import Span, flat_spans
from weak_labeling.sources.answers import PromptAnswer
from weak_labeling.sources.prompted.quotes import locate

CUT = "an answer is whole"
NO_JSON = "an answer is JSON alone"
NO_ENTITIES = "an answer is a list of {quote, label}"
NO_ITEM = "an item that is not {quote, label}"
NO_LABEL = "a label that was not asked for"
TOO_MANY = "an item beyond the first 1,000"

_MOST_ITEMS = 1000
_FENCED = re.compile(r"```(?:json)?\s*\n(.*)\n\s*```", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ReadEntities:
    """The spans that an answer names, in text order and apart, and how many of its items were dropped, by reason."""

    spans: tuple[Span, ...]
    dropped: Mapping[str, int]


def answer_schema(labels: Collection[str]) -> Mapping[str, Any]:
    """The JSON schema of an answer. Every key is required, since OpenAI's strict mode takes no other schema."""
    item = {
        "quote": {"type": "string"},
        "label": {"type": "string", "enum": list(labels)},
        "occurrence": {"type": ["integer", "null"]},
    }
    return _closed({"entities": {"type": "array", "items": _closed(item)}})


def _closed(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def read_answer(answer: PromptAnswer, text: str, labels: Collection[str]) -> ReadEntities:
    """What an answer says about a text. Raises InputError for an answer that is not what was asked for.

    The answer is `{"entities": [{"quote", "label"}]}` or the list alone; a fence around it does not count. An item may
    say which `occurrence` of its quote it means, from 1; otherwise it means all of them.
    """
    if answer.finish == "length":
        raise InputError(CUT, value=f"one that was cut after {len(answer.content):,} characters", next_step=_LONGER)
    spans: set[Span] = set()
    dropped: Counter[str] = Counter()
    for number, item in enumerate(_items(answer.content)):
        if number >= _MOST_ITEMS:
            dropped[TOO_MANY] += 1
            continue
        found = _spans(item, text, labels)
        if isinstance(found, str):
            dropped[found] += 1
        else:
            spans.update(found)
    return ReadEntities(flat_spans(text, spans), dict(dropped))


_LONGER = "Raise `max_tokens` in the source's `body`: { temperature = 0, max_tokens = 4096 }, say."


def _items(content: str) -> list[Any]:
    fenced = _FENCED.fullmatch(content.strip())
    try:
        value = json.loads(fenced.group(1) if fenced else content)
    except (ValueError, RecursionError):
        raise InputError(NO_JSON, value=content[:80]) from None
    if isinstance(value, dict):
        value = value.get("entities")
    if not isinstance(value, list):
        raise InputError(NO_ENTITIES, value=content[:80])
    return value


def _spans(item: Any, text: str, labels: Collection[str]) -> Iterator[Span] | str:
    """The spans of an item, or why it is dropped."""
    if not isinstance(item, dict):
        return NO_ITEM
    quote, label, turn = item.get("quote"), item.get("label"), item.get("occurrence")
    if not isinstance(quote, str) or not isinstance(label, str) or not (turn is None or type(turn) is int):
        return NO_ITEM
    if label not in labels:
        return NO_LABEL
    places = locate(text, quote, turn)
    return places if isinstance(places, str) else (Span(start, end, label) for start, end in places)
