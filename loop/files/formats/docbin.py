"""spaCy's DocBin (`.spacy`), which `spacy convert`, `prodigy data-to-spacy` and this project's export write.

A Doc whose entities are missing values was labelled by nobody. Of a Doc with some missing values (`-` in spaCy's tags),
only a part was labelled: its text comes in unlabelled. spaCy is an optional extra of this project.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from loop.files.formats.json_shapes.spacy_json import INCOMPLETE
from loop.files.formats.json_shapes.span_items import regions_of
from loop.files.formats.packed_docs import PackedDocs
from loop.files.raw.inputs import Input
from loop.files.raw.json_values import parse_json
from loop.files.record_ids import Naming
from loop.files.records import FileFormat, Opened, Problem, Record, Source, check_name, check_storable, labelling
from loop.files.writing.docbin import import_spacy
from ner.errors import InputError
from ner.label_studio.label_config import NotLearned
from store.annotations import NewAnnotation

_ZLIB = b"\x78"
_BEGINNING = 256
_MAPS = range(0x80, 0x90)  # a small map in MessagePack
_DAMAGED = "Write the DocBin again, e.g. with DocBin.to_disk."


def _recognise(file: Input) -> bool:
    if not file.head.startswith(_ZLIB):
        return False
    try:
        beginning = zlib.decompressobj().decompress(file.head, _BEGINNING)
    except zlib.error:
        return False
    return beginning[:1] != b"" and beginning[0] in _MAPS and b"\xa5attrs" in beginning


def _open(file: Input, source: Source) -> Opened:
    """Unpack the DocBin to a temporary file. Raises ConfigError without spaCy, InputError for a damaged file."""
    spacy = import_spacy()
    try:
        packed = PackedDocs(file.rewound(), file.name, spacy)
    except InputError:
        raise
    except Exception as error:  # over a damaged file, spaCy and MessagePack raise whatever they meet
        value = str(error) or type(error).__name__
        raise InputError("a DocBin can be read by spaCy", value=value, next_step=_DAMAGED) from error
    return Opened(lambda: _records(packed, source))


FORMAT = FileFormat(name="spacy", title="spaCy's DocBin", recognise=_recognise, open=_open)


def _records(packed: PackedDocs, source: Source) -> Iterator[Record | Problem]:
    naming, number = Naming(source.stem), 0
    docs = packed.docs()
    while True:
        number += 1
        where = f"doc {number}"
        try:
            doc = next(docs)
            read: Record | Problem = _read(doc, where, naming, source)
        except StopIteration:
            return
        except Exception as error:  # noqa: BLE001  # as above; nothing behind this Doc can be read
            rule = InputError("a Doc can be read by spaCy", value=str(error), next_step=_DAMAGED)
            yield Problem(where, rule, "")
            return
        yield read


def _read(doc: Any, where: str, naming: Naming, source: Source) -> Record | Problem:
    try:
        return _record(doc, where, naming, source)
    except InputError as error:
        return Problem(where, error, doc.text)


def _record(doc: Any, where: str, naming: Naming, source: Source) -> Record:
    own = _own(doc.user_data)
    text, given = doc.text, own.get("id")
    said, aside = ([], ()) if source.texts_only else _said(doc, own, source)
    name = naming.next_id(text) if given is None and not source.texts_only else given
    return Record(
        where=where,
        text=text,
        external_id=None if name is None else check_name(name, "id"),
        annotations=tuple(said),
        group=None if own.get("doc") is None else check_name(own["doc"], "doc"),
        meta=_meta(own.get("meta")),
        aside=aside,
        format=FORMAT.name,
    )


def _own(data: Mapping[Any, Any]) -> dict[str, Any]:
    """What this project's export keeps beside the Doc; what other programs keep there is not read."""
    own = {key: data[key] for key in ("id", "doc", "meta", "spans") if key in data}
    texts_alone = all(isinstance(own.get(key, ""), str) for key in ("id", "doc", "meta"))
    return own if "id" in own and texts_alone and isinstance(own.get("spans", ()), tuple) else {}


def _said(doc: Any, own: Mapping[str, Any], source: Source) -> tuple[list[NewAnnotation], tuple[NotLearned, ...]]:
    """What the Doc says: its entities, or its one group of spans where it has no entities."""
    groups = {name: group for name, group in doc.spans.items() if len(group)}
    labelled = len(doc) > 0 and doc.has_annotation("ENT_IOB")
    if len(groups) + labelled > 1:
        raise InputError(
            "a Doc holds its entities in `ents`, or in one group of spans",
            value=", ".join([*(["ents"] if labelled else []), *map(str, groups)]),
            next_step="Remove the groups that are no entities from doc.spans.",
        )
    if not labelled:
        return [_labelling(group, source) for group in groups.values()], ()
    missing = [token.text for token in doc if token.ent_iob == 0]
    if missing:
        return [], (NotLearned(INCOMPLETE, missing),)
    if "spans" in own:  # the exact spans, where a span begins or ends inside a token
        exact = [list(item) if isinstance(item, tuple) else item for item in own["spans"]]
        return [labelling(regions_of(exact, "spans", source.config))], ()
    return [_labelling(doc.ents, source)], ()


def _labelling(spans: Any, source: Source) -> NewAnnotation:
    items = [[span.start_char, span.end_char, *([span.label_] if span.label_ else [])] for span in spans]
    return labelling(regions_of(items, "spans", source.config))


def _meta(value: Any) -> Mapping[str, Any]:
    """The meta of our own export, which is JSON."""
    if value is None:
        return {}
    meta = parse_json(value)
    if not isinstance(meta, dict):
        raise InputError("`meta` of a Doc is an object", value=meta, next_step="Correct `meta`.")
    check_storable(meta, "meta")
    return meta
