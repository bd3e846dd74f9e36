"""Risks and limits of an attempt, derived from its figures: what the figures do not say is not written.

Every entry has a topic, a sentence, and the figures that it stands on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from loop.evaluation.significance import detectable_difference, documents_needed
from loop.promotion.attempt import INSUFFICIENT
from loop.report.verdict import no_target
from loop.report.wording import chance, documents_of, listed, number_of, points, share, size, whole

_ONE_SEED = 0.01  # F1: what a change of the seed alone may do (Reimers and Gurevych 2017)
_MOSTLY = 0.9  # of the gold, by one person
_NO_CHANCE = 1e-9
Entry = dict[str, Any]


def power(report: dict[str, Any], wanted: float) -> dict[str, Any] | None:
    """What the holdout can show: the smallest difference it finds in four cases of five, and what `wanted` needs."""
    look, results = report["ledger"]["look"], report["results"]
    micro = next((row for row in results["rows"] if row["name"] == "micro"), None)
    if micro is None or micro["standard_error"] is None or look is None or not 0 < look["alpha"] < 1:
        return None
    detectable = detectable_difference(micro["standard_error"], look["alpha"])
    documents = results["groups"]
    needed = documents_needed(documents, detectable, wanted) if detectable > _NO_CHANCE else None
    return {
        "alpha": look["alpha"],
        "detectable": max(0.0, detectable),
        "wanted": wanted,
        "documents": documents,
        "documents_needed": needed,
    }


def risks(report: dict[str, Any], given: tuple[str, ...]) -> list[Entry]:
    """What the decision could not rule out: the attempt's own risks, and the gates that too little gold left open."""
    unjudged = no_target(report)
    first = [entry("no target", unjudged)] if unjudged else []
    return [*first, *(entry("risk", text) for text in given)] + [
        entry("too little gold", f"{gate['name']}: {gate['note'] or 'too little gold to tell'}. This is no pass.")
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
        *_of_this_report(report),
    ]


def _of_the_comparison(report: dict[str, Any]) -> Iterator[Entry]:
    results = report["results"]
    if not results["documents"]:
        yield entry("no figures", "No held-out document was looked at: this report holds no figure of quality.")
        return
    if results["against"] is None:
        targets = "" if no_target(report) else ": only the targets judged it"
        yield entry("no comparison", f"The candidate was compared with no other model{targets}.")
    micro = next((row for row in results["rows"] if row["name"] == "micro"), None)
    if micro and micro["delta"] is not None and 0 < abs(micro["delta"]) < _ONE_SEED:
        text = (
            f"The difference of {points(micro['delta'])} points is of the size that another seed makes; "
            "each model was trained once."
        )
        yield entry("one seed", text, delta=micro["delta"])


def _of_the_holdout(report: dict[str, Any]) -> Iterator[Entry]:
    found = report["power"]
    if found and found["detectable"] > found["wanted"]:
        text = (
            f"The holdout of {documents_of(report['results'])} finds a true difference of "
            f"{size(found['detectable'])} in four cases of five, at alpha {chance(found['alpha'])}; "
            f"{size(found['wanted'])} are wanted."
        )
        yield entry("holdout too small", text, **found)
    unseen = [row["name"] for row in report["results"]["rows"] if not row["support"] and is_type(row)]
    if unseen:
        text = f"Nothing is known of {listed(unseen)}: no gold entity of {_them(unseen)} is in the holdout."
        yield entry("types without gold", text, types=unseen)


def _of_the_gold(report: dict[str, Any]) -> Iterator[Entry]:
    data = report["data"]
    total = sum(person["documents"] for person in data["annotators"])
    most = max(data["annotators"], key=lambda person: person["documents"], default=None)
    if most and total and most["documents"] / total >= _MOSTLY:
        part = most["documents"] / total
        text = _one_source(most["who"], whole(most["documents"]), whole(total), part)
        yield entry("one annotator", text, who=most["who"], share=part)
    if data["disagreements"]:
        count = number_of(data["disagreements"], "document")
        yield entry("disagreement", f"Annotators disagree on {count}; of each, one annotation counts as gold.")
    trained = data["trained"]
    if sum(trained["weak"].values()) and not sum(trained["gold"].values()):
        yield entry(
            "weak labels", "The candidate learned from weak labels alone; no person's label was in its training."
        )


def _one_source(who: str | None, count: str, total: str, part: float) -> str:
    if who is None:
        return f"No annotator is named for {count} of {total} gold documents, so how far people agree is not known."
    return f"{share(round(part, 2))} of the gold documents are by {who}: how far people agree is not measured."


def _of_the_measurements(report: dict[str, Any]) -> Iterator[Entry]:
    efficiency = report["efficiency"]
    if efficiency and efficiency["reference_error"]:
        yield entry("no FP32", f"What INT8 costs is not known: {efficiency['reference_error']}")
    robustness = report["robustness"]
    if robustness and robustness[0]["documents"] < report["results"]["documents"]:
        few, all_of_them = whole(robustness[0]["documents"]), whole(report["results"]["documents"])
        yield entry("robustness", f"Robustness was measured on {few} of the {all_of_them} held-out texts.")


def _of_this_report(report: dict[str, Any]) -> Iterator[Entry]:
    if report["errors"]["examples"]:
        yield entry(
            "texts seen",
            "This report quotes held-out texts, which have been seen by whoever read it: a model that is mended by "
            "them looks better on this holdout than it is, and uses the holdout up.",
        )


def is_type(row: dict[str, Any]) -> bool:
    """Whether a row of the results is an entity type, and no average."""
    return row["name"] not in ("micro", "macro")


def _them(names: list[str]) -> str:
    return "it" if len(names) == 1 else "them"


def entry(topic: str, text: str, **figures: Any) -> Entry:
    """A sentence, what it is about, and the figures that it stands on."""
    return {"topic": topic, "text": text, "figures": figures}
