"""Label Studio's task and result JSON to text and spans, and back. No function here talks to a server.

Offsets are half-open Unicode code points on both sides. The server does not validate results: every part of a result
may be missing, of another type or out of range. What cannot be learned from is set aside with its reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ner.documents import check_text
from ner.errors import InputError
from ner.label_studio.label_config import OTHER_CONTROL, UNSUPPORTED_OBJECT, LabelConfig, NotLearned
from ner.label_studio.offsets import CODE_POINTS, Claim, Converter, OffsetUnit, proven_unit, same_words, to_code_points
from ner.label_studio.task_data import MISSING, UNDEFINED, field_names, find_field, shown_text
from ner.labels import OUTSIDE
from ner.spans import OVERLAPS, Span, check_span, drop_overlaps, trim_whitespace

OUTSIDE_CONFIG = "label outside the config"
OUTSIDE_TEXT = "span outside the text"
INVERTED = "span ends before it starts"
SEVERAL_LABELS = "several labels on a region"
OTHER_LABELS = "labels of a control that is not in the config"
NO_LABEL = "region without a label"
WORDS_DIFFER = "words differ from the text at the offsets"
MALFORMED = "malformed region"
BLANK = "blank span"
MAPPED_AWAY = "label mapped to O"
NOT_A_SPAN = "not a span region"
TEXT_REFUSED = "text refused"

TEXT_AT_OFFSETS = "text_at_offsets"
"""The key under which a region that is set aside as WORDS_DIFFER shows the text that stands at its offsets."""

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

_LABELS = "labels"
_MOST_DIGITS = 18
_LABELS_OF_MARKUP = frozenset({"hypertextlabels", "paragraphlabels"})
# Label Studio's further types of regions and of answers, which mark no words: shapes, times, choices, free text.
_NO_SPANS = frozenset(
    {
        "bitmask",
        "bitmasklabels",
        "brush",
        "brushlabels",
        "chatmessage",
        "choices",
        "datetime",
        "ellipse",
        "ellipselabels",
        "keypoint",
        "keypointlabels",
        "magicwand",
        "number",
        "ocrlabels",
        "pairwise",
        "polygon",
        "polygonlabels",
        "ranker",
        "rating",
        "reactcode",
        "rectangle",
        "rectanglelabels",
        "relation",
        "relations",
        "taxonomy",
        "textarea",
        "timelinelabels",
        "timeserieslabels",
        "vector",
        "vectorlabels",
        "videorectangle",
        "videovector",
        "videovectorlabels",
    }
)
_NO_MAP: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class ReadResult:
    """The spans of one annotation, in text order and without overlaps, and what was set aside."""

    spans: tuple[Span, ...]
    set_aside: tuple[NotLearned, ...] = ()

    @property
    def doubts(self) -> tuple[NotLearned, ...]:
        """What was said of the text and was not understood."""
        return tuple(item for item in self.set_aside if item.reason in DOUBTS)

    @property
    def in_doubt(self) -> bool:
        """Whether the annotation must not be taken for complete: its text is then not gold."""
        return bool(self.doubts)


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
    value = data.get(UNDEFINED, MISSING) if found is MISSING else found
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
    result: object,
    text: str,
    config: LabelConfig,
    label_map: Mapping[str, str] | None = None,
    unit: OffsetUnit = CODE_POINTS,
) -> ReadResult:
    """The spans of the `result` of an annotation or prediction over `text`. No content of `result` raises an error.

    label_map: renames labels before the config is searched for them; a label that the map lacks keeps its name. A label
    that becomes "O" is no entity of this project. unit: what the offsets of the result count; spans count code points.

    A region that repeats its words (`value.text`) is believed only where these words stand at its offsets. Whitespace
    at the ends of a region is not part of its span. Of overlapping regions the longest is kept (`spans.drop_overlaps`).
    """
    refusal = _text_refusal(text)
    if refusal is not None:
        return ReadResult((), (NotLearned(TEXT_REFUSED, {"rule": refusal, "result": result}),))
    if not isinstance(result, list):
        return ReadResult((), (NotLearned(NOT_A_SPAN if result is None else MALFORMED, result),))
    reader = _Reader(text, config, frozenset(config.labels), label_map or _NO_MAP, to_code_points(text, unit))
    read: list[tuple[Span, Any]] = []
    aside: list[NotLearned] = []
    for region in result:
        drawn = _read_region(reader, region)
        if isinstance(drawn, NotLearned):
            aside.append(drawn)
            continue
        start, end = trim_whitespace(text, drawn.start, drawn.end)
        if start == end:
            aside.append(NotLearned(BLANK, region))
        else:
            read.append((Span(start, end, drawn.label), region))
    read, contradicting = _without_contradictions(read)
    kept, dropped = drop_overlaps(span for span, _ in read)
    return ReadResult(kept, (*aside, *contradicting, *_overlapping(dropped, read)))


def marks_no_words(region: Mapping[str, Any]) -> bool:
    """Whether a region is an answer of a type that marks no words, such as choices, free text or a shape."""
    return _kind(region) in _NO_SPANS


def repeated_words(result: object, text: str, config: LabelConfig) -> Iterator[Claim]:
    """What the regions of a result claim by repeating their words: (text, start, end, words), offsets as they came.

    A region that repeats no words, or whose offsets are no whole numbers, claims nothing. See `offsets.proven_unit`.
    """
    for region in result if isinstance(result, list) else ():
        if isinstance(region, dict) and config.accepts(region.get("from_name"), region.get("to_name")):
            claim = claim_of(region, text)
            if claim is not None:
                yield claim


def claim_of(region: Mapping[str, Any], text: str) -> Claim | None:
    """What one region claims by repeating its words; blank words stand anywhere, and claim nothing."""
    value = region.get("value")
    if not isinstance(value, dict):
        return None
    words, start, end = value.get("text"), _as_offset(value.get("start")), _as_offset(value.get("end"))
    told = isinstance(words, str) and bool(words.strip()) and start is not None and end is not None
    return (text, start, end, words) if told else None  # type: ignore[return-value]


def unit_of_result(result: object, text: str, config: LabelConfig) -> OffsetUnit:
    """The unit of one annotation's offsets, proven by all of its regions that repeat their words; else code points."""
    if not isinstance(text, str) or (text.isascii() and "\r\n" not in text):
        return CODE_POINTS
    return proven_unit(repeated_words(result, text, config), least_share=1.0).unit


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


