"""What /metrics tells of the loop, and the alert rules that stand on it."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from ml_backend.backend import Backend
from ml_backend.metrics.loop_state import LoopMetrics
from store.holdout import HoldoutTerms, spend_look
from store.runs import add_hint, begin_run, finish_run
from tests.ml_backend.given import BODY, TYPE, Home, until

ALERTS = Path(__file__).parents[3] / "docs" / "alerts.yml"
OPERATIONS = ALERTS.with_name("operations.md")
# Of PromQL, what is no metric.
_WORDS = {"up", "increase", "rate", "sum", "by", "max", "min", "time", "histogram_quantile", "and", "le", "project"}


def told(home: Home) -> dict[str, float]:
    metrics = LoopMetrics(lambda: home.store)
    metrics.refresh()
    registry = CollectorRegistry()
    registry.register(metrics)
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {sample.name.removeprefix("ner_backend_"): sample.value for family in families for sample in family.samples}


def test_a_finished_run_and_a_waiting_hint_are_told(home: Home):
    assert told(home) == {"store_up": 1, "waiting_hints": 0}
    with home.store.transaction() as tx:
        run = begin_run(tx, home.project_id, "pull")
        finish_run(tx, run.id)
        add_hint(tx, home.ls_project_id, "ANNOTATION_CREATED")
        tx.commit()
    now = told(home)
    assert now.pop("loop_seen_timestamp_seconds") == run.finished_at.timestamp()
    assert now == {"store_up": 1, "waiting_hints": 1}


def test_the_looks_that_a_holdout_has_left_are_told_from_its_first_look_on(home: Home):
    version = home.model()
    with home.store.transaction() as tx:
        terms = HoldoutTerms(0.05, 3, "even")
        spend_look(tx, home.project_id, 1, version, "0" * 64, default=terms, alpha_of=lambda *_: 0.01)
        tx.commit()
    assert told(home)["holdout_looks_left"] == 2


def test_a_store_that_is_away_is_told(home: Home):
    metrics = LoopMetrics(lambda: home.store)
    with home.store_away():
        (home.folder / "loop.db").write_text("no database", "utf-8")
        metrics.refresh()
    assert [family.samples[0].value for family in metrics.collect()] == [0]


def test_every_metric_of_the_alerts_is_told_by_the_backend(client: TestClient):
    client.post("/predict", content=BODY, headers=TYPE)
    until(lambda: "ner_backend_store_up" in client.get("/metrics").text)
    shown = client.get("/metrics").text
    told_names = set(re.findall(r"^# TYPE (\S+)", shown, re.MULTILINE)) | set(
        re.findall(r"^(\w+)[{ ]", shown, re.MULTILINE)
    )
    wanted = {name for rule in rules() for name in re.findall(r"\bner_backend_\w+", rule["expr"])}
    # Told once something has happened: a look at a holdout, a run, an annotation of a pre-label, a failure.
    later = {"ner_backend_holdout_looks_left", "ner_backend_loop_seen_timestamp_seconds"}
    seldom = {"ner_backend_prelabel_regions_total", "ner_backend_model_load_failures_total"}
    assert {name for name in wanted if name not in told_names} <= later | seldom
    assert all(f"# TYPE {name} " in shown for name in later | seldom if name != "ner_backend_prelabel_regions_total")
    assert len(wanted) > 8


def test_the_rules_are_as_prometheus_reads_them():
    assert len({rule["alert"] for rule in rules()}) == len(rules()) > 8
    for rule in rules():
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"\d+[mh]", rule.get("for", "1m"))
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["expr"].count("(") == rule["expr"].count(")")
        bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^]]*\]', " ", rule["expr"])
        unknown = {word for word in re.findall(r"[a-z_]\w*", bare) if not word.startswith("ner_backend_")}
        assert unknown <= _WORDS


def test_every_alert_has_its_place_in_the_operations_page():
    page = OPERATIONS.read_text("utf-8")
    assert [rule["alert"] for rule in rules() if f"`{rule['alert']}`" not in page] == []


def test_the_backend_ends_the_thread_that_reads(home: Home):
    backend = Backend(home.settings)
    backend.start()
    backend.stop()
    assert not backend.loop_metrics._thread.is_alive()


def rules() -> list[dict]:
    [group] = yaml.safe_load(ALERTS.read_text("utf-8"))["groups"]
    return group["rules"]
