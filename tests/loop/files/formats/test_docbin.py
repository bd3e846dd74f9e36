"""spaCy's DocBin: our own export comes back the same, and a Doc that nobody labelled is not gold without entities."""

from __future__ import annotations

import sys
import zlib
from typing import Any

import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy.tokens import Doc, DocBin
from spacy.tokens import Span as SpacySpan

from loop.files.formats.docbin import FORMAT
from loop.files.formats.json_shapes.spacy_json import INCOMPLETE
from loop.files.records import Problem, Record
from loop.files.writing.docbin import docbin_bytes
from loop.files.writing.texts import StoredText, TaggedText
from ner.errors import ConfigError, InputError
from ner.spans import Span
from tests.loop.files.read import as_input, problem, raw, record, spans
from tests.loop.files.texts import labelled

NLP = spacy.blank("xx")
TEXT = "Pia met Ola in Turin."


def packed(*docs: Doc, **options: Any) -> bytes:
    return bytes(DocBin(docs=docs, **options).to_bytes())


def doc(*entities: tuple[int, int, str], default: str = "outside") -> Doc:
    made = NLP(TEXT)
    made.set_ents([SpacySpan(made, *entity) for entity in entities], default=default)
    return made


def test_entities_are_the_spans_and_a_doc_without_entities_is_labelled_as_holding_none():
    read = raw(packed(doc((0, 1, "PER"), (4, 5, "LOC")), doc()))
    assert [record(item).text for item in read] == [TEXT, TEXT]
    assert [spans(item) for item in read] == [(Span(0, 3, "PER"), Span(15, 20, "LOC")), ()]
    assert [record(item).where for item in read] == ["doc 1", "doc 2"]


def test_a_doc_that_nobody_labelled_is_unlabelled():
    read = raw(packed(NLP(TEXT)))
    assert [spans(item) for item in read] == [None]
    assert [spans(item) for item in raw(packed(doc((0, 1, "PER")), attrs=["TAG"]))] == [None]


def test_a_doc_with_missing_values_is_no_whole_labelling():
    (read,) = raw(packed(doc((0, 1, "PER"), default="missing")))
    assert record(read).annotations == ()
    assert [(item.reason, len(item.payload)) for item in record(read).aside] == [(INCOMPLETE, 5)]


def with_groups(made: Doc, *names: str) -> Doc:
    for name in names:
        made.spans[name] = [SpacySpan(made, 0, 1, "PER")]
    return made


def test_one_group_of_spans_is_read_where_there_are_no_entities_and_refused_beside_them():
    alone, beside, two = raw(
        packed(with_groups(NLP(TEXT), "sc"), with_groups(doc(), "sc"), with_groups(NLP(TEXT), "a", "b"))
    )
    assert spans(alone) == (Span(0, 3, "PER"),)
    assert "one group of spans: got ents, sc" in str(problem(beside).error)
    assert "a, b" in str(problem(two).error)


def test_what_other_programs_keep_beside_a_doc_is_not_read():
    made = doc((0, 1, "PER"))
    made.user_data.update({"id": ["x"], "spans": [[0, 1, "LOC"]], "meta": 5, ("._.", "a", 1, None): 2})
    (read,) = raw(packed(made, store_user_data=True))
    assert spans(read) == (Span(0, 3, "PER"),)
    assert record(read).meta == {}


NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=5).filter(
    str.strip
)


@given(labelled(), NAMES, st.none() | NAMES, st.dictionaries(NAMES, st.integers() | NAMES, max_size=2), st.booleans())
def test_what_the_project_writes_comes_back_the_same(
    text_and_spans: tuple[str, tuple[Span, ...]], name: str, group: str | None, meta: dict, unlabelled: bool
):
    text, gold = text_and_spans
    written = StoredText(name, text, None if unlabelled else gold, "train", group, meta)
    (read,) = map(record, raw(docbin_bytes([TaggedText.of(written)])))
    assert (read.text, read.external_id, read.group, read.meta) == (text, name, group, meta)
    said = [
        [(one["value"]["start"], one["value"]["end"], one["value"]["labels"]) for one in annotation.result]
        for annotation in read.annotations
    ]
    assert said == ([] if unlabelled else [[(span.start, span.end, [span.label]) for span in gold]])


def test_without_spacy_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    content = packed(doc())
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(ConfigError, match=r"ner-annotation-loop\[spacy\]"):
        raw(content)


@pytest.mark.parametrize("content", [zlib.compress(b"\x81\xa1a\x01"), b"\x78\x9c", b"\x78 marks", b"x" * 100])
def test_other_packed_files_are_not_recognised(content: bytes):
    assert not FORMAT.recognise(as_input(content))


@given(st.data())
def test_a_damaged_docbin_is_an_error_or_gives_problems(data: st.DataObject):
    whole = bytearray(zlib.decompress(packed(doc((0, 1, "PER")), NLP(TEXT), store_user_data=True)))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(whole) - 1))
        whole[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, 40))
    try:
        read: list[Record | Problem] = raw(zlib.compress(bytes(whole[: len(whole) - cut])), FORMAT.name)
    except InputError:
        return
    assert all(isinstance(item, Record | Problem) for item in read)
