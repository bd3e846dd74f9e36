"""The format of a file is found by its content: each sample by its own format, and by no other."""

from __future__ import annotations

import csv
import io
import json
import random

import pyarrow
import pyarrow.parquet
import pytest

from loop.files.formats.known import FORMATS, find_format
from loop.files.records import Problem, Record
from ner.errors import InputError
from tests.loop.files.read import as_input, raw

WORDS = ("Greta", "came", "to", "Oslo", ".")
TAGS = ("B-PER", "O", "O", "B-LOC", "O")
TEXT = "Greta came to Oslo."
SPANS = [{"start": 0, "end": 5, "label": "PER"}, {"start": 14, "end": 18, "label": "LOC"}]
RESULT = [
    {
        "from_name": "label",
        "to_name": "text",
        "type": "labels",
        "value": {"start": 0, "end": 5, "text": "Greta", "labels": ["PER"]},
    }
]


def _table(rows: list[list[str]], **how: str) -> str:
    out = io.StringIO(newline="")
    csv.writer(out, **how).writerows(rows)  # type: ignore[arg-type]
    return out.getvalue()


def _parquet() -> bytes:
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{"text": TEXT, "spans": SPANS}]), out)
    return out.getvalue()


LINES = [f"{word}\t{tag}" for word, tag in zip(WORDS, TAGS, strict=True)]
FOUR = [f"{word} NNP B-NP {tag}" for word, tag in zip(WORDS, TAGS, strict=True)]
EXPORT = [{"id": 1, "data": {"text": TEXT}, "annotations": [{"id": 1, "result": RESULT}]}]
JSON = {
    "our JSON Lines": "".join(json.dumps({"text": TEXT, "spans": SPANS}) + "\n" for _ in range(3)),
    "an array": json.dumps([{"text": TEXT, "spans": SPANS}], indent=1),
    "one object": json.dumps({"text": TEXT, "spans": SPANS}),
    "Label Studio": json.dumps(EXPORT),
    "JSON-MIN": json.dumps(
        [{"text": TEXT, "id": 1, "label": [RESULT[0]["value"]], "annotation_id": 1, "annotator": 1}]
    ),
    "doccano": json.dumps({"text": TEXT, "label": [[0, 5, "PER"]]}) + "\n",
    "spaCy": json.dumps([[TEXT, {"entities": [[0, 5, "PER"]]}]]),
    "Hugging Face": json.dumps({"tokens": WORDS, "ner_tags": TAGS}) + "\n",
    "Prodigy": json.dumps({"text": TEXT, "spans": SPANS, "answer": "accept"}) + "\n",
    "JSON with texts that look like tables": json.dumps({"text": "id,text\n1,B-PER\n", "spans": []}) + "\n",
}
TABLES = {
    "CSV": _table([["text", "spans"], [TEXT, json.dumps(SPANS)], ["None, here", "[]"]]),
    "TSV": _table([["text", "spans"], [TEXT, json.dumps(SPANS)]], delimiter="\t"),
    "Excel": "\ufeffsep=;\r\n" + _table([["Text", "Label"], [TEXT, json.dumps(SPANS)]], delimiter=";"),
    "CSV with JSON first": _table([["spans", "text"], [json.dumps(SPANS), TEXT]]),
    "one column": "text\nGreta came to Oslo.\nPeter stayed, alone.\n",
    "tokens": _table(
        [["Sentence #", "Word", "POS", "Tag"], ["Sentence: 1", "Greta", "NNP", "B-PER"], ["", "came", "V", "O"]]
    ),
    "tokens with tabs": "Word\tTag\n" + "\n".join(LINES) + "\n\nGreta\tB-PER\n",
    "texts that look like CoNLL": _table([["text", "id"], ["Greta B-PER\nOslo O", "1"], ["x\tO", "2"]]),
}
CONLL = {
    "two columns": "\n".join(LINES) + "\n\n" + "\n".join(LINES) + "\n",
    "a first word that is a name of columns": "text\tO\n" + "\n".join(LINES) + "\n",
    "four columns": "-DOCSTART- -X- O O\n\n" + "\n".join(FOUR) + "\n",
    "words that are delimiters": ",\tO\n;\tO\n|\tO\n" + "\n".join(LINES) + "\n",
}
PLAIN = {
    "a word such as a tag": "Nora lives in the B-House\n",
    "words such as tags": "she flew in B-52\nhe drove in B-1\n",
    "sentences": "Greta came to Oslo.\nPeter stayed, alone.\n",
    "sentences about tags": "The tag B-PER begins a person.\nThe text, the id and the label are columns.\nSo it is.\n",
}
SAMPLES = [
    *(("json", name, content) for name, content in JSON.items()),
    *(("csv", name, content) for name, content in TABLES.items()),
    *(("conll", name, content) for name, content in CONLL.items()),
    *(("text", name, content) for name, content in PLAIN.items()),
    (
        "label-studio-csv",
        "CSV",
        _table([["text", "id", "label", "annotator", "annotation_id"], [TEXT, "1", "[]", "1", "1"]]),
    ),
    ("parquet", "Parquet", _parquet()),
]


@pytest.mark.parametrize(("expected", "name", "content"), SAMPLES, ids=[f"{a}-{b}" for a, b, _ in SAMPLES])
@pytest.mark.parametrize("file_name", ["file", "file.txt", "file.json", "file.csv"])
def test_each_sample_is_recognised_whatever_its_name(expected: str, name: str, content: str | bytes, file_name: str):
    if expected == "text" and file_name != "file.txt":
        file_name = "file"  # a name that says another format keeps a file from being plain text
    assert find_format(as_input(content, file_name)).name == expected


@pytest.mark.parametrize(("expected", "name", "content"), SAMPLES, ids=[f"{a}-{b}" for a, b, _ in SAMPLES])
def test_line_ends_and_a_byte_order_mark_change_no_format(expected: str, name: str, content: str | bytes):
    if isinstance(content, str):
        changed = "\ufeff" + content.replace("\r\n", "\n").replace("\n", "\r\n").removeprefix("\ufeff")
        assert find_format(as_input(changed)).name == expected


@pytest.mark.parametrize(("expected", "name", "content"), SAMPLES, ids=[f"{a}-{b}" for a, b, _ in SAMPLES])
def test_a_file_of_a_format_is_never_plain_text_when_it_is_cut_or_loses_its_first_bytes(
    expected: str, name: str, content: str | bytes
):
    whole = content if isinstance(content, bytes) else content.encode()
    rng = random.Random(name)
    for _ in range(30):
        start, end = rng.choice([(0, rng.randrange(len(whole) // 2, len(whole))), (rng.randrange(1, 9), len(whole))])
        part = whole[start:end]
        try:
            found = find_format(as_input(part)).name
            items = raw(part)
        except InputError:
            continue
        assert all(isinstance(item, Record | Problem) for item in items)
        assert found != "text" or expected in ("text", "conll") or name == "one column", part


def test_what_was_found_is_said_first_and_the_formats_behind():
    with pytest.raises(InputError) as caught:
        find_format(as_input("a,b\nc,d\ne,f\n"))
    message = str(caught.value)
    assert message.startswith("the file is a table of which no column is known as that of the texts")
    assert "begins with 'a,b" in message
    assert message.endswith(f"Formats that are read: {', '.join(one.name for one in FORMATS)}.")
    assert len(message) < 500
