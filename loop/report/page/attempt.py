"""The page of an attempt's report, from the top down: first what was decided and why, then what it stands on."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from loop.promotion.attempt import DEFERRED, FORCED, HELD, INSUFFICIENT, PASS, PROMOTED, Gate
from loop.promotion.policies import PROVEN
from loop.report.facts import AttemptReport, MutedSource, ResultRow, Results, SystemScores
from loop.report.history import decided
from loop.report.page import annotated, background, blocks
from loop.report.page.errors import error_blocks
from loop.report.page.figures import forest, history_line
from loop.report.signing import ruled, what_decided
from loop.report.verdict import opponent
from loop.wording import (
    NOTHING,
    chance,
    documents_of,
    interval,
    moment,
    number_of,
    points,
    probability,
    score,
    share,
    size,
    whole,
)

_TONES = {PROMOTED: "good", FORCED: "bad", DEFERRED: "open", HELD: "open"}
_SHOWN_MUTINGS = 3
_NOT_LOOKED = blocks.Words("No held-out document was looked at.")


def page(report: AttemptReport) -> blocks.Page:
    """The whole page."""
    return blocks.Page(
        title=f"{report.version}: {report.verdict.headline}",
        over=f"{report.project} · promotion report · {moment(report.at)}",
        headline=report.verdict.headline,
        tone=_TONES.get(report.outcome, "bad"),
        sentences=report.verdict.sentences,
        notices=tuple(_notices(report)),
        tiles=tuple(_tiles(report)),
        sections=(
            _gates(report),
            blocks.Section("results", "Results", (*_results(report), *_history(report))),
            blocks.Section("errors", "Errors", tuple(_errors(report))),
            blocks.Section("outlook", "Next steps, risks and limits", tuple(_outlook(report))),
            annotated.prelabels_section(report.prelabels),
            *annotated.gold_check_sections(report.gold_check, report.version),
            *background.sections(report),
        ),
        next_step=report.next_steps[0].text if report.next_steps else "",
        foot=f"Decided by {report.who} at {moment(report.at)}. report.json holds every figure.",
    )


def _notices(report: AttemptReport) -> Iterator[str]:
    """What nobody may miss: force, and a holdout that was spent."""
    if report.outcome == FORCED:
        yield f"Put into service by force. {report.who} gave this reason: {report.because or report.reason}"
    others = [one.version for one in report.ledger.forced if one.version != report.version]
    if others:
        names = ", ".join(dict.fromkeys(others))
        yield f"{number_of(len(others), 'earlier promotion')} by force in this project: {names}."
    yield from _mutings([one for one in report.data.trained.muted if one.by_training])
    rotation = report.ledger.rotation
    if rotation:
        drawn = number_of(rotation.drawn + rotation.carried, "document")
        yield (
            f"The holdout was spent: {number_of(rotation.retired, 'document')} of it went into training, and holdout "
            f"{rotation.epoch} was drawn, {drawn}."
        )


def _mutings(muted: Sequence[MutedSource]) -> Iterator[str]:
    """What the training of the candidate muted: the worst source first, with the evidence."""
    for one in muted[:_SHOWN_MUTINGS]:
        found = one.evidence
        evidence = found and (
            f" Without it the majority vote on {number_of(found.documents, 'labelled document')} has F1 "
            f"{score(found.without_f1)} instead of {score(found.with_f1)}; {found.right:,} of its "
            f"{number_of(found.votes, 'vote')} there are right."
        )
        again = f"`loop weak unmute {shlex.quote(one.source)}` lets it count again."
        yield f"This training muted {one.source}, a source of weak labels.{evidence or ''} {again}"
    if len(muted) > _SHOWN_MUTINGS:
        yield f"This training muted {number_of(len(muted) - _SHOWN_MUTINGS, 'further source')}: see Data."


def _tiles(report: AttemptReport) -> Iterator[blocks.Tile]:
    results, micro, look, ruling = report.results, report.results.micro, report.ledger.look, ruled(report)
    if micro:
        yield blocks.Tile("micro-F1", score(micro.candidate.f1), number_of(micro.support, "entity", "entities"))
        if micro.delta is not None:
            note = f"{share(results.confidence)}: {interval(micro.low, micro.high)}" if results.confidence else ""
            needed = f"needed: {points(ruling.needed)}" if ruling else note
            yield blocks.Tile("difference in points", points(micro.delta), needed)
    if ruling is not None:
        error = f"standard error {size(ruling.served.error)}"
        yield blocks.Tile("probability of being better", probability(ruling.served.better), error)
        which = f", look {look.number} of {look.looks}" if look else ""
        none = "no look is left" if ruling.anchor else "the anchor gave no answer"
        claim = f"alpha {chance(ruling.alpha)}{which}" if ruling.alpha else none
        yield blocks.Tile("claim of proof, p", chance(ruling.p_value), claim)
    elif results.p_value is not None:
        yield blocks.Tile("p-value", chance(results.p_value), f"alpha {chance(look.alpha)}" if look else "")
    if report.gates:
        passed = sum(gate.status == PASS for gate in report.gates)
        yield blocks.Tile("gates passed", f"{passed} of {len(report.gates)}", _not_passed(report.gates))
    if look and ruling is None:
        yield blocks.Tile("look", f"{look.number} of {look.looks}", f"holdout {look.epoch}")


def _not_passed(gates: Sequence[Gate]) -> str:
    failed, unjudged = sum(gate.blocks for gate in gates), sum(gate.status == INSUFFICIENT for gate in gates)
    told = [f"{failed} failed"] if failed else []
    return ", ".join([*told, f"{unjudged} could not be judged"] if unjudged else told)


def _gates(report: AttemptReport) -> blocks.Section:
    """What decided, then every gate; where there are too many, those that did not pass are at the top."""
    gates, ruling = report.gates, report.ruling
    decided_by = (blocks.Facts("What decided", what_decided(ruling)),) if ruling and ruling.policy != PROVEN else ()
    ordered = gates if len(gates) <= blocks.MOST_ROWS else sorted(gates, key=lambda gate: gate.status == PASS)
    shown, note = blocks.some(ordered, "gates")
    rows = tuple((one.name, one.target, one.value, blocks.GateStatus(one.status), one.note) for one in shown)
    columns = ("gate", "target", "value", "status", "note")
    caption = "Every gate with its target, its value and its status"
    table = blocks.Table(caption, columns, rows, words=frozenset({1, 2, 3, 4}), note=note)
    shown_gates = table if rows else blocks.Words("No gate was judged.")
    title = "Decision and gates" if decided_by else "Gates"
    return blocks.Section("gates", title, (*decided_by, shown_gates))


def _results(report: AttemptReport) -> Iterator[blocks.Block]:
    found = report.results
    if not found.rows:
        yield _NOT_LOOKED
        return
    yield _scores(report.version, found)
    figure = forest(found)
    if figure:
        cut = any(row.cut_low or row.cut_high for row in figure.rows)
        arrow = " An arrow: the interval goes on beyond the axis." if cut else ""
        yield blocks.Picture(figure, f"{_forest_caption(found)}{arrow}")
        yield blocks.Words(
            f"By F1, documents on which the candidate is better: {whole(found.better)}; worse: {whole(found.worse)}. "
            "The p-value is one-sided, from paired approximate randomisation over documents with "
            f"{whole(found.permutations)} permutations. The intervals come from the paired bootstrap with "
            f"{whole(found.resamples)} resamples. The seed is {found.seed}."
        )


def _forest_caption(found: Results) -> str:
    told = f"Differences in F1 points with their {share(found.confidence)} intervals."
    if not found.delta:
        return f"{told} Circles pass, crosses are types that are shown to be worse."
    return (
        f"{told} The dashed line is the loss that a type may not exceed, {size(found.delta)}. The small stroke on an "
        "interval is the one-sided bound that is compared with this line. Circles pass, crosses fail, diamonds have "
        "too little gold."
    )


def _scores(version: str, found: Results) -> blocks.Table:
    types, note = blocks.some(found.types, "types")
    shown = [*types, *(row for row in found.rows if row not in found.types)]
    compared, judged = any(row.incumbent for row in shown), any(row.status for row in shown)
    # The difference stands before precision and recall, so that a narrow screen shows it.
    parts: list[tuple[tuple[str, ...], str, bool]] = [(("type", "support"), "", True)]
    parts += [(("points", "interval"), "difference", compared)]
    verdict = "no worse" if found.delta else "not shown worse"
    parts += [((verdict,), "", judged), (("F1", "P", "R"), version, True)]
    parts += [(("F1", "P", "R"), opponent(found.against), compared)]
    columns = tuple(name for names, _, there in parts if there for name in names)
    texts = documents_of(found.groups, found.documents, "held-out document")
    entities = number_of(found.entities, "entity", "entities")
    return blocks.Table(
        f"Strict precision, recall and F1 per type: {texts}, {entities}",
        columns,
        tuple(_score_row(row, compared=compared, judged=judged) for row in shown),
        words=frozenset({columns.index(verdict)} if judged else ()),
        strong=frozenset(range(len(types), len(shown))),
        groups=tuple((heading, len(names)) for names, heading, there in parts if there),
        note=note,
    )


def _score_row(row: ResultRow, *, compared: bool, judged: bool) -> tuple[blocks.Cell, ...]:
    cells: list[blocks.Cell] = [row.name, whole(row.support)]
    if compared:
        cells += [points(row.delta), interval(row.low, row.high)]
    if judged:
        cells.append(blocks.GateStatus(row.status) if row.status else "")
    return (*cells, *_fpr(row.candidate), *(_fpr(row.incumbent) if compared else ()))


def _fpr(side: SystemScores | None) -> tuple[str, ...]:
    return (score(side.f1), score(side.precision), score(side.recall)) if side else (NOTHING,) * 3


def _history(report: AttemptReport) -> Iterator[blocks.Block]:
    figure = history_line(report.history)
    if figure is None:
        return
    measured = [row for row in report.history if row.f1 is not None]
    rows = tuple(
        (row.version, moment(row.at)[:10], decided(row.action, forced=row.forced), score(row.f1)) for row in measured
    )
    this = " The last point is this attempt." if measured[-1].this else ""
    yield blocks.Picture(
        figure,
        f"Micro-F1 of every version that went into service, each on the holdout of its time.{this} A hollow point was "
        "not promoted. At a dashed line the holdout changed, and with it the documents.",
        blocks.Table(
            "F1 over all promotions so far",
            ("version", "date", "decision", "micro-F1"),
            rows[-blocks.MOST_ROWS :],
            words=frozenset({1, 2}),
        ),
    )


def _errors(report: AttemptReport) -> Iterator[blocks.Block]:
    if not report.results.documents:
        yield _NOT_LOOKED
        return
    yield from error_blocks(report.errors)


def _outlook(report: AttemptReport) -> Iterator[blocks.Block]:
    entries = (
        (report.next_steps, "Next steps"),
        (report.findings, "Findings"),
        (report.risks, "Risks"),
        (report.limits, "Limits of these figures"),
    )
    for listed, caption in entries:
        texts, note = blocks.some([entry.text for entry in listed], "of them")
        if texts:
            yield blocks.Items(caption, (*texts, *([note] if note else [])), numbered=caption == "Next steps")
    found = report.power
    if found:
        yield blocks.Facts(
            "What the test can find on this holdout",
            (
                ("smallest difference that it finds", f"{size(found.detectable)} of micro-F1, in four cases of five"),
                ("difference that is wanted", size(found.wanted)),
                ("documents now", whole(found.documents)),
                ("documents that the wanted difference takes", whole(found.documents_needed)),
            ),
        )
    if not any(listed for listed, _ in entries) and not found:
        yield blocks.Words("Nothing follows from the figures.")
