"""What `/metrics` tells of pre-labels, and when."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from ml_backend.metrics import prelabels
from ml_backend.metrics.prelabels import PrelabelMetrics
from ner.errors import RuleError
from store.database.schema import Project
from store.projects import project_by_id
from tests.ml_backend.given import Home, until
from tests.store import given
from tests.store.prelabelled import GNOME, LINUX, show, submit, tasks

TEXTS = [f"Linux Gnome {n}" for n in range(5)]
KEPT = 'ner_backend_prelabel_regions_total{outcome="kept",project="it-support",type="OS",version="it-support-0001"}'


@pytest.fixture
def project(home: Home) -> Project:
    with home.store.read() as session:
        return project_by_id(session, home.project_id)


def annotated(home: Home, project: Project) -> list[int]:
    """Documents with a pre-label, the first of them annotated."""
    documents = tasks(home.store, project, *TEXTS)
    show(home.store, home.promote(home.model()), documents, given.at(1), LINUX, GNOME)
    submit(home.store, documents[0], 2, LINUX)
    return documents


def told(metrics: PrelabelMetrics) -> dict[tuple[str, ...], float]:
    """The counters that are not 0, by the values of their labels."""
    samples = [sample for family in metrics.collect() for sample in family.samples]
    return {tuple(sample.labels.values())[1:]: sample.value for sample in samples if sample.value}


def test_metrics_tell_what_annotators_did_by_version_and_type(
    home: Home, project: Project, open_app: Callable[..., TestClient]
) -> None:
    annotated(home, project)
    client = open_app()
    until(lambda: "ner_backend_prelabel_regions_total" in client.get("/metrics").text)
    text = client.get("/metrics").text
    assert f"{KEPT} 1.0" in " ".join(re.sub(r"\{(.*?)\}", _sorted_labels, text).split("\n"))
    assert 'ner_backend_prelabelled_annotations_total{project="it-support",version="it-support-0001"} 1.0' in text


def _sorted_labels(found: re.Match[str]) -> str:
    return "{" + ",".join(sorted(found[1].split(","))) + "}"


def test_each_turn_goes_on_where_the_last_one_ended(
    home: Home, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prelabels, "ROWS_AT_ONCE", 2)
    documents = annotated(home, project)
    metrics = PrelabelMetrics(lambda: home.store, share=1.0)
    metrics.refresh()
    version = "it-support-0001"
    first = {(version,): 1, (version, "OS", "kept"): 1, (version, "SOFTWARE", "removed"): 1}
    assert told(metrics) == first
    for document in documents[1:]:
        submit(home.store, document, 3, LINUX, GNOME)
    metrics.refresh()
    assert told(metrics) == first | {(version,): 5, (version, "OS", "kept"): 5, (version, "SOFTWARE", "kept"): 4}
    metrics.refresh()
    assert told(metrics)[version,] == 5


def test_a_pre_label_that_the_store_does_not_know_counts_as_unknown(home: Home, project: Project) -> None:
    (document,) = tasks(home.store, project, TEXTS[0])
    home.promote(home.model())
    submit(home.store, document, 2, LINUX)
    metrics = PrelabelMetrics(lambda: home.store)
    metrics.refresh()
    assert told(metrics) == {("unknown",): 1}


def test_while_the_store_is_away_the_counts_stay(home: Home, project: Project) -> None:
    annotated(home, project)
    metrics = PrelabelMetrics(lambda: home.store)
    metrics.refresh()
    before = told(metrics)
    assert before
    with home.store_away(), pytest.raises(RuleError):
        metrics.refresh()
    assert told(metrics) == before
