"""One way from a file to records that are understood: for import, predict, evaluate, compare and simulate.

A file is surveyed as a whole before its records are read: what its offsets count, and which control of Label Studio its
regions belong to, shows only in all of them together. Then each record is checked: its text, its ids, and what of its
annotations is understood.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from loop.files.formats.known import AUTO, JSON, find_format, format_named, notes_on
from loop.files.formats.label_studio.json_min import ROWS
from loop.files.formats.label_studio.other_exports import refuse_other_exports
from loop.files.raw.inputs import Input, open_inputs
from loop.files.record_ids import each_id_once
from loop.files.records import FileHints, Opened, Problem, Record, Source
from ner.documents import check_text
from ner.errors import ConfigError, InputError
from ner.label_studio.label_config import Control, LabelConfig, NotLearned
from ner.label_studio.offsets import CODE_POINTS, OffsetUnit, ProvenUnit, proven_unit
from ner.label_studio.results import claim_of, marks_no_words, read_result
from ner.labels import OUTSIDE
from ner.spans import Span, check_span
from store.annotations import NewAnnotation
from store.documents import check_key
from weak_labeling.source import Vote

_NO_HINTS = FileHints()
OTHER_KIND = "annotation of a project without spans"


@dataclass(frozen=True)
class Request:
    """How files are to be read. `label_map`: of loop.toml. `texts_only`: what they say of entities is not wanted.

    gold: whether what people said of a text is wanted. each_vote: whether a vote that breaks a rule is left out by
    itself; otherwise its whole record breaks the rule.
    """

    config: LabelConfig
    label_map: Mapping[str, str] | None = None
    file_format: str = AUTO
    hints: FileHints = field(default_factory=FileHints)
    texts_only: bool = False
    gold: bool = True
    each_vote: bool = False


@dataclass(frozen=True)
class Reading:
    """A file and how it is understood. `said`: sentences for people on what was recognised.

    format: the name of the format; for JSON, the names of the shapes of its records. holds_spans: False for a file
    whose annotations answer other questions only, such as the class of a text. Such an annotation does not say that the
    text holds no entity.
    """

    name: str
    format: str
    rule: LabelRule
    unit: OffsetUnit
    said: tuple[str, ...]
    opened: Opened
    holds_spans: bool = True
    gold: bool = True
    each_vote: bool = False

    def records(self) -> Iterator[Record | Problem]:
        """Each record with its annotations read, or the problem in its place; from the start, each time anew."""
        for record in each_id_once(self.opened.records()):
            if isinstance(record, Problem):
                yield record
                continue
            try:
                checked = check_record(self._about_spans(record), self.rule, self.unit)
                if checked.bad_votes and not self.each_vote:
                    raise checked.bad_votes[0]
                yield checked
            except InputError as error:
                yield Problem(record.where, error, record.text)

    def _about_spans(self, record: Record) -> Record:
        if not self.gold:
            return replace(record, annotations=(), aside=())
        if self.holds_spans or not record.annotations:
            return record
        others = NotLearned(OTHER_KIND, [list(one.result) for one in record.annotations])
        return replace(record, annotations=(), aside=(*record.aside, others))


@contextmanager
def open_readings(path: Path, request: Request) -> Iterator[tuple[Reading, ...]]:
    """The readings of a file: one, or one for each file of an archive. Raises InputError."""
    rule = LabelRule(request.config, request.label_map)  # a wrong map is said before a long file is read
    with open_inputs(path) as inputs:
        refuse_other_exports([one.name for one in inputs])
        yield tuple(survey(one, request, rule) for one in inputs)


def survey(file: Input, request: Request, rule: LabelRule) -> Reading:
    """Look through the whole file, and settle how it is read. Raises InputError for a file of no known format."""
    chosen = find_format(file, request.hints) if request.file_format == AUTO else format_named(request.file_format)
    opened = chosen.open(file, Source(file.stem, request.config, request.hints, request.texts_only))
    if request.texts_only:
        return Reading(file.name, chosen.name, rule, CODE_POINTS, (*file.said, *opened.said), opened)
    seen = _Survey(request.config)
    proof = proven_unit(seen.claims(opened.records()))
    config, controls = seen.config_of_the_file()
    offsets = () if proof.unit is CODE_POINTS else (_converted(proof, seen.controls.total()),)
    others = () if seen.holds_spans() else (_OTHER_KIND_SAID,)
    return Reading(
        name=file.name,
        format=(" and ".join(sorted(seen.formats)) if chosen is JSON else "") or chosen.name,
        rule=LabelRule(config, request.label_map),
        unit=proof.unit,
        said=(*file.said, *opened.said, *notes_on(seen.formats), *controls, *offsets, *others),
        opened=opened,
        holds_spans=seen.holds_spans(),
        gold=request.gold,
        each_vote=request.each_vote,
    )


def survey_of_any_labels(file: Input, file_format: str = AUTO, hints: FileHints = _NO_HINTS) -> Reading:
    """The reading of a file without a project: its labels are those that stand in the file, whatever their control."""
    nameless = LabelConfig((Control("label", ()),), "text", "text")
    chosen = find_format(file, hints) if file_format == AUTO else format_named(file_format)
    opened = chosen.open(file, Source("", nameless, hints))
    seen = _Survey(nameless)
    proof = proven_unit(seen.claims(opened.records()))
    config = replace(nameless, controls=(Control("label", tuple(seen.labels)),), foreign=tuple(seen.controls))
    offsets = () if proof.unit is CODE_POINTS else (_converted(proof, seen.controls.total()),)
    return Reading(file.name, " and ".join(sorted(seen.formats)), LabelRule(config), proof.unit, offsets, opened)


_OTHER_KIND_SAID = (
    "No annotation of the file has a labelled region, and nothing shows that people were asked for spans. Its texts "
    "are therefore unlabelled, and not texts without entities."
)


def _converted(proof: ProvenUnit, regions: int) -> str:
    claims = proof.fitting + proof.differing
    silent = f" {regions - claims:,} regions that repeat no words were converted, too." if regions > claims else ""
    return (
        f"Offsets count {proof.unit}: under these the words that the file repeats stand where it says "
        f"({proof.fitting:,} of {claims:,} regions). They were converted to code points.{silent}"
    )


@dataclass
class _Survey:
    """What only the whole file shows."""

    config: LabelConfig
    formats: set[str] = field(default_factory=set)
    labels: dict[str, None] = field(default_factory=dict)
    controls: Counter[tuple[str, str]] = field(default_factory=Counter)
    annotations: int = 0
    spans: bool = False
    known_answers: bool = False
    foreign_answers: bool = False

    def claims(self, records: Iterable[Record | Problem]) -> Iterator[tuple[str, int, int, str]]:
        """(text, start, end, words) of each region that repeats its words; the rest is gathered on the way."""
        for record in records:
            if isinstance(record, Problem):
                continue
            if record.format:
                self.formats.add(record.format)
            self.labels.update((vote.span.label, None) for vote in record.votes or ())
            self.annotations += len(record.annotations)
            for annotation in record.annotations:
                for region in annotation.result:
                    if isinstance(region, dict):
                        yield from self._claim(region, record.text)

    def holds_spans(self) -> bool:
        """Whether the annotations of the file are about spans.

        They are where there is a region with labels, or an answer to a control of the project's config: people could
        have drawn a region. Without either, annotations that answer other controls are not about spans. Nor are rows
        of JSON-MIN and CSV, in which the answer may be the class of a text.
        """
        if self.spans or self.known_answers or not self.annotations:
            return True
        return not self.foreign_answers and not self.formats.intersection(ROWS)

    def config_of_the_file(self) -> tuple[LabelConfig, tuple[str, ...]]:
        """The config, taught the labels controls of the file where none of its own occurs; and what to say.

        Raises InputError where these controls label several objects: which of them the text is cannot be told.
        """
        foreign = [pair for pair in self.controls if not self.config.knows(*pair)]
        if not foreign or any(self.config.accepts(*pair) for pair in self.controls):
            return self.config, ()
        objects = {to_name for _, to_name in foreign}
        shown = " and ".join(f"{from_name!r} over {to_name!r}" for from_name, to_name in foreign)
        if len(objects) > 1:
            own = f"{self.config.controls[0].name!r} over {self.config.to_name!r}"
            raise InputError(
                "the labels of a file stand under the controls of the project's label config, or label one object",
                value=f"{shown}; the project has {own}",
                next_step="Make a project with the label config of the file: loop init DIR --config XML.",
            )
        config = self.config
        for pair in foreign:
            config = config.with_control(*pair)
        only = "the only one there; it is" if len(foreign) == 1 else "all over one object; they are"
        controls = "control" if len(foreign) == 1 else "controls"
        said = (
            f"The labels of the file stand under the {controls} {shown}, {only} read as "
            f"{self.config.controls[0].name!r} over {self.config.to_name!r} of the project."
        )
        return config, (said,)

    def _claim(self, region: Mapping[str, Any], text: str) -> Iterator[tuple[str, int, int, str]]:
        names = region.get("from_name"), region.get("to_name")
        value = region.get("value")
        self._count_kind(region)
        if not isinstance(value, dict) or not isinstance(value.get("labels"), list):
            return
        if all(isinstance(name, str) for name in names):
            self.controls[names] += 1  # type: ignore[index]
        self.labels.update((label, None) for label in value["labels"] if isinstance(label, str))
        claim = claim_of(region, text)
        if claim is not None:
            yield claim

    def _count_kind(self, region: Mapping[str, Any]) -> None:
        names = region.get("from_name"), region.get("to_name")
        if not marks_no_words(region):
            self.spans = True
        elif self.config.knows(*names):
            self.known_answers = True
        elif isinstance(names[0], str):
            self.foreign_answers = True


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
    return replace(_with_votes(record, rule), annotations=annotations)


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


def _with_votes(record: Record, rule: LabelRule) -> Record:
    """The record with its votes in the project's labels; votes that break a rule are among its bad votes."""
    if record.votes is None:
        return record
    kept: list[Vote] = []
    bad = list(record.bad_votes)
    for vote in record.votes:
        try:
            label = _label_of(vote, record.text, rule)
        except InputError as error:
            bad.append(error)
        else:
            if label != OUTSIDE:
                kept.append(Vote(Span(vote.span.start, vote.span.end, label), vote.source))
    return replace(record, votes=tuple(kept), bad_votes=tuple(bad))


def _label_of(vote: Vote, text: str, rule: LabelRule) -> str:
    """The project's label of a vote, or "O". Raises InputError."""
    check_span(vote.span, len(text))
    label = rule.apply(vote.span.label)
    if label is None:
        raise InputError(
            f"a label is one of the project's ({', '.join(rule.config.labels)})",
            value=vote.span.label,
            next_step=f'Map it in loop.toml: [label_map] "{vote.span.label}" = "...".',
        )
    return label
