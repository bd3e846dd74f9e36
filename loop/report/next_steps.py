"""The limits of an attempt and what to do next, derived from its figures: what the figures do not say is not written.

Every entry has a topic, a sentence, and the figures that it stands on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from loop.error_analysis import BOUNDARY, MISSED, SPURIOUS
from loop.gates import INSUFFICIENT
from loop.report.wording import chance, listed, number_of, points, share, size, whole
from loop.significance import detectable_difference, documents_needed

_ONE_SEED = 0.01  # F1: what a change of the seed alone may do (Reimers and Gurevych 2017)
_MOSTLY = 0.9  # of the gold, by one person
_NOTICEABLE = 0.01  # F1 that INT8 costs
_FRAGILE = 0.05  # F1 that a perturbation costs
_WEAKEST, _COSTLIEST = 5, 3
_FEW_LOOKS = 2
_NO_CHANCE = 1e-9
Entry = dict[str, Any]


def power(report: dict[str, Any], wanted: float) -> dict[str, Any] | None:
    """What the holdout can show: the smallest difference it finds in four cases of five, and what `wanted` needs."""
    look, results = report["ledger"]["look"], report["results"]
    micro = next((row for row in results["rows"] if row["name"] == "micro"), None)
    if micro is None or micro["standard_error"] is None or look is None or not 0 < look["alpha"] < 1:
        return None
    detectable = detectable_difference(micro["standard_error"], look["alpha"])
    needed = documents_needed(results["documents"], detectable, wanted) if detectable > _NO_CHANCE else None
    return {
        "alpha": look["alpha"],
        "detectable": max(0.0, detectable),
        "wanted": wanted,
        "documents": results["documents"],
        "documents_needed": needed,
    }


def risks(report: dict[str, Any], given: tuple[str, ...]) -> list[Entry]:
    """What the decision could not rule out: the attempt's own risks, and the gates that too little gold left open."""
    return [_entry("risk", text) for text in given] + [
        _entry("too little gold", f"{gate['name']}: {gate['note'] or 'too little gold to tell'}. This is no pass.")
        for gate in report["gates"]
        if gate["status"] == INSUFFICIENT and not any(text.startswith(gate["name"]) for text in given)
    ]


def limits(report: dict[str, Any]) -> list[Entry]:
    """What the figures cannot say."""
    return [
        *_of_the_comparison(report),
        *_of_the_holdout(report),
        *_of_the_gold(report),
        *_of_the_measurements(report),
    ]


def next_steps(report: dict[str, Any]) -> list[Entry]:
    """What would help most, in order: labels, confusions, the holdout, the file, the texts."""
    return [
        *_labels(report),
        *_confusions(report),
        *_holdout(report),
        *_quantisation(report),
        *_robustness(report),
        *_looks(report),
    ]


def _of_the_comparison(report: dict[str, Any]) -> Iterator[Entry]:
    results = report["results"]
    if not results["documents"]:
        yield _entry("no figures", "No held-out document was looked at: this report holds no figure of quality.")
        return
    if results["against"] is None:
        yield _entry("no comparison", "The candidate was compared with no other model: only the targets judged it.")
    micro = next((row for row in results["rows"] if row["name"] == "micro"), None)
    if micro and micro["delta"] is not None and 0 < abs(micro["delta"]) < _ONE_SEED:
        text = (
            f"The difference of {points(micro['delta'])} points is of the size that another seed makes; "
            "each model was trained once."
        )
        yield _entry("one seed", text, delta=micro["delta"])


def _of_the_holdout(report: dict[str, Any]) -> Iterator[Entry]:
    found = report["power"]
    if found and found["detectable"] > found["wanted"]:
        text = (
            f"The holdout of {whole(found['documents'])} documents finds a true difference of "
            f"{size(found['detectable'])} in four cases of five, at alpha {chance(found['alpha'])}; "
            f"{size(found['wanted'])} are wanted."
        )
        yield _entry("holdout too small", text, **found)
    unseen = [row["name"] for row in report["results"]["rows"] if not row["support"] and _is_type(row)]
    if unseen:
        text = f"Nothing is known of {listed(unseen)}: no gold entity of {_them(unseen)} is in the holdout."
        yield _entry("types without gold", text, types=unseen)


def _of_the_gold(report: dict[str, Any]) -> Iterator[Entry]:
    data = report["data"]
    total = sum(person["documents"] for person in data["annotators"])
    most = max(data["annotators"], key=lambda person: person["documents"], default=None)
    if most and total and most["documents"] / total >= _MOSTLY:
        who = most["who"] or "one unnamed source"
        part = most["documents"] / total
        text = f"{share(round(part, 2))} of the gold documents are by {who}: how far people agree is not measured."
        yield _entry("one annotator", text, who=most["who"], share=part)
    if data["disagreements"]:
        count = number_of(data["disagreements"], "document")
        yield _entry("disagreement", f"Annotators disagree on {count}; of each, one annotation counts as gold.")
    trained = data["trained"]
    if sum(trained["weak"].values()) and not sum(trained["gold"].values()):
        yield _entry(
            "weak labels", "The candidate learned from weak labels alone; no person's label was in its training."
        )


