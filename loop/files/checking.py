"""The rules that a record obeys before it enters the store: its text, its labels, and its spans within the text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from loop.files.records import Record
from ner.documents import check_text
from ner.errors import ConfigError, InputError
from ner.spans import Span, check_span
from store.documents import check_key
from weak_labeling.functions import Vote


@dataclass
class LabelRule:
    """Which labels of a file become which of the project's.

    Without a map, a label that the project does not have is refused. With a map, a label is renamed where the map lists
    it, kept where the project has it, and else dropped and counted in `dropped`.
    """

    labels: tuple[str, ...]
    label_map: Mapping[str, str] | None = None
    dropped: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        for source, target in (self.label_map or {}).items():
            if target not in self.labels:
                raise ConfigError(
                    f"label_map maps to labels of the project ({', '.join(self.labels)})",
                    value=f"{source} = {target}",
                    next_step="Correct the map in loop.toml, or add the label to the label config.",
                )

    def apply(self, label: str) -> str | None:
        """The project's label for `label`; None when the map drops it. InputError when it is unknown."""
        if self.label_map and label in self.label_map:
            return self.label_map[label]
        if label in self.labels:
            return label
        if self.label_map is not None:
            return None
        raise InputError(
            f"a label is one of the project's ({', '.join(self.labels)})",
            value=label,
            next_step=f'Add it to the label config, or map it in loop.toml: [label_map] "{label}" = "...".',
        )

    def count_dropped(self, record: Record) -> None:
        """Remember the labels of a record's spans that the map drops, once the record was found to be good."""
        self.dropped.update(span.label for span in record.spans or () if self.apply(span.label) is None)


def check_record(record: Record, rule: LabelRule) -> Record:
    """The record with the project's labels and its spans in text order; InputError names the rule it breaks.

    Spans may overlap here: which of them is learned from is decided later, by the same rule as for what people draw.
    """
    check_text(record.text)
    for key, what in ((record.external_id, "a document's id"), (record.group, "a group")):
        if key is not None:
            check_key(key, what)
    spans = None if record.spans is None else _checked_spans(record.spans, record.text, rule)
    votes = tuple(
        Vote(replace(vote.span, label=label), vote.source)
        for vote in record.votes
        if (label := _checked_label(vote.span, record.text, rule)) is not None
    )
    return replace(record, spans=spans, votes=votes)


def _checked_spans(spans: tuple[Span, ...], text: str, rule: LabelRule) -> tuple[Span, ...]:
    labelled = ((span, _checked_label(span, text, rule)) for span in spans)
    return tuple(sorted(replace(span, label=label) for span, label in labelled if label is not None))


def _checked_label(span: Span, text: str, rule: LabelRule) -> str | None:
    check_span(span, len(text))
    return rule.apply(span.label)
