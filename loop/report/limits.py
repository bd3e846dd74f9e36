"""Risks and limits of an attempt, derived from its figures. A limit that the figures do not show is not written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from loop.promotion.attempt import INSUFFICIENT
from loop.report.facts import AttemptReport, Entry
from loop.report.signing import ruled
from loop.report.verdict import no_target
from loop.wording import chance, documents_of, listed, number_of, points, share, size, whole

_ONE_SEED = 0.01  # F1: what a change of the seed alone may do (Reimers and Gurevych 2017)
_MOSTLY = 0.9  # of the gold, by one person


def risks(report: AttemptReport, given: Sequence[str]) -> tuple[Entry, ...]:
    """What the decision could not rule out: the attempt's own risks, and the gates that too little gold left open."""
    unjudged = no_target(report)
    first = [Entry("no target", unjudged)] if unjudged else []
    told = [Entry("risk", text) for text in given]
    left_open = [
        Entry("too little gold", f"{gate.name}: {gate.note or 'too little gold to tell'}. This is no pass.")
        for gate in report.gates
        if gate.status == INSUFFICIENT and not any(text.startswith(gate.name) for text in given)
    ]
    return (*first, *told, *left_open)


def limits(report: AttemptReport) -> tuple[Entry, ...]:
    """What the figures cannot say."""
    return (
        *_of_the_comparison(report),
        *_of_the_holdout(report),
        *_of_the_gold(report),
        *_of_the_measurements(report),
        *_of_the_quotations(report),
    )


def _of_the_comparison(report: AttemptReport) -> Iterator[Entry]:
    results, micro = report.results, report.results.micro
    if not results.documents:
        yield Entry("no figures", "No held-out document was looked at: this report holds no figure of quality.")
        return
    if results.against is None:
        targets = "" if no_target(report) else ": only the targets judged it"
        yield Entry("no comparison", f"The candidate was compared with no other model{targets}.")
    if micro and micro.delta is not None and 0 < abs(micro.delta) < _ONE_SEED:
        text = (
            f"Each model was trained once. Another seed can make a difference as large as the {points(micro.delta)} "
            "points found here."
        )
        yield Entry("one seed", text, {"delta": micro.delta})


def _of_the_holdout(report: AttemptReport) -> Iterator[Entry]:
    found, results = report.power, report.results
    if found and not ruled(report) and found.detectable > found.wanted:
        text = (
            f"The holdout of {documents_of(results.groups, results.documents)} finds a true difference of "
            f"{size(found.detectable)} in four cases of five, at alpha {chance(found.alpha)}. The difference that is "
            f"wanted is {size(found.wanted)}."
        )
        yield Entry("holdout too small", text, asdict(found))
    unseen = [row.name for row in results.types if not row.support]
    if unseen:
        text = f"Nothing is known of {listed(unseen)}: the holdout has no gold entity of {_them(unseen)}."
        yield Entry("types without gold", text, {"types": unseen})


def _of_the_gold(report: AttemptReport) -> Iterator[Entry]:
    data = report.data
    total = sum(person.documents for person in data.annotators)
    most = max(data.annotators, key=lambda person: person.documents, default=None)
    if most and total and most.documents / total >= _MOSTLY:
        part = most.documents / total
        by = f"{share(round(part, 2))} of the gold texts are by annotator {most.who}"
        text = f"{by}: how far people agree is not measured."
        if most.who is None:
            count = f"{whole(most.documents)} of {whole(total)} gold texts"
            text = f"No annotator is named for {count}, so how far people agree is not known."
        yield Entry("one annotator", text, {"who": most.who, "share": part})
    if data.disagreements:
        count = number_of(data.disagreements, "text")
        yield Entry("disagreement", f"Annotators disagree on {count}. One annotation of each text counts as gold.")
    trained = data.trained
    if trained.weak.train + trained.weak.dev and not trained.gold.train + trained.gold.dev:
        text = "The candidate learned from weak labels alone: no label by a person was in its training."
        yield Entry("weak labels", text)


def _of_the_measurements(report: AttemptReport) -> Iterator[Entry]:
    efficiency, robustness = report.efficiency, report.robustness
    if efficiency and efficiency.reference_error:
        yield Entry("no FP32", f"What INT8 costs is not known: {efficiency.reference_error}")
    if robustness and robustness[0].documents < report.results.documents:
        few, total = whole(robustness[0].documents), whole(report.results.documents)
        yield Entry("robustness", f"Robustness was measured on {few} of the {total} held-out texts.")


def _of_the_quotations(report: AttemptReport) -> Iterator[Entry]:
    if report.errors.examples:
        text = (
            "This report quotes held-out texts. A model that is changed because of these texts looks better on this "
            "holdout than it is, and uses the holdout up."
        )
        yield Entry("texts seen", text)


def _them(names: list[str]) -> str:
    return "this type" if len(names) == 1 else "these types"
