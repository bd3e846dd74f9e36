"""Tables in CSV and TSV: what people, spreadsheets and pandas write."""

from __future__ import annotations

import csv
import io
import json
import random
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from loop.files.formats.known import find_format
from loop.files.formats.tables.csv_table import CUT_OFF, MISSING
from loop.files.records import FileHints, Problem, Record
from ner.errors import InputError
from ner.spans import Span
from tests.loop.files.read import as_input, problem, raw, reading, record, spans
from tests.loop.files.texts import labelled

GRETA = '"[{""start"": 0, ""end"": 5, ""label"": ""PER""}]"'


def table(rows: list[list[Any]], **how: Any) -> str:
    out = io.StringIO(newline="")
    csv.writer(out, **how).writerows(rows)
    return out.getvalue()


def as_json(*found: Span) -> str:
    return json.dumps([{"start": one.start, "end": one.end, "label": one.label} for one in found])


def test_columns_are_read_by_name_and_others_are_kept_as_meta():
    (item,) = raw(f"id,doc,Text,Source,spans\n7,d1,Greta came.,mail,{GRETA}\n")
    assert spans(item) == (Span(0, 5, "PER"),)
    found = record(item)
    assert (found.external_id, found.group, found.text, found.meta) == ("7", "d1", "Greta came.", {"Source": "mail"})
    assert found.where == "row 2"


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_delimiter_line_end_and_byte_order_mark_are_found_by_content(delimiter: str, line_end: str, mark: str):
    content = table(
        [["text", "spans"], ['Greta, "x"; a | b\nc', as_json(Span(0, 5, "PER"))], ["None here; or", "[]"]],
        delimiter=delimiter,
        lineterminator=line_end,
    )
    first, second = raw(mark + content)
    assert record(first).text == 'Greta, "x"; a | b\nc'
    assert spans(first) == (Span(0, 5, "PER"),)
    assert spans(second) == ()


def test_the_line_of_excel_that_names_the_delimiter_and_its_empty_columns_and_rows_are_no_data():
    first, second = raw(f"sep=;\r\ntext;spans;;\r\nGreta came.;{GRETA};;\r\n;;;\r\n\r\nPeter;[];;\r\n;;;\r\n")
    assert spans(first) == (Span(0, 5, "PER"),)
    assert (record(second).where, spans(second)) == ("row 5", ())


def test_lists_in_the_notation_of_python_are_read_as_pandas_writes_them():
    content = ",text,spans\n0,Greta came.,\"[{'start': 0, 'end': 5, 'label': 'PER'}]\"\n1,Peter,[]\n2,Open,\n"
    first, second, third = raw(content)
    assert (spans(first), spans(second), spans(third)) == ((Span(0, 5, "PER"),), (), None)
    assert record(first).meta == {}


@pytest.mark.parametrize(
    "cell",
    [
        "[{'start': 0, 'end': 5, 'label': 'PER' 'x'}]",
        "[{'start': 0, 'start': 1}]",
        "[{'start': f()}]",
        "[{1, 2}]",
        "[(",
    ],
)
def test_a_cell_that_says_something_else_in_python_than_it_shows_is_refused(cell: str):
    assert "`spans` holds JSON" in str(problem(raw(table([["text", "spans"], ["Greta", cell]]))[0]).error)


def test_ids_that_pandas_made_floats_of_are_whole_and_missing_ones_are_made():
    first, second = raw("id,text\n3.0,Greta\nNaN,Peter\n")
    assert record(first).external_id == "3"
    assert str(record(second).external_id).startswith("file:")


@pytest.mark.parametrize("cell", ["NaN", "null", "None"])
def test_a_missing_text_is_named_as_null(cell: str):
    assert "null" in str(problem(raw(f"id,text\n1,{cell}\n")[0]).error)


def test_a_blank_text_is_kept_where_only_texts_are_wanted():
    items = raw("id,text\n1,\n2,Greta\n", texts_only=True)
    assert [(record(item).external_id, record(item).text) for item in items] == [("1", ""), ("2", "Greta")]


def test_an_annotation_column_is_refused_by_name_where_it_holds_no_spans():
    assert "`label`" in str(problem(raw("text,label\nGreta,positive\n")[0]).error)


def test_spans_in_a_column_of_another_name_are_never_metadata():
    content = f"text,found\nGreta came.,{GRETA}\n"
    assert "got found" in str(problem(raw(content)[0]).error)
    assert spans(raw(content, hints=FileHints(columns=("text", "found")))[0]) == (Span(0, 5, "PER"),)


def test_named_columns_are_those_of_the_texts_and_of_the_spans():
    content = f"body,found,text\nGreta came.,{GRETA},a note\n"
    (item,) = raw(content, hints=FileHints(columns=("body", "found")))
    assert (record(item).text, spans(item)) == ("Greta came.", (Span(0, 5, "PER"),))
    assert record(item).meta == {"text (column)": "a note"}
    with pytest.raises(InputError, match="columns of the table"):
        raw(content, "csv", hints=FileHints(columns=("body", "gone")))


