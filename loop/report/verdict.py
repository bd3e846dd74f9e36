"""The verdict of an attempt in two sentences: what was decided on which figures, and why."""

from __future__ import annotations

from loop.judging.measured import WEAK_VOTE
from loop.promotion.attempt import (
    DEFERRED,
    FAIL,
    FORCED,
    HELD,
    INSUFFICIENT,
    NON_INFERIORITY,
    NOT_MEASURED,
    PROMOTED,
    QUALITY,
    REFUSED,
    REJECTED,
)
from loop.report.facts import AttemptReport, ResultRow, Verdict
from loop.report.signing import risk, ruled
from loop.wording import chance, documents_of, interval, listed, number_of, score, share, size

HEADLINES = {
    PROMOTED: "promoted",
    HELD: "held",
    REJECTED: "not promoted",
    FORCED: "promoted by force",
    DEFERRED: "not judged yet",
    REFUSED: "refused",
}
_SAME = 5e-5  # F1: a smaller difference is written as none


def verdict(report: AttemptReport) -> Verdict:
    """The headline, with one of the five words where a policy decided, and both sentences."""
    headline, ruling = HEADLINES.get(report.outcome, report.outcome), ruled(report)
    if ruling is None:
        return Verdict(headline, (_what(report, headline), _why(report)))
    return Verdict(f"{headline}, {ruling.word}", (_what(report, headline), risk(report, ruling)))


def no_target(report: AttemptReport) -> str | None:
    """The sentence that nothing judged quality, where no model was compared with and no target is set; else None."""
    micro = report.results.micro
    if micro is None or report.results.against is not None or any(gate.kind == QUALITY for gate in report.gates):
        return None
    if not micro.support:
        return "No target for quality is set."
    return f"No target for quality is set: nothing judged whether {score(micro.candidate.f1)} is good enough."


def opponent(against: str | None) -> str:
    """What the candidate was compared with, as a name."""
    return "the weak-label vote" if against == WEAK_VOTE else str(against)


def _what(report: AttemptReport, headline: str) -> str:
    subject, results, micro = f"{report.version} was {headline}", report.results, report.results.micro
    if micro is None:
        return f"{subject}: no held-out document was looked at."
    entities = number_of(micro.support, "entity", "entities")
    where = f"{documents_of(results.groups, results.documents, 'held-out document')} with {entities}"
    f1 = score(micro.candidate.f1)
    if micro.incumbent is None or micro.delta is None:
        return f"{subject}: its micro-F1 is {f1} on {where}, and there was no model to compare it with."
    before = f"{opponent(results.against)}'s {score(micro.incumbent.f1)}"
    return f"{subject}: its micro-F1 of {f1} on {where} is {_than(micro.delta)} {before}{_evidence(report, micro)}."


def _than(delta: float) -> str:
    if abs(delta) < _SAME:
        return "the same as"
    return f"{size(delta)} {'above' if delta > 0 else 'below'}"


def _evidence(report: AttemptReport, micro: ResultRow) -> str:
    results, look = report.results, report.ledger.look
    if ruling := ruled(report):
        return f" (standard error {size(ruling.served.error)})"
    if results.confidence is None:
        return ""
    bounds = f"{share(results.confidence)} interval {interval(micro.low, micro.high)}"
    if results.p_value is None:
        return f" ({bounds})"
    p = chance(results.p_value)
    against = f" against alpha {chance(look.alpha)}" if look else ""
    return f" ({bounds}; p {p if p.startswith('<') else f'= {p}'}{against})"


def _why(report: AttemptReport) -> str:
    if report.outcome in (DEFERRED, REFUSED):
        return _ended(report.reason)
    decided = _forced(report) if report.outcome == FORCED else _judged(report)
    unjudged = no_target(report)
    return f"{unjudged} {decided}" if unjudged else decided


def _forced(report: AttemptReport) -> str:
    failed, open_ones = _names(report, FAIL, NOT_MEASURED), _names(report, INSUFFICIENT)
    against = [f"{number_of(len(failed), 'gate')} that it did not pass"] if failed else []
    against += [f"{number_of(len(open_ones), 'gate')} that could not be judged"] if open_ones else []
    told = f"against {listed(against)}" if against else "though none failed"
    return f"{report.who} put it into service {told}, because: {_ended(report.because or report.reason)}"


def _judged(report: AttemptReport) -> str:
    failed, open_ones, total = _names(report, FAIL, NOT_MEASURED), _names(report, INSUFFICIENT), len(report.gates)
    missing = f" There is too little gold to judge {listed(open_ones)}." if open_ones else ""
    if failed:
        return f"It failed {len(failed)} of {number_of(total, 'gate')}: {listed(failed)}.{missing}"
    if report.outcome == REJECTED or not total:
        return f"The reason: {_ended(report.reason)}"
    if open_ones:
        passed = f"It passed {total - len(open_ones)} of {number_of(total, 'gate')} and failed none."
        return f"{passed}{missing} A gate that cannot be judged is a risk, and no pass."
    return f"It passed all of {number_of(total, 'gate')}." if total > 1 else "It passed the only gate."


def _names(report: AttemptReport, *statuses: str) -> list[str]:
    """The gates of these statuses. A gate of non-inferiority is named by its entity type."""
    gates = [gate for gate in report.gates if gate.status in statuses]
    return [gate.entity_type if gate.kind == NON_INFERIORITY and gate.entity_type else gate.name for gate in gates]


def _ended(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."
