"""The verdict of an attempt and why, in two sentences, from the content of its report."""

from __future__ import annotations

from typing import Any

from loop.judging.measured import WEAK_VOTE
from loop.promotion.attempt import (
    DEFERRED,
    FAIL,
    FORCED,
    INSUFFICIENT,
    NON_INFERIORITY,
    NOT_MEASURED,
    PROMOTED,
    QUALITY,
    REFUSED,
    REJECTED,
)
from loop.report.wording import chance, documents_of, interval, listed, number_of, score, share, size

HEADLINES = {
    PROMOTED: "promoted",
    REJECTED: "not promoted",
    FORCED: "promoted by force",
    DEFERRED: "not judged yet",
    REFUSED: "refused",
}
_NOT_TOLD = 5e-5  # F1: smaller differences are written as none


def verdict(report: dict[str, Any]) -> dict[str, Any]:
    """headline: the outcome in two or three words. sentences: what was decided on which figures, and why."""
    headline = HEADLINES.get(report["outcome"], report["outcome"])
    return {"headline": headline, "sentences": [_what(report, headline), _why(report)]}


def _what(report: dict[str, Any], headline: str) -> str:
    subject = f"{report['version']} was {headline}"
    micro = next((row for row in report["results"]["rows"] if row["name"] == "micro"), None)
    if micro is None:
        return f"{subject}: no held-out document was looked at."
    results = report["results"]
    where = f"{documents_of(results, 'held-out document')} with {_entities(micro['support'])}"
    if micro["incumbent"] is None:
        f1 = score(micro["candidate"]["f1"])
        return f"{subject}: its micro-F1 is {f1} on {where}, and there was no model to compare it with."
    other = "the weak-label vote" if results["against"] == WEAK_VOTE else results["against"]
    return (
        f"{subject}: its micro-F1 of {score(micro['candidate']['f1'])} on {where} is {_than(micro['delta'])} "
        f"{other}'s {score(micro['incumbent']['f1'])}{_evidence(report, micro)}."
    )


def no_target(report: dict[str, Any]) -> str | None:
    """That nothing judged quality: the candidate was compared with nothing, and no target for it is set."""
    micro = next((row for row in report["results"]["rows"] if row["name"] == "micro"), None)
    if micro is None or report["results"]["against"] is not None:
        return None
    if any(gate["kind"] == QUALITY for gate in report["gates"]):
        return None
    if not micro["support"]:
        return "No target for quality is set."
    return f"No target for quality is set: nothing judged whether {score(micro['candidate']['f1'])} is good enough."


def _why(report: dict[str, Any]) -> str:
    if report["outcome"] in (DEFERRED, REFUSED):
        return _ended(report["reason"])
    decided = _forced(report) if report["outcome"] == FORCED else _judged(report)
    unjudged = no_target(report)
    return f"{unjudged} {decided}" if unjudged else decided


def _forced(report: dict[str, Any]) -> str:
    failed, open_ones = _named(report, FAIL, NOT_MEASURED), _named(report, INSUFFICIENT)
    against = []
    if failed:
        against.append(f"{number_of(len(failed), 'gate')} that it did not pass")
    if open_ones:
        against.append(f"{number_of(len(open_ones), 'gate')} that could not be judged")
    told = f"against {listed(against)}" if against else "though none failed"
    return f"{report['who']} put it into service {told}, because: {_ended(report['because'] or report['reason'])}"


def _judged(report: dict[str, Any]) -> str:
    failed, open_ones = _named(report, FAIL, NOT_MEASURED), _named(report, INSUFFICIENT)
    total = len(report["gates"])
    unclear = f"could not be judged on {len(open_ones)}"
    if failed:
        text = f"It failed {len(failed)} of {number_of(total, 'gate')}{f' and {unclear}' if open_ones else ''}"
        return f"{text}: it did not pass {listed(failed)}{_open(open_ones)}."
    if report["outcome"] == REJECTED or not total:
        return f"The reason: {_ended(report['reason'])}"
    if open_ones:
        text = f"It passed {total - len(open_ones)} of {number_of(total, 'gate')}, failed none, and {unclear}"
        return f"{text}, a risk and no pass{_open(open_ones)}."
    return f"It passed all of {number_of(total, 'gate')}." if total > 1 else "It passed the one gate there is."


def _open(names: list[str]) -> str:
    return f"; there is too little gold for {listed(names)}" if names else ""


def _than(delta: float) -> str:
    if abs(delta) < _NOT_TOLD:
        return "the same as"
    return f"{size(delta) if abs(delta) >= 0.0005 else 'less than 0.1 points'} {'above' if delta > 0 else 'below'}"


def _evidence(report: dict[str, Any], micro: dict[str, Any]) -> str:
    results, look = report["results"], report["ledger"]["look"]
    if results["confidence"] is None:
        return ""
    bounds = f"{share(results['confidence'])} interval {interval(micro['low'], micro['high'])}"
    p = results["p_value"]
    tested = "" if p is None else f"; p {_equals(p)}" + (f" against alpha {chance(look['alpha'])}" if look else "")
    return f" ({bounds}{tested})"


def _equals(p: float) -> str:
    written = chance(p)
    return written if written.startswith("<") else f"= {written}"


def _named(report: dict[str, Any], *statuses: str) -> list[str]:
    return [_short(gate) for gate in report["gates"] if gate["status"] in statuses]


def _short(gate: dict[str, Any]) -> str:
    """The entity type of a gate of non-inferiority, the name of another gate."""
    return str(gate["entity_type"] if gate["kind"] == NON_INFERIORITY else gate["name"])


def _entities(count: int) -> str:
    return number_of(count, "entity", "entities")


def _ended(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."
