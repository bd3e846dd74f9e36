"""The command line: answers for people and for programs, exit codes, and complaints that name the rule."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from loop.cli import app as cli
from loop.settings.settings import Settings
from store.database.session import open_store
from store.projects import project_by_name
from store.runs import RETRAIN, tracked
from tests.loop.desk import WORDS, Desk, heed_ctrl_c, make_desk
from tests.store import given, prelabelled

EXCEL = {"id": "e", "text": "Excel hangs", "spans": [{"start": 0, "end": 5, "label": "SOFTWARE"}]}
HEAVY = ("torch", "transformers", "peft", "datasets", "numpy", "sqlalchemy", "onnxruntime")


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    return make_desk(tmp_path / "desk", capsys, monkeypatch)


def imported_by(*words: str, given: str = "", code: int = 0) -> set[str]:
    """The heavy libraries that a command line has imported when it has ended, in a process of its own."""
    script = (
        "import sys; from loop.cli.app import run; code = run(sys.argv[1:]); "
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", script, *words], input=given, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return set(eval(done.stderr.splitlines()[-1]))


# Help and usage


def test_help_imports_no_heavy_library():
    assert imported_by("--help") == set()


def test_predict_imports_no_training_library(desk: Desk):
    desk.promoted_model()
    imported = imported_by("-C", str(desk.home), "predict", "-", given='{"text": "Excel"}\n')
    assert imported == {"numpy", "sqlalchemy", "onnxruntime"}


def test_a_retrain_beside_another_one_is_refused_before_a_training_library_is_imported(desk: Desk):
    settings = Settings.load(desk.home, {})
    store = open_store(settings.store_url)
    with store.read() as session:
        project = project_by_name(session, settings.project_name)
    with tracked(store, project.id, RETRAIN, exclusive=True):
        assert imported_by("-C", str(desk.home), "retrain", code=6) <= {"numpy", "sqlalchemy"}


def test_help_tells_the_exit_codes_and_every_command_has_an_example(desk: Desk):
    about = " ".join(desk.loop("--help").out.split())
    assert "8 candidate not promoted" in about
    assert "A project is a folder with a loop.toml" in about
    commands: dict[str, Any] = dict(cli.typer.main.get_command(cli.app).commands)  # type: ignore[attr-defined]
    commands |= {f"{group} {name}": None for group, it in commands.items() for name in getattr(it, "commands", ())}
    for name in sorted(commands):
        said = desk.loop(*name.split(), "--help")
        assert said.code == 0
        assert f"Example: loop {name}" in " ".join(said.out.split()), name
        assert max(map(len, said.out.splitlines())) <= 80


def test_no_words_at_all_show_the_help_and_are_wrong_usage(capsys: pytest.CaptureFixture[str]):
    assert cli.run([]) == 2
    told = capsys.readouterr()
    assert "Usage: loop" in told.out
    assert told.err == ""


@pytest.mark.parametrize(
    "words", [["nope"], ["import"], ["predict", "--nope", "x"], ["import", "x", "--split", "no"], ["init", "x"]]
)
def test_wrong_usage_exits_with_2_and_one_line_of_sentences(desk: Desk, words: list[str]):
    said = desk.loop(*words)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("loop: ")
    assert re.search(r"[.?] See `loop[a-z ]* --help`\.\n$", said.err)
    as_json = desk.loop(*words, "--json")
    assert (as_json.code, as_json.err) == (2, "")
    assert as_json.json["error"]["exit_code"] == 2
    assert as_json.json["error"]["rule"].rstrip(".") in " ".join(said.err.split())


# Where the project is


def test_a_folder_without_project_exits_with_3_and_says_how_to_make_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert cli.run(["-C", str(tmp_path), "status"]) == 3
    assert "loop init" in capsys.readouterr().err


def test_the_shared_options_count_before_the_command_and_behind_it(desk: Desk, capsys: pytest.CaptureFixture[str]):
    behind = desk.loop("status", "--json").json
    assert cli.run(["status", "-C", str(desk.home), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == behind
    assert desk.loop("--json", "status").json == behind


def test_loop_home_names_the_project(desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("LOOP_HOME", str(desk.home))
    assert cli.run(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["project"] == "desk"


# Failures


def test_a_rule_that_is_broken_is_told_without_a_traceback_and_with_one_on_v(desk: Desk):
    said = desk.loop("import", "missing.jsonl")
    assert said.code == 4
    assert said.err.startswith("loop: missing.jsonl can be read: got ")
    assert "Traceback" not in said.err
    assert "Traceback" in desk.loop("import", "missing.jsonl", "-v").err


def test_in_json_mode_a_failure_is_json_too(desk: Desk):
    said = desk.loop("import", "missing.jsonl", "--json")
    assert said.code == 4
    assert said.json["error"] == {
        "rule": "missing.jsonl can be read",
        "value": "No such file or directory",
        "next_step": "Check the name.",
        "exit_code": 4,
    }


def test_an_unexpected_failure_exits_with_1_and_names_the_type(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("loop.service.status.project_status", broken)
    said = desk.loop("status")
    assert said.code == 1
    assert "ZeroDivisionError: by zero" in said.err


def test_ctrl_c_exits_with_130(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("loop.service.status.project_status", interrupted)
    said = desk.loop("status")
    assert (said.code, said.out) == (130, "")
    assert said.err == "Interrupted; the same command can be given again.\n"
    assert desk.loop("status", "--json").json["error"]["exit_code"] == 130


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("words", [["predict"], ["evaluate", "--on"], ["import"]])
def test_a_real_ctrl_c_ends_a_command_that_waits_for_input_with_one_line(desk: Desk, words: list[str], as_json: bool):
    desk.promoted_model()
    given = desk.home / "given"
    os.mkfifo(given)
    options = ["--json"] if as_json else []
    process = subprocess.Popen(
        [sys.executable, "-m", "loop.cli", "-C", str(desk.home), *words, str(given), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_ctrl_c,
    )
    with given.open("w"):  # opens once the command reads
        process.send_signal(signal.SIGINT)
        try:
            out, err = process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            # The signal came just before the wait for input began, which then does not end: pressed once more.
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    if as_json:
        assert (json.loads(out)["error"]["exit_code"], err) == (130, "")
    else:
        assert (out, err) == ("", "Interrupted; the same command can be given again.\n")


def test_a_failure_in_json_mode_is_one_line_behind_lines_of_json(desk: Desk):
    assert desk.loop("predict", "missing.jsonl", "--json").out.count("\n") == 1


def test_a_store_that_is_no_store_exits_with_3(desk: Desk):
    (desk.home / "loop.db").write_bytes(b"nonsense" * 1000)
    assert desk.loop("status").code == 3


def test_a_reader_that_leaves_early_is_no_failure(desk: Desk):
    desk.promoted_model()
    path = desk.write("in.jsonl", *({"text": "Excel " * 200} for _ in range(2000)))
    command = f"{sys.executable} -m loop.cli -C {desk.home} predict {path} | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert (done.returncode, "Error" in done.stderr, "loop:" in done.stderr) == (0, False, False)


@pytest.mark.parametrize("words", [["status"], ["status", "--json"], ["status", "--nope", "--json"]])
def test_a_full_disk_is_told_without_a_traceback(desk: Desk, words: list[str]):
    command = [sys.executable, "-m", "loop.cli", "-C", str(desk.home), *words]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == (2 if "--nope" in words else 1)
    assert done.stderr.startswith("loop: ")
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_label_config_that_is_not_utf_8_exits_with_3(desk: Desk):
    (desk.home / "labels.xml").write_bytes(b"\xff<View/>")
    said = desk.loop("status")
    assert said.code == 3
    assert "labels.xml can be read as UTF-8" in " ".join(said.err.split())


# init


def test_init_makes_a_project_that_works_and_a_second_init_overwrites_nothing(desk: Desk):
    before = (desk.home / "loop.toml").read_text()
    said = desk.loop("init", str(desk.home), "--labels", "A,B")
    assert said.code == 3
    assert (desk.home / "loop.toml").read_text() == before
    assert desk.loop("status", "--json").json["labels"][0]["label"] == "SOFTWARE"


def test_init_takes_a_label_studio_config_and_keeps_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    xml = '<View><Labels name="n" toName="t"><Label value="Ä &amp; B"/></Labels><Text name="t" value="$body"/></View>'
    (tmp_path / "mine.xml").write_text(xml, "utf-8")
    assert cli.run(["init", str(tmp_path / "p"), "--config", str(tmp_path / "mine.xml")]) == 0
    assert (tmp_path / "p" / "labels.xml").read_text("utf-8") == xml
    capsys.readouterr()
    assert cli.run(["-C", str(tmp_path / "p"), "status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["labels"][0]["label"] == "Ä & B"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([], 2),
        (["--labels", "A", "--config", "x.xml"], 2),
        (["--labels", "A,,B"], 4),
        (["--labels", "A,A"], 4),
        (["--config", "missing.xml"], 4),
    ],
)
def test_init_refuses_labels_that_are_none(tmp_path: Path, words: list[str], code: int):
    assert cli.run(["init", str(tmp_path / "p"), *words]) == code
    assert not (tmp_path / "p" / "loop.toml").exists()


def test_an_init_that_was_cut_short_can_be_run_again(desk: Desk):
    (desk.home / "loop.toml").unlink()
    said = desk.loop("init", str(desk.home), "--labels", "SOFTWARE,OS", "--name", "desk")
    assert said.code == 0
    assert "this folder joins it" in " ".join(said.out.split())


def test_what_is_to_be_copied_is_quoted_and_never_cut(desk: Desk, tmp_path: Path):
    home = tmp_path / "a long name" / ("x" * 90)
    said = desk.loop("init", str(home), "--labels", "A")
    assert f"Next: loop -C '{home}' import FILE.jsonl --split train" in said.out.splitlines()
    again = desk.loop("init", str(home), "--labels", "A").err.splitlines()
    assert [f"{home}/loop.toml" in line for line in again] == [True]


def test_init_says_when_it_joins_a_project_of_a_shared_store(desk: Desk, tmp_path: Path):
    desk.monkeypatch.setenv("LOOP_STORE_URL", f"sqlite:///{desk.home}/loop.db")
    other = str(tmp_path / "other")
    assert desk.loop("init", other, "--labels", "SOFTWARE,OS", "--name", "desk", "--json").json["joined"] is True
    assert desk.loop("init", str(tmp_path / "new"), "--labels", "A", "--name", "new", "--json").json["joined"] is False


@pytest.mark.parametrize("name", ['a "b" \\ c', "no\u00a0break", "wide\u3000space", "😀 ü", "'''"])
def test_a_projects_name_comes_back_from_the_file_as_it_was_given(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
):
    assert cli.run(["init", str(tmp_path / "p"), "--labels", "A", "--name", name]) == 0
    capsys.readouterr()
    assert cli.run(["-C", str(tmp_path / "p"), "status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["project"] == name


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["{}/p", "--labels", "A", "--name", "\udcff"], 4),
        (["{}/p", "--labels", "A", "--name", "two\nlines"], 4),
        (["{}/two\nlines", "--labels", "A"], 4),
        (["{}/p", "--labels", "A", "--name", "line\u2028break"], 4),
        (["{}/p", "--labels", "A", "--name", "del\x7f"], 4),
        (["{}/file", "--labels", "A"], 3),
        (["{}/p", "--labels", "\udcff"], 4),
        (["/proc/no/such", "--labels", "A"], 3),
        (["{}/file/p", "--labels", "A"], 3),
        (["{}/binary", "--labels", "A"], 3),
    ],
)
def test_init_refuses_what_it_cannot_write(tmp_path: Path, words: list[str], code: int):
    (tmp_path / "file").write_text("")
    (tmp_path / "binary").mkdir()
    (tmp_path / "binary" / "labels.xml").write_bytes(b"\xff")
    assert cli.run(["init", *(word.format(tmp_path) for word in words)]) == code


def test_init_does_not_join_a_project_of_a_shared_store_that_is_in_use(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LOOP_STORE_URL", f"sqlite:///{desk.home}/loop.db")
    again = ["init", str(tmp_path / "other"), "--labels", "SOFTWARE,OS", "--name", "desk"]
    desk.loop("import", str(desk.write("in.jsonl", EXCEL)))
    said = desk.loop(*again)
    assert said.code == 4
    assert "a project's name and slug are its own" in " ".join(said.err.split())
    assert not (tmp_path / "other" / "loop.toml").exists()


def test_labels_added_to_the_file_are_taken_over(desk: Desk):
    config = (desk.home / "labels.xml").read_text("utf-8")
    (desk.home / "labels.xml").write_text(config.replace("</Labels>", '<Label value="NEW"/></Labels>'), "utf-8")
    record = {"text": "x", "spans": [{"start": 0, "end": 1, "label": "NEW"}]}
    assert desk.loop("import", str(desk.write("in.jsonl", record))).code == 0


# import, export-data, label


def test_import_counts_for_people_and_programs(desk: Desk):
    path = desk.write("in.jsonl", EXCEL, {"text": "open"})
    said = desk.loop("import", str(path), "--split", "train", "--json")
    assert said.json["files"][0]["added"] == 2
    again = desk.loop("import", str(path), "--split", "holdout")
    assert "Already known in another split, and left there: 2 documents." in again.out


def test_a_bad_file_exits_with_4_and_names_its_lines(desk: Desk):
    said = desk.loop("import", str(desk.write("in.jsonl", EXCEL, {"text": ""})))
    assert said.code == 4
    assert "in.jsonl, line 2: a text is not empty or blank" in said.err
    assert "--skip-bad" in said.err
    assert "Set aside: 1 x a text is not empty" in desk.loop("import", str(desk.home / "in.jsonl"), "--skip-bad").out


def test_what_was_imported_is_exported(desk: Desk):
    desk.loop("import", str(desk.write("in.jsonl", EXCEL, {"id": "o", "text": "open"})), "--split", "train")
    out = desk.home / "out.conll"
    said = desk.loop("export-data", str(out), "--format", "conll")
    assert "Left out: 1 unlabelled text." in said.out
    assert out.read_text().endswith("Excel\tB-SOFTWARE\nhangs\tO\n\n")
    assert desk.loop("export-data", str(out), "--split", "holdout", "--json").json["documents"] == 0


def test_an_export_says_which_spans_cut_a_token_and_what_became_of_the_white_space(desk: Desk):
    record = {"text": "Excel2019  hangs", "spans": [{"start": 0, "end": 5, "label": "SOFTWARE"}]}
    desk.loop("import", str(desk.write("in.jsonl", record)), "--split", "train")
    out = desk.home / "out"
    exact = desk.loop("export-data", str(out), "--format", "conll", "--tags", "bilou")
    assert "1 span cut a token" in exact.out
    assert "exact spans are written" in exact.out
    assert "Excel2019\tU-SOFTWARE\n" in out.read_text()
    plain = desk.loop("export-data", str(out), "--format", "conll", "--plain")
    assert "exact spans" not in plain.out
    assert "1 text got other white space" in plain.out
    assert out.read_text() == "Excel2019\tB-SOFTWARE\nhangs\tO\n\n"


@pytest.mark.parametrize(
    ("file_format", "options"),
    [("jsonl", ["--tags", "bilou"]), ("datasets", ["--plain"]), ("doccano", ["--as", "predictions"])],
)
def test_an_option_of_another_format_is_refused(desk: Desk, file_format: str, options: list[str]):
    said = desk.loop("export-data", str(desk.home / "out"), "--format", file_format, *options)
    assert said.code == 4
    assert options[0] in said.err


# predict


def test_predict_answers_each_record_in_order_with_scores(desk: Desk):
    desk.promoted_model()
    path = desk.write("in.jsonl", {"id": "b", "text": "no entity"}, {"text": "restart Excel on Windows"})
    said = desk.loop("predict", str(path))
    first, second = map(json.loads, said.out.splitlines())
    assert first == {"id": "b", "spans": []}
    assert second["id"] == "2"
    assert [(s["start"], s["end"], s["label"]) for s in second["spans"]] == [(8, 13, "SOFTWARE"), (17, 24, "OS")]
    assert all(0 < span["score"] <= 1 for span in second["spans"])


def test_predict_reads_standard_input_and_writes_a_whole_file(desk: Desk):
    desk.promoted_model()
    out = desk.home / "out.jsonl"
    said = desk.loop("predict", "-", "--out", str(out), "--json", given='{"id": 1, "text": "😀 Excel"}\n')
    assert said.json == {"out": str(out), "texts": 1}
    assert json.loads(out.read_text())["spans"][0]["start"] == 2


def test_predict_ignores_spans_whatever_they_are(desk: Desk):
    desk.promoted_model()
    assert desk.loop("predict", "-", given='{"text": "Excel", "spans": "none"}\n').code == 0


def test_predict_says_beside_its_answers_how_the_file_is_read(desk: Desk):
    desk.promoted_model()
    said = desk.loop("predict", "-", given="restart Excel\nno entity\n")
    assert said.out.count("\n") == 2
    assert "Plain text: each line is a document" in said.err


def test_predict_refuses_bad_records_before_it_answers_any(desk: Desk):
    desk.promoted_model()
    out = desk.home / "out.jsonl"
    said = desk.loop("predict", "-", "--out", str(out), given='{"text": "Excel"}\n{"text": "a\\u0000"}\nnonsense\n')
    assert (said.code, out.exists()) == (4, False)
    assert "line 2: a text holds no U+0000" in said.err
    assert "line 3: a record is well-formed JSON" in said.err


def test_predict_names_the_bad_records_that_it_leaves_out(desk: Desk):
    desk.promoted_model()
    said = desk.loop("predict", "-", "--skip-bad", given='{"text": "Excel"}\nnonsense\n')
    assert (said.code, len(said.out.splitlines())) == (0, 1)
    assert "Left out: 1 record that breaks a rule. standard input, line 2: a record is well-formed JSON" in said.err


def test_evaluate_names_the_bad_records_that_it_leaves_out_and_reads_numbers_of_tags(desk: Desk):
    desk.promoted_model()
    path = desk.write("in.jsonl", {"tokens": ["Excel", "hangs"], "ner_tags": [1, 0]}, {"text": 1, "spans": 1})
    said = desk.loop("evaluate", "--on", str(path), "--label-names", "O,B-SOFTWARE", "--skip-bad", "--json")
    assert said.code == 0, said.err
    assert said.json["types"]["SOFTWARE"]["support"] == 1
    assert any(note.startswith("Left out: 1 record that breaks a rule.") for note in said.json["said"])


def test_predict_without_a_model_in_service_exits_with_9(desk: Desk):
    said = desk.loop("predict", "-", given='{"text": "a"}\n')
    assert said.code == 9
    assert "loop retrain" in said.err


def test_predict_refuses_a_bundle_that_was_touched_and_names_both_hashes(desk: Desk):
    version = desk.promoted_model()
    with (desk.home / "models" / "desk" / version / "labels.json").open("a") as stream:
        stream.write(" ")
    said = desk.loop("predict", "-", given='{"text": "a"}\n')
    assert said.code == 9
    assert "SHA-256 of labels.json" in said.err


def test_predict_refuses_a_model_of_other_labels(desk: Desk):
    desk.promoted_model()
    config = (desk.home / "labels.xml").read_text("utf-8")
    (desk.home / "labels.xml").write_text(config.replace('"OS"', '"ERROR"'), "utf-8")
    said = desk.loop("predict", "-", given='{"text": "a"}\n')
    assert said.code == 9
    assert "ERROR" in said.err
    assert "OS" in said.err


# status


def test_status_of_a_fresh_project_fits_80_columns_and_shows_every_type(desk: Desk):
    said = desk.loop("status")
    assert said.code == 0
    assert max(map(len, said.out.splitlines())) <= 80
    assert "none yet" in said.out
    assert "under 50 labels" in said.out


def test_status_names_the_engine_of_the_settings(desk: Desk):
    assert "local: the ML backend runs the model's file" in desk.loop("status").out
    desk.configure(backend__engine="http://triton:8000")
    assert "http://triton:8000; where this server fails" in " ".join(desk.loop("status").out.split())
    assert desk.loop("status", "--json").json["engine"] == "http://triton:8000"
    desk.configure(backend__engine="http://who:hidden@triton:8000")
    assert all("hidden" not in desk.loop("status", *words).out for words in ((), ("--json",)))


def test_status_shows_the_model_its_scores_and_labels_against_the_minimum(desk: Desk):
    version = desk.promoted_model(WORDS, f1=0.75)
    desk.configure(status__minimum_labels=1)
    desk.loop("import", str(desk.write("in.jsonl", EXCEL, {"id": "o", "text": "open"})), "--split", "train")
    shown, told = desk.loop("status").out, desk.loop("status", "--json").json
    assert f"{version}, micro-F1 0.750 on the holdout" in " ".join(shown.split())
    assert max(map(len, shown.splitlines())) <= 80
    assert told["model"]["version"] == version
    assert told["model"]["f1"] == {"SOFTWARE": 0.75, "OS": 0.75, "micro": 0.75, "macro": 0.75}
    assert [(row["label"], row["spans"], row["enough"]) for row in told["labels"]] == [
        ("SOFTWARE", 1, True),
        ("OS", 0, False),
    ]
    assert told["counts"]["open"] == 1
    assert told["last_promotion"]["version"] == version


def test_status_names_the_types_that_are_short_where_their_minima_differ(desk: Desk):
    desk.configure(status__types={"OS": {"minimum": 30, "recommended": 100}})
    shown, told = desk.loop("status").out, desk.loop("status", "--json").json
    assert "OS has 0 of 30 at least, 100 recommended." in " ".join(shown.split())
    assert [(row["minimum"], row["recommended"]) for row in told["labels"]] == [(50, 200), (30, 100)]


def test_status_shows_what_annotators_did_with_the_pre_labels(desk: Desk):
    settings = Settings.load(desk.home, {})
    store = open_store(settings.store_url)
    with store.read() as session:
        project = project_by_name(session, settings.project_name)
    documents = prelabelled.tasks(store, project, *(f"Linux Gnome {n}" for n in range(9)), group="in training")
    with store.transaction() as tx:
        given.move(tx, documents, "train")
        tx.commit()
    version = prelabelled.serve(store, project, given.at(0))
    prelabelled.show(store, version, documents, given.at(1), (0, 5, "OS"), (6, 11, "SOFTWARE"))
    for document in documents:
        prelabelled.submit(store, document, 2, (0, 5, "OS"))
    store.close()
    shown, told = desk.loop("status").out, desk.loop("status", "--json").json["prelabels"]
    assert max(map(len, shown.splitlines())) <= 80
    (row,) = [line.split() for line in shown.split("pre-labels of")[1].splitlines()[1:] if line]
    assert row[:4] == [version, "9", "18", "50%"]
    assert row[5:] == ["0", "0", "9", "0"]
    assert [(row["name"], row["kept_share"]) for row in told["versions"][0]["types"]] == [("OS", 1), ("SOFTWARE", 0)]
    assert told["weeks"][0]["removed"] == 9


def test_long_names_do_not_widen_the_tables(desk: Desk):
    config = (desk.home / "labels.xml").read_text("utf-8")
    (desk.home / "labels.xml").write_text(config.replace('"OS"', f'"{"Long_" * 30}"'), "utf-8")
    assert max(map(len, desk.loop("status").out.splitlines())) <= 80


def test_what_is_printed_for_people_never_takes_data_for_markup(desk: Desk):
    path = desk.write("[bold]in.jsonl", EXCEL)
    assert "[bold]in.jsonl" in desk.loop("import", str(path)).out
    out = desk.home / "[red]out.jsonl"
    assert "[red]out.jsonl" in "".join(desk.loop("export-data", str(out)).out.split("\n"))
    assert "[/nope]" in desk.loop("import", "[/nope]").err


# What speaks with Label Studio


@pytest.fixture
def linked(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setenv("LABEL_STUDIO_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "key")
    return desk


def test_one_cycle_that_is_interrupted_ends_with_130(linked: Desk, monkeypatch: pytest.MonkeyPatch):
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("loop.service.service.Service.run_cycle", interrupted)
    assert linked.loop("run", "--once").code == 130
    assert linked.loop("run").code == 0


@pytest.mark.parametrize(
    ("content", "rule"), [(None, "can be read"), (b"\xff", "can be read"), (b" \n", "holds an API key")]
)
def test_a_key_file_that_gives_no_key_is_named(linked: Desk, content: bytes | None, rule: str):
    path = linked.home / "key"
    if content is not None:
        path.write_bytes(content)
    said = linked.loop("simulate-annotator", str(linked.write("g.jsonl", EXCEL)), "--key-file", str(path))
    assert said.code == 3
    assert rule in " ".join(said.err.split())
