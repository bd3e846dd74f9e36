"""The sections of figures: results, errors, efficiency and robustness."""

from __future__ import annotations

from typing import Any

from loop.evaluation.errors import BOUNDARY, ERRORS, MISSED, SPURIOUS, TYPE
from loop.judging.measured import WEAK_VOTE
from loop.report.blocks import Block, Cases, Facts, GateStatus, Picture, Quotation, Section, Table, Words, some
from loop.report.decision_sections import MOST_ROWS
from loop.report.history import decided
from loop.report.next_steps import unseen_changes
from loop.report.plots import MOST_TYPES, largest
from loop.report.wording import (
    NOTHING,
    documents_of,
    interval,
    listed,
    number_of,
    points,
    quantity,
    score,
    share,
    shortened,
    size,
    whole,
)

_AVERAGES = ("micro", "macro")
_SHOWN_NAME = 80
_KINDS = {
    BOUNDARY: "Boundary errors: the right type, other bounds",
    TYPE: "Type errors: gold of one type, found as another",
    MISSED: "Missed: gold that was not found",
    SPURIOUS: "Spurious: found where there is no gold",
}


def results(report: dict[str, Any]) -> Section:
    """Precision, recall, F1 and support of both systems, their differences, and F1 over time."""
    found = report["results"]
    if not found["rows"]:
        return Section("results", "Results", (Words("No held-out document was looked at."), *_history(report)))
    blocks: list[Block] = [_scores(report, found)]
    if found["confidence"] is not None:
        blocks.append(
            Picture(
                "forest",
                f"Differences in F1 points with their {share(found['confidence'])} intervals. The dashed line is the "
                f"loss that a type may not exceed, {size(found['delta'])}; the small stroke on an interval is the "
                "one-sided bound that is held against it. Circles pass, crosses fail, diamonds have too little gold.",
            )
        )
        blocks.append(Words(_method(found)))
    return Section("results", "Results", (*blocks, *_history(report)))


def errors(report: dict[str, Any]) -> Section:
    """The confusion matrix, counts of errors, what they cost, and real examples."""
    found = report["errors"]
    if not report["results"]["documents"]:
        return Section("errors", "Errors", (Words("No held-out document was looked at."),))
    rows, note = some(found["per_type"], MOST_ROWS, "types")
    names = ("right", "boundary", "mistyped", "missed", "taken", "spurious")
    table = tuple((row["type"], *(whole(row[name]) for name in names)) for row in rows)
    total = tuple(whole(sum(row[name] for row in found["per_type"])) for name in names)
    columns = ("type", "right", "wrong bounds", "wrong type", "missed", "taken for it", "spurious")
    blocks: list[Block] = [
        Table(
            "Errors per type",
            columns,
            (*table, ("all", *total)),
            strong=frozenset({len(table)}),
            note=f"Right, wrong bounds, wrong type and missed add up to the gold. {note}".strip(),
        ),
        *_matrix(found["matrix"]),
        *_costs(found),
        *_examples(found),
    ]
    return Section("errors", "Errors", tuple(blocks))


def efficiency(report: dict[str, Any]) -> Section:
    """Parameters, sizes, speeds on this machine, and what INT8 costs."""
    found, blocks = report["efficiency"], list[Block]()
    if found is None:
        blocks.append(Words("Nothing was timed."))
    else:
        blocks.append(_speeds(found))
        blocks.append(Facts("What it takes", tuple(_takes(found))))
        if found["reference_error"]:
            blocks.append(Words(f"FP32 was not run: {found['reference_error']}"))
    if report["quantisation"]:
        micro, *types = report["quantisation"]
        kept, note = some(types, MOST_ROWS, "types")
        rows = tuple(
            (
                row["name"],
                whole(row["support"]),
                score(row["reference_f1"]),
                score(row["served_f1"]),
                points(-row["loss"]),
            )
            for row in (micro, *kept)
        )
        same = report["agreement"]
        agreed = f"Both give the same spans on {same['same']:,} of {same['documents']:,} texts." if same else ""
        caption = "What INT8 costs against FP32, in F1"
        columns = ("type", "support", "FP32", "INT8 as served", "change in points")
        blocks.append(Table(caption, columns, rows, strong=frozenset({0}), note=f"{agreed} {note}".strip()))
    else:
        blocks.append(Words("What INT8 costs in F1 was not measured: FP32 was not run on the holdout."))
    return Section("efficiency", "Efficiency", tuple(blocks))


