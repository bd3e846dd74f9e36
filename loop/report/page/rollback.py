"""The page of a rollback's report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from loop.report.facts import MACRO, MICRO, ModelScores, RollbackReport, RolledBackModel
from loop.report.page.background import forced_table
from loop.report.page.blocks import Block, Cell, Facts, Items, Page, Section, Table, Tile, Words, some
from loop.wording import NOTHING, listed, moment, number_of, points, score, value, whole

_MOST = 300
_AVERAGES = (MICRO, MACRO)
_YES = {True: "yes", False: "no", None: "not known"}


def page(report: RollbackReport) -> Page:
    """The whole page."""
    back, gone = report.models[0], report.withdrawn_model
    name = gone.version if gone else NOTHING
    put_back = report.verdict.headline == "put back"
    steps = tuple(one.text for one in report.next_steps)
    return Page(
        title=f"{back.version}: put back in place of {name}" if put_back else f"{name}: rolled back to {back.version}",
        over=f"{report.project} · rollback report · {moment(report.at)}",
        headline=report.verdict.headline,
        tone="open",
        sentences=report.verdict.sentences,
        notices=tuple(_notices(report)),
        tiles=(
            Tile("in service again", back.version, f"micro-F1 {_micro(back)}"),
            Tile("withdrawn", name, f"micro-F1 {_micro(gone)}"),
            Tile("annotations affected", whole(len(report.affected)), "" if report.exact else "an estimate"),
        ),
        sections=(
            Section("decision", "Decision", tuple(_decision(report))),
            Section("scores", "Scores", (_scores(back, gone),)),
            Section("affected", "Annotations made on the withdrawn pre-labels", tuple(_affected(report))),
            *([Section("next", "Next steps", (Items("What is left to do", steps, numbered=True),))] if steps else []),
            Section("ledger", "Ledger", tuple(_ledger(report))),
        ),
        foot=f"Rolled back by {report.who} at {moment(report.at)}. report.json holds every figure.",
    )


def _micro(model: RolledBackModel | None) -> str:
    row = model.score(MICRO) if model else None
    return score(row.f1 if row and row.support else None)


def _notices(report: RollbackReport) -> Iterator[str]:
    if report.publish_problem:
        yield f"Open tasks do not have the predictions of {report.version} yet: {report.publish_problem}"
    unchanged = sum(bool(one.unchanged) for one in report.affected)
    if unchanged and report.requeued is None:
        yield f"{number_of(unchanged, 'annotation')} took the withdrawn pre-labels unchanged: look at these first."


def _decision(report: RollbackReport) -> Iterator[Block]:
    published = {None: "there is no Label Studio", True: "yes", False: "not yet"}[report.published]
    facts = (
        ("in service again", report.version),
        ("withdrawn", ", ".join(reversed(report.withdrawn))),
        ("by", report.who),
        ("at", moment(report.at)),
        ("reason", report.reason),
        ("open tasks have its predictions", published),
        ("affected tasks in the queue again", "not asked for" if report.requeued is None else whole(report.requeued)),
    )
    yield Facts("What was done", facts)
    found = report.service
    if found:
        how = "by force" if found.forced else "as the gates allowed"
        because = f", because: {found.because.rstrip('.')}." if found.because else "."
        failed = f" It had failed {listed(found.failed)}." if found.failed else ""
        unjudged = f" There had been too little gold for {listed(found.unjudged)}." if found.unjudged else ""
        yield Words(f"{found.version} had been put into service {how}, by {found.who}{because}{failed}{unjudged}")


def _scores(back: RolledBackModel, gone: RolledBackModel | None) -> Block:
    after = gone or RolledBackModel(NOTHING, "", None, None, ())
    known = dict.fromkeys(row.name for side in (back, after) for row in side.scores)
    if not known:
        return Words("Neither model was ever evaluated on the holdout.")
    names = [name for name in known if name not in _AVERAGES] + [name for name in _AVERAGES if name in known]
    shown, note = some(names, "types", _MOST)
    way = (
        f"The difference is {back.version} minus {after.version}: above 0, the model that serves again is better. Each "
        "model's figures are those that were measured last, perhaps on another state of the holdout."
    )
    return Table(
        "Strict precision, recall and F1 on the holdout",
        ("type", "P", "R", "F1", "support", "P", "R", "F1", "support", "points"),
        tuple(_score_row(name, back.score(name), after.score(name)) for name in shown),
        strong=frozenset(index for index, name in enumerate(shown) if name in _AVERAGES),
        groups=(("", 1), (back.version, 4), (after.version, 4), ("difference", 1)),
        note=f"{way} {note}".strip(),
    )


def _score_row(name: str, back: ModelScores | None, gone: ModelScores | None) -> tuple[Cell, ...]:
    cells = [name]
    for side in (back, gone):
        cells += (
            [score(side.precision), score(side.recall), score(side.f1), whole(side.support)] if side else [NOTHING] * 4
        )
    return (*cells, points(back.f1 - gone.f1 if back and gone else None))


def _affected(report: RollbackReport) -> Iterator[Block]:
    found = report.affected
    if not found:
        none = "There is no Label Studio, so nobody saw a pre-label." if report.published is None else "There are none."
        yield Words(none)
        return
    if not report.exact:
        yield Words("Label Studio was not asked. These annotations are an estimate, from what the store knows.")
    people = Counter(one.annotator or "not named" for one in found).most_common()
    yield Table("By annotator", ("annotator", "annotations"), tuple((who, whole(number)) for who, number in people))
    shown, note = some(found, "annotations", _MOST)
    rows = tuple(
        (
            one.document,
            value(one.task_id),
            value(one.annotation_id),
            one.annotator or "not named",
            moment(one.at),
            _YES[one.unchanged],
            _YES[one.gold],
        )
        for one in shown
    )
    columns = ("text", "task", "annotation", "annotator", "made", "taken unchanged", "is gold")
    yield Table("Every affected annotation", columns, rows, words=frozenset({3, 4, 5, 6}), note=note)


def _ledger(report: RollbackReport) -> Iterator[Block]:
    yield forced_table(report.forced)
    if report.history:
        rows = tuple(
            (one.version, moment(one.at), one.decided, score(one.f1), one.because or one.reason)
            for one in report.history[-_MOST:]
        )
        columns = ("version", "when", "decision", "micro-F1", "reason")
        yield Table("Every decision so far", columns, rows, words=frozenset({1, 2, 4}))