def _of_the_measurements(report: dict[str, Any]) -> Iterator[Entry]:
    efficiency = report["efficiency"]
    if efficiency and efficiency["reference_error"]:
        yield _entry("no FP32", f"What INT8 costs is not known: {efficiency['reference_error']}")
    robustness = report["robustness"]
    if robustness and robustness[0]["documents"] < report["results"]["documents"]:
        few, all_of_them = whole(robustness[0]["documents"]), whole(report["results"]["documents"])
        yield _entry("robustness", f"Robustness was measured on {few} of the {all_of_them} held-out documents.")


def _labels(report: dict[str, Any]) -> Iterator[Entry]:
    """The types short of labels, the farthest from the minimum first, then by F1."""
    scores = {row["name"]: row for row in report["results"]["rows"]}
    data = report["data"]
    short = [row for row in data["types"] if row["short_of_recommended"]]
    short.sort(key=lambda row: (-row["short_of_minimum"], _f1(scores, row["name"]), row["labels"]))
    for row in short[:_WEAKEST]:
        missing, aim = row["short_of_minimum"], "the minimum"
        if not missing:
            missing, aim = row["short_of_recommended"], "what is recommended"
        text = (
            f"Label more {row['name']}: {number_of(row['labels'], 'label')}, {whole(missing)} short of {aim}"
            f"{_how_good(scores.get(row['name']))}."
        )
        yield _entry("labels", text, type=row["name"], labels=row["labels"], missing=missing)
    if len(short) > _WEAKEST:
        yield _entry(
            "labels", f"{number_of(len(short) - _WEAKEST, 'more type')} fall short; the table of data has them."
        )


def _confusions(report: dict[str, Any]) -> Iterator[Entry]:
    for one in report["errors"]["costliest"][:_COSTLIEST]:
        if one["cost"] <= 0:
            continue
        text = (
            f"{_sentence(one)} {number_of(one['count'], 'time')}: without that, micro-F1 would be "
            f"{size(one['cost'])} higher."
        )
        yield _entry("confusion", text, **one)


def _holdout(report: dict[str, Any]) -> Iterator[Entry]:
    found = report["power"]
    if found and found["documents_needed"] and found["documents_needed"] > found["documents"]:
        more = found["documents_needed"] - found["documents"]
        text = (
            f"To see {size(found['wanted'])}, the holdout needs {whole(found['documents_needed'])} "
            f"documents, {whole(more)} more than it has: label its open tasks, or raise its share for the next one."
        )
        yield _entry("holdout", text, more=more)


def _quantisation(report: dict[str, Any]) -> Iterator[Entry]:
    lossy = [row for row in report["quantisation"] if row["loss"] >= _NOTICEABLE and row["support"]]
    if lossy:
        named = [f"{row['name']} {points(-row['loss'])}" for row in sorted(lossy, key=lambda row: -row["loss"])]
        yield _entry(
            "INT8", f"INT8 costs F1: {listed(named)} points against FP32. Look at the export before more labels."
        )


def _robustness(report: dict[str, Any]) -> Iterator[Entry]:
    rows = report["robustness"]
    if len(rows) < 2:
        return
    worst = min(rows[1:], key=lambda row: float(row["micro_f1"]))
    loss = rows[0]["micro_f1"] - worst["micro_f1"]
    if loss >= _FRAGILE:
        text = f"{worst['name']} costs {size(loss)} of micro-F1: label texts of that kind."
        yield _entry("robustness", text, perturbation=worst["name"], loss=loss)


def _looks(report: dict[str, Any]) -> Iterator[Entry]:
    ledger = report["ledger"]
    if ledger["look"] is None or ledger["looks_left"] > _FEW_LOOKS:
        return
    left, rotation = ledger["looks_left"], ledger["rotation"]
    if rotation and rotation["epoch"] > ledger["look"]["epoch"]:
        drawn = number_of(rotation["drawn"] + rotation["carried"], "document")
        text = f"Label holdout {rotation['epoch']} first, {drawn}: until it has gold, nothing can be promoted by it."
        yield _entry("looks", text, epoch=rotation["epoch"])
        return
    text = "The holdout is spent: the next attempt retires it into training and draws another one."
    if left:
        text = f"{number_of(left, 'look')} left at this holdout: promote what was worth training, not every training."
    yield _entry("looks", text, left=left)


def _sentence(one: dict[str, Any]) -> str:
    if one["kind"] == MISSED:
        return f"{one['gold']} is missed"
    if one["kind"] == SPURIOUS:
        return f"{one['predicted']} is found where there is none"
    if one["kind"] == BOUNDARY:
        return f"{one['gold']} is found with other bounds"
    return f"{one['gold']} is taken for {one['predicted']}"


def _is_type(row: dict[str, Any]) -> bool:
    return row["name"] not in ("micro", "macro")


def _how_good(row: dict[str, Any] | None) -> str:
    if row is None or not row["support"]:
        return ""
    return f"; its F1 is {row['candidate']['f1']:.3f} on {number_of(row['support'], 'entity', 'entities')}"


def _f1(scores: dict[str, Any], name: str) -> float:
    return float(scores[name]["candidate"]["f1"]) if name in scores else 0.0


def _them(names: list[str]) -> str:
    return "it" if len(names) == 1 else "them"


def _entry(topic: str, text: str, **figures: Any) -> Entry:
    return {"topic": topic, "text": text, "figures": figures}
