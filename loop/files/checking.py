"""The rules that a record obeys before it is used: its text, its ids, and what of its annotations is understood."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from loop.files.records import Record
from ner.documents import check_text
from ner.errors import ConfigError, InputError
from ner.label_studio.label_config import LabelConfig
from ner.label_studio.offsets import CODE_POINTS, OffsetUnit
from ner.label_studio.results import read_result
from ner.labels import OUTSIDE
from ner.spans import Span, check_span
from store.annotations import NewAnnotation
from store.documents import check_key
from weak_labeling.functions import Vote


@dataclass(frozen=True)
class LabelRule:
    """Which labels of a file become which of the project's.

    The map renames a label, or says with "O" that the label is no entity of this project. A label in neither the map
    nor the project is not understood. Raises ConfigError for a map to a label that the project does not have.
    """

    config: LabelConfig
    label_map: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        for source, target in (self.label_map or {}).items():
            if target not in (*self.config.labels, OUTSIDE):
                raise ConfigError(
                    f'label_map maps to labels of the project ({", ".join(self.config.labels)}) or to "{OUTSIDE}"',
                    value=f"{source} = {target}",
                    next_step="Correct the map in loop.toml, or add the label to the label config.",
                )

    def apply(self, label: str) -> str | None:
        """The project's label for `label`; "O" where the map says so; None when the label is not understood."""
        mapped = (self.label_map or {}).get(label)
        if mapped is not None:
            return mapped
        return label if label in self.config.labels else None


def check_record(record: Record, rule: LabelRule, unit: OffsetUnit = CODE_POINTS) -> Record:
    """The record with its annotations read, in the project's labels; InputError names the rule that the record breaks.

    An annotation of which something was not understood has `spans` None, and its `set_aside` says what. `unit`: what
    the offsets of the file count.
    """
    check_text(record.text)
    for key, what in ((record.external_id, "a document's id"), (record.group, "a group")):
        if key is not None:
            check_key(key, what)
    annotations = tuple(_read_annotation(one, record.text, rule, unit) for one in record.annotations)
    return replace(record, annotations=annotations, votes=tuple(_votes(record, rule)))


def _read_annotation(annotation: NewAnnotation, text: str, rule: LabelRule, unit: OffsetUnit) -> NewAnnotation:
    """The annotation as `read_result` understands it; one that came with a reason not to be read stays as it is."""
    if annotation.set_aside:
        return annotation
    read = read_result(annotation.result, text, rule.config, rule.label_map, unit)
    regions: list[Mapping[str, Any]] = [region for region in annotation.result if isinstance(region, dict)]
    if unit is CODE_POINTS:  # else the words would be those at other offsets
        regions = [_with_words(region, text) for region in regions]
    spans = None if read.in_doubt else read.spans
    return replace(annotation, result=regions, spans=spans, set_aside=read.set_aside)


def _with_words(region: Mapping[str, Any], text: str) -> Mapping[str, Any]:
    """The region with the words that it covers, as Label Studio writes them, where the file does not repeat them."""
    value = region.get("value")
    if not isinstance(value, dict) or "text" in value:
        return region
    start, end = value.get("start"), value.get("end")
    if type(start) is not int or type(end) is not int or not 0 <= start < end <= len(text):
        return region
    return {**region, "value": {**value, "text": text[start:end]}}


def _votes(record: Record, rule: LabelRule) -> list[Vote]:
    kept = []
    for vote in record.votes:
        check_span(vote.span, len(record.text))
        label = rule.apply(vote.span.label)
        if label is None:
            raise InputError(
                f"a label is one of the project's ({', '.join(rule.config.labels)})",
                value=vote.span.label,
                next_step=f'Map it in loop.toml: [label_map] "{vote.span.label}" = "...".',
            )
        if label != OUTSIDE:
            kept.append(Vote(Span(vote.span.start, vote.span.end, label), vote.source))
    return kept
