"""A project of the real server, exported in every format that the server offers: right, or refused by name.

The gold of a file is compared with the gold of a pull of the same project. A text that a file does not make gold is
one for which the import says why. `pytest --log-cli-level=INFO` on this file shows the table of what became of each.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from loop.files.importing import Imported, import_file
from loop.files.reading import Request
from loop.label_studio.client import LabelStudioClient
from loop.sync.connect import link_project
from loop.sync.pull import pull
from ner.errors import InputError
from ner.label_studio.label_config import LabelConfig
from ner.label_studio.task_data import nested
from store.database.schema import Project
from store.database.session import Store, open_store
from store.gold import gold
from store.projects import create_project, project_by_id
from tests.server.real_label_studio import RealLabelStudio

CONTROLS = """<View>
  <Labels name="people" toName="body"><Label value="PER"/></Labels>{places}
  <Text name="body" value="${field}"/>
  <Choices name="mood" toName="body"><Choice value="calm"/><Choice value="cross"/></Choices>
  <Choices name="sure" toName="body" perRegion="true"><Choice value="yes"/></Choices>
  <TextArea name="note" toName="body"/>
</View>"""
PLACES = '\n  <Labels name="places" toName="body"><Label value="LOC"/><Label value="ORG"/></Labels>'
ONE, TWO = "\n", PLACES
_LOG = logging.getLogger(__name__)
Words = tuple[str, str]
Gold = dict[str, list[tuple[int, int, str]]]


@dataclass(frozen=True)
class Said:
    """An annotation of a text: the words of its regions with their labels, in a project with two <Labels>."""

    text: str
    words: tuple[Words, ...] = ()
    more: tuple[dict[str, Any], ...] = ()
    by_second: tuple[Words, ...] | None = None
    fields: tuple[tuple[str, Any], ...] = ()
    annotated: bool = True


MOOD = {"id": "m", "from_name": "mood", "to_name": "body", "type": "choices", "value": {"choices": ["calm"]}}
NOTE = {"id": "n", "from_name": "note", "to_name": "body", "type": "textarea", "value": {"text": ["a note"]}}
SURE = {"id": "s", "from_name": "sure", "to_name": "body", "type": "choices"}
SAID = (
    Said("Ms Bol left Riga.", (("Bol", "PER"), ("Riga", "LOC")), (MOOD, NOTE)),
    Said(
        "\U0001f692\U0001f469‍\U0001f692 Bol of Riga, \U0001f1f1\U0001f1fb.",
        (("Bol of Riga", "PER"), ("Bol", "PER"), ("Riga", "LOC")),
    ),
    Said("Hello all,\r\n\r\nask  Bol.\r\nBye", (("Bol", "PER"),)),
    Said("Nothing here.", (), (MOOD,)),
    Said("Emptied again."),
    Said("Nobody saw Bol.", annotated=False),
    Said("Skipped in Riga.", (("Riga", "LOC"),), fields=(("was_cancelled", True),)),
    Said("Both agree on Riga.", (("Riga", "LOC"),), by_second=(("Riga", "LOC"),)),
    Said("They differ on Riga.", (("Riga", "LOC"),), by_second=(("Riga", "PER"),), fields=(("ground_truth", True),)),
    Said('Of "Bol",\tquoted; and\nZoë in 東京都.', (("Bol", "PER"), ("東京", "LOC"))),
    Said("An unknown label: Riga.", (("Riga", "Town"),)),
    Said(" 3.0", (("3.0", "PER"),)),
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(f"sqlite:///{tmp_path / 'store.sqlite'}")
    yield store
    store.close()


def project_in(store: Store, name: str, xml: str) -> Project:
    with store.transaction() as tx:
        labels = list(LabelConfig.parse(xml).labels)
        made = create_project(tx, name, label_config=xml, labels=labels, holdout_share=0.0, salt="s")
        tx.commit()
    return made


def gold_of(store: Store, project: Project) -> Gold:
    with store.read() as session:
        return {item.text: sorted((s.start, s.end, s.label) for s in item.spans) for item in gold(session, project.id)}


def regions(said: Said, words: tuple[Words, ...]) -> list[dict[str, Any]]:
    made = []
    for number, (word, label) in enumerate(words):
        start = said.text.index(word)
        value = {"start": start, "end": start + len(word), "text": word, "labels": [label]}
        control = "people" if label in ("PER", "Town") else "places"
        made.append({"id": f"r{number}", "from_name": control, "to_name": "body", "type": "labels", "value": value})
    per_region = [{**SURE, "value": {"start": 0, "end": 1, "text": "x", "choices": ["yes"]}}] if words else []
    return [*made, *said.more, *per_region]


def annotated(client: LabelStudioClient, second: LabelStudioClient, xml: str, labels: set[str]) -> int:
    """The id of a project on the server in which two people annotated; of the labels only these."""
    config = LabelConfig.parse(xml)
    project = int(client.create_project("exports", xml, maximum_annotations=2)["id"])
    client.import_tasks(project, [{"data": {**nested(config.data_field, said.text), "n": 3}} for said in SAID])
    ids = sorted(client.task_ids(project, 0, 2**53))
    for task, said in zip(ids, SAID, strict=True):
        words = tuple(pair for pair in said.words if pair[1] in labels)
        if said.annotated:
            made = client.submit_annotation(task, {"result": regions(said, words), **dict(said.fields)})
        if said.text.startswith("Emptied"):
            client.http.patch(f"/api/annotations/{made['id']}/", {"result": [region_of_gone()]})
            client.http.patch(f"/api/annotations/{made['id']}/", {"result": []})
        if said.by_second is not None:
            second.submit_annotation(
                task, {"result": regions(said, tuple(w for w in said.by_second if w[1] in labels))}
            )
    return project


def region_of_gone() -> dict[str, Any]:
    value = {"start": 0, "end": 7, "labels": ["PER"]}
    return {"id": "g", "from_name": "people", "to_name": "body", "type": "labels", "value": value}


def export(server: RealLabelStudio, project: int, name: str, every: bool) -> requests.Response:
    return requests.get(
        f"{server.url}/api/projects/{project}/export",
        params={"exportType": name, "download_all_tasks": str(every).lower()},
        headers={"Authorization": f"Token {server.first.token}"},
        timeout=120,
    )


def words_of(imported: list[Imported]) -> str:
    return " ".join(word for one in imported for word in (*one.said, *one.set_aside))


def squeezed(text: str) -> str:
    return "".join(text.split())


def entities(text: str, spans: list[tuple[int, int, str]]) -> set[tuple[str, str]]:
    return {(squeezed(text[start:end]), label) for start, end, label in spans}


def outcome(expected: Gold, found: Gold, imported: list[Imported]) -> str:
    """What became of a file, in words; fails where gold changed and the import does not say so."""
    (one,) = imported
    if found == expected:
        return "the same gold as a pull"
    if one.format == "label-studio-conll":
        assert "CONLL2003" in words_of(imported)
        said = {squeezed(text): entities(text, spans) for text, spans in expected.items()}
        for text, spans in found.items():
            for words, label in entities(text, spans):  # a tag covers a whole token
                assert any(told in words and label == other for told, other in said[squeezed(text)])
        return f"{len(found)} texts of tokens; what the format loses is said"
    assert found.items() <= expected.items(), {
        k: (v, expected.get(k)) for k, v in found.items() if expected.get(k) != v
    }
    missing = len(expected) - len(found)
    assert sum(one.set_aside.values()) >= missing
    return f"gold of a pull, without {missing} texts that are set aside with their reason"


@pytest.mark.parametrize(("places", "field"), [(TWO, "doc.body"), (TWO, "text"), (ONE, "text")])
def test_every_export_of_a_project_gives_the_gold_of_a_pull_or_is_refused_by_name(
    label_studio: RealLabelStudio,
    client: LabelStudioClient,
    second_client: LabelStudioClient,
    store: Store,
    tmp_path: Path,
    places: str,
    field: str,
) -> None:
    xml = CONTROLS.format(places=places, field=field)
    config = LabelConfig.parse(xml)
    number = annotated(client, second_client, xml, {*config.labels, "Town"})
    pulled = project_in(store, "pulled", xml)
    link_project(store, client, pulled.id, ls_project_id=number)
    with store.read() as session:
        pulled = project_by_id(session, pulled.id)
    pull(store, client, pulled)
    expected = gold_of(store, pulled)
    assert len(expected) == 9
    rows: list[tuple[str, str]] = []
    for offered in client.http.get(f"/api/projects/{number}/export/formats"):
        for every in (False, True):
            name = offered["name"]
            told = f"{name}, all tasks" if every else name
            answer = export(label_studio, number, name, every)
            if not answer.ok:
                rows.append((told, f"the server fails ({answer.status_code})"))
                continue
            kind = answer.headers["content-type"].rpartition("/")[2].strip(".")
            path = tmp_path / f"{name}-{every}.{kind}"
            path.write_bytes(answer.content)
            project = project_in(store, path.name, xml)
            try:
                imported = import_file(store, project, path, "train", Request(config))
            except InputError as error:
                rows.append((told, f"refused: {error}"[:230]))
                assert not gold_of(store, project)
                continue
            rows.append((told, outcome(expected, gold_of(store, project), imported)))
    table = "\n".join(f"| {name} | {said} |" for name, said in rows)
    _LOG.info("%s, %d <Labels>:\n%s", field, len(config.controls), table)
    told = dict(rows)
    assert told["JSON"] == told["JSON, all tasks"] == "the same gold as a pull"
    for name in ("JSON_MIN", "CSV", "TSV"):
        assert told[name] == told[f"{name}, all tasks"]
        assert told[name].startswith("gold of a pull, without 1 texts")
    others = {name for name, said in rows if not said.startswith(("refused", "the server fails"))}
    assert {name.partition(",")[0] for name in others} - {"JSON", "JSON_MIN", "CSV", "TSV"} <= (
        {"CONLL2003"} if places == ONE else set()
    )
