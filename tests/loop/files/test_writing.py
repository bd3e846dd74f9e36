"""Writers: tags that independent readers read as the gold, and files from which the exact gold can be rebuilt."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.scheme import BILOU, IOB2, Entities

from loop.files.words import place_tokens, tokens_of
from loop.files.writing.conll import comment_line, read_comment, write_conll
from loop.files.writing.datasets_folder import write_datasets
from loop.files.writing.docbin import docbin_bytes
from loop.files.writing.jsonl import write_doccano
from loop.files.writing.label_studio import write_label_studio
from loop.files.writing.texts import StoredText, TaggedText, align, tag_names
from loop.settings.template import config_of_labels
from ner.errors import ConfigError, InputError
from ner.label_studio.label_config import LabelConfig
from ner.label_studio.results import read_result
from ner.labels import LabelSet
from ner.spans import Span
from tests.loop.files.texts import labelled

NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=5)
META = st.dictionaries(NAMES, st.integers() | NAMES | st.booleans() | st.none(), max_size=2)


@st.composite
def stored(draw: st.DrawFn) -> StoredText:
    """A labelled text with everything that a store knows of it."""
    text, spans = draw(labelled())
    group = draw(st.none() | NAMES)
    return StoredText(draw(NAMES), text, spans, draw(st.sampled_from(["pool", "train"])), group, draw(META))


def exact(text: str, *spans: Span) -> StoredText:
    return StoredText("a", text, spans, "train")


# Spans over tokens


def test_a_span_that_cuts_tokens_covers_every_token_that_it_touches():
    text = "hyperlink in Windows10 here"
    aligned = align([Span(5, 11, "X"), Span(13, 20, "OS")], tokens_of(text))
    assert aligned.tags(4) == ["B-X", "I-X", "B-OS", "O"]
    assert (aligned.cut, aligned.untagged) == (2, 0)


def test_of_two_spans_that_touch_one_token_the_longer_is_tagged_and_the_other_is_counted():
    aligned = align([Span(0, 4, "A"), Span(4, 10, "B")], tokens_of("longformat x"))
    assert aligned.tags(2) == ["B-B", "O"]
    assert (aligned.cut, aligned.untagged) == (2, 1)


@given(labelled())
def test_where_no_span_cuts_a_token_the_entities_are_the_spans(case: tuple[str, tuple[Span, ...]]):
    text, spans = case
    tokens = tokens_of(text)
    aligned = align(spans, tokens)
    borders = {border for token in tokens for border in token}
    found = {Span(tokens[one.first][0], tokens[one.behind - 1][1], one.label) for one in aligned.entities}
    assert aligned.cut == sum(not {span.start, span.end} <= borders for span in spans)
    assert aligned.cut or found == set(spans)


@given(labelled(), st.sampled_from([("iob2", IOB2), ("bilou", BILOU)]))
def test_seqeval_reads_the_entities_from_the_tags(case: tuple[str, tuple[Span, ...]], scheme: tuple[str, Any]):
    text, spans = case
    tokens = tokens_of(text)
    aligned = align(spans, tokens)
    tags = aligned.tags(len(tokens), scheme[0])
    (read,) = Entities([tags], scheme=scheme[1]).entities
    assert [(one.start, one.end, one.tag) for one in read] == [(e.first, e.behind, e.label) for e in aligned.entities]
    assert set(tags) <= set(tag_names(["PER", "ORG"], scheme[0]))


def test_bilou_marks_the_last_token_and_the_only_token():
    text = "New York City in Ohio"
    aligned = align([Span(0, 13, "LOC"), Span(17, 21, "LOC")], tokens_of(text))
    assert aligned.tags(5, "bilou") == ["B-LOC", "I-LOC", "L-LOC", "O", "U-LOC"]


# CoNLL


def rebuilt(lines: list[str], scheme: Any = IOB2) -> StoredText:
    """A text from its lines, as the comments of CoNLL are meant to be read."""
    said = dict(found for line in lines if (found := read_comment(line)) is not None)
    rows = [line.split("\t") for line in lines if read_comment(line) is None]
    words, tags = [row[0] for row in rows], [row[1] for row in rows]
    tokens = place_tokens(said["text"], words)
    (entities,) = Entities([tags], scheme=scheme).entities
    spans = tuple(Span(tokens[one.start][0], tokens[one.end - 1][1], one.tag) for one in entities)
    if "spans" in said:
        spans = tuple(Span(*one) for one in said["spans"])
        assert align(spans, tokens).tags(len(tokens), scheme.__name__.lower()) == tags
    return StoredText(said["id"], said["text"], spans, "train", said.get("doc"), said.get("meta", {}))


@settings(max_examples=300)
@given(st.lists(stored(), min_size=1, max_size=3), st.sampled_from([IOB2, BILOU]))
def test_conll_with_its_comments_gives_back_the_exact_texts_and_gold(written: list[StoredText], scheme: Any):
    content = "".join(write_conll(map(TaggedText.of, written), scheme.__name__.lower()))
    assert content.splitlines() == content.split("\n")[:-1], "no reader of lines ends one elsewhere"
    blocks = [block.split("\n") for block in content.split("\n\n") if block and not block.startswith("-DOCSTART-")]
    read = [rebuilt(block, scheme) for block in blocks]
    assert [(one.external_id, one.text, one.spans, one.group, one.meta) for one in read] == [
        (one.external_id, one.text, one.spans, one.group, one.meta) for one in written
    ]


@given(labelled())
def test_the_tokens_of_a_file_are_the_same_with_the_spans_taken_away(case: tuple[str, tuple[Span, ...]]):
    text, spans = case
    with_gold = "".join(write_conll([TaggedText.of(exact(text, *spans))], plain=True))
    without = "".join(write_conll([TaggedText.of(exact(text))], plain=True))
    assert [line.split("\t")[0] for line in with_gold.split("\n")] == [
        line.split("\t")[0] for line in without.split("\n")
    ]


def test_exact_spans_are_written_only_for_texts_in_which_a_span_cuts_a_token():
    whole = "".join(write_conll([TaggedText.of(exact("Excel hangs", Span(0, 5, "X")))]))
    cut = "".join(write_conll([TaggedText.of(exact("Excel2019 hangs", Span(0, 5, "X")))]))
    assert whole == '# id = "a"\n# text = "Excel hangs"\nExcel\tB-X\nhangs\tO\n\n'
    assert cut == '# id = "a"\n# text = "Excel2019 hangs"\n# spans = [[0, 5, "X"]]\nExcel2019\tB-X\nhangs\tO\n\n'


def test_a_group_begins_behind_docstart():
    grouped = [StoredText(name, "x", (), "train", group) for name, group in [("a", "g"), ("b", "g"), ("c", None)]]
    lines = "".join(write_conll(map(TaggedText.of, grouped), plain=True))
    assert lines == "-DOCSTART-\tO\n\nx\tO\n\nx\tO\n\n-DOCSTART-\tO\n\nx\tO\n\n"


def test_a_label_that_would_break_its_line_is_refused():
    with pytest.raises(InputError, match="no tab and no line break"):
        list(write_conll([TaggedText.of(exact("x", Span(0, 1, "A\tB")))]))


@given(NAMES, META)
def test_a_comment_is_one_line_and_gives_back_its_value(text: str, meta: dict[str, Any]):
    for key, value in (("text", text), ("meta", meta)):
        line = comment_line(key, value)
        assert len(line.splitlines()) == 1
        assert read_comment(line) == (key, value)


@pytest.mark.parametrize("line", ["#\tO", "# id 12", "# sent_id = 4", "# text = He said", "# text = 5", "# a # b"])
def test_comments_of_other_tools_and_tokens_are_not_taken_for_ours(line: str):
    assert read_comment(line) is None


# Formats with offsets


@given(stored())
def test_doccano_holds_the_exact_spans(one: StoredText):
    (line,) = write_doccano([one])
    read = json.loads(line)
    assert (read["id"], read["text"]) == (one.external_id, one.text)
    assert [Span(*label) for label in read["label"]] == list(one.spans or ())


def test_an_unlabelled_text_has_no_annotation_in_any_format_that_holds_it():
    config = LabelConfig.parse(config_of_labels("PER"))
    unlabelled = StoredText("a", "x", None, "pool")
    assert json.loads("".join(write_doccano([unlabelled]))) == {"id": "a", "text": "x"}
    (task,) = json.loads("".join(write_label_studio([unlabelled], config)))
    assert task == {"data": {"text": "x"}, "meta": {"id": "a"}}


@given(st.lists(stored(), max_size=3), st.sampled_from(["annotations", "predictions"]))
def test_label_studio_tasks_hold_the_exact_spans_under_the_names_of_the_config(written: list[StoredText], kind: str):
    config = LabelConfig.parse(config_of_labels("PER,ORG"))
    tasks = json.loads("".join(write_label_studio(written, config, kind)))
    assert [task["data"]["text"] for task in tasks] == [one.text for one in written]
    read = [read_result(task[kind][0]["result"], task["data"]["text"], config) for task in tasks]
    assert [one.spans for one in read] == [one.spans for one in written]
    assert not any(one.set_aside for one in read)


def test_a_nested_field_is_written_where_label_studio_looks_for_it():
    config = LabelConfig.parse(config_of_labels("PER").replace("$text", "$data.body"))
    (task,) = json.loads("".join(write_label_studio([exact("Anna", Span(0, 4, "PER"))], config)))
    assert task["data"] == {"data": {"body": "Anna"}}


def test_a_label_that_the_config_lacks_is_refused_by_name():
    config = LabelConfig.parse(config_of_labels("PER"))
    with pytest.raises(InputError, match="OLD in a"):
        list(write_label_studio([exact("x", Span(0, 1, "OLD"))], config))


# Hugging Face


@settings(max_examples=30)
@given(st.lists(stored(), min_size=1, max_size=3), st.sampled_from(["iob2", "bilou"]))
def test_datasets_loads_the_exact_texts_and_gold(written: list[StoredText], scheme: str):
    import datasets

    tagged = [TaggedText.of(one) for one in written]
    with tempfile.TemporaryDirectory() as folder:
        write_datasets(Path(folder) / "ds", tagged, LabelSet(("PER", "ORG")), scheme)
        loaded = datasets.load_from_disk(f"{folder}/ds")
        rows = [row for split in ("pool", "train") if split in loaded for row in loaded[split]]
        names = next(iter(loaded.values())).features["ner_tags"].feature.names
    by_split = [one for split in ("pool", "train") for one in tagged if one.source.split == split]
    for row, one in zip(rows, by_split, strict=True):
        source = one.source
        assert (row["id"], row["text"], row["doc"]) == (source.external_id, source.text, source.group)
        assert json.loads(row["meta"] or "{}") == source.meta
        assert [Span(**span) for span in row["spans"]] == list(source.spans or ())
        assert [row["text"][start:end] for start, end in row["token_offsets"]] == row["tokens"]
        assert [names[tag] for tag in row["ner_tags"]] == one.aligned.tags(len(one.tokens), scheme)


# spaCy


@settings(max_examples=100)
@given(st.lists(stored(), min_size=1, max_size=3))
def test_spacy_reads_the_exact_texts_and_the_entities(written: list[StoredText]):
    import spacy
    from spacy.tokens import DocBin

    docs = list(DocBin().from_bytes(docbin_bytes(map(TaggedText.of, written))).get_docs(spacy.blank("xx").vocab))
    assert [doc.text for doc in docs] == [one.text for one in written]
    for doc, one in zip(docs, written, strict=True):
        tagged = TaggedText.of(one)
        found = {(ent.start_char, ent.end_char, ent.label_) for ent in doc.ents}
        places = [(tagged.tokens[e.first][0], tagged.tokens[e.behind - 1][1], e.label) for e in tagged.aligned.entities]
        assert found == set(places)
        assert doc.has_annotation("ENT_IOB")
        assert (doc.user_data["id"], doc.user_data.get("doc")) == (one.external_id, one.group)
        assert json.loads(doc.user_data.get("meta", "{}")) == one.meta
        kept = doc.user_data.get("spans") or [list(place) for place in places]
        assert [Span(*span) for span in kept] == list(one.spans or ())


def test_the_entities_of_an_unlabelled_text_are_missing_for_spacy():
    import spacy
    from spacy.tokens import DocBin

    content = docbin_bytes([TaggedText.of(StoredText("a", "x y", None, "pool")), TaggedText.of(exact("x y"))])
    unlabelled, none = DocBin().from_bytes(content).get_docs(spacy.blank("xx").vocab)
    assert not unlabelled.has_annotation("ENT_IOB")
    assert none.has_annotation("ENT_IOB")


def test_without_spacy_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "spacy", None)
    with pytest.raises(ConfigError, match=r"ner-annotation-loop\[spacy\]"):
        docbin_bytes([])
