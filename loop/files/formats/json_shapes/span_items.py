"""The marked spans of a text as JSON writes them: a list of `{start, end, label}` or of `[start, end, label]`.

What an item says is handed on as it stands: whether the offsets and the label are good is judged later, for every
format alike (`ner.label_studio.results.read_result`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from loop.files.raw.json_values import parse_json
from loop.files.records import UNREAD, as_whole, region
from ner.errors import InputError
from ner.label_studio.label_config import LabelConfig

# Our own name comes first, then those of doccano, of spaCy's Python objects, and of Hugging Face's pipelines.
_START, _END = ("start", "start_offset", "start_char"), ("end", "end_offset", "end_char")
_LABEL = ("label", "labels", "entity_group", "entity", "type", "tag")
_WORDS = ("text", "word", "value", "mention", "surface_form", "surface", "entity_text", "string")
# Numbers that programs give beside the offsets. Any other may be an offset whose name was damaged.
_NUMBERS = (
    *(*_START, *_END, *_LABEL, "id", "token_start", "token_end", "start_token", "end_token", "index", "rank"),
    *("score", "priority", "pattern", "line", "user", "kb_id", "span_id", "input_hash", "source"),
)
_DEEPEST = 5
_SHOWN = 80
JSON_TEXT, PARSE = "a string that holds JSON", "Write the JSON itself and not a string of it under"


def regions_of(value: Any, key: str, config: LabelConfig) -> list[dict[str, Any]]:
    """The regions of the list under `key`. Raises InputError where `value` is no list of objects or lists."""
    if isinstance(value, str) and value.lstrip().startswith(("[", "{")):
        step = f"Write `{key}` as JSON and not as a string: in Python, json.loads first."
        raise InputError(f"`{key}` is a list", value=f"a string that holds JSON: {value[:80]}", next_step=step)
    if parsed(value) is not value:
        raise InputError(f"`{key}` is a list", value=f"{JSON_TEXT}: {value[:_SHOWN]}", next_step=f"{PARSE} `{key}`.")
    if not isinstance(value, list):
        raise InputError(f"`{key}` is a list", value=value, next_step=f"Leave `{key}` out when there is none.")
    return [_region(item, key, config) for item in value]


def parsed(value: Any) -> Any:
    """What the JSON in a string is, where a string holds an object or a list; else the value as it stands."""
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")):
        return value
    try:
        return parse_json(value)
    except InputError:
        return value


def holds_spans(value: Any, depth: int = _DEEPEST) -> bool:
    """Whether a value under any key is a list of spans with offsets and labels, or holds such a list further inside."""
    if depth == 0 or not isinstance(value, list | dict) or not value:
        return False
    if isinstance(value, dict):
        return any(holds_spans(inner, depth - 1) for inner in value.values())
    first = value[0]
    if isinstance(first, dict) and all(any(key in first for key in keys) for keys in (_START, _END, _LABEL)):
        return True
    if isinstance(first, list) and len(first) == 3 and [type(one) for one in first] == [int, int, str]:
        return True
    return holds_spans(first, depth - 1)


def first_of(item: Mapping[str, Any], keys: Sequence[str]) -> Any:
    """The value of the first of these keys that is there and not null, else None."""
    for key in keys:
        value = item.get(key)
        if value is not None:
            return value
    return None


def _region(item: Any, key: str, config: LabelConfig) -> dict[str, Any]:
    if isinstance(item, dict):
        item, words = _named(item, config)
        read = region(config, first_of(item, _START), first_of(item, _END), _labels(first_of(item, _LABEL)), words)
        unread = [name for name, value in item.items() if type(value) is int and name not in _NUMBERS]
        return {**read, UNREAD: unread} if unread else read
    if isinstance(item, list) and len(item) >= 2:
        is_first = isinstance(item[0], int | float)  # else a number in the place of a label is no label
        labels = [name for one in item[2:] for name in _labels(one)] if is_first else item[2:]
        return region(config, item[0], item[1], labels)
    raise InputError(
        f"each of `{key}` is an object or a list",
        value=item,
        next_step="Write {start, end, label} or [start, end, label].",
    )


def _named(item: Mapping[str, Any], config: LabelConfig) -> tuple[Mapping[str, Any], str | None]:
    """The item, and the words that it repeats. Where `type` is the label, `entity` may be the words."""
    told = (item[key] for key in _WORDS if isinstance(item.get(key), str))
    words = next((one for one in told if one not in config.labels), None)
    entity = item.get("entity")
    others = [item[key] for key in _LABEL if key != "entity" and item.get(key) is not None]
    has_label = isinstance(item.get("type"), str) or any(one in config.labels for one in others)
    if not isinstance(entity, str) or entity in config.labels or not has_label:
        return item, words
    return {key: value for key, value in item.items() if key != "entity"}, entity if words is None else words


def _labels(value: Any) -> list[Any]:
    """The labels that are named; a number is spelled out, so that a map can name it."""
    if value is None:
        return []
    return [_spelled(one) for one in value] if isinstance(value, list) else [_spelled(value)]


def _spelled(label: Any) -> Any:
    label = as_whole(label)
    return str(label) if isinstance(label, int) and not isinstance(label, bool) else label
