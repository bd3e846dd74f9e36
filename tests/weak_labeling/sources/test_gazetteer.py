"""Kind "gazetteer": from weak.toml, from a text file, from a table; what is wrong has its line."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from ner.errors import InputError
from ner.spans import Span
from weak_labeling.sources.entry import EntryError, SourceContext
from weak_labeling.sources.gazetteer import GazetteerEntry, GazetteerSource


def source(home: Path, **keys: object) -> GazetteerSource:
    entry = GazetteerEntry.model_validate({"name": "it", "kind": "gazetteer", **keys})
    return entry.build(SourceContext(home, ("VESSEL", "PORT")))


def test_terms_stand_in_weak_toml_or_in_a_text_file(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "vessels.txt").write_text("# ours\nEver Given\nOrion\n", encoding="utf-8")
    spans = [Span(0, 10, "VESSEL"), Span(15, 20, "VESSEL")]
    for keys in ({"terms": ("Ever Given", "Orion")}, {"file": "lists/vessels.txt"}):
        assert list(source(tmp_path, label="VESSEL", **keys)("EVER GIVEN and orion")) == spans


def test_a_table_names_the_column_of_the_terms_and_that_of_their_labels(tmp_path: Path) -> None:
    (tmp_path / "names.csv").write_text('no;kind;name\n1;PORT;"Brake, Unterweser"\n2;VESSEL;Orion\n', encoding="utf-8")
    (tmp_path / "names.tsv").write_text("name\tno\nOrion\t1\n", encoding="utf-8")
    keys = {"file": "names.csv", "column": "name", "label_column": "kind", "delimiter": ";"}
    assert list(source(tmp_path, **keys)("Orion in Brake, Unterweser")) == [Span(0, 5, "VESSEL"), Span(9, 26, "PORT")]
    assert list(source(tmp_path, file="names.tsv", label="PORT")("Orion")) == [Span(0, 5, "PORT")]


def test_acronyms_keep_their_case_unless_asked_otherwise(tmp_path: Path) -> None:
    text = "it is IT, Its and word"
    terms = ("IT", "Word")
    assert [span.start for span in source(tmp_path, label="PORT", terms=terms)(text)] == [6, 18]
    assert [span.start for span in source(tmp_path, label="PORT", terms=terms, case="ignore")(text)] == [0, 6, 18]
    assert [span.start for span in source(tmp_path, label="PORT", terms=terms, case="exact")(text)] == [6]


def test_a_gazetteer_takes_a_context(tmp_path: Path) -> None:
    near = source(tmp_path, label="VESSEL", terms=("Orion",), near=("vessel",), words_after=0)
    assert [span.start for span in near("Orion, the star; vessel Orion")] == [24]


@pytest.mark.parametrize(
    ("name", "content", "keys", "told"),
    [
        ("a.txt", "Orion\nPlánovač".encode("cp1250"), {}, "a.txt, line 2"),
        ("a.txt", b"Orion\n\n\xe2\x80\x8b\n", {}, "a.txt, line 3"),
        ("a.txt", b"# nothing\n", {}, "holds a term"),
        ("a.csv", b"name\nOrion\n\xff\n", {}, "a.csv, line 3"),
        ("a.csv", b'name\n"Orion\n', {}, "read as CSV"),
        ("a.csv", b"name\n", {}, "holds a term"),
        ("a.csv", b"name,no\nOrion,1\n,2\n", {}, "a.csv, line 3"),
        ("a.csv", b"name\nOrion\n", {"column": "title"}, "in the header of a.csv: name"),
        ("a.csv", b"name,kind\nOrion,STAR\n", {"label_column": "kind", "label": None}, "a.csv, line 2: STAR"),
        ("a.csv", b"name,kind\nOrion,PORT\norion,VESSEL\n", {"label_column": "kind", "label": None}, "one label"),
        ("a.csv", b"name,kind\nOrion,PORT\nOrion,VESSEL\n", {"label_column": "kind", "label": None}, "a.csv, line 3"),
        ("b.txt", b"Orion\n", {}, "a.txt"),
        ("a.txt", b"Orion\n", {"column": "name"}, "belongs to a table"),
        ("a.txt", b"Orion\n", {"terms": ("Orion",)}, "both"),
        ("a.txt", b"Orion\n", {"file": None}, "neither"),
        ("a.txt", b"Orion\n", {"label": None}, "neither"),
        ("a.txt", b"Orion\n", {"file": None, "terms": ()}, "holds a term"),
        ("a.txt", b"Orion\n", {"file": None, "terms": ("Orion", "\u200b")}, "u200b"),
    ],
    ids=[
        "encoding",
        "invisible term",
        "no term",
        "encoding of a table",
        "open quote",
        "table without rows",
        "row without a term",
        "no such column",
        "label outside the config",
        "two labels of a term in other case",
        "two labels of a term",
        "missing file",
        "column of a text file",
        "terms and file",
        "neither terms nor file",
        "no label",
        "empty list",
        "invisible term in a list",
    ],
)
def test_what_is_wrong_with_a_list_is_told_with_its_line(
    name: str, content: bytes, keys: dict[str, object], told: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    given = {"label": "PORT", "file": "a.csv" if name == "a.csv" else "a.txt", **keys}
    with pytest.raises(InputError, match=told) as refusal:
        source(tmp_path, **given)
    assert refusal.value.next_step or isinstance(refusal.value, EntryError)


def test_the_digest_follows_the_content_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    digests = []
    for content in ("Orion\nVega\n", "Vega\nOrion\n", "Orion\n"):
        path.write_text(content, encoding="utf-8")
        digests.append(source(tmp_path, label="PORT", file="a.txt").digest)
    assert digests[0] == digests[1] != digests[2]
    assert source(tmp_path, label="PORT", file="a.txt", near=("port",)).digest != digests[2]


def test_a_source_reaches_another_process_whole(tmp_path: Path) -> None:
    one = source(tmp_path, label="PORT", terms=("Orion",))
    assert list(one("Orion")) == [Span(0, 5, "PORT")]
    again = pickle.loads(pickle.dumps(one))
    assert list(again("Orion")) == [Span(0, 5, "PORT")] and again.digest == one.digest