def test_a_table_without_a_column_of_texts_says_which_columns_it_has():
    with pytest.raises(InputError, match="the columns body, spans"):
        raw(f"body,spans\nGreta came.,{GRETA}\n")


def test_a_column_twice_is_refused():
    with pytest.raises(InputError):
        raw("text,spans,Spans\nGreta,[],[]\n", "csv")


@pytest.mark.parametrize("row", ["Greta", "Greta,[],x", "Greta came, home,[]"])
def test_a_row_with_too_few_or_too_many_cells_is_a_problem_and_the_others_are_read(row: str):
    first, second = raw(f"text,spans\n{row}\nPeter,[]\n")
    assert "a cell for each column" in str(problem(first).error)
    assert spans(second) == ()


def test_quotes_with_backslashes_are_read():
    (item,) = raw('text,spans\n"Greta \\"x\\" came","[{\\"start\\": 0, \\"end\\": 5, \\"label\\": \\"PER\\"}]"\n')
    assert (record(item).text, spans(item)) == ('Greta "x" came', (Span(0, 5, "PER"),))


def test_quotes_of_a_writer_that_never_quotes_belong_to_the_text():
    (item,) = raw('text\tspans\n"Greta" is here\t[{"start": 1, "end": 6, "label": "PER"}]\n')
    assert (record(item).text, spans(item)) == ('"Greta" is here', (Span(1, 6, "PER"),))


def test_quotes_that_may_or_may_not_belong_to_the_text_are_refused():
    with pytest.raises(InputError, match="quotes each cell that holds a quote, or no cell"):
        raw('text\tspans\n"Greta came"\t[{"start": 1, "end": 6, "label": "PER"}]\n')


def test_a_quote_that_is_never_closed_ends_the_reading_with_a_problem():
    first, second = raw('text,spans\nPeter,[]\n"Greta,[]\nAnother,[]\n')
    assert spans(first) == ()
    assert "well-formed CSV" in str(problem(second).error)


def test_a_table_of_one_column_is_a_table_whatever_signs_its_texts_hold():
    items = raw('text\nGreta came, alone\nso; it | goes\n"in quotes, all"\n')
    assert [record(item).text for item in items] == ["Greta came, alone", "so; it | goes", "in quotes, all"]


def test_a_file_that_may_be_cut_off_is_said_to_be():
    assert CUT_OFF in reading("text,spans\nGreta,[]").said
    assert CUT_OFF not in reading("text,spans\nGreta,[]\n").said


def test_a_file_in_another_encoding_is_refused_with_the_command_that_converts_it():
    with pytest.raises(InputError, match="iconv -f WINDOWS-1252 -t UTF-8"):
        raw("text,id\nMüller kam,1\n".encode("latin-1"))


def test_a_long_cell_is_read():
    text = "Greta " * 50_000
    assert record(raw(table([["text", "spans"], [text, "[]"]]))[0]).text == text


@settings(max_examples=300, deadline=None)
@given(
    st.lists(labelled(), min_size=1, max_size=4),
    st.sampled_from(",;\t|"),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_texts_of_any_script_come_back_from_a_table_with_their_spans(
    texts: list[tuple[str, tuple[Span, ...]]], delimiter: str, line_end: str, quoted: bool
):
    # Until Python 3.13, `csv` leaves a CR without quotes where lines end with LF: such a row has two ends.
    assume(quoted or line_end == "\r\n" or not any("\r" in text for text, _ in texts))
    assume(not any(text.strip().casefold() in MISSING for text, _ in texts))
    how = {"quoting": csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL}
    rows = [["id", "text", "spans"], *([n, text, as_json(*found)] for n, (text, found) in enumerate(texts))]
    items = raw(table(rows, delimiter=delimiter, lineterminator=line_end, **how), "csv")
    assert [(record(item).text, spans(item)) for item in items] == texts


@pytest.mark.parametrize("seed", range(150))
def test_any_damage_gives_records_problems_or_an_error_and_no_other_gold_without_a_word(seed: int):
    rng = random.Random(seed)
    rows = [[str(n), f"Greta {n} met Peter, at noon", as_json(Span(0, 5, "PER"))] for n in range(6)]
    content = table([["id", "text", "spans"], *rows]).encode()
    good = {record(item).text: spans(item) for item in raw(content)}
    damaged = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(damaged))
        action = rng.randrange(3)
        if action == 0:
            del damaged[place : place + rng.randint(1, 30)]
        elif action == 1:
            damaged[place] = rng.choice(b'",;\n\x00\xffx[{')
        else:
            del damaged[place:]
        damaged = damaged or bytearray(b"x")
    try:
        items = raw(bytes(damaged))
    except InputError:
        return
    assert all(isinstance(item, Record | Problem) for item in items)
    if all(isinstance(item, Record) for item in items) and damaged.endswith(b"\n"):
        for item in items:
            text = record(item).text
            assert text not in good or not record(item).annotations or record(item).annotations[0].result is not None


