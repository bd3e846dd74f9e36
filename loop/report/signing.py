"""The figures of a ruling in words: what a lead can sign, what decided, and what to do next."""

from __future__ import annotations

import math
from collections.abc import Iterator

from loop.promotion.attempt import FORCED, Rival, Ruling
from loop.promotion.holdout import GROWN
from loop.promotion.policies import BOUNDED, HOLD, LIKELY, LIKELY_WORSE, NOT_SHOWN_WORSE, PROMOTE, PROVEN, PROVEN_BETTER
from loop.report.facts import AttemptReport, Entry
from loop.wording import chance, listed, number_of, points, probability, size


def ruled(report: AttemptReport) -> Ruling | None:
    """The ruling of a policy that does not ask for a proof; None elsewhere, and for a promotion by force."""
    ruling = report.ruling
    return None if ruling is None or ruling.policy == PROVEN or report.outcome == FORCED else ruling


def risk(report: AttemptReport, ruling: Ruling) -> str:
    """What a lead can sign, and at which risk: a sentence or two."""
    version, served = report.version, ruling.served
    if ruling.verdict != PROMOTE:
        return f"{_not_promoted(version, ruling)}{_back(ruling)}"
    if ruling.word == PROVEN_BETTER and (anchor := ruling.anchor):
        told = (
            f"You can sign that {version} is better than {anchor.version}: that is proven (p "
            f"{_p(ruling.p_value)}, where {chance(ruling.alpha)} was allowed)."
        )
        beside = f" {_likely(version, served)}" if anchor.version != served.version else ""
        return f"{told}{beside}"
    sure = "nothing shows that it is worse" if ruling.word == NOT_SHOWN_WORSE else "it is likely better"
    if ruling.word == LIKELY_WORSE:
        sure = "its difference is small, though it is likely worse"
    cost = f" A decision like this one costs at most {size(ruling.average_loss)} of F1 on average."
    return (
        f"You can sign that {sure}: the risk that {version} is worse than {served.version} is "
        f"{probability(1 - served.better)}. You cannot sign that it is proven better."
        f"{cost if ruling.policy == BOUNDED else ''}"
    )


def what_decided(ruling: Ruling) -> tuple[tuple[str, str], ...]:
    """Names and values: every figure on which the decision stands."""
    served, best, anchor = ruling.served, ruling.best, ruling.anchor
    rank = ", in service" if best.version != served.version else ", in service and the best so far"
    rows = [
        ("in words", ruling.word),
        (f"difference to {served.version}{rank}", f"{points(served.difference)} points"),
        ("its standard error", size(served.error)),
        ("probability of being better", probability(served.better)),
    ]
    if ruling.needed is not None:
        rows.append(("difference that was needed", f"{points(ruling.needed)} points"))
    if ruling.policy == BOUNDED:
        rows.append((_cost(ruling), size(ruling.average_loss)))
    if best.version != served.version:
        rows.append((f"difference to {best.version}, the best so far", _against(best)))
    whose = f": better than {anchor.version}, by {points(anchor.difference)} points" if anchor else ""
    rows.append((f"claim{whose}", _claim(ruling)))
    rows.append(("documents", f"{ruling.documents:,}"))
    if ruling.policy == BOUNDED and ruling.needed:
        rows.append(("documents from which any difference from 0 on is enough", f"{ruling.documents_until_any:,}"))
    rows.append(("types that block", listed(ruling.types) or "none"))
    return tuple(rows)


def what_next(report: AttemptReport, ruling: Ruling) -> Iterator[Entry]:
    """What to do after the decision, as one step."""
    if ruling.put_back:
        text = (
            f"Find out what made {ruling.served.version} worse than {ruling.put_back}, which serves again: look at the "
            "annotations and the settings that came between them."
        )
        if ruling.verdict == HOLD:
            text += (
                f" {report.version} is judged again, against {ruling.put_back}; on the same gold that takes no look."
            )
        yield Entry("put back", text, {"version": ruling.put_back})
    elif ruling.kept_out:
        text = (
            f"Decide whether {ruling.served.version} stays, which a person put into service: {ruling.kept_out} is "
            f'better on this holdout. `loop rollback --to {ruling.kept_out} --reason "..."` lets {ruling.kept_out} '
            "serve again."
        )
        yield Entry("better", text, {"version": ruling.kept_out})
    elif ruling.verdict == PROMOTE:
        text = (
            "If the project is in Label Studio, run `loop publish`: open tasks then show the pre-labels of "
            f"{report.version}. `loop run` does that by itself."
        )
        yield Entry("publish", text)
    elif ruling.verdict == HOLD:
        more = math.ceil(GROWN * ruling.documents) - ruling.documents
        text = (
            f"Go on annotating. {report.version} is judged again with {number_of(more, 'more held-out document')}, "
            "unless a newer candidate replaces it first."
        )
        yield Entry("held", text, {"documents": more})
    elif not ruling.types:  # a type that blocks has a step of its own
        yield Entry("rejected", "Go on annotating: the next candidate learns from more gold.")


def _cost(ruling: Ruling) -> str:
    told = "what a wrong decision may cost on average"
    return f"{told}, while the first model serves" if ruling.first else told


def _not_promoted(version: str, ruling: Ruling) -> str:
    served = ruling.served
    why = "; ".join(ruling.reasons)
    if ruling.word == LIKELY_WORSE:
        return (
            f"You can sign that {version} is likely worse than {served.version}, with a probability of "
            f"{probability(1 - served.better)}; it does not serve ({why})."
        )
    if served.better >= LIKELY:
        return f"{_likely(version, served)} It does not serve all the same: {why}."
    open_end = ""
    if ruling.verdict == HOLD and ruling.needed:
        open_end = (
            f" With {ruling.documents_until_any:,} documents like these, any difference from 0 on would be enough."
        )
    return (
        f"You can sign nothing about {version} yet, better or worse: the probability that it is better than "
        f"{served.version} is {probability(served.better)}. It does not serve: {why}.{open_end}"
    )


def _back(ruling: Ruling) -> str:
    if ruling.kept_out:
        return f" {ruling.kept_out} is better than {ruling.served.version}, which stays since a person chose it."
    if not ruling.put_back:
        return ""
    return f" {ruling.put_back}, the best earlier model, is back in service in place of {ruling.served.version}."


def _likely(version: str, rival: Rival) -> str:
    return f"{version} is better than {rival.version} with a probability of {probability(rival.better)}."


def _against(rival: Rival) -> str:
    return f"{points(rival.difference)} points, standard error {size(rival.error)}"


def _claim(ruling: Ruling) -> str:
    if ruling.anchor is None:
        return "not made: the model that claims are made against could not be asked"
    if ruling.p_value is None:
        return "not made: the looks of this holdout are spent"
    shown = "proven" if ruling.claims else "not proven"
    return f"{shown}: p {_p(ruling.p_value)}, alpha {chance(ruling.alpha)}"


def _p(value: float | None) -> str:
    written = chance(value)
    return written if written.startswith("<") else f"= {written}"