def robustness(report: dict[str, Any]) -> Section:
    """F1 under perturbation, per type."""
    rows = report["robustness"]
    if not rows:
        return Section("robustness", "Robustness", (Words("Robustness was not measured."),))
    types = [row["name"] for row in report["results"]["rows"] if row["name"] not in _AVERAGES]
    shown, note = some(types, 8, "types")
    table = tuple(
        (
            row["name"],
            score(row["micro_f1"]),
            "" if row is rows[0] else points(row["micro_f1"] - rows[0]["micro_f1"]),
            *(score(row["per_type"].get(name)) for name in shown),
            whole(row["changed"]),
        )
        for row in rows
    )
    columns = ("texts", "micro-F1", "change", *shown, "changed")
    said = f"F1 on {number_of(rows[0]['documents'], 'held-out text')} as they are and after each perturbation"
    picture = Picture("robustness", "Micro-F1 after each perturbation; the dashed line is the texts as they are.")
    unseen = unseen_changes(rows)
    if unseen:
        told = f"No figure moved after {listed(unseen)}: where a tokenizer drops such differences, none can."
        note = f"{told} {note}".strip()
    return Section("robustness", "Robustness", (picture, Table(said, columns, table, note=note)))


def _scores(report: dict[str, Any], found: dict[str, Any]) -> Table:
    averages = [row for row in found["rows"] if row["name"] in _AVERAGES]
    types, note = some([row for row in found["rows"] if row["name"] not in _AVERAGES], MOST_ROWS, "types")
    shown = [*types, *averages]
    compared = any(row["incumbent"] for row in shown)
    judged = any(row["status"] for row in shown)
    columns: tuple[str, ...] = ("type", "support")
    groups: tuple[tuple[str, int], ...] = (("", 2),)
    if compared:  # before precision and recall: what a narrow screen shows
        columns += ("points", "interval")
        groups += (("difference", 2),)
    if judged:
        columns += ("no worse",)
        groups += (("", 1),)
    columns += ("F1", "P", "R")
    groups += ((report["version"], 3),)
    if compared:
        columns += ("F1", "P", "R")
        groups += (("the weak-label vote" if found["against"] == WEAK_VOTE else str(found["against"]), 3),)
    rows = tuple(_score_row(row, compared, judged) for row in shown)
    words = frozenset({columns.index("no worse")}) if judged else frozenset[int]()
    strong = frozenset(range(len(types), len(shown)))
    where = f"{documents_of(found, 'held-out document')}, {number_of(found['entities'], 'entity', 'entities')}"
    caption = f"Strict precision, recall and F1 per type: {where}"
    return Table(caption, columns, rows, words, strong, groups, note)


def _score_row(row: dict[str, Any], compared: bool, judged: bool) -> tuple[str | GateStatus, ...]:
    cells: list[str | GateStatus] = [row["name"], whole(row["support"])]
    if compared:
        cells += [points(row["delta"]), interval(row["low"], row["high"])]
    if judged:
        cells.append(GateStatus(row["status"]) if row["status"] else "")
    cells += _fpr(row["candidate"])
    return (*cells, *_fpr(row["incumbent"])) if compared else tuple(cells)


def _fpr(side: dict[str, Any] | None) -> list[str]:
    return [score(side[key]) if side else NOTHING for key in ("f1", "precision", "recall")]


def _method(found: dict[str, Any]) -> str:
    return (
        f"On {whole(found['better'])} documents the candidate is better by F1, on {whole(found['worse'])} worse. "
        f"The p-value is of paired approximate randomisation over documents, one-sided, with "
        f"{whole(found['permutations'])} permutations; the intervals are of the paired bootstrap, with "
        f"{whole(found['resamples'])} resamples; seed {found['seed']}."
    )


def _history(report: dict[str, Any]) -> tuple[Block, ...]:
    rows = [row for row in report["history"] if row["f1"] is not None]
    if len(rows) < 2:
        return ()
    caption = (
        "Micro-F1 of every version that went into service, each on the holdout of its time. The last point is this "
        "attempt; a hollow one was not promoted. At a dashed line the holdout changed, and with it the documents."
    )
    table = tuple((row["version"], row["at"][:10], _decided(row), score(row["f1"])) for row in rows[-MOST_ROWS:])
    columns = ("version", "date", "decision", "micro-F1")
    return Picture("history", caption), Table(
        "F1 over all promotions so far", columns, table, frozenset({1, 2}), pictured="history"
    )


