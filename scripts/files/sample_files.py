"""Valid files of every format that `loop import` reads, as the programs that people come from write them.

A `SampleFormat` makes records of texts (`rows`) and writes them (`write`); `kept` says what of a text comes back when
the file is read. The round trips, the mutations and the timings of imports are made of these files.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from loop.files.formats.tables.csv_table import MISSING
from loop.files.records import FileHints
from loop.files.words import joined_tokens
from loop.files.writing.conll import write_conll
from loop.files.writing.datasets_folder import write_datasets
from loop.files.writing.docbin import docbin_bytes
from loop.files.writing.texts import BILOU, IOB2, StoredText, TaggedText, tag_names
from ner.labels import LabelSet
from ner.spans import Span

LABELS = ("PER", "ORG", "LOC")
_TAGS = tag_names(LABELS, IOB2)
# Control characters show a file that is no plain text; some of them end its lines.
_CONTROL = re.compile(r"[\x00-\x08\n\r\x0e-\x1a\x1c-\x1f\x7f]")
Row = Any
"""A record before it is written: a value of JSON, the cells of a table, the lines of CoNLL, or a StoredText."""


@dataclass(frozen=True)
class SampleFormat:
    """A format. file: the name of a file or folder. rows: records of texts. write: the records into that place.

    ids, spans, unlabelled: whether the file holds the id of a text, its spans, and that nobody labelled it. exact:
    whether it holds the white space of the text, or tokens alone. cut: whether it holds spans that cut a token.
    by_line: whether each record, or each token, is a line of its own. is_text: whether people can read the file as
    text. builder: the name that `datasets` has for the kind of file, or None. hints: what a person has to say when the
    file is read.
    """

    name: str
    file: str
    rows: Callable[[Iterable[StoredText]], Iterable[Row]]
    write: Callable[[Path, Iterable[Row]], None]
    ids: bool = True
    exact: bool = True
    cut: bool = True
    spans: bool = True
    unlabelled: bool = True
    by_line: bool = False
    is_text: bool = True
    builder: str | None = None
    hints: FileHints = field(default_factory=FileHints)

    @property
    def split(self) -> str:
        """Where an import puts the texts of the file: only the pool takes unlabelled texts."""
        return "train" if self.spans else "pool"

    def save(self, folder: Path, texts: Iterable[StoredText]) -> Path:
        """Write the texts into a new file or folder below `folder`, and give its place."""
        path = folder / self.file
        self.write(path, self.rows(texts))
        return path

    def holds(self, text: StoredText) -> bool:
        """Whether the file can hold the text at all."""
        if text.spans is None and not self.unlabelled:
            return False
        if self.file.endswith(".csv"):
            return text.text.strip().lower() not in MISSING
        return self.spans or not _CONTROL.search(text.text)

    def kept(self, text: StoredText) -> StoredText:
        """What comes back of the text; the id is the same only where `ids` says so."""
        if not self.spans:
            return replace(text, spans=None)
        if self.exact and self.cut:
            return text
        tagged = TaggedText.of(text)
        words, places = (text.text, tagged.tokens) if self.exact else joined_tokens(tagged.words)
        spans = tuple(
            Span(places[one.first][0], places[one.behind - 1][1], one.label) for one in tagged.aligned.entities
        )
        return replace(text, text=words, spans=None if text.spans is None else spans)


def format_named(name: str) -> SampleFormat:
    """The format of this name. Raises KeyError."""
    return next(one for one in FORMATS if one.name == name)


# Records of JSON


def _spans(text: StoredText) -> list[dict[str, Any]]:
    return [{"start": span.start, "end": span.end, "label": span.label} for span in text.spans or ()]


def _triples(text: StoredText) -> list[list[Any]]:
    return [[span.start, span.end, span.label] for span in text.spans or ()]


def _regions(text: StoredText) -> list[dict[str, Any]]:
    return [
        {"start": span.start, "end": span.end, "text": text.text[span.start : span.end], "labels": [span.label]}
        for span in text.spans or ()
    ]


def _if_labelled(text: StoredText, key: str, said: Any) -> dict[str, Any]:
    return {} if text.spans is None else {key: said}


def _ours(text: StoredText, _: int) -> Row:
    return {"id": text.external_id, "text": text.text, **_if_labelled(text, "spans", _spans(text))}


def _result(text: StoredText) -> list[dict[str, Any]]:
    return [
        {"id": f"r{number}", "from_name": "label", "to_name": "text", "type": "labels", "value": value}
        for number, value in enumerate(_regions(text))
    ]


def _task(text: StoredText, number: int) -> Row:
    annotation = {"id": number, "completed_by": 1, "result": _result(text), "was_cancelled": False}
    said = [] if text.spans is None else [{**annotation, "ground_truth": False}]
    return {"id": number, "data": {"text": text.text, "id": text.external_id}, "annotations": said, "predictions": []}


def _task_without_ids(text: StoredText, _: int) -> Row:
    return {"data": {"text": text.text}, **_if_labelled(text, "annotations", [{"result": _result(text)}])}


def _old_task(text: StoredText, number: int) -> Row:
    said = [] if text.spans is None else [{"id": number * 1000 + 1, "result": _result(text)}]
    return {"id": number, "data": {"text": text.text, "id": text.external_id}, "completions": said}


def _min(text: StoredText, number: int) -> Row:
    made = None if text.spans is None else number
    about = {"annotator": None if made is None else 1, "annotation_id": made}
    return {"id": number, "text": text.text, **_if_labelled(text, "label", _regions(text)), **about}


def _doccano(text: StoredText, _: int) -> Row:
    return {"id": text.external_id, "text": text.text, **_if_labelled(text, "label", _triples(text))}


def _doccano_entities(text: StoredText, number: int) -> Row:
    said = [
        {"id": number * 100 + at, "label": span.label, "start_offset": span.start, "end_offset": span.end}
        for at, span in enumerate(text.spans or ())
    ]
    further = {"relations": [], "Comments": []}
    return {"id": text.external_id, "text": text.text, **_if_labelled(text, "entities", said), **further}


def _prodigy(text: StoredText, number: int) -> Row:
    answer = {"spans": _spans(text), "answer": "accept", "_view_id": "ner_manual"}
    said = {} if text.spans is None else answer
    return {"text": text.text, "_input_hash": number, "_task_hash": -number, **said}


def _prodigy_tokens(text: StoredText, number: int) -> Row:
    places = TaggedText.of(text).tokens
    begins, ends = ({place[at] for place in places} for at in (0, 1))
    if any(span.start not in begins or span.end not in ends for span in text.spans or ()):
        return _prodigy(text, number)  # people marked characters, and not tokens
    tokens = [
        {"text": text.text[a:b], "start": a, "end": b, "id": at, "ws": text.text[b : b + 1] == " "}
        for at, (a, b) in enumerate(places)
    ]
    starts, ends = ([place[at] for place in places] for at in (0, 1))
    row = {**_prodigy(text, number), "tokens": tokens}
    for span in row.get("spans", ()):
        span |= {"token_start": starts.index(span["start"]), "token_end": ends.index(span["end"])}
    return row


def _spacy_pair(text: StoredText, _: int) -> Row:
    return [text.text, _if_labelled(text, "entities", _triples(text))]


def _spacy_dict(text: StoredText, _: int) -> Row:
    return {"text": text.text, **_if_labelled(text, "entities", _triples(text))}


def _tokens(text: StoredText, _: int) -> Row:
    tagged = TaggedText.of(text)
    tags = tagged.aligned.tags(len(tagged.tokens), IOB2)
    return {"id": text.external_id, "tokens": tagged.words, **_if_labelled(text, "ner_tags", tags)}


def _numbers(text: StoredText, number: int) -> Row:
    row = _tokens(text, number)
    return {**row, "ner_tags": [_TAGS.index(tag) for tag in row["ner_tags"]]} if "ner_tags" in row else row


def _with_text(make: Callable[[StoredText, int], Row]) -> Callable[[StoredText, int], Row]:
    return lambda text, number: {**make(text, number), "text": text.text}


def _each(make: Callable[[StoredText, int], Row]) -> Callable[[Iterable[StoredText]], Iterator[Row]]:
    return lambda texts: (make(text, number) for number, text in enumerate(texts, 1))


# Records of other kinds


def _conll_rows(
    texts: Iterable[StoredText | TaggedText], scheme: str = IOB2, *, plain: bool = True, columns: int = 2
) -> Iterator[Row]:
    """The lines of each text: comments as strings, and lists of columns."""
    for text in texts:
        tagged = TaggedText.of(text) if isinstance(text, StoredText) else text
        lines = "".join(write_conll([tagged], scheme, plain=plain)).split("\n")[:-2]
        yield [_columns(line, columns) if "\t" in line and not line.startswith("# ") else line for line in lines]


def _columns(line: str, columns: int) -> list[str]:
    token, tag = line.split("\t")
    return [token, tag] if columns == 2 else [token, "NN", "B-NP" if tag.startswith("B") else "O", tag]


def _table_rows(texts: Iterable[StoredText]) -> Iterator[Row]:
    yield ["id", "text", "spans"]
    for text in texts:
        yield [text.external_id, text.text, "" if text.spans is None else _json(_spans(text))]


def _label_studio_table(texts: Iterable[StoredText]) -> Iterator[Row]:
    yield ["annotation_id", "annotator", "id", "label", "lead_time", "text"]
    for number, text in enumerate(texts, 1):
        said = ["", "", str(number), "", ""]
        if text.spans is not None:
            said = [str(number), "1", str(number), _json(_regions(text)) if text.spans else "", "2.5"]
        yield [*said, text.text]


# Writing


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _write_lines(path: Path, rows: Iterable[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as out:
        out.writelines(_json(row) + "\n" for row in rows)


def _write_array(path: Path, rows: Iterable[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as out:
        out.write("[")
        out.writelines((",\n" if number else "") + _json(row) for number, row in enumerate(rows))
        out.write("]\n")


def _write_gzip(path: Path, rows: Iterable[Row]) -> None:
    with gzip.open(path, "wt", encoding="utf-8", newline="") as out:
        out.writelines(_json(row) + "\n" for row in rows)


def _write_zip(path: Path, rows: Iterable[Row]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("texts.jsonl", "w") as out:
        out.writelines(f"{_json(row)}\n".encode() for row in rows)


def _write_table(path: Path, rows: Iterable[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out).writerows(rows)


def _write_conll(separator: str) -> Callable[[Path, Iterable[Row]], None]:
    def write(path: Path, rows: Iterable[Row]) -> None:
        with path.open("w", encoding="utf-8", newline="") as out:
            for lines in rows:
                out.writelines(f"{line if isinstance(line, str) else separator.join(line)}\n" for line in lines)
                out.write("\n")

    return write


def _write_plain(path: Path, rows: Iterable[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as out:
        out.writelines(f"{row}\n" for row in rows)


def _write_parquet(path: Path, rows: Iterable[Row]) -> None:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)


def _write_docbin(path: Path, rows: Iterable[Row]) -> None:
    path.write_bytes(docbin_bytes(map(TaggedText.of, rows)))


def _write_folder(path: Path, rows: Iterable[Row]) -> None:
    write_datasets(path, map(TaggedText.of, rows), LabelSet(LABELS))


def _json_lines(name: str, file: str, make: Callable[[StoredText, int], Row], **kept: Any) -> SampleFormat:
    return SampleFormat(name, file, _each(make), _write_lines, by_line=True, builder="json", **kept)


def _array(name: str, file: str, make: Callable[[StoredText, int], Row], **kept: Any) -> SampleFormat:
    return SampleFormat(name, file, _each(make), _write_array, **{"builder": "json", **kept})


def _conll(name: str, file: str, separator: str = "\t", **choice: Any) -> SampleFormat:
    exact = not choice.get("plain", True)
    return SampleFormat(
        name,
        file,
        lambda texts: _conll_rows(texts, **choice),
        _write_conll(separator),
        **dict.fromkeys(("ids", "exact", "cut"), exact),
        unlabelled=False,
        by_line=True,
    )


_TOKENS_ALONE: dict[str, Any] = {"exact": False, "cut": False}
_NAMES = FileHints(labels=tuple(_TAGS))
FORMATS = (
    _json_lines("our JSON Lines", "a.jsonl", _ours),
    SampleFormat("the same, gz", "a.jsonl.gz", _each(_ours), _write_gzip, is_text=False, builder="json"),
    SampleFormat("the same, zip", "a.zip", _each(_ours), _write_zip, is_text=False),
    _array("the same, array", "a.json", _ours),
    _array("Label Studio JSON", "ls.json", _task),
    _array("the same, without ids", "bare.json", _task_without_ids, ids=False),
    _array("the same, completions", "old.json", _old_task),
    _array("JSON-MIN", "min.json", _min, ids=False),
    SampleFormat("Label Studio CSV", "ls.csv", _label_studio_table, _write_table, ids=False, builder="csv"),
    _json_lines("doccano", "doccano.jsonl", _doccano),
    _json_lines("doccano, entities", "entities.jsonl", _doccano_entities),
    _json_lines("Prodigy", "prodigy.jsonl", _prodigy, ids=False),
    _json_lines("Prodigy with tokens", "tokens.jsonl", _prodigy_tokens, ids=False),
    _array("spaCy pairs", "pairs.json", _spacy_pair, ids=False, builder=None),
    _array("spaCy dicts", "dicts.json", _spacy_dict, ids=False),
    SampleFormat("spaCy DocBin", "a.spacy", list, _write_docbin, is_text=False),
    _json_lines("tokens, ner_tags", "hf.jsonl", _tokens, **_TOKENS_ALONE),
    _json_lines("the same, numbers", "numbers.jsonl", _numbers, **_TOKENS_ALONE, hints=_NAMES),
    _json_lines("the same, with text", "text.jsonl", _with_text(_tokens), cut=False),
    _json_lines("the same, numbers, text", "both.jsonl", _with_text(_numbers), cut=False, hints=_NAMES),
    SampleFormat("Parquet, spans", "spans.parquet", _each(_ours), _write_parquet, is_text=False, builder="parquet"),
    SampleFormat(
        "Parquet, tokens",
        "tags.parquet",
        _each(_tokens),
        _write_parquet,
        is_text=False,
        **_TOKENS_ALONE,
        builder="parquet",
    ),
    SampleFormat("datasets folder", "folder", list, _write_folder, is_text=False, unlabelled=False),
    _conll("CoNLL", "a.conll"),
    _conll("CoNLL, 4 columns", "four.conll", " ", columns=4),
    _conll("CoNLL with comments", "ours.conll", plain=False),
    _conll("CoNLL, BILOU", "bilou.conll", plain=False, scheme=BILOU),
    SampleFormat("CSV", "a.csv", _table_rows, _write_table, builder="csv"),
    SampleFormat(
        "plain text",
        "a.txt",
        lambda texts: (text.text for text in texts),
        _write_plain,
        ids=False,
        spans=False,
        by_line=True,
        builder="text",
    ),
)
