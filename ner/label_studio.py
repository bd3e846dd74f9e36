"""Label Studio's task and result JSON to text and spans, and back. No function here talks to a server.

Offsets are half-open Unicode code points on both sides. The server does not validate results: every part of a result
may be missing, of another type or out of range. What cannot be learned from is set aside with its reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ner.documents import check_text
from ner.errors import InputError
from ner.label_config import OTHER_CONTROL, UNSUPPORTED_OBJECT, LabelConfig, NotLearned
from ner.spans import OVERLAPS, Span, check_span, drop_overlaps, trim_whitespace
from ner.task_data import MISSING, field_names, find_field, shown_text

__all__ = [
    "BLANK",
    "DOUBTS",
    "INVERTED",
    "MALFORMED",
    "MAPPED_AWAY",
    "NOT_A_SPAN",
    "NO_LABEL",
    "OTHER_CONTROL",
    "OTHER_LABELS",
    "OUTSIDE_CONFIG",
    "OUTSIDE_TEXT",
    "OVERLAPS",
    "REASONS",
    "SEVERAL_LABELS",
    "TEXT_REFUSED",
    "UNSUPPORTED_OBJECT",
    "WORDS_DIFFER",
    "LabelConfig",
    "NotLearned",
    "ReadResult",
    "clip_score",
    "read_result",
    "task_text",
    "to_result",
]

OUTSIDE_CONFIG = "label outside the config"
OUTSIDE_TEXT = "span outside the text"
INVERTED = "span inverted or empty"
SEVERAL_LABELS = "several labels on a region"
OTHER_LABELS = "labels of a control that is not in the config"
NO_LABEL = "region without a label"
WORDS_DIFFER = "words differ from the text at the offsets"
MALFORMED = "malformed region"
BLANK = "blank span"
MAPPED_AWAY = "label mapped to O"
NOT_A_SPAN = "not a span region"
TEXT_REFUSED = "text refused"

DOUBTS = frozenset(
    {OUTSIDE_CONFIG, OUTSIDE_TEXT, INVERTED, SEVERAL_LABELS, OTHER_LABELS, NO_LABEL, WORDS_DIFFER, MALFORMED}
)
"""The reasons for which something that was said about a text was not understood: such a text is not gold."""

REASONS = (
    OUTSIDE_CONFIG,
    OUTSIDE_TEXT,
    INVERTED,
    SEVERAL_LABELS,
    OTHER_LABELS,
    NO_LABEL,
    WORDS_DIFFER,
    MALFORMED,
    BLANK,
    MAPPED_AWAY,
    OVERLAPS,
    OTHER_CONTROL,
    NOT_A_SPAN,
    UNSUPPORTED_OBJECT,
    TEXT_REFUSED,
)
"""Every reason `read_result` gives."""

_UNDEFINED = "$undefined$"
_UNSUPPORTED_TYPES = frozenset({"hypertextlabels", "paragraphlabels"})
_NO_MAP: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class ReadResult:
    """The spans of one annotation, in text order and without overlaps, and what was set aside.

    trimmed: the regions, as they were drawn, that had whitespace at an end, which their spans do not have.
    """

    spans: tuple[Span, ...]
    set_aside: tuple[NotLearned, ...] = ()
    trimmed: tuple[Span, ...] = ()


def task_text(task: object, config: LabelConfig) -> str:
    """The text of a task: the value of the config's data field, as Label Studio's page finds and shows it.

    Raises InputError when the task or its `data` is no object, when the field is missing, and when its value cannot be
    shown as a text (`task_data.shown_text`). The text itself is checked by `documents.check_text`, not here. Label
    Studio names the only field of an imported list `$undefined$`.
    """
    data = task.get("data") if isinstance(task, dict) else None
    if not isinstance(data, dict):
        raise InputError("a task is an object with an object `data`", value=repr(task))
    found = find_field(data, config.data_field)
    value = data.get(_UNDEFINED, MISSING) if found is MISSING else found
    if value is MISSING:
        raise InputError(
            f"a task has the data field {config.data_field!r}, which the <Text> of the label config shows",
            value=f"fields {list(field_names(data))}",
            next_step="Give the task that field, or mend the <Text> value of the label config.",
        )
    try:
        return shown_text(value)
    except InputError as error:
        raise InputError(
            f"{error.rule} (the task's data field {config.data_field!r})",
            value=error.value,
            next_step="Give the task a text, or leave the task out.",
        ) from None


def read_result(
    result: object, text: str, config: LabelConfig, label_map: Mapping[str, str] | None = None
) -> ReadResult:
    """The spans of the `result` of an annotation or prediction over `text`. No content of `result` raises an error.

    label_map: renames labels before the config is searched for them; a label that the map lacks keeps its name. The
    spans follow the offsets, not `value.text`, in which Label Studio collapses spaces. Whitespace at the ends of a
    region is not part of its span. Of overlapping regions the longest is kept (`spans.drop_overlaps`).
    """
    refusal = _text_refusal(text)
    if refusal is not None:
        return ReadResult((), (NotLearned(TEXT_REFUSED, {"rule": refusal, "result": result}),))
    if not isinstance(result, list):
        return ReadResult((), (NotLearned(NOT_A_SPAN, result),))
    read: list[tuple[Span, Any]] = []
    aside: list[NotLearned] = []
    trimmed: list[Span] = []
    for region in result:
        drawn = _read_region(region, text, config, label_map or _NO_MAP)
        if isinstance(drawn, str):
            aside.append(NotLearned(drawn, region))
            continue
        start, end = trim_whitespace(text, drawn.start, drawn.end)
        if start == end:
            aside.append(NotLearned(INVERTED, region))
            continue
        if (start, end) != (drawn.start, drawn.end):
            trimmed.append(drawn)
        read.append((Span(start, end, drawn.label), region))
    kept, dropped = drop_overlaps(span for span, _ in read)
    return ReadResult(kept, (*aside, *_overlapping(dropped, read)), tuple(trimmed))


def to_result(spans: Iterable[Span], text: str, config: LabelConfig) -> list[dict[str, Any]]:
    """The regions of a prediction, with unique ids; a span's score is clipped into 0..1.

    Raises InputError for a span outside the text, which the server would store as it is, and for a label outside the
    config, which the server would drop in silence.
    """
    return [_region(index, span, text, config) for index, span in enumerate(spans)]


def _region(index: int, span: Span, text: str, config: LabelConfig) -> dict[str, Any]:
    check_span(span, len(text))
    region: dict[str, Any] = {
        "id": f"s{span.start}-{span.end}-{index}",
        "from_name": config.control_of(span.label),
        "to_name": config.to_name,
        "type": "labels",
        "value": {
            "start": span.start,
            "end": span.end,
            "text": text[span.start : span.end],
            "labels": [span.label],
        },
    }
    if span.score is not None:
        region["score"] = clip_score(span.score)
    return region


def clip_score(score: float) -> float:
    """The score within 0..1, 0 for NaN: for a score above 1, Label Studio drops the whole prediction in silence."""
    return min(1.0, max(0.0, float(score))) if score == score else 0.0


def _text_refusal(text: object) -> str | None:
    try:
        check_text(text)
    except InputError as error:
        return str(error)
    return None


def _read_region(region: object, text: str, config: LabelConfig, label_map: Mapping[str, str]) -> Span | str:
    """The span as drawn, or the reason why there is none."""
    if not isinstance(region, dict):
        return NOT_A_SPAN
    misplaced = _misplaced(region, config)
    if misplaced is not None:
        return misplaced
    value = region["value"]
    names = value.get("labels")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        return NOT_A_SPAN
    if len(set(names)) > 1:
        return SEVERAL_LABELS
    label = label_map.get(names[0], names[0])
    if label not in config.labels:
        return OUTSIDE_CONFIG
    start, end = value.get("start"), value.get("end")
    if not _is_offset(start) or not _is_offset(end):
        return NOT_A_SPAN
    if start >= end:
        return INVERTED
    return Span(start, end, label) if start >= 0 and end <= len(text) else OUTSIDE_TEXT


def _misplaced(region: dict[str, Any], config: LabelConfig) -> str | None:
    """Why the region is not of the config's control and text; None when it is."""
    kind, value = region.get("type"), region.get("value")
    if isinstance(kind, str) and kind.lower() in _UNSUPPORTED_TYPES:
        return UNSUPPORTED_OBJECT
    if not isinstance(region.get("from_name"), str) or not isinstance(value, dict):
        return NOT_A_SPAN
    if not config.accepts(region["from_name"], region.get("to_name")):
        return UNSUPPORTED_OBJECT if "startOffset" in value and kind == "labels" else OTHER_CONTROL
    return None if kind == "labels" else NOT_A_SPAN


def _is_offset(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _overlapping(dropped: Iterable[Span], read: list[tuple[Span, Any]]) -> Iterable[NotLearned]:
    """Each dropped span with its region; of two equal regions, the later one."""
    regions: dict[Span, list[Any]] = {}
    for span, region in read:
        regions.setdefault(span, []).append(region)
    return [NotLearned(OVERLAPS, regions[span].pop()) for span in dropped]
