"""`loop weak suggest`: what gold has and no source has, and how it comes into weak.toml."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.loop.desk import Desk, make_desk, make_environment

COMMENTED = """# Ours.
[[source]]
name = "excel"        # since the first day
kind = "gazetteer"
label = "SOFTWARE"
terms = ["Excel"]

[definitions]
OS = "An operating system."
"""
# TOML adds no [[source]] to a list on one line.
INLINE = 'source = [{name = "excel", kind = "gazetteer", label = "SOFTWARE", terms = ["Excel"]}]\n'


def gold(name: str, text: str, word: str, label: str = "SOFTWARE") -> dict[str, Any]:
    start = text.index(word)
    return {"id": name, "text": text, "spans": [{"start": start, "end": start + len(word), "label": label}]}


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("made_once") / "desk"


@pytest.fixture
def desk(tmp_path: Path, made_once: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Visio and Paint are gold in two texts each, Excel in three; each stands in texts that nobody has labelled."""
    make_environment(monkeypatch)
    if not made_once.exists():
        made = make_desk(made_once, capsys, monkeypatch)
        records = [
            gold(f"{word}{n}", f"Monday {n}, then {word} here", word) for word in ("Visio", "Paint") for n in "12"
        ]
        records += [gold(f"Excel{n}", f"{n} Tuesday x Excel", "Excel") for n in "123"]
        records += [{"id": f"u{n}", "text": text} for n, text in enumerate(["a Visio file", "a Visio", "Paint, Excel"])]
        made.loop("import", str(made.write("texts.jsonl", *records)), "--split", "train")
        (made.home / "weak.toml").write_text(COMMENTED)
    shutil.copytree(made_once, tmp_path / "desk")
    return Desk(tmp_path / "desk", capsys, monkeypatch)


def numbers(desk: Desk) -> dict[str, int]:
    """The number of each suggested term."""
    found = desk.loop("weak", "suggest", "--json").json["suggestions"]
    return {one["keys"]["terms"][0]: one["number"] for one in found if one["kind"] == "gazetteer"}


def test_suggestions_are_shown_with_evidence_and_examples_in_eighty_columns(desk: Desk):
    said = desk.loop("weak", "suggest")
    assert said.code == 0 and max(map(len, said.out.splitlines())) <= 80
    assert "labelled: 2 spans in 2 documents; right: 2 of 2, at least 22%" in said.out
    assert "adds 2 spans to 2 texts:" in said.out and "    a [Visio] file\n" in said.out
    found = desk.loop("weak", "suggest", "--json").json
    assert (found["labelled"], found["unlabelled"], found["open_texts"]) == (7, 3, 3)
    first, second = found["suggestions"]
    assert [one["keys"]["terms"] for one in (first, second)] == [["Visio"], ["Paint"]]
    assert (first["new_spans"], first["new_texts"], first["certainty"]) == (2, 2, 0.95)
    assert {"document": "u0", "before": "a ", "span": "Visio", "after": " file"} in first["examples"]
    top = desk.loop("weak", "suggest", "--top", "1").out
    assert "Visio" in top and "Paint" not in top and "1 more suggestion" in top


def test_gold_that_is_older_than_a_type_does_not_speak_against_its_suggestions(desk: Desk):
    labels = desk.home / "labels.xml"
    labels.write_text(labels.read_text().replace('<Label value="OS"', '<Label value="DAY"/><Label value="OS"'))
    records: list[dict[str, Any]] = [gold(f"day{n}", f"{n} on Monday", "Monday", "DAY") for n in "12"]
    records.append({"id": "open", "text": "Monday, perhaps"})
    desk.loop("import", str(desk.write("days.jsonl", *records)), "--split", "train")
    found = desk.loop("weak", "suggest", "--json").json["suggestions"]
    (monday,) = [one for one in found if one["keys"].get("terms") == ["Monday"]]
    assert (monday["right"], monday["judged"]) == (2, 2)  # it stands in four texts that are silent on days


def test_accepted_terms_become_lines_of_one_gazetteer_and_comments_stay(desk: Desk):
    known = numbers(desk)
    said = desk.loop("weak", "suggest", "--accept", str(known["Visio"]))
    assert said.code == 0 and "in the source suggested_software." in said.out
    done = desk.loop("weak", "suggest", "--accept", str(known["Paint"]), "--json").json
    assert [(one["number"], one["source"]) for one in done["entries"]] == [(known["Paint"], "suggested_software")]
    text = (desk.home / "weak.toml").read_text()
    assert text.startswith(COMMENTED) and text.count("[[source]]") == 2
    assert text.count("# Terms of labelled spans.") == 1 and b"\r" not in (desk.home / "weak.toml").read_bytes()
    assert numbers(desk) == {}
    sources = {one["name"]: one for one in desk.loop("weak", "report", "--json").json["sources"]}
    assert (sources["suggested_software"]["votes"], sources["suggested_software"]["precision"]["right"]) == (7, 4)


def test_a_file_of_windows_keeps_its_line_ends(desk: Desk):
    (desk.home / "weak.toml").write_bytes(COMMENTED.replace("\n", "\r\n").encode("utf-8-sig"))
    assert desk.loop("weak", "suggest", "--accept", str(numbers(desk)["Visio"])).code == 0
    text = (desk.home / "weak.toml").read_bytes()
    assert text.startswith(b"# Ours.\r\n") and text.count(b"\n") == text.count(b"\r\n") > 10


