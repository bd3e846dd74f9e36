"""`loop weak import`: votes made elsewhere, on texts that are in the store and on texts that are not."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from loop.settings.settings import Settings
from store.database.session import open_store
from store.documents import stored_documents
from store.projects import project_by_name
from store.weak.votes import votes
from tests.loop.desk import Desk, make_desk

FUNCTION = (
    "from ner.spans import Span\nfrom weak_labeling.functions import labeling_function\n\n"
    "@labeling_function(name='names')\n"
    "def names(text):\n    return [Span(0, 4, 'OS')]\n"
)


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    return make_desk(tmp_path / "desk", capsys, monkeypatch)


def vote(start: Any, end: Any, label: Any = "SOFTWARE", source: Any = "names") -> dict[str, Any]:
    return {"start": start, "end": end, "label": label, "source": source}


def cast(desk: Desk) -> set[tuple[str, str, int, int, str]]:
    """(document, source, start, end, label) of each vote in the store."""
    settings = Settings.load(desk.home)
    with closing(open_store(settings.store_url)) as store, store.read() as session:
        project = project_by_name(session, settings.project_name)
        named = {one.document_id: one.external_id for one in stored_documents(session, project.id)}
        return {
            (named[one.document_id], one.source, one.span.start, one.span.end, one.span.label)
            for one in votes(session, project.id)
        }


def test_votes_go_to_the_text_by_its_id_or_by_its_content_and_to_new_texts(desk: Desk):
    known = desk.write("known.jsonl", {"id": "a", "text": "Excel hangs"}, {"id": "b", "text": "Excel hangs"})
    desk.loop("import", str(known), "--split", "train")
    desk.loop("import", str(desk.write("c.jsonl", {"id": "c", "text": "Word hangs"})), "--split", "train")
    by_id = {"id": "a", "text": "Excel hangs", "weak": [vote(0, 5)]}
    by_content = {"text": "Excel hangs", "weak": [vote(0, 5, source="other")]}
    another_id = {"id": "z", "text": "Word hangs", "weak": [vote(0, 4)]}
    new = {"id": "n", "text": "Outlook", "weak": [vote(0, 7)]}
    path = desk.write("votes.jsonl", by_id, by_content, another_id, new)
    said = desk.loop("weak", "import", str(path), "--split", "train", "--json")
    assert said.code == 0
    told = said.json["files"][0]
    assert (told["records"], told["added"], told["votes"], told["sources"]) == (4, 1, 5, {"names": 3, "other": 2})
    assert cast(desk) == {
        ("a", "names", 0, 5, "SOFTWARE"),
        ("a", "other", 0, 5, "SOFTWARE"),
        ("b", "other", 0, 5, "SOFTWARE"),
        ("c", "names", 0, 4, "SOFTWARE"),
        ("n", "names", 0, 7, "SOFTWARE"),
    }


BAD = {
    "outside the text": (vote(0, 50), "a span lies within its text of 11 characters"),
    "unknown label": (vote(0, 5, "GADGET"), "a label is one of the project's"),
    "empty source": (vote(0, 5, source=" "), "`source` is a string that is not empty"),
    "no source": ({"start": 0, "end": 5, "label": "OS"}, "`source` is a string that is not empty"),
    "no number": (vote("0", 5), "`start` of a span is a whole number"),
    "no object": (7, "each of `weak` is an object"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_vote_that_breaks_a_rule_is_named_with_its_line_and_the_others_are_stored(desk: Desk, what: str):
    bad, rule = BAD[what]
    good = {"id": "b", "text": "Word hangs", "weak": [vote(0, 4)]}
    path = desk.write("votes.jsonl", good, {"id": "a", "text": "Excel hangs", "weak": [bad, vote(0, 5)]})
    said = desk.loop("weak", "import", str(path), "--json")
    told = said.json["files"][0]
    assert (said.code, told["bad"], told["votes"]) == (4, 1, 2)
    assert told["problems"][0].startswith(f"line 2: {rule}")
    assert cast(desk) == {("b", "names", 0, 4, "SOFTWARE"), ("a", "names", 0, 5, "SOFTWARE")}


def test_what_was_left_out_is_shown_in_80_columns(desk: Desk):
    records = [{"text": f"Excel hangs {n}", "weak": [vote(0, 99), vote(0, 5, "X")]} for n in range(4)]
    shown = desk.loop("weak", "import", str(desk.write("votes.jsonl", *records))).out
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert "8 votes and records left out; the first" in shown
    assert "votes.jsonl, line 1: a span lies within its text" in shown
    assert "4 x a label is one of the project's" in " ".join(shown.split())


def test_a_record_whose_id_names_another_text_is_left_out(desk: Desk):
    desk.loop("import", str(desk.write("a.jsonl", {"id": "a", "text": "Excel hangs"})), "--split", "train")
    path = desk.write("votes.jsonl", {"id": "a", "text": "Word hangs", "weak": [vote(0, 4)]})
    said = desk.loop("weak", "import", str(path), "--json")
    assert said.code == 4
    assert "a document's id names one text" in said.json["files"][0]["problems"][0]
    assert cast(desk) == set()


def test_spans_of_a_file_of_votes_are_gold_only_where_that_is_asked_for(desk: Desk):
    spans = [{"start": 0, "end": 5, "label": "SOFTWARE"}]
    path = desk.write("votes.jsonl", {"id": "a", "text": "Excel hangs", "spans": spans, "weak": [vote(0, 5)]})
    assert desk.loop("weak", "import", str(path), "--split", "train").code == 0
    assert desk.loop("status", "--json").json["counts"]["gold"] == 0
    assert "1 text got gold" in desk.loop("weak", "import", str(path), "--with-gold").out
    assert desk.loop("status", "--json").json["counts"]["gold"] == 1


def test_a_source_that_changed_its_mind_on_a_text_of_the_file_keeps_no_older_vote_there(desk: Desk):
    first = [{"id": name, "text": f"Excel {name}", "weak": [vote(0, 5)]} for name in "abc"]
    desk.loop("weak", "import", str(desk.write("first.jsonl", *first)))
    second = [{"id": "a", "text": "Excel a", "weak": []}, {"id": "b", "text": "Excel b", "weak": [vote(0, 7)]}]
    desk.loop("weak", "import", str(desk.write("second.jsonl", *second)))
    assert cast(desk) == {("b", "names", 0, 7, "SOFTWARE"), ("c", "names", 0, 5, "SOFTWARE")}


def test_a_dry_run_counts_and_stores_nothing(desk: Desk):
    path = desk.write("votes.jsonl", {"text": "Excel hangs", "weak": [vote(0, 5), vote(0, 99)]})
    said = desk.loop("weak", "import", str(path), "--dry-run", "--json")
    found = said.json["files"][0]
    assert (said.code, found["bad"], found["added"], found["votes"], found["sources"]) == (4, 1, 1, 1, {"names": 1})
    assert sum(desk.loop("status", "--json").json["counts"]["documents"].values()) == 0


def test_a_file_without_votes_is_refused_before_anything_is_stored(desk: Desk):
    said = desk.loop("weak", "import", str(desk.write("texts.jsonl", {"text": "Excel hangs"})))
    assert said.code == 4
    assert "loop import" in said.err
    assert sum(desk.loop("status", "--json").json["counts"]["documents"].values()) == 0


def test_the_name_of_a_source_that_the_project_asks_itself_is_refused(desk: Desk):
    desk.loop("import", str(desk.write("a.jsonl", {"id": "a", "text": "Word hangs"})), "--split", "train")
    (desk.home / "functions.py").write_text(FUNCTION)
    desk.configure(weak__functions="functions.py")
    assert desk.loop("label").code == 0
    path = desk.write("votes.jsonl", {"text": "Word hangs", "weak": [vote(0, 4), vote(0, 4, source="other")]})
    said = desk.loop("weak", "import", str(path), "--json")
    assert (said.code, said.json["files"][0]["sources"]) == (4, {"other": 1})
    assert "a name of its own" in said.json["files"][0]["problems"][0]
    assert cast(desk) == {("a", "names", 0, 4, "OS"), ("a", "other", 0, 4, "SOFTWARE")}
