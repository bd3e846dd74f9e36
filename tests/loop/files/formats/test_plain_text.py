"""Plain text: a document a line, and only where nothing else is plausible."""

from __future__ import annotations

import pytest

from loop.files.formats.known import find_format
from ner.errors import InputError
from tests.loop.files.read import as_input, problem, raw, record

PLAUSIBLE = [
    "Greta came home.\nPeter left.\n",
    "monitor\ncable\nmouse\n",
    "one line without an end",
    "\ufeffGreta kam über die Brücke.\r\nPeter blieb.\r\n",
    "Greta: are you there?\nPeter: yes, I am\n",
    "costs 1,200 euro\npays 5,600 euro\n",
    "東京に行きました\n大阪に行きました\n",
    "[INFO] backup done\n[WARN] little space\n",
    "It is B-plan, I-95 or O negative\nSee section T-1 there\nAll is well now\nAnd here\nMore text\n",
    "👩‍👩‍👧 came home\n",
]


@pytest.mark.parametrize("content", PLAUSIBLE)
def test_lines_of_text_are_documents_that_nobody_labelled(content: str):
    items = [record(item) for item in raw(content)]
    assert [item.text for item in items] == content.removeprefix("\ufeff").splitlines()
    assert not any(item.annotations for item in items)
    assert {item.format for item in items} == {"text"}


def test_blank_lines_are_left_out_but_answered_where_only_texts_are_wanted():
    assert [record(item).where for item in raw("Greta\n\n \nPeter\n")] == ["line 1", "line 4"]
    assert [record(item).text for item in raw("Greta\n\nPeter\n", texts_only=True)] == ["Greta", "", "Peter"]


def test_ids_depend_on_the_text_and_not_on_the_line():
    first = record(raw("Greta\nPeter\n")[1])
    assert record(raw("New\nGreta\nPeter\n")[2]).external_id == first.external_id


REFUSED = [
    ('{"text": "Greta"', "json"),  # read as JSON, with a problem
    ('some words\n{"text": "Greta", "spans": [}\n', "broken JSON"),
    ("[{'text': 'Greta', 'label': []}]\n", "json"),
    ("('Greta', {'entities': [(0, 5, 'PER')]})\n", "the notation of Python"),
    ("<?xml version='1.0'?><a>Greta</a>\n", "XML or HTML"),
    ("<html><body>Greta</body></html>", "XML or HTML"),
    ("<PER>Greta</PER> came\nand <PER>Peter</PER> left\n", "XML or HTML"),
    ('TRAIN_DATA = [("Greta left.", {"entities": [(0, 5, "PER")]})]\n', "notation of Python"),
    ('import spacy\n\nDATA: list = [\n    ("Greta left.", {"entities": [(0, 5, "PER")]}),\n]\n', "notation of Python"),
    ('[("Greta left.", {"entities": [(0, 5, "PER")]})]\n', "notation of Python"),
    ("T1\tPER 0 5\tGreta\nT2\tPER 6 9\tPeter\n", "annotations of brat"),
    ("#FORMAT=WebAnno TSV 3.3\n\n#Text=Greta\n1-1\t0-5\tGreta\tPER\n", "WebAnno"),
    ("a;b;c\nx;y;z\nu;v;w\n", "a table of which no column"),
    ("text\nGreta,[]\nPeter,[]\n", "a table with a fault"),
    ("text: Greta came\nspans:\n", "YAML"),
    ("version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "Git LFS"),
    ("", "an empty file"),
    (" \n\n", "an empty file"),
    (b"%PDF-1.7\n%\xe2\xe3", "a PDF"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel or Word file"),
    (b"7z\xbc\xaf\x27\x1c\0", "a 7z archive"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"\x80\x04\x95\x10\x00", "binary data"),
    ("Gräta kam\n".encode("latin-1"), "iconv -f WINDOWS-1252 -t UTF-8"),
    ("Greta came\n".encode("utf-16"), "iconv -f UTF-16 -t UTF-8"),
    ("Greta came\n".encode("utf-16-le"), "iconv -f UTF-16LE -t UTF-8"),
    ("Greta came\n".encode("utf-32"), "iconv -f UTF-32 -t UTF-8"),
]


@pytest.mark.parametrize(("content", "what"), REFUSED)
def test_what_looks_like_another_format_is_refused_by_name(content: str | bytes, what: str):
    if what == "json":
        assert find_format(as_input(content)).name == "json"
        assert problem(raw(content)[0])
        return
    with pytest.raises(InputError) as caught:
        raw(content)
    assert what in str(caught.value)
    assert "IOB2" not in str(caught.value)


@pytest.mark.parametrize("name", ["gold.jsonl", "gold.conll", "table.csv", "x.xml"])
def test_a_name_that_says_another_format_is_not_taken_for_plain_text(name: str):
    with pytest.raises(InputError, match="whose content is not of that format"):
        find_format(as_input("Greta came home.\nPeter left us.\n", name))


def test_a_person_can_say_that_a_file_is_plain_text():
    assert [record(item).text for item in raw("a;b\nc;d\ne;f\n", "text")] == ["a;b", "c;d", "e;f"]


def test_a_line_in_another_encoding_is_a_problem_of_its_line():
    first, second = raw("Gräta\n".encode("latin-1") + b"Peter\n", "text")
    assert problem(first).where == "line 1"
    assert "iconv" in str(problem(first).error)
    assert record(second).text == "Peter"
