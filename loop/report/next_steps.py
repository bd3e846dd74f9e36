"""What was found and what to do next, derived from an attempt's figures: what they do not say is not written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from loop.evaluation.errors import BOUNDARY, MISSED, SPURIOUS
from loop.promotion.attempt import (
    DEFERRED,
    FAIL,
    FILE,
    INSUFFICIENT,
    NON_INFERIORITY,
    NOT_MEASURED,
    REFUSED,
    SIGNIFICANCE,
)
from loop.report.limits import Entry, entry, is_type
from loop.report.verdict import no_target
from loop.report.wording import listed, number_of, points, score, size, whole

_NOTICEABLE = 0.01  # F1 that INT8 costs, or that a type lost
_FRAGILE = 0.05  # F1 that a perturbation costs
_WEAKEST, _COSTLIEST = 5, 3
_FEW_LOOKS = 2


def next_steps(report: dict[str, Any]) -> list[Entry]:
    """What would help most: first what blocked, then what is open, what lost, labels, holdout, file, texts, looks."""
    return [
        *_no_target(report),
        *_blocked(report),
        *_open(report),
        *_lost(report),
        *_labels(report),
        *_holdout(report),
        *_quantisation(report),
        *_robustness(report),
        *_looks(report),
    ]


def findings(report: dict[str, Any]) -> list[Entry]:
    """The confusions that cost most, and perturbations that cannot change anything."""
    return [*_confusions(report), *_unseen(report)]


def unseen_changes(rows: list[dict[str, Any]]) -> list[str]:
    """Perturbations that changed texts and moved not a single figure."""
    if not rows:
        return []
    base = rows[0]
    return [
        row["name"]
        for row in rows[1:]
        if row["changed"] and (row["micro_f1"], row["per_type"]) == (base["micro_f1"], base["per_type"])
    ]


def _no_target(report: dict[str, Any]) -> Iterator[Entry]:
    if no_target(report):
        text = (
            'Set `[gates] f1` or `[promotion] first_model = "weak vote"` in loop.toml, so that something judges '
            "quality."
        )
        yield entry("no target", text)


def _blocked(report: dict[str, Any]) -> Iterator[Entry]:
    if report["outcome"] in (DEFERRED, REFUSED):
        text = "Train another candidate: this one's files are not what they have to be, and it can never serve."
        if report["outcome"] == DEFERRED:
            text = f"See to what it waits for, and run `loop promote` again: {report['reason']}"
        yield entry("blocked", text)
    for gate in report["gates"]:
        if gate["status"] in (FAIL, NOT_MEASURED):
            yield entry("blocked", _way_past(report, gate), gate=gate["name"], status=gate["status"])


def _way_past(report: dict[str, Any], gate: dict[str, Any]) -> str:
    """What would let a later candidate pass a gate that stood in the way."""
    name, value, note = gate["name"], gate["value"], f" ({gate['note']})" if gate["note"] else ""
    if gate["status"] == NOT_MEASURED:
        return f"{name} was not measured, and so blocked{note}: measure it, or take its target out."
    if gate["kind"] == FILE:
        return f"{name} failed, with {value}{note}: export again before anything else."
    if gate["kind"] == NON_INFERIORITY:
        kind = gate["entity_type"]
        return f"{kind} blocked, with {value}{note}: {_errors_of(report, kind)}."
    if gate["kind"] == SIGNIFICANCE:
        return f"{name} blocked, with {value}{note}: {_larger(report)}"
    return f"{name} blocked: {value}, where {gate['target']} is asked{note}."


def _larger(report: dict[str, Any]) -> str:
    micro = next((row for row in report["results"]["rows"] if row["name"] == "micro"), None)
    if micro is None or micro["delta"] is None or micro["delta"] <= 0:
        return "train a better candidate; a further look at this one would not help."
    found = report["power"]
    if found and found["detectable"] > micro["delta"]:
        return f"this holdout finds {size(found['detectable'])} and more; enlarge it, or make a larger difference."
    return "train a candidate that makes a larger difference."


def _errors_of(report: dict[str, Any], kind: str) -> str:
    row = next((one for one in report["errors"]["per_type"] if one["type"] == kind), None)
    if row is None:
        return "look at its errors"
    names = (("missed", "missed"), ("boundary", "with wrong bounds"), ("mistyped", "of the wrong type"))
    told = [f"{whole(row[key])} {words}" for key, words in (*names, ("spurious", "spurious")) if row[key]]
    return f"look at its errors, {listed(told)}" if told else "it has no error on this holdout"


def _open(report: dict[str, Any]) -> Iterator[Entry]:
    """All gates that could not be judged, in one step."""
    gates = [gate for gate in report["gates"] if gate["status"] == INSUFFICIENT]
    if not gates:
        return
    supports = {row["name"]: row["support"] for row in report["results"]["rows"]}
    told = []
    for gate in gates[:_WEAKEST]:
        kind = gate["entity_type"]
        there = f"{whole(supports[kind])} there; " if kind in supports else ""
        told.append(f"{kind} ({there}{gate['note'] or 'too little gold'})")
    more = f"; and {len(gates) - _WEAKEST:,} more" if len(gates) > _WEAKEST else ""
    text = f"Label held-out texts with entities of what could not be judged: {'; '.join(told)}{more}."
    yield entry("too little gold", text, gates=[gate["name"] for gate in gates])


def _lost(report: dict[str, Any]) -> Iterator[Entry]:
    """The type that lost most, unless a gate has named it already."""
    rows = [row for row in report["results"]["rows"] if is_type(row) and row["support"] and row["delta"] is not None]
    worst = min(rows, key=lambda row: float(row["delta"]), default=None)
    if worst is None or worst["delta"] > -_NOTICEABLE or worst["status"] == FAIL:
        return
    text = (
        f"{worst['name']} lost most, {size(worst['delta'])} (from {score(worst['incumbent']['f1'])} to "
        f"{score(worst['candidate']['f1'])} on {number_of(worst['support'], 'entity', 'entities')}): "
        f"{_errors_of(report, worst['name'])}."
    )
    yield entry("lost", text, type=worst["name"], delta=worst["delta"])


def _labels(report: dict[str, Any]) -> Iterator[Entry]:
    """The types short of labels in one step, the farthest from the minimum first, then by F1."""
    scores = {row["name"]: row for row in report["results"]["rows"]}
    data = report["data"]
    short = [row for row in data["types"] if row["short_of_recommended"]]
    if not short:
        return
    short.sort(key=lambda row: (-row["short_of_minimum"], _f1(scores, row["name"]), row["labels"]))
    told = [f"{row['name']} ({_shortage(row, scores.get(row['name']))})" for row in short[:_WEAKEST]]
    more = f"; and {len(short) - _WEAKEST:,} more, which the table of data has" if len(short) > _WEAKEST else ""
    text = (
        f"Label more to learn from: {'; '.join(told)}{more}. The minimum is {whole(data['minimum'])}; "
        f"{recommended(data)}."
    )
    missing = {row["name"]: row["short_of_minimum"] or row["short_of_recommended"] for row in short}
    yield entry("labels", text, missing=missing)


def recommended(data: dict[str, Any]) -> str:
    """`200 recommended (four times the minimum, a rule of thumb)`."""
    return f"{whole(data['recommended'])} recommended (four times the minimum, a rule of thumb)"


def _shortage(row: dict[str, Any], scored: dict[str, Any] | None) -> str:
    missing, aim = row["short_of_minimum"], "the minimum"
    if not missing:
        missing, aim = row["short_of_recommended"], "what is recommended"
    good = "" if scored is None or not scored["support"] else f", F1 {score(scored['candidate']['f1'])}"
    return f"{number_of(row['labels'], 'label')}, {whole(missing)} short of {aim}{good}"


def _confusions(report: dict[str, Any]) -> Iterator[Entry]:
    for one in report["errors"]["costliest"][:_COSTLIEST]:
        if one["cost"] <= 0:
            continue
        text = (
            f"{_sentence(one)} {number_of(one['count'], 'time')}: without that, micro-F1 would be "
            f"{size(one['cost'])} higher."
        )
        yield entry("confusion", text, **one)


def _unseen(report: dict[str, Any]) -> Iterator[Entry]:
    names = unseen_changes(report["robustness"])
    if names:
        text = f"No figure moved after {listed(names)}: where a tokenizer drops such differences, none can."
        yield entry("robustness", text, perturbations=names)


def _holdout(report: dict[str, Any]) -> Iterator[Entry]:
    """What labelling the rest of the holdout would bring; a standard error falls with the root of the documents."""
    found = report["power"]
    if not found or not found["documents_needed"] or found["documents_needed"] <= found["documents"]:
        return
    more = found["documents_needed"] - found["documents"]
    splits = {row["split"]: row for row in report["data"]["splits"]}
    texts = report["results"]["documents"]
    in_each = texts / found["documents"]  # texts of a document; what is open is counted in texts
    waiting = max(0, splits["holdout"]["documents"] - max(splits["holdout"]["labelled"], texts))
    pool = int(splits["pool"]["documents"] / in_each)
    opened = int(waiting / in_each)
    rest = more - opened
    need = f"{size(found['wanted'])} take {number_of(more, 'document')} more than it has now"
    if rest > pool:
        need = f"{size(found['wanted'])} take {number_of(rest - pool, 'document')} more than this pool has: import more"
    elif rest > 0:
        need += f"; the pool has {number_of(pool, 'document')} to draw a larger one from"
    text = f"No held-out document is open to be labelled; {need}."
    if opened:
        then = found["detectable"] * (found["documents"] / (found["documents"] + opened)) ** 0.5
        text = (
            f"{number_of(opened, 'open held-out document')} would bring it from {points(found['detectable'])[1:]} to "
            f"about {size(then)}, once labelled; {need}."
        )
    yield entry("holdout", f"The holdout: {text[0].lower() + text[1:]}", more=more, open=opened, pool=pool)


def _quantisation(report: dict[str, Any]) -> Iterator[Entry]:
    lossy = [row for row in report["quantisation"] if row["loss"] >= _NOTICEABLE and row["support"]]
    if lossy:
        named = [f"{row['name']} {points(-row['loss'])}" for row in sorted(lossy, key=lambda row: -row["loss"])]
        yield entry(
            "INT8", f"INT8 costs F1: {listed(named)} points against FP32. Look at the export before more labels."
        )


def _robustness(report: dict[str, Any]) -> Iterator[Entry]:
    rows = report["robustness"]
    if len(rows) < 2:
        return
    worst = min(rows[1:], key=lambda row: float(row["micro_f1"]))
    loss = rows[0]["micro_f1"] - worst["micro_f1"]
    if loss >= _FRAGILE:
        name = worst["name"][:1].upper() + worst["name"][1:]
        verb = "cost" if name.endswith("s") else "costs"
        text = f"{name} {verb} {size(loss)} of micro-F1: label texts of that kind."
        yield entry("robustness", text, perturbation=worst["name"], loss=loss)


def _looks(report: dict[str, Any]) -> Iterator[Entry]:
    ledger = report["ledger"]
    if ledger["look"] is None or ledger["looks_left"] > _FEW_LOOKS:
        return
    left, rotation = ledger["looks_left"], ledger["rotation"]
    if rotation and rotation["epoch"] > ledger["look"]["epoch"]:
        drawn = number_of(rotation["drawn"] + rotation["carried"], "document")
        text = f"Label holdout {rotation['epoch']} first, {drawn}: until it has gold, nothing can be promoted by it."
        yield entry("looks", text, epoch=rotation["epoch"])
        return
    text = "The holdout is spent: the next attempt retires it into training and draws another one."
    if left:
        text = f"{number_of(left, 'look')} left at this holdout: promote what was worth training, not every training."
    yield entry("looks", text, left=left)


def _sentence(one: dict[str, Any]) -> str:
    if one["kind"] == MISSED:
        return f"{one['gold']} is missed"
    if one["kind"] == SPURIOUS:
        return f"{one['predicted']} is found where there is none"
    if one["kind"] == BOUNDARY:
        return f"{one['gold']} is found with other bounds"
    return f"{one['gold']} is taken for {one['predicted']}"


def _f1(scores: dict[str, Any], name: str) -> float:
    return float(scores[name]["candidate"]["f1"]) if name in scores else 0.0