def test_several_are_accepted_at_once_into_a_file_that_is_made(desk: Desk):
    (desk.home / "weak.toml").unlink()
    known = numbers(desk)
    assert known.keys() == {"Visio", "Paint", "Excel"}
    listed = f"{known['Visio']},{known['Excel']}"
    done = desk.loop("weak", "suggest", "--accept", listed, "--accept", str(known["Paint"]))
    assert done.code == 0 and (desk.home / "weak.toml").read_text().count("[[source]]") == 1
    assert desk.loop("weak", "apply", "--json").json["problems"] == []


def test_a_pattern_is_a_source_of_its_own_and_is_found_again_by_its_votes(desk: Desk):
    texts = [gold(f"k{n}", f"update KB40{n}4658 {n}", f"KB40{n}4658", "OS") for n in range(9)]
    desk.loop("import", str(desk.write("kb.jsonl", *texts, {"id": "ku", "text": "see KB7777777"})), "--split", "train")
    (pattern,) = (one for one in desk.loop("weak", "suggest", "--json").json["suggestions"] if one["kind"] == "pattern")
    desk.loop("weak", "suggest", "--accept", str(pattern["number"]))
    name = f"suggested_os_{pattern['number']}"
    text = (desk.home / "weak.toml").read_text()
    assert f'name = "{name}"' in text and "# From 9 labelled spans in 9 documents; at least " in text
    desk.loop("weak", "apply")
    found = desk.loop("weak", "explain", "ku", "--json").json["votes"]
    assert [(one["text"], one["sources"]) for one in found] == [("KB7777777", [name])]


def test_nothing_is_written_for_a_number_that_no_suggestion_has(desk: Desk):
    known = numbers(desk)
    for wrong in ("1", "x", f"{known['Visio']},9"):
        said = desk.loop("weak", "suggest", "--accept", wrong)
        assert said.code == 4 and "accepted by the number beside it" in said.err
    assert (desk.home / "weak.toml").read_text() == COMMENTED


@pytest.mark.parametrize("spoilt", [COMMENTED + '[[source]]\nname = "open\n', INLINE], ids=["open", "inline"])
def test_a_file_that_takes_no_entry_stays_as_it_is(desk: Desk, spoilt: str):
    number = numbers(desk)["Visio"]
    (desk.home / "weak.toml").write_text(spoilt)
    said = desk.loop("weak", "suggest", "--accept", str(number))
    assert said.code == 4 and "TOML" in said.err and (desk.home / "weak.toml").read_text() == spoilt


def test_nothing_is_written_where_the_source_could_not_be_loaded(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    number = numbers(desk)["Visio"]
    monkeypatch.setattr("loop.weak.accepting._written", lambda value: "3")
    said = desk.loop("weak", "suggest", "--accept", str(number))
    assert said.code == 4 and "with the suggestion can be loaded: got the `kind` of a source is one of" in said.err
    assert (desk.home / "weak.toml").read_text() == COMMENTED


def test_names_that_are_taken_broken_entries_and_muted_gazetteers_are_left_alone(desk: Desk):
    ours = COMMENTED + '\n[[source]]\nname = "suggested_software"\nkind = "pattern"\nlabel = "OS"\npattern = "("\n'
    (desk.home / "weak.toml").write_text(ours)
    known = numbers(desk)
    done = desk.loop("weak", "suggest", "--accept", str(known["Visio"]), "--json").json
    assert done["entries"][0]["source"] == "suggested_software_2"
    assert (desk.home / "weak.toml").read_text().startswith(ours)
    desk.loop("weak", "apply")
    desk.loop("weak", "mute", "suggested_software_2")
    assert "Visio" not in numbers(desk)
    done = desk.loop("weak", "suggest", "--accept", str(known["Paint"]), "--json").json
    assert done["entries"][0]["source"] == "suggested_software_3"


def test_the_holdout_is_never_looked_at(desk: Desk):
    held = [gold(f"h{n}", f"Friday {n}, Access", "Access") for n in "1234"]
    desk.loop("import", str(desk.write("held.jsonl", *held)), "--split", "holdout")
    more = [gold(f"g{n}", f"Monday {n}, Word", "Word") for n in "12"]
    texts = [{"id": f"t{n}", "text": text} for n, text in enumerate(["Access", "Word"])]
    desk.loop("import", str(desk.write("more.jsonl", *more, *texts)), "--split", "train")
    assert numbers(desk).keys() == {"Visio", "Paint", "Word"}


def test_where_there_is_nothing_to_suggest_a_sentence_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    desk = make_desk(tmp_path / "desk", capsys, monkeypatch)
    assert "Nothing is labelled yet" in desk.loop("weak", "suggest").out
    desk.loop("import", str(desk.write("g.jsonl", gold("a", "no Visio", "Visio"))), "--split", "train")
    assert "Every text is labelled" in desk.loop("weak", "suggest").out
    desk.loop("import", str(desk.write("u.jsonl", {"id": "u", "text": "Visio"})), "--split", "train")
    said = desk.loop("weak", "suggest")
    assert said.code == 0 and "Nothing to suggest from 1 labelled text" in said.out
