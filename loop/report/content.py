"""The content of a report as plain values: what `report.json` holds, and what HTML and Markdown are made of.

Layout, format 1. F1, precision, recall and differences are 0..1, alphas and p-values probabilities, times ISO 8601;
what was not measured is null. Keys are only ever added within a format.

    format, kind ("attempt"), at, project, version, incumbent, outcome, who, reason, because
    verdict      headline; sentences (two)
    gates        name, kind, target, value, status, note, entity_type (null: the whole model)
    contract     name, expected, found, holds
    metadata     candidate, incumbent (see `loop.report.metadata`), command, retraining, judged_seconds, machine
    data         splits, types, minimum, recommended, trained, annotators, ... (see `loop.report.data`)
    results      documents (texts), groups (what the test counts), entities, against, rows (per type, micro, macro),
                 delta, confidence, p_value, ...
    history      version, at, action, f1, epoch, this: each version in service so far, and this attempt
    errors       per_type, matrix, costliest, confusions, examples, total
    efficiency   speeds, memory_mb, bundle_mb, parameters, reference_error; null where nothing was timed
    quantisation name, reference_f1, served_f1, loss, support
    agreement    documents, same: INT8 against FP32
    robustness   name, micro_f1, per_type, documents, changed; the first row is the texts as they are
    ledger       look, alpha_left, looks_left, spent, rotation, forced
    power        alpha, detectable, wanted, documents, documents_needed
    findings, risks, limits, next_steps    topic, text, figures
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from datetime import datetime
from typing import Any, Protocol

from loop.promotion.attempt import Attempt
from loop.report.data import data
from loop.report.history import decisions
from loop.report.ledger import history, ledger
from loop.report.limits import limits, power, risks
from loop.report.metadata import metadata
from loop.report.next_steps import findings, next_steps
from loop.report.scoring import agreement, errors, quantisation, results
from loop.report.verdict import verdict
from loop.report.wording import storable
from store.projects import project_by_name
from store.session import Store

FORMAT = 1
ATTEMPT, ROLLBACK = "attempt", "rollback"
Report = dict[str, Any]


class Terms(Protocol):
    """Of `[promotion]`: F1 (0..1) that a type may lose, the difference one wants to see, whether texts are quoted."""

    @property
    def delta(self) -> float: ...

    @property
    def wanted(self) -> float: ...

    @property
    def texts(self) -> bool: ...


class Yardsticks(Protocol):
    """What is needed of the settings."""

    @property
    def promotion(self) -> Terms: ...

    @property
    def status_minimum(self) -> int: ...


def report_of(attempt: Attempt, store: Store, settings: Yardsticks) -> Report:
    """The report of one attempt, from one snapshot of the store, which may hold the decision already or not yet."""
    with store.read() as session:
        project = project_by_name(session, attempt.project)
        known = decisions(session, project.id)
        report = _head(attempt) | {
            "gates": [asdict(gate) for gate in attempt.gates],
            "contract": [asdict(check) for check in attempt.contract],
            "metadata": metadata(session, attempt),
            "data": data(session, project.id, attempt.version, attempt.types, settings.status_minimum),
            "results": results(attempt, settings.promotion.delta),
            "errors": errors(attempt, quoting=settings.promotion.texts),
            "efficiency": asdict(attempt.efficiency) if attempt.efficiency else None,
            "quantisation": quantisation(attempt),
            "agreement": agreement(attempt),
            "robustness": [_perturbed(one) for one in attempt.robustness],
            "ledger": ledger(session, project.id, attempt, known),
        }
    report["history"] = history(attempt, known, _micro_f1(report["results"]))
    report["power"] = power(report, settings.promotion.wanted)
    report["findings"] = findings(report)
    report["risks"] = risks(report, attempt.risks)
    report["limits"] = limits(report)
    report["next_steps"] = next_steps(report)
    report["verdict"] = verdict(report)
    made: Report = plain(report)
    return made


def plain(value: Any) -> Any:
    """As JSON has it: dataclasses are objects, tuples are lists, times are written out, what is not finite is null.

    Lone surrogates, which no UTF-8 file holds, are replaced.
    """
    if isinstance(value, Mapping):
        return {storable(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, str):
        return storable(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Sequence | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int):
        return value
    return storable(str(value))


def _head(attempt: Attempt) -> Report:
    return {
        "format": FORMAT,
        "kind": ATTEMPT,
        "at": attempt.at,
        "project": attempt.project,
        "version": attempt.version,
        "incumbent": attempt.incumbent,
        "outcome": attempt.outcome,
        "who": attempt.who,
        "reason": attempt.reason,
        "because": attempt.because,
        "verdict": {},
    }


def _perturbed(one: Any) -> dict[str, Any]:
    return {
        "name": one.name,
        "micro_f1": one.micro_f1,
        "per_type": dict(one.per_type),
        "documents": one.documents,
        "changed": one.changed,
    }


def _micro_f1(results: dict[str, Any]) -> float | None:
    micro = next((row for row in results["rows"] if row["name"] == "micro"), None)
    return micro["candidate"]["f1"] if micro and micro["support"] else None
