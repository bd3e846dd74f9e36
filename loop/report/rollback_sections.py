"""The page of a rollback."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from loop.report.blocks import Block, Facts, Items, Page, Section, Table, Tile, Words, some
from loop.report.history import decided
from loop.report.wording import NOTHING, listed, moment, number_of, points, score, value, whole

_MOST = 300
_AVERAGES = ("micro", "macro")
_YES = {True: "yes", False: "no", None: "not known"}


def page(report: dict[str, Any]) -> Page:
    """The whole page, from the content."""
    affected = report["affected"]
    back = report["models"][0]
    gone: dict[str, Any] = report["models"][1] if len(report["models"]) > 1 else {"version": NOTHING, "scores": []}
    return Page(
        title=_title(report, back, gone),
        over=f"{report['project']} · rollback report · {moment(report['at'])}",
        headline=report["verdict"]["headline"],
        tone="open",
        sentences=tuple(report["verdict"]["sentences"]),
        notices=tuple(_notices(report)),
        tiles=(
            Tile("in service again", back["version"], f"micro-F1 {_micro(back)}"),
            Tile("withdrawn", gone["version"], f"micro-F1 {_micro(gone)}"),
            Tile("annotations affected", whole(len(affected)), "" if report["exact"] else "an estimate"),
        ),
        sections=(_decision(report), _scores(back, gone), _affected(report), _ledger(report), *_next_steps(report)),
        foot=f"Rolled back by {report['who']} at {moment(report['at'])}. report.json holds every figure.",
    )


def _title(report: dict[str, Any], back: dict[str, Any], gone: dict[str, Any]) -> str:
    if report["verdict"]["headline"] == "put back":
        return f"{back['version']}: put back in place of {gone['version']}"
    return f"{gone['version']}: rolled back to {back['version']}"


def _notices(report: dict[str, Any]) -> list[str]:
    said = []
    if report["publish_problem"]:
        said.append(f"Open tasks do not have the old predictions yet: {report['publish_problem']}")
    unchanged = sum(bool(one["unchanged"]) for one in report["affected"])
    if unchanged and report["requeued"] is None:
        number = number_of(unchanged, "annotation")
        said.append(f"{number} took the withdrawn pre-labels as they were: look at these first.")
    return said


def _decision(report: dict[str, Any]) -> Section:
    published = {None: "there is no Label Studio", True: "yes", False: "not yet"}[report["published"]]
    queued = report["requeued"]
    facts = [
        ("in service again", report["version"]),
        ("withdrawn", ", ".join(reversed(report["withdrawn"]))),
        ("by", report["who"]),
        ("at", moment(report["at"])),
        ("reason", report["reason"]),
        ("open tasks have its predictions", published),
        ("affected tasks in the queue again", "not asked for" if queued is None else whole(queued)),
    ]
    return Section("decision", "Decision", (Facts("What was done", tuple(facts)), *_service(report)))


def _service(report: dict[str, Any]) -> Iterator[Block]:
    """How the withdrawn model had got into service."""
    found = report.get("service")
    if not found:
        return
    how = "by force" if found["forced"] else "as the gates allowed"
    text = f"{found['version']} had been put into service {how}, by {found['who']}"
    text += f", because: {found['because'].rstrip('.')}." if found["because"] else "."
    if found["failed"]:
        text += f" It had failed {listed(found['failed'])}."
    if found["unjudged"]:
        text += f" There had been too little gold for {listed(found['unjudged'])}."
    yield Words(text)


def _next_steps(report: dict[str, Any]) -> Iterator[Section]:
    texts = tuple(one["text"] for one in report.get("next_steps", ()))
    if texts:
        yield Section("next", "Next steps", (Items("What is left to do", texts, numbered=True),))


def _scores(back: dict[str, Any], gone: dict[str, Any]) -> Section:
    sides = [{row["name"]: row for row in one["scores"]} for one in (back, gone)]
    names = list(dict.fromkeys(name for side in sides for name in side))
    if not names:
        return Section("scores", "Scores", (Words("Neither model was ever evaluated on the holdout."),))
    names = [name for name in names if name not in _AVERAGES] + [name for name in _AVERAGES if name in names]
    shown, note = some(names, _MOST, "types")
    rows = tuple(_score_row(name, sides[0].get(name), sides[1].get(name)) for name in shown)
    strong = frozenset(index for index, name in enumerate(shown) if name in _AVERAGES)
    way = f"The difference is {back['version']} minus {gone['version']}: above 0, the one that is back is better."
    note = f"{way} Each as last measured, which may have been on another state of the holdout. {note}".strip()
    columns = ("type", "P", "R", "F1", "support", "P", "R", "F1", "support", "points")
    groups = (("", 1), (back["version"], 4), (gone["version"], 4), ("difference", 1))
    caption = "Strict precision, recall and F1 on the holdout"
    return Section("scores", "Scores", (Table(caption, columns, rows, strong=strong, groups=groups, note=note),))


def _score_row(name: str, back: dict[str, Any] | None, gone: dict[str, Any] | None) -> tuple[str, ...]:
    cells = [name]
    for side in (back, gone):
        cells += [score(side[key]) if side else NOTHING for key in ("precision", "recall", "f1")]
        cells.append(whole(side["support"]) if side else NOTHING)
    return (*cells, points(back["f1"] - gone["f1"]) if back and gone else NOTHING)


def _affected(report: dict[str, Any]) -> Section:
    title = "Annotations made on the withdrawn pre-labels"
    found = report["affected"]
    if not found:
        told = "There is no Label Studio: nothing was pre-labelled there."
        return Section("affected", title, (Words(told if report["published"] is None else "There are none."),))
    blocks: list[Block] = []
    if not report["exact"]:
        blocks.append(Words("Label Studio was not asked: these are told from what the store knows, and an estimate."))
    people = Counter(one["annotator"] for one in found)
    by_person = tuple((who or "not named", whole(number)) for who, number in people.most_common())
    blocks.append(Table("By annotator", ("annotator", "annotations"), by_person))
    shown, note = some(found, _MOST, "annotations")
    rows = tuple(
        (
            one["document"],
            value(one["task_id"]),
            value(one["annotation_id"]),
            one["annotator"] or "not named",
            moment(one["at"]),
            _YES[one["unchanged"]],
            _YES[one["gold"]],
        )
        for one in shown
    )
    columns = ("document", "task", "annotation", "annotator", "made", "taken unchanged", "is gold")
    blocks.append(Table("Every one of them", columns, rows, frozenset({3, 4, 5, 6}), note=note))
    return Section("affected", title, tuple(blocks))


def _ledger(report: dict[str, Any]) -> Section:
    blocks: list[Block] = []
    if report["forced"]:
        rows = tuple((one["version"], moment(one["at"]), one["who"], one["reason"]) for one in report["forced"])
        columns: tuple[str, ...] = ("version", "when", "by", "because")
        blocks.append(Table("Promotions by force so far", columns, rows, frozenset({1, 2, 3})))
    else:
        blocks.append(Words("No model of this project was ever promoted by force."))
    if report["history"]:
        latest = report["history"][-_MOST:]
        past = tuple(
            (
                one["version"],
                moment(one["at"]),
                decided(one["action"], forced=one["forced"]),
                score(one["f1"]),
                one.get("because") or one["reason"],
            )
            for one in latest
        )
        columns = ("version", "when", "decision", "micro-F1", "reason")
        blocks.append(Table("Every decision so far", columns, past, frozenset({1, 2, 4})))
    return Section("ledger", "Ledger", tuple(blocks))


def _micro(model: dict[str, Any]) -> str:
    return score(next((row["f1"] for row in model["scores"] if row["name"] == "micro" and row["support"]), None))
