"""Sources vote on every text once; what they say together is learned from where the holdout is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from loop.settings.settings import Settings
from loop.settings.template import config_of_labels
from loop.weak.aggregating import vote_on, weak_documents
from loop.weak.applying import AskedSource, WeaklyLabelled, is_up_to_date, label_weakly
from loop.weak.muting import mute_harmful
from loop.weak.sources import declared_sources
from ner.errors import InputError
from ner.label_studio.label_config import NotLearned
from ner.label_studio.results import OUTSIDE_CONFIG
from ner.spans import Span
from store.annotations import FILE, NewAnnotation, append_annotations
from store.database.schema import HOLDOUT, Project
from store.database.session import Store
from store.documents import NewDocument, add_documents
from store.gold import gold
from store.projects import create_project, set_label_config
from store.weak.sources import SourceVotes, muted_sources, set_muted
from store.weak.votes import StoredVote, replace_votes, votes

HEAD = "from ner.spans import Span\nfrom weak_labeling.functions import labeling_function\n"
FUNCTION = (
    "@labeling_function(name={name!r})\n"
    "def {name}(text):\n"
    "    at = text.find({word!r})\n"
    "    return [Span(at, at + {length}, {label!r})] if at >= 0 else None\n"
)


def functions(path: Path, *rows: tuple[str, str, str]) -> Path:
    """A file with a function for each (name, word, label)."""
    parts = [FUNCTION.format(name=name, word=word, length=len(word), label=label) for name, word, label in rows]
    path.write_text(HEAD + "\n".join(parts))
    return path


@pytest.fixture
def project(store: Store) -> Project:
    with store.transaction() as tx:
        made = create_project(tx, "weak", label_config=config_of_labels("SOFTWARE,OS"), labels=["SOFTWARE", "OS"])
        texts = ("Excel on Windows", "the printer", "Excel")
        add_documents(tx, made.id, [NewDocument(text, f"d{n}") for n, text in enumerate(texts)], "train")
        add_documents(tx, made.id, [NewDocument("Windows held out", "h")], "holdout")
        tx.commit()
    return made


def settings_of(path: Path) -> Settings:
    """The settings of a project whose functions are in this file."""
    text = (
        f'[project]\nname = "weak"\nlabels = "labels.xml"\n[weak]\nfunctions = "{path.name}"\nseconds_per_text = 0.2\n'
    )
    return Settings.of_text(path.parent, text, {})


def label(store: Store, project: Project, path: Path) -> WeaklyLabelled:
    return label_weakly(store, settings_of(path), project)


def asked(done: WeaklyLabelled) -> dict[str, tuple[int, int, int]]:
    """(texts asked about, new votes, faults) by source."""
    return {one.name: (one.documents, one.votes, one.faults) for one in done.sources}


def cast(store: Store, project: Project) -> set[tuple[int, str, str]]:
    with store.read() as session:
        return {(vote.document_id, vote.source, vote.span.label) for vote in votes(session, project.id)}


def add(store: Store, project: Project, *texts: str, group: str | None = None) -> None:
    with store.transaction() as tx:
        add_documents(tx, project.id, [NewDocument(text, f"new {text}", group) for text in texts], "train")
        tx.commit()


def test_functions_vote_on_every_text_and_abstain_where_they_find_nothing(
    store: Store, project: Project, tmp_path: Path
):
    path = functions(tmp_path / "f.py", ("excel", "Excel", "SOFTWARE"), ("windows", "Windows", "OS"))
    done = label(store, project, path)
    assert (done.documents, done.voted) == (4, 3)
    assert asked(done) == {"excel": (4, 2, 0), "windows": (4, 2, 0)}
    learned = {(1, "excel", "SOFTWARE"), (1, "windows", "OS"), (3, "excel", "SOFTWARE")}
    assert cast(store, project) == {*learned, (4, "windows", "OS")}
    assert [item.document_id for item in weak_documents(store, project)] == [1, 3]  # not what is held out


def test_only_new_texts_and_changed_functions_are_asked_about(store: Store, project: Project, tmp_path: Path):
    rows = [("excel", "Excel", "SOFTWARE"), ("windows", "Windows", "OS")]
    path = functions(tmp_path / "f.py", *rows)
    label(store, project, path)
    assert is_up_to_date(store, project, declared_sources(settings_of(path), project, store))
    assert asked(label(store, project, path)) == {"excel": (0, 0, 0), "windows": (0, 0, 0)}
    add(store, project, "Word on Windows")
    assert not is_up_to_date(store, project, declared_sources(settings_of(path), project, store))
    functions(path, ("excel", "Word", "SOFTWARE"), rows[1])
    assert asked(label(store, project, path)) == {"excel": (5, 1, 0), "windows": (1, 1, 0)}
    assert cast(store, project) == {
        (5, "excel", "SOFTWARE"),
        (1, "windows", "OS"),
        (4, "windows", "OS"),
        (5, "windows", "OS"),
    }


def test_a_run_that_is_cut_off_loses_nothing_and_asks_nothing_twice(
    store: Store, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = functions(tmp_path / "f.py", ("excel", "Excel", "SOFTWARE"), ("windows", "Windows", "OS"))
    monkeypatch.setattr("weak_labeling.workers.CHARS_AT_ONCE", 1)  # every text is a batch of its own
    real, seen = AskedSource.add, []

    def cut_off(source: AskedSource, said: SourceVotes, documents: int) -> None:
        real(source, said, documents)
        seen.append(source.name)
        if len(seen) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(AskedSource, "add", cut_off)
    with pytest.raises(KeyboardInterrupt):
        label(store, project, path)
    assert cast(store, project) == {(1, "excel", "SOFTWARE"), (1, "windows", "OS")}
    assert asked(label(store, project, path)) == {"excel": (2, 1, 0), "windows": (2, 1, 0)}
    assert cast(store, project) == {
        (1, "excel", "SOFTWARE"),
        (1, "windows", "OS"),
        (3, "excel", "SOFTWARE"),
        (4, "windows", "OS"),
    }


def test_a_function_that_hangs_is_set_aside_and_the_service_does_not_ask_it_again_at_once(
    store: Store, project: Project, tmp_path: Path
):
    path = functions(tmp_path / "f.py", ("windows", "Windows", "OS"))
    path.write_text(
        path.read_text() + "\n@labeling_function(name='hangs')\ndef hangs(text):\n    while True: pass\n", "utf-8"
    )
    add(store, project, "a", "b", "c")
    done = label(store, project, path)
    assert asked(done) == {"windows": (7, 2, 0), "hangs": (0, 0, 0)}
    assert any("hangs was set aside: it took more than 0.2 seconds on 5 texts" in said for said in done.complaints())
    assert is_up_to_date(store, project, declared_sources(settings_of(path), project, store))
    functions(path, ("windows", "Windows", "OS"), ("hangs", "Excel", "SOFTWARE"))
    assert asked(label(store, project, path))["hangs"] == (7, 2, 0)


def test_a_labelled_text_in_doubt_is_not_learned_from_weakly(store: Store, project: Project, tmp_path: Path):
    label(store, project, functions(tmp_path / "f.py", ("excel", "Excel", "SOFTWARE")))
    assert [item.document_id for item in weak_documents(store, project)] == [1, 3]
    doubt = NotLearned(OUTSIDE_CONFIG, {"value": {"labels": ["App"]}})
    with store.transaction() as tx:
        append_annotations(tx, [(1, NewAnnotation(FILE, "gold", [], None, set_aside=[doubt]))])
        tx.commit()
    assert [item.document_id for item in weak_documents(store, project)] == [3]


def test_votes_of_functions_that_are_gone_go_and_votes_that_came_with_records_stay(
    store: Store, project: Project, tmp_path: Path
):
    with store.transaction() as tx:
        replace_votes(tx, project.id, {"file": [StoredVote(2, "file", Span(4, 11, "OS"), "import")]})
        tx.commit()
    label(store, project, functions(tmp_path / "f.py", ("excel", "Excel", "SOFTWARE"), ("w", "Windows", "OS")))
    label(store, project, functions(tmp_path / "f.py", ("w", "Windows", "OS")))
    assert cast(store, project) == {(1, "w", "OS"), (2, "file", "OS"), (4, "w", "OS")}


def test_what_is_learned_from_is_the_majority_on_texts_with_a_vote(store: Store, project: Project, tmp_path: Path):
    rows = [("a", "Excel", "SOFTWARE"), ("b", "Excel", "SOFTWARE"), ("c", "Excel", "OS")]
    label(store, project, functions(tmp_path / "f.py", *rows))
    learned = weak_documents(store, project)
    assert [(item.text, item.spans) for item in learned] == [
        ("Excel on Windows", (Span(0, 5, "SOFTWARE"),)),
        ("Excel", (Span(0, 5, "SOFTWARE"),)),
    ]


def test_votes_for_labels_that_are_gone_are_not_learned_from(store: Store, project: Project, tmp_path: Path):
    label(store, project, functions(tmp_path / "f.py", ("w", "Windows", "OS")))
    with store.transaction() as tx:
        changed = set_label_config(tx, project.id, config_of_labels("SOFTWARE"), ["SOFTWARE"])
        tx.commit()
    assert weak_documents(store, changed) == []


def test_a_file_that_does_not_run_leaves_the_votes_as_they_were(store: Store, project: Project, tmp_path: Path):
    label(store, project, functions(tmp_path / "f.py", ("w", "Windows", "OS")))
    (tmp_path / "f.py").write_text("1 / 0")
    with pytest.raises(InputError, match="ZeroDivisionError"):
        label(store, project, tmp_path / "f.py")
    assert cast(store, project) == {(1, "w", "OS"), (4, "w", "OS")}


def test_what_muted_sources_say_does_not_count_and_is_kept(store: Store, project: Project, tmp_path: Path):
    label(store, project, functions(tmp_path / "f.py", ("w", "Windows", "OS"), ("bad", "on", "SOFTWARE")))
    with store.transaction() as tx:
        set_muted(tx, project.id, "bad", True, "loop")
        tx.commit()
    assert [item.spans for item in weak_documents(store, project)] == [(Span(9, 16, "OS"),)]
    assert (1, "bad", "SOFTWARE") in cast(store, project)


def test_the_votes_that_judge_are_those_on_the_held_out_texts(store: Store, project: Project, tmp_path: Path):
    path = functions(tmp_path / "f.py", ("w", "Windows", "OS"))
    label(store, project, path)
    with store.transaction() as tx:
        said = NewAnnotation(FILE, "gold", [], spans=())
        append_annotations(tx, [(4, said)])
        held = gold(tx.session, project.id, [HOLDOUT])
        tx.commit()
    assert vote_on(store, settings_of(path), project, held) == ((Span(0, 7, "OS"),),)


def test_a_source_of_neighbours_hears_what_the_others_say_of_the_group_and_no_muted_source(
    store: Store, project: Project, tmp_path: Path
):
    (tmp_path / "weak.toml").write_text('[[source]]\nname = "beside"\nkind = "neighbours"\nvotes = 1\n')
    path = functions(tmp_path / "f.py", ("visio", "Visio is", "SOFTWARE"), ("w", "Windows", "OS"))
    path.write_text(path.read_text().replace("at + 8", "at + 5"))
    add(store, project, "Visio is slow", "restart Visio", group="thread")
    label(store, project, path)
    assert {(5, "beside", "SOFTWARE"), (6, "beside", "SOFTWARE")} & cast(store, project) == {(6, "beside", "SOFTWARE")}
    add(store, project, "no Visio today", group="thread")
    assert asked(label(store, project, path))["beside"] == (1, 2, 0)  # the whole group is asked about again
    with store.transaction() as tx:
        set_muted(tx, project.id, "visio", True, "lead")
        tx.commit()
    label(store, project, path)
    assert not any(source == "beside" for _, source, _ in cast(store, project))


def test_a_source_that_repeated_a_muted_source_is_asked_again_and_is_not_called_muted(
    store: Store, project: Project, tmp_path: Path
):
    (tmp_path / "weak.toml").write_text('[[source]]\nname = "beside"\nkind = "neighbours"\nvotes = 1\n')
    path = functions(tmp_path / "f.py", ("excel", "Excel", "SOFTWARE"), ("poison", "printer is", "OS"))
    path.write_text(path.read_text().replace("at + 10", "at + 7"))
    for number in range(30):
        add(store, project, f"Excel {number}, the printer is off", f"Excel {number} and printer", group=f"g{number}")
    with store.transaction() as tx:
        said = [(key, NewAnnotation(FILE, f"g{key}", [], spans=(Span(0, 5, "SOFTWARE"),))) for key in range(5, 65)]
        append_annotations(tx, said)
        tx.commit()
    label(store, project, path)
    assert sum(source == "beside" and label == "OS" for _, source, label in cast(store, project)) == 30
    (muted,) = mute_harmful(store, settings_of(path), project)
    assert muted.harm.source == "poison"
    with store.read() as session:
        assert muted_sources(session, project.id) == {"poison"}
    assert not any(source == "beside" and label == "OS" for _, source, label in cast(store, project))
