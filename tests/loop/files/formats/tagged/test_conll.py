"""CoNLL: rows of tokens and tags become texts with spans, in every layout of columns that a file shows."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loop.files.formats.known import find_format
from loop.files.reading import Request, open_readings
from loop.files.records import FileHints, Problem, Record
from loop.files.writing.conll import comment_line, write_conll
from loop.files.writing.texts import SCHEMES, StoredText, TaggedText
from ner.errors import InputError
from ner.label_studio.results import OUTSIDE_CONFIG
from ner.spans import Span
from tests.loop.files.read import CONFIG, as_input, problem, raw, reading, record, spans


def conll(text: str | bytes, **hints: object) -> list[Record | Problem]:
    return raw(text, "conll", FileHints(**hints))  # type: ignore[arg-type]


def said(text: str | bytes, **hints: object) -> str:
    return " ".join(reading(text, hints=FileHints(**hints)).said)  # type: ignore[arg-type]


def is_recognised(text: str | bytes) -> bool:
    try:
        return find_format(as_input(text)).name == "conll"
    except InputError:
        return False


def rows(*columns: str, between: str = "\t") -> str:
    """A file of one text, of the words of each column."""
    return "\n".join(between.join(row) for row in zip(*(column.split() for column in columns), strict=True)) + "\n"


def test_iob1_and_iob2_give_the_same_spans():
    iob1 = conll("a\tI-X\nb\tI-X\nc\tB-X\nd\tI-Y\ne\tO\nf\tI-X\n")
    iob2 = conll("a\tB-X\nb\tI-X\nc\tB-X\nd\tB-Y\ne\tO\nf\tB-X\n")
    assert spans(iob1[0]) == spans(iob2[0])
    assert spans(iob1[0]) == (Span(0, 3, "X"), Span(4, 5, "X"), Span(6, 7, "Y"), Span(10, 11, "X"))


def test_a_blank_line_ends_a_text_and_docstart_begins_a_group():
    first, second, third = conll("-DOCSTART- O\n\na O\n\nb O\n \t\n-DOCSTART-\tO\nc\tB-X\n")
    assert [record(item).text for item in (first, second, third)] == ["a", "b", "c"]
    assert record(first).group == record(second).group == "file:doc-1"
    assert record(third).group == "file:doc-2"
    assert record(third).where == "line 8"


def test_a_token_may_hold_a_no_break_space_or_a_space_beside_a_tab():
    assert spans(conll("10\u00a0GB B-X\nleft\tO\n")[0]) == (Span(0, 5, "X"),)
    assert spans(raw("New Bern\tB-LOC\nnow\tO\n")[0]) == (Span(0, 8, "LOC"),)
    assert record(conll("a\tB-X\n\u00a0\tO\nb\tO\n")[0]).text == "a \u00a0 b"


@pytest.mark.parametrize(
    ("line", "rule"),
    [("alone", "2 columns"), ("a B-X z", "2 columns"), ("a\tZ-X", "B-"), ("a\tB-", "B-"), ("a X", "B-"), ("a\t", "B-")],
)
def test_a_bad_line_makes_its_text_a_problem_and_no_other(line: str, rule: str):
    before, bad, after, _ = conll(f"a O\n\nb O\n{line}\n\nc O\n\nd B-X\ne I-X\n")
    assert (record(before).text, record(after).text) == ("a", "c")
    assert problem(bad).where == "line 4"
    assert rule in str(problem(bad).error)


@pytest.mark.parametrize(
    "content",
    [
        rows("Mia Kern saw Bern", "NNP NNP VBD NNP", "B-NP I-NP B-VP B-NP", "I-PER I-PER O I-LOC"),
        rows("Mia Kern saw Bern", "-X- -X- -X- -X-", "_ _ _ _", "B-PER I-PER O B-LOC", between=" "),
        "# id 9a1-b\tdomain=xy\n" + rows("Mia Kern saw Bern", "_ _ _ _", "_ _ _ _", "B-PER I-PER O B-LOC", between=" "),
        rows("1 2 3 4", "Mia Kern saw Bern", "B-PER L-PER O U-LOC"),
        rows("0 1 2 3", "Mia Kern saw Bern", "B-PER E-PER O S-LOC", "- - - -", "me me me me"),
        rows("B-PER I-PER O B-LOC", "Mia Kern saw Bern"),
        rows("Mia Kern saw Bern", "B-PER I-PER O B-LOC", "O O O O"),
        rows("token Mia Kern saw Bern", "ner_tag B-PER I-PER O B-LOC", between=" "),
        rows("Mia Kern saw Bern", "PER PER O LOC"),
        rows("Mia Kern saw Bern", "PER-B PER-I O LOC-B"),
        rows("Mia Kern saw Bern", "B-PER I-PER O B-LOC").replace("\n", "\r\n"),
        rows("Mia Kern saw Bern", "B-PER I-PER O B-LOC").replace("\n", "\t\n").removesuffix("\n"),
        "\ufeff" + rows("Mia Kern saw Bern", "B-PER I-PER O B-LOC", between="   "),
    ],
    ids=[
        *("CoNLL-2003", "Label Studio", "MultiCoNER", "a count before the tokens", "Universal NER", "tag first"),
        *(
            "a further column of O",
            "a heading",
            "bare types",
            "letters behind",
            "CRLF",
            "tabs behind",
            "BOM and spaces",
        ),
    ],
)
def test_the_token_and_the_tag_are_found_in_every_layout(content: str):
    assert is_recognised(content)
    (read,) = reading(content).records()
    assert record(read).text == "Mia Kern saw Bern"
    assert record(read).annotations[0].spans == (Span(0, 8, "PER"), Span(13, 17, "LOC"))


def test_a_heading_with_tabs_is_read_where_a_person_says_that_the_file_is_conll():
    assert spans(conll("Token\tTag\nMia\tX\nsaw\tO\n")[0]) == (Span(0, 3, "X"),)


def test_what_was_recognised_is_said():
    content = rows("Mia Kern saw Bern", "NNP NNP VBD NNP", "I-PER I-LOC O I-LOC")
    sentences = said(content)
    assert "column 1 is read as the token and column 3 as the tag" in sentences
    assert "IOB1" in sentences
    assert "'# id 7'" in said("# id 7\n" + content)


def test_two_columns_of_tags_are_refused_unless_the_labels_or_columns_tell_them_apart():
    outer_and_inner = rows("1 2 3", "Mia of Bern", "B-PER I-PER I-PER", "O O B-LOC")
    with pytest.raises(InputError, match=r"columns 3 and 4 hold tags.*--columns"):
        conll(outer_and_inner)
    assert spans(conll(outer_and_inner, columns=("2", "3"))[0]) == (Span(0, 11, "PER"),)
    assert spans(conll(outer_and_inner, columns=("2", "-1"))[0]) == (Span(7, 11, "LOC"),)
    assert spans(conll(rows("Mia saw", "B-X O", "B-animal O"))[0]) == (Span(0, 3, "X"),)


def test_the_columns_that_are_proposed_hold_words_and_a_column_that_counts_is_refused():
    text = rows("1 2 3", "Mia of Bern", "B-PER I-PER I-PER", "O O B-LOC")
    lacks_a_row = rows("1 3", "Mia Bern", "B-PER O", "O O")
    for content in (text, "\n".join([text, text, lacks_a_row])):
        with pytest.raises(InputError, match="such as --columns 2,3"):
            conll(content)
        with pytest.raises(InputError, match=r"counts the tokens.*--columns 2,4"):
            conll(content, columns=("1", "-1"))
        assert record(conll(content, columns=("2", "4"))[0]).text == "Mia of Bern"


def test_a_column_of_entities_that_is_not_read_is_said():
    content = rows("1 2 3", "Mia of Bern", "B-FIRM I-FIRM I-FIRM", "O O B-LOC")
    assert spans(conll(content)[0]) == (Span(7, 11, "LOC"),)
    assert "Column 3 holds entities, too, and is not read" in said(content)


@pytest.mark.parametrize("columns", [("1",), ("0", "1"), ("1", "3"), ("1", "1"), ("text", "labels"), ("1", "-3")])
def test_wrong_columns_are_refused_with_what_is_right(columns: tuple[str, ...]):
    with pytest.raises(InputError, match="column"):
        conll("a\tO\nb\tB-X\n", columns=columns)


def test_a_named_scheme_overrides_the_recognised_one():
    assert "BIOES" in said("a\tS-X\nb\tO\n")
    with pytest.raises(InputError, match="BILOU"):
        raise problem(conll("a\tS-X\nb\tO\n", tag_scheme="bilou")[0]).error
    (read,) = reading("a\tB-X\nb\tO\n", hints=FileHints(tag_scheme="bare")).records()
    assert record(read).annotations[0].spans is None
    assert record(read).annotations[0].set_aside[0].reason == OUTSIDE_CONFIG


def test_bare_types_of_another_project_leave_a_doubt_and_no_gold():
    (read,) = reading("Mia\tPerson\nsaw\tO\n").records()
    assert record(read).annotations[0].spans is None


def test_a_hash_is_a_token_where_it_has_a_tag():
    for content in ("# O\n1 B-X\n", "#\tO\n1\tB-X\n", "#\tB-X\n1\tI-X\n"):
        assert record(conll(content)[0]).text == "# 1"
    assert record(conll("Mia\tX\n\n#\tX\n1\tO\n")[1]).text == "# 1"
    assert record(conll("no\tB-X\n#\tI-X\n1\tI-X\n")[0]).text == "no # 1"


@pytest.mark.parametrize(
    "line",
    [
        "# note\n",
        "#\thttps://x.test/1\t[2020]\n",
        "# a = b\n",
        "#\n",
        "## x\n",
        "#begin document (x);\n",
        "###MEDLINE:1\n",
    ],
)
def test_comments_stand_before_the_tokens_of_a_text(line: str):
    assert record(conll(f"{line}a\tB-X\nb\tO\n")[0]).text == "a b"
    assert "comments" in str(problem(conll(f"a\tB-X\n{line}b\tO\n")[0]).error)


def test_a_hash_tag_without_a_tag_is_a_fault_and_no_comment():
    assert problem(conll("#help\na\tB-X\nb\tO\n")[0]).where == "line 1"
    assert problem(conll("#\tB-X\tO\na\tB-X\nb\tO\n")[0]).where == "line 1"


def test_label_studios_one_docstart_groups_nothing_and_any_other_does():
    tasks = conll("-DOCSTART- -X- O\na -X- _ B-X\n\nb -X- _ O\n\n")
    assert [record(item).group for item in tasks] == [None, None]
    assert "one document" in said("-DOCSTART- O\n\na B-X\n\nb O\n")


@pytest.mark.parametrize(
    "content",
    [
        "Editor 7 on Linux 6\npaper tray\n",
        "vitamin O\n",
        "vitamin B-complex\n",
        '[{"text": ".L end", "id": 1, "label": [{"start": 0, "end": 6, "text": ".L end"}]}]',
        '{"text": "a"}\n{"text": "B-X I-X"}\n',
        "id,text,label\n1,Mia Kern saw Bern,PER\n",
        "Mia saw it\tO\nWho saw it\tQUESTION\nMia saw Bern\tO\n",
        "text\tlabel\nMia saw Bern\tgood\nMia left\tbad\n",
        "Mia saw Bern\tB-PER O B-LOC\nMia left\tB-PER O\n",
        "U-Bahn\nS-Bahn\nE-Mail\n",
        "O\nB-PER\nO\n",
        "the S-Bahn\nan E-Mail\nmy car\nno bus\n",
        '{"text": "Nora drove on I-95 to Bern", "spans": []}\n',
        '[{"text": "Nora drove on I-95 to Bern", "label": []}, {"text": "Nora left"}]\n',
        "the pilot took B-52\nthe singer took B-1\nthe driver took I-10\n",
        "the pilot took a B-2\nthe singer took no O\n",
        "the B-SIDE\nan A-SIDE\n",
        "the B-SIDE\n",
        "bolt 4\tB-12\nnut 6\tB-6\n",
        "",
        "\n\n",
        "-DOCSTART- O\n",
        "a\tO\n".encode("utf-16"),
    ],
)
def test_other_content_is_not_recognised(content: str | bytes):
    assert not is_recognised(content)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("Mia\nKern\n", "token and its tag"),
        ("Mia NNP\nsaw VBD\n", r"line 1: Mia NNP.*--columns"),
        (rows("Mia Kern saw", "(PERSON* *) *"), "brackets"),
        (rows("Mia saw", "B I"), "type"),
        (rows("Mia saw", "3 0"), "--columns"),
        (rows("Mia saw it", "B-X L-X O") + "\na\tE-X\n", "one scheme"),
        (rows("s1 s1 s1", "Mia saw it", "B-X O O"), "the same in every row"),
        (rows("1 2", *["Mia saw"] * 8, "ner=B-X _"), "CoNLL-U"),
    ],
)
def test_a_file_that_is_no_conll_is_refused_by_what_was_looked_for_and_found(content: str, match: str):
    with pytest.raises(InputError, match=match):
        conll(content)


@pytest.mark.parametrize(
    "content",
    [
        "#begin document (x); part 000\n" + rows("x x", "1 2", "Mia saw", "(PERSON) *"),
        rows("1 2", "Mia saw", "(PERSON*) *"),
        rows("1 2", *["Mia saw"] * 7, "_ _", "ner=B-X _"),
    ],
)
def test_kin_of_conll_are_recognised_so_that_they_are_refused_by_name(content: str):
    assert is_recognised(content)
    with pytest.raises(InputError, match="are not read"):
        raw(content)


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ("北 京 很 大 。", "北京很大。"),
        ("東京 タワー へ", "東京タワーへ"),
        ("อยู่ ที่ กรุงเทพ", "อยู่ที่กรุงเทพ"),
        ("用 Excel 打开", "用 Excel 打开"),
        ("서울 은 넓다", "서울 은 넓다"),
    ],
)
def test_tokens_of_scripts_without_spaces_are_joined_without_spaces(tokens: str, text: str):
    content = rows(tokens, " ".join(["B-LOC", "I-LOC", "O", "O", "O"][: len(tokens.split())]))
    (read,) = raw(content)
    assert record(read).text == text
    first, second = tokens.split()[:2]
    assert spans(read) == (Span(0, text.index(second, len(first)) + len(second), "LOC"),)
    assert ("joined without a space" in said(content)) == (text[0] != "서")


def test_tokens_of_label_studio_are_parted_where_spaces_stand():
    assert record(raw("-DOCSTART- -X- O\n北京 -X- _ B-LOC\n很大 -X- _ O\n\n")[0]).text == "北京 很大"


def test_a_file_may_begin_with_a_brace():
    assert record(raw("{\tO\na\tB-X\n}\tO\n")[0]).text == "{ a }"


def test_one_row_with_o_is_conll_only_where_a_person_says_so():
    assert spans(conll("vitamin O\n")[0]) == ()


def test_tokens_that_look_like_tags_are_tokens():
    assert spans(conll("B-cell\tO\nI-beam\tB-X\n")[0]) == (Span(7, 13, "X"),)
    assert record(conll("B-cell\tO\n")[0]).text == "B-cell"
    assert record(conll("O\tO\n")[0]).text == "O"


def test_texts_alone_are_read_where_the_tags_are_of_no_scheme():
    for content in ("Mia\tB-X\nsaw\t-\n", "Mia\tNNP\nsaw\tVBD\n", "Mia\tB-X\nsaw\tL-X\nit\tE-X\n"):
        (read,) = raw(content, "conll", texts_only=True)
        assert record(read).text.startswith("Mia saw") and not record(read).annotations


@pytest.mark.parametrize("file_format", ["auto", "conll", "text"])
@pytest.mark.parametrize("content", ["Mia\tB-X\rsaw\tO\r\rBern\tO\r", "Mia saw Bern.\rMia left.\r", "a O\rb B-X\r"])
def test_lines_that_end_with_cr_alone_are_refused_with_the_command_that_converts_them(content: str, file_format: str):
    with pytest.raises(InputError, match=r"CR alone.*tr '.r' '.n'"):
        raw(content, file_format)


def test_many_rows_without_an_empty_line_are_said_to_be_one_text():
    lines = "Mia\tB-PER\nsaw\tO\n"
    assert "No empty line parts the 300 rows" in said(lines * 150)
    assert "No empty line" not in said(f"{lines}\n" * 150)


def test_a_file_without_a_last_line_end_is_said_to_be_cut_off():
    assert "cut off" in said("Mia\tB-X\nsaw\tO")
    assert "cut off" not in said("Mia\tB-X\nsaw\tO\n")


def test_a_line_that_is_not_utf_8_makes_its_text_a_problem():
    bad, good = conll("Z\u00fcrich\tB-X\n\nb\tO\n".encode("latin-1"))
    assert "UTF-8" in str(problem(bad).error)
    assert record(good).text == "b"


EXACT = comment_line("id", "t1") + comment_line("doc", "d") + comment_line("text", "A  1") + "A\tB-X\n1\tI-X\n"


def test_comments_give_the_exact_text_its_id_and_its_group():
    (read,) = conll(EXACT)
    assert (record(read).text, record(read).external_id, record(read).group) == ("A  1", "t1", "d")
    assert spans(read) == (Span(0, 4, "X"),)


@pytest.mark.parametrize(
    "content",
    [
        EXACT.replace("1\tI", "2\tI"),
        EXACT.replace("1\tI-X\n", ""),
        EXACT.replace("A\tB", "\nA\tB"),
        EXACT.replace("A  1", "A 1 2"),
        EXACT.replace('1"\n', "1\n"),
        EXACT.replace("# text", "# texts"),
        EXACT.replace("# id", "# text"),
        EXACT.replace("A\tB", '# spans = [[0, 1, "X"]]\nA\tB'),
        EXACT.replace("A\tB", '# spans = [[0, 4, "Y"]]\nA\tB'),
        EXACT.replace("A\tB", '# spans = [[0, 9, "X"]]\nA\tB'),
        EXACT.replace("A\tB", "# spans = [[0, 4]]\nA\tB"),
        EXACT.replace("A\tB", '# spans = {"a": 1}\nA\tB'),
        EXACT + comment_line("text", "b") + "b\tO\n",
        EXACT.replace("# id", "# ids"),
        EXACT + "\n-DOCSTaRT-\tO\n",
    ],
)
def test_comments_that_do_not_fit_the_rows_are_a_problem(content: str):
    after = "\n" + comment_line("id", "z") + "z\tB-X\n"
    items = conll(content + after)
    assert any(isinstance(item, Problem) for item in items)
    assert [item.text for item in items if isinstance(item, Record)] in (["z"], ["A  1", "z"])


def test_spans_inside_tokens_come_from_their_comment():
    content = comment_line("text", "AB c") + comment_line("spans", [[1, 2, "X"]]) + "AB\tB-X\nc\tO\n"
    assert spans(conll(content)[0]) == (Span(1, 2, "X"),)


def test_the_text_of_conll_u_is_taken_where_the_tokens_fit():
    content = rows("1 2 3", "Mia saw .", "B-PER O O")
    assert record(conll("# text = Mia saw.\n" + content)[0]).text == "Mia saw."
    assert record(conll("# text = Mia sees.\n" + content)[0]).text == "Mia saw ."
    assert record(conll('# text = "Hi"\n' + rows('" Hi "', "O B-X O"))[0]).text == '"Hi"'


def test_gz_is_read_as_the_file_in_it(tmp_path: Path):
    path = tmp_path / "a.conll.gz"
    path.write_bytes(gzip.compress(b"Mia\tB-PER\nsaw\tO\n"))
    with open_readings(path, Request(CONFIG)) as (one,):
        assert [item.text for item in one.records()] == ["Mia saw"]  # type: ignore[union-attr]


TOKENS = st.lists(
    st.text("abc\u00e9", min_size=1, max_size=4) | st.sampled_from("\U0001f600.,#{"), min_size=1, max_size=8
)


@given(TOKENS, st.data())
def test_texts_of_joined_tokens_come_back_from_conll_with_their_spans(tokens: list[str], data: st.DataObject):
    text = " ".join(tokens)
    borders = [0]
    for token in tokens:
        borders.append(borders[-1] + len(token) + 1)
    flags = data.draw(st.lists(st.sampled_from(["", "X", "Y"]), min_size=len(tokens), max_size=len(tokens)))
    placed = zip(borders, tokens, flags, strict=False)
    gold = tuple(Span(start, start + len(token), flag) for start, token, flag in placed if flag)
    (read,) = conll("".join(write_conll([TaggedText.of(StoredText("a", text, gold, "train"))], plain=True)))
    assert (record(read).text, spans(read)) == (text, gold)


TEXT = st.text(
    st.sampled_from('ab1 .#\t\n\r-O\u4e2d\u0639\u0301\U0001f468\u200d\U0001f469\u00a0\u2028\u0085\ufeff"'),
    min_size=1,
    max_size=20,
)


@st.composite
def stored(draw: st.DrawFn) -> StoredText:
    text = draw(TEXT.filter(lambda text: not text.isspace()))
    spans: list[Span] = []
    end = 0
    while end < len(text) and draw(st.booleans()):
        start = draw(st.integers(end, len(text) - 1))
        end = draw(st.integers(start + 1, len(text)))
        if text[start:end].strip() == text[start:end]:
            spans.append(Span(start, end, draw(st.sampled_from("XY"))))
    group = draw(st.none() | st.sampled_from(["d", "e f"]))
    return StoredText(
        f"t{draw(st.integers(0, 10**9))}", text, tuple(spans), "train", group, draw(st.sampled_from([{}, {"a": 1}]))
    )


@given(st.lists(stored(), min_size=1, max_size=4), st.sampled_from(SCHEMES))
def test_what_is_written_comes_back_the_same(texts: list[StoredText], scheme: str):
    written = "".join(write_conll(map(TaggedText.of, texts), scheme))
    read = raw(written)
    assert [(record(item).external_id, record(item).text, record(item).group, record(item).meta) for item in read] == [
        (one.external_id, one.text, one.group, one.meta) for one in texts
    ]
    assert [spans(item) for item in read] == [one.spans for one in texts]


@pytest.mark.parametrize("label", ["R&D, old", "Operating System", "{x}", "O", "B-X O", "geo-loc", "\u4eba"])
def test_any_label_of_our_own_export_comes_back(label: str):
    texts = [TaggedText.of(StoredText("a", "Mia saw", (Span(0, 3, label),), "train"))]
    for scheme in SCHEMES:
        (read,) = raw("".join(write_conll(texts, scheme)))
        assert record(read).annotations[0].result[0]["value"] == {"start": 0, "end": 3, "labels": [label]}


PIECES = st.sampled_from(
    [
        "a",
        "O",
        "B-X",
        "I-X",
        "E-Y",
        "\t",
        " ",
        "\n",
        "\n\n",
        "#",
        '# text = "a"',
        "-DOCSTART-",
        "\r",
        "\0",
        "-",
        "_",
        "1",
        "X",
    ]
)


@given(
    st.lists(PIECES, max_size=30),
    st.sampled_from([None, "iob2", "bilou", "bare"]),
    st.sampled_from([(), ("1", "-1"), ("2", "1")]),
)
def test_any_content_gives_records_or_problems_or_an_input_error(
    pieces: list[str], scheme: str | None, columns: tuple[str, ...]
):
    try:
        for item in conll("".join(pieces), tag_scheme=scheme, columns=columns):
            if isinstance(item, Record):
                spans_of = item.annotations[0].result
                assert all(0 <= one["value"]["start"] < one["value"]["end"] <= len(item.text) for one in spans_of)
    except InputError:
        pass


def test_a_last_text_without_an_empty_line_behind_it_may_lack_its_end():
    assert "may lack its end" not in said("a\tB-X\nb\tO\n\nc\tO\n\n")
    for content in ("a\tB-X\nb\tO\n", 'a\tB-X\nb\tO\n\n# id = "c"\nc\tO\n'):
        assert "may lack its end" in said(content)


def test_rows_that_are_not_the_tokens_of_the_text_of_our_comment_are_a_problem():
    comment = '# text = "Anna, hi"\n'
    assert spans(raw(f"{comment}Anna\tB-X\n,\tO\nhi\tO\n\n")[0]) == (Span(0, 4, "X"),)
    (joined,) = raw(f"{comment}Anna,\tO\nhi\tB-X\n\n")
    assert "'Anna,'" in str(problem(joined).error)


def test_a_row_whose_token_was_swapped_with_a_part_of_speech_is_a_problem():
    row = "Mia NN B-NP B-X\nwent VB O O\n\n"
    *good, swapped = raw(row * 12 + "NN Lia B-NP B-X\nwent VB O O\n\n")
    assert all(isinstance(item, Record) for item in good)
    assert "'NN' and 'Lia'" in str(problem(swapped).error)


def test_lemmas_are_no_swapped_tokens():
    words = [f"{letter}{vowel}t" for letter in "bcdfghjklm" for vowel in "aeiou"]
    rows = "".join(f"{word}s {word} O\nbat {word}e O\n\n" for word in words)
    assert all(isinstance(item, Record) for item in raw(rows + "bats bat B-X\nbat bat O\nbat bat O\n\n"))