def _decided(row: dict[str, Any]) -> str:
    return decided(row["action"], forced=row.get("forced", False))


def _matrix(matrix: dict[str, Any]) -> tuple[Block, ...]:
    if not any(map(any, matrix["counts"])):
        return (Words("There is neither a gold nor a predicted span."),)
    shown = largest(matrix["counts"], MOST_TYPES)
    left_out = len(matrix["rows"]) - len(shown)
    note = "" if left_out == 0 else f" The {MOST_TYPES} types with most spans are shown; report.json has all."
    caption = (
        "Rows are gold types, columns are what was found. The deeper the colour, the larger the share of the row. The "
        f"diagonal holds the right type, with the right bounds or not.{note}"
    )
    rows = tuple(
        (matrix["rows"][i], *("" if i == j == shown[-1] else whole(matrix["counts"][i][j]) for j in shown))
        for i in shown
    )
    columns = ("gold", *(matrix["columns"][j] for j in shown))
    return Picture("confusion", caption), Table("Confusion matrix of types", columns, rows, pictured="confusion")


def _costs(found: dict[str, Any]) -> tuple[Block, ...]:
    if not found["costliest"]:
        return ()
    rows = tuple(
        (
            one["kind"],
            one["gold"] or NOTHING,
            one["predicted"] or NOTHING,
            whole(one["count"]),
            points(one["cost"]),
        )
        for one in found["costliest"]
    )
    left_out = found["confusions"] - len(rows)
    note = "Points of micro-F1 that would be gained if these, and nothing else, were right."
    if left_out:
        note += f" {number_of(left_out, 'cheaper confusion')} left out."
    columns = ("error", "gold", "found", "times", "points")
    return (Table("The confusions that cost most", columns, rows, frozenset({1, 2}), note=note),)


def _examples(found: dict[str, Any]) -> tuple[Block, ...]:
    if not found["examples"]:
        return (Words("There is no error to show."),)
    made: list[Block] = []
    for kind in ERRORS:
        cases = tuple(_case(one) for one in found["examples"] if one["kind"] == kind)
        if cases:
            of_all = sum(row[_COUNTED[kind]] for row in found["per_type"])
            made.append(Cases(f"{_KINDS[kind]} ({len(cases)} shown of {of_all:,})", cases))
    return tuple(made)


_COUNTED = {BOUNDARY: "boundary", TYPE: "mistyped", MISSED: "missed", SPURIOUS: "spurious"}


def _case(one: dict[str, Any]) -> Quotation:
    gold, said = (side and side["label"] for side in (one["gold"], one["predicted"]))
    what = {
        BOUNDARY: f"{gold}",
        TYPE: f"{gold} found as {said}",
        MISSED: f"{gold}",
        SPURIOUS: f"{said}",
    }[one["kind"]]
    times = f", {one['times']} times" if one["times"] > 1 else ""
    return Quotation(f"{what}{times}", shortened(one["document"], _SHOWN_NAME), one["pieces"])


def _speeds(found: dict[str, Any]) -> Table:
    rows = tuple(
        (
            one["runtime"],
            quantity(one["latency_ms"], "ms"),
            quantity(one["latency_p95_ms"], "ms"),
            quantity(one["documents_per_second"]),
            quantity(one["size_mb"], "MB"),
        )
        for one in found["speeds"]
    )
    first = found["speeds"][0] if found["speeds"] else {"texts": 0, "threads": 0}
    note = f"Over {number_of(first['texts'], 'text')}, {number_of(first['threads'], 'thread')}, on this machine."
    columns = ("runtime", "median of one text", "95th percentile", "texts/s in calls of 8", "file")
    return Table("Latency, throughput and size", columns, rows, note=note)


def _takes(found: dict[str, Any]) -> list[tuple[str, str]]:
    trainable, total = found["trainable_parameters"], found["total_parameters"]
    part = f" ({100 * trainable / total:.2g} %)" if trainable and total else ""
    return [
        ("trainable parameters", f"{whole(trainable)}{part}"),
        ("parameters in all", whole(total)),
        ("model folder", quantity(found["bundle_mb"], "MB")),
        ("memory of a process that serves it", quantity(found["memory_mb"], "MB")),
    ]
