"""What `loop init` says of a label config that it takes, or refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loop.cli import app as cli

BOTH = """<View>
  <Labels name="parts" toName="body"><Label value="CPU"/></Labels>
  <Labels name="topics" toName="body"><Label value="ERROR"/><Label value="CPU"/></Labels>
  <Labels name="subjects" toName="title"><Label value="ORDER"/></Labels>
  <HyperTextLabels name="links" toName="page"><Label value="LINK"/></HyperTextLabels>
  <Choices name="mood" toName="body"><Choice value="good"/></Choices>
  <Text name="body" value="$ticket.body"/><Text name="title" value="$title"/><HyperText name="page" value="$page"/>
</View>"""


def init(folder: Path, xml: str, *words: str) -> int:
    (folder / "mine.xml").write_text(xml, "utf-8")
    return cli.run(["init", str(folder / "p"), "--config", str(folder / "mine.xml"), *words])


def test_init_says_which_labels_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert init(tmp_path, BOTH) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Project 'p' with CPU, ERROR:" in said
    assert "from: <Labels name='subjects'> (ORDER): it labels <Text name='title'>, and <Text name='body'> is" in said
    assert "from: <HyperTextLabels name='links'> (LINK): it labels <HyperText name='page'>" in said
    assert "mood" not in said


def test_init_lists_what_is_left_out_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert init(tmp_path, BOTH, "--json") == 0
    made = json.loads(capsys.readouterr().out)
    assert made["labels"] == ["CPU", "ERROR"]
    assert [(one["tag"], one["name"], one["labels"]) for one in made["left_out"]] == [
        ("Labels", "subjects", ["ORDER"]),
        ("HyperTextLabels", "links", ["LINK"]),
    ]


@pytest.mark.parametrize(
    ("attributes", "named"),
    [
        ('value="$parts[0]"', "value='$parts[0]'"),
        ('value="$a and $b"', "value='$a and $b'"),
        ('value="Read this"', "value='Read this'"),
        ('value="$link" valueType="url"', "valueType='url'"),
        ('value="$text" encoding="base64"', "encoding='base64'"),
    ],
)
def test_init_names_the_attribute_that_hides_the_text_and_makes_nothing(
    tmp_path: Path, attributes: str, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    xml = f'<View><Labels name="n" toName="t"><Label value="A"/></Labels><Text name="t" {attributes}/></View>'
    assert init(tmp_path, xml) == 4
    assert f"<Text name='t'> has {named}" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "p").exists()


def test_init_from_an_export_takes_its_names_and_import_then_understands_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    value = {"start": 0, "end": 5, "text": "Excel", "labels": ["SOFTWARE"]}
    result = [{"from_name": "ner", "to_name": "body", "type": "labels", "value": value}]
    task = {"id": 1, "data": {"ticket": {"body": "Excel hangs"}}, "annotations": [{"id": 1, "result": result}]}
    path = tmp_path / "export.json"
    path.write_text(json.dumps([task]), "utf-8")
    assert cli.run(["init", str(tmp_path / "p"), "--from-export", str(path)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "SOFTWARE ner body 1" in said
    assert "'ticket.body'" in said
    assert cli.run(["-C", str(tmp_path / "p"), "import", str(path), "--dry-run", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["files"]
    assert (told["audit"]["with_entities"], told["audit"]["in_doubt"], told["said"]) == (1, 0, [])
    assert cli.run(["init", str(tmp_path / "q"), "--from-export", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["from_export"]["controls"][0]["labels"] == {"SOFTWARE": 1}


def test_init_takes_labels_from_one_place(tmp_path: Path) -> None:
    assert cli.run(["init", str(tmp_path / "p"), "--labels", "A", "--from-export", "x.json"]) == 2