KAGGLE = "Sentence #,Word,POS,Tag\nSentence: 1,Greta,NNP,B-PER\n,Berg,NNP,I-PER\n,came,V,O\nSentence: 2,Oslo,N,B-LOC\n"


def test_a_token_in_a_row_is_read_and_an_empty_number_of_a_sentence_means_as_above():
    first, second = raw(KAGGLE)
    assert (record(first).text, spans(first), record(first).where) == (
        "Greta Berg came",
        (Span(0, 10, "PER"),),
        "row 2",
    )
    assert (record(second).text, spans(second)) == ("Oslo", (Span(0, 4, "LOC"),))
    assert record(raw(KAGGLE, texts_only=True)[0]).text == "Greta Berg came"
    assert any("IOB2" in sentence for sentence in reading(KAGGLE).said)


def test_a_number_of_a_sentence_in_each_row_and_empty_rows_between_sentences_part_them_too():
    numbered = "sentence_id,token,label\n1,Greta,PER\n1,came,O\n2,Oslo,LOC\n"
    assert [spans(item) for item in raw(numbered)] == [(Span(0, 5, "PER"),), (Span(0, 4, "LOC"),)]
    parted = "Word;Tag\nGreta;B-PER\ncame;O\n;\nOslo;B-LOC\n"
    assert [spans(item) for item in raw(parted)] == [(Span(0, 5, "PER"),), (Span(0, 4, "LOC"),)]


@pytest.mark.parametrize("name", ["doc", "Document", "doc_id", "document_id"])
def test_another_document_begins_another_sentence_though_the_number_of_the_sentence_is_the_same(name: str):
    first, second = raw(f"{name},sentence_id,word,tag\na,0,Greta,B-PER\n,0,came,O\nb,0,Berg,I-PER\n")
    assert (record(first).text, record(first).group) == ("Greta came", "a")
    assert (record(second).text, record(second).group) == ("Berg", "b")
    parted = raw("word,tag,doc\nGreta,B-PER,a\nBerg,B-PER,b\n,,\ncame,O,b\n")
    assert [record(item).text for item in parted] == ["Greta", "Berg", "came"]


def test_the_number_of_a_sentence_that_returns_is_said():
    rows = "0,Greta,B-PER\n1,Oslo,B-LOC\n0,came,O\n"
    said = " ".join(reading(f"sentence_id,word,tag\n{rows}").said)
    assert "returns" in said and "'0' in row 4" in said
    by_document = "doc,sentence_id,word,tag\na,0,Greta,B-PER\na,1,Oslo,B-LOC\nb,0,came,O\n"
    assert "returns" not in " ".join(reading(by_document).said)


def test_the_columns_of_simpletransformers_are_read():
    first, second = raw("sentence_id,words,labels\n0,Greta,B-PER\n0,came,O\n1,Oslo,B-LOC\n")
    assert (record(first).text, spans(first)) == ("Greta came", (Span(0, 5, "PER"),))
    assert spans(second) == (Span(0, 4, "LOC"),)


def test_columns_of_token_and_tag_can_be_named():
    content = "sentence,Wort,Typ\n1,Greta,B-PER\n1,kam,O\n"
    assert spans(raw(content, hints=FileHints(columns=("Wort", "Typ")))[0]) == (Span(0, 5, "PER"),)


def test_a_list_of_words_with_labels_is_no_text():
    with pytest.raises(InputError, match="numbers its sentences"):
        raw("word,label\nGreta,PER\nOslo,LOC\n")


def test_a_token_without_a_tag_makes_its_sentence_a_problem():
    first, second = raw("Sentence #,Word,Tag\n1,Greta,\n,came,O\n2,Oslo,B-LOC\n")
    assert "a word and a tag" in str(problem(first).error)
    assert spans(second) == (Span(0, 4, "LOC"),)


def test_lists_of_tokens_and_tags_in_cells_are_read_and_arrays_of_numpy_refused():
    rows = [
        ["tokens", "ner_tags"],
        [json.dumps(["Greta", "came"]), "['B-PER', 'O']"],
        ["['Greta' 'came']", "['O' 'O']"],
    ]
    first, second = raw(table(rows))
    assert spans(first) == (Span(0, 5, "PER"),)
    assert "arrays of NumPy" in str(problem(second).error)


def test_nothing_is_refused_for_what_it_says_of_entities_where_only_texts_are_wanted():
    items = raw('text,label,found\nGreta,[broken,1\nPeter,positive,"[[0, 1, ""X""]]"\n', texts_only=True)
    assert [record(item).text for item in items] == ["Greta", "Peter"]


def test_csv_is_found_and_running_text_with_commas_is_not():
    assert find_format(as_input(f"text,spans\nGreta came.,{GRETA}\n")).name == "csv"
    assert find_format(as_input("Well, yes\nNo, never\nSo, we go\n")).name == "text"
