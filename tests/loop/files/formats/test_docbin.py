"""spaCy's DocBin: our own export comes back the same, and a Doc that nobody labelled is not gold without entities."""

from __future__ import annotations

import io
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
import srsly
from hypothesis import given
from hypothesis import strategies as st
from spacy.tokens import Doc, DocBin
from spacy.tokens import Span as SpacySpan

from loop.files.formats.docbin import FORMAT
from loop.files.formats.json_shapes.spacy_json import INCOMPLETE
from loop.files.raw.inputs import Input
from loop.files.records import FileHints, Problem, Record, Source
from loop.files.writing.docbin import docbin_bytes
from loop.files.writing.texts import StoredText, TaggedText
from ner.errors import ConfigError, InputError
from ner.spans import Span
from tests.loop.files.read import CONFIG, as_input, problem, raw, record, spans
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


def changed(content: bytes, change: Callable[[dict[str, Any]], dict[str, Any]]) -> bytes:
    """A DocBin whose map was changed."""
    return zlib.compress(srsly.msgpack_dumps(change(srsly.msgpack_loads(zlib.decompress(content)))))


def without_the_last_word(parts: dict[str, Any]) -> dict[str, Any]:
    lengths = np.frombuffer(parts["lengths"], "int32").copy()
    lengths[-1] -= 1
    return {**parts, "lengths": lengths.tobytes()}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without_the_last_word, "do not fit together"),
        (lambda parts: {**parts, "spaces": parts["spaces"] + b"\1"}, "do not fit together"),
        (lambda parts: {**parts, "tokens": parts["tokens"][:-8]}, "do not fit together"),
        (lambda parts: {**parts, "tokens": parts["tokens"] + bytes(8 * len(parts["attrs"]))}, "do not fit together"),
        (lambda parts: {**parts, "flags": parts["flags"] * 2}, "an item for each Doc"),
        (lambda parts: {**parts, "span_groups": parts["span_groups"][1:]}, "an item for each Doc"),
        (lambda parts: {**parts, "user_data": parts["user_data"][1:]}, "an item for each Doc"),
        (lambda parts: {**parts, "spaces": []}, "are bytes"),
        (lambda parts: {key: part for key, part in parts.items() if key != "tokens"}, "without tokens"),
    ],
)
def test_a_docbin_whose_parts_do_not_fit_together_is_refused(
    change: Callable[[dict[str, Any]], dict[str, Any]], said: str
):
    content = changed(packed(doc((0, 1, "PER")), doc(), store_user_data=True), change)
    with pytest.raises(InputError, match=f"{said}.*DocBin.to_disk"):
        raw(content, FORMAT.name)


@pytest.mark.parametrize("more", [b"x", packed(doc())])
def test_what_stands_behind_a_docbin_is_not_lost_without_a_word(more: bytes):
    with pytest.raises(InputError, match="stands behind"):
        raw(packed(doc()) + more)
    with pytest.raises(InputError, match="ends before"):
        raw(packed(doc())[:-1])


def test_the_parts_may_stand_in_any_order_and_old_files_lack_some():
    def turned(parts: dict[str, Any]) -> dict[str, Any]:
        kept = {key: part for key, part in parts.items() if key not in ("flags", "span_groups", "user_data", "version")}
        return dict([("version", "0.1"), *reversed(kept.items())])

    read = raw(changed(packed(doc((0, 1, "PER")), doc((4, 5, "LOC"))), turned), FORMAT.name)
    assert [spans(item) for item in read] == [(Span(0, 3, "PER"),), (Span(15, 20, "LOC"),)]
    assert [record(item).text for item in read] == [TEXT, TEXT]


def test_memory_does_not_hold_the_file_and_two_readers_do_not_disturb_each_other(tmp_path: Path):
    bin_ = DocBin(docs=[doc((0, 1, "PER")), doc((4, 5, "LOC"))], store_user_data=True)
    for part in (bin_.tokens, bin_.spaces, bin_.cats, bin_.flags, bin_.span_groups, bin_.user_data):
        part *= 20_000
    content = bytes(bin_.to_bytes())
    size = len(zlib.decompress(content))
    file = Input("a", tmp_path / "a", "a", content, io.BytesIO(content))
    tracemalloc.start()
    try:
        opened = FORMAT.open(file, Source("a", CONFIG, FileHints()))
        one, other = opened.records(), opened.records()
        read = [next(one), next(other), next(one), next(other), next(one)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    per, loc = (Span(0, 3, "PER"),), (Span(15, 20, "LOC"),)
    assert [spans(item) for item in read] == [per, per, loc, loc, per]
    assert size > 16 * 1024**2 > 2 * peak