def _read_region(reader: _Reader, region: object) -> Span | NotLearned:
    if not isinstance(region, dict):
        return NotLearned(MALFORMED, region)
    try:
        return reader.span(region)
    except _NoSpanError as error:
        return NotLearned(error.reason, {**region, **error.shown})


class _NoSpanError(Exception):
    """A region has no span. `reason` is one of REASONS; `shown` is set aside with the region."""

    def __init__(self, reason: str, **shown: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.shown = shown


@dataclass(frozen=True, slots=True)
class _Reader:
    """What the regions over one text are read by."""

    text: str
    config: LabelConfig
    labels: frozenset[str]
    label_map: Mapping[str, str]
    to_code_points: Converter

    def span(self, region: dict[str, Any]) -> Span:
        """The span as drawn. Raises _NoSpanError with the reason why there is none."""
        self._check_control(region)
        kind, value = _kind(region), region.get("value")
        if kind in _NO_SPANS:
            raise _NoSpanError(NOT_A_SPAN)
        if kind in _LABELS_OF_MARKUP:
            raise _NoSpanError(OTHER_LABELS)
        if kind != _LABELS or not isinstance(value, dict):
            raise _NoSpanError(MALFORMED)
        label = self._label(value.get("labels"))
        start, end = self._place(value.get("start"), value.get("end"))
        words = value.get("text")
        if isinstance(words, str) and words.strip() and not same_words(self.text, start, end, words):
            raise _NoSpanError(WORDS_DIFFER, **{TEXT_AT_OFFSETS: self.text[start:end]})
        return Span(start, end, label)

    def _check_control(self, region: dict[str, Any]) -> None:
        """Raise _NoSpanError for a region of a control that is not learned from."""
        names = region.get("from_name"), region.get("to_name")
        if self.config.accepts(*names):
            return
        kind, value = _kind(region), region.get("value")
        keys = value if isinstance(value, dict) else {}
        if self.config.knows(*names):
            over_markup = kind in _LABELS_OF_MARKUP or (kind == _LABELS and "startOffset" in keys)
            raise _NoSpanError(UNSUPPORTED_OBJECT if over_markup else OTHER_CONTROL)
        if kind in _NO_SPANS:
            raise _NoSpanError(OTHER_CONTROL if isinstance(names[0], str) else NOT_A_SPAN)
        if not all(isinstance(name, str) for name in names) or not keys:
            raise _NoSpanError(MALFORMED)
        if kind == _LABELS or kind in _LABELS_OF_MARKUP or "labels" in keys:
            raise _NoSpanError(OTHER_LABELS)
        raise _NoSpanError(MALFORMED if "start" in keys and "end" in keys else OTHER_CONTROL)

    def _label(self, names: object) -> str:
        """The one label in the project's words. Labels that the map drops do not count beside another."""
        if names is None or names == []:
            raise _NoSpanError(NO_LABEL)
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise _NoSpanError(MALFORMED)
        dropped = [name for name in names if self.label_map.get(name) == OUTSIDE]
        labels = {self.label_map.get(name, name) for name in names if name not in dropped}
        if not labels:
            raise _NoSpanError(MAPPED_AWAY)
        if len(labels) > 1:
            raise _NoSpanError(SEVERAL_LABELS)
        label = labels.pop()
        if label not in self.labels:
            raise _NoSpanError(OUTSIDE_CONFIG)
        return label

    def _place(self, first: object, last: object) -> tuple[int, int]:
        """The offsets in code points, start <= end, within the text."""
        start, end = _as_offset(first), _as_offset(last)
        if start is None or end is None:
            raise _NoSpanError(MALFORMED)
        if start > end:
            raise _NoSpanError(INVERTED)
        if start < 0:
            raise _NoSpanError(OUTSIDE_TEXT)
        begin, stop = self.to_code_points(start), self.to_code_points(end)
        if begin is None or stop is None:
            raise _NoSpanError(OUTSIDE_TEXT)
        return begin, stop


def _kind(region: Mapping[str, Any]) -> str:
    kind = region.get("type")
    return kind.lower() if isinstance(kind, str) else ""


def _as_offset(value: object) -> int | None:
    """A whole number, also as pandas writes it (3.0, or "3" where a column was read as text); None for any other."""
    if isinstance(value, int):
        return None if isinstance(value, bool) else value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS:
        return int(value)
    return None


def _without_contradictions(read: list[tuple[Span, Any]]) -> tuple[list[tuple[Span, Any]], list[NotLearned]]:
    """The spans whose place has one label, and the regions of the others: two labels on the same words."""
    labels: dict[tuple[int, int], set[str]] = {}
    for span, _ in read:
        labels.setdefault((span.start, span.end), set()).add(span.label)
    if len(labels) == len(read):
        return read, []
    kept = [(span, region) for span, region in read if len(labels[span.start, span.end]) == 1]
    aside = [NotLearned(SEVERAL_LABELS, region) for span, region in read if len(labels[span.start, span.end]) > 1]
    return kept, aside


def _overlapping(dropped: Sequence[Span], read: list[tuple[Span, Any]]) -> Iterable[NotLearned]:
    """Each dropped span with its region; of two equal regions, the later one."""
    regions: dict[Span, list[Any]] = {}
    for span, region in read if dropped else ():
        regions.setdefault(span, []).append(region)
    return [NotLearned(OVERLAPS, regions[span].pop()) for span in dropped]
