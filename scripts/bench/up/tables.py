"""The tables of `scripts.bench.up`, from its lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from statistics import mean
from typing import Any

POOL, HOLDOUT = "pool", "holdout"
PUT_BACK = "put back"

Record = Mapping[str, Any]


def print_tables(measured: Sequence[Record]) -> None:
    """Served F1 by number of answers, every decision on a candidate, and the seconds until ready."""
    ordered = sorted(measured, key=lambda line: (line["answers"], line["seed"]))
    for table in (served_table(ordered), decision_table(ordered), ready_table(ordered)):
        print("\n".join(table), end="\n\n")


def served_table(measured: Sequence[Record]) -> list[str]:
    """A row for each number of answers: the mean over the seeds and, behind it, each seed."""
    head = (
        "answers",
        "learned from",
        "served, pool",
        "first model, pool",
        "newest, pool",
        "served, holdout",
        "first model, holdout",
        "first model replaced",
        "pre-labels of the served version",
        "other than at first",
    )
    return [*heading(head), *(row(served_cells(list(lines))) for lines in by_answers(measured))]


def by_answers(measured: Sequence[Record]) -> Iterator[Iterator[Record]]:
    """The lines of each number of answers."""
    for _, lines in groupby(measured, key=lambda line: line["answers"]):
        yield lines


def served_cells(lines: Sequence[Record]) -> list[str]:
    """The cells of one number of answers."""
    replaced = sum(line["in_service"] != line["first"] for line in lines)
    return [
        str(lines[0]["answers"]),
        ", ".join(str(line["models"][line["in_service"]]["learned_from"]) for line in lines),
        *(over_seeds([f1(line, line[who], where) for line in lines]) for who, where in SCORED),
        f"{replaced} of {len(lines)}",
        percent([shown(line) / line["texts"][POOL] for line in lines]),
        percent([line["prelabels"]["changed"] / line["texts"][POOL] for line in lines]),
    ]


SCORED = (
    ("in_service", POOL),
    ("first", POOL),
    ("newest", POOL),
    ("in_service", HOLDOUT),
    ("first", HOLDOUT),
)


def f1(line: Record, version: str, where: str) -> float:
    """What a model was worth at that moment."""
    return float(line["models"][version][where])


def shown(line: Record) -> int:
    """How many of the untouched texts show a pre-label of the version in service."""
    return int(line["prelabels"]["texts"]) if line["prelabels"]["version"] == line["in_service"] else 0


def decision_table(measured: Sequence[Record]) -> list[str]:
    """A row for each candidate that was compared with the one in service, both scored on what is untouched then."""
    head = (
        "seed",
        "answers",
        "decision",
        "word",
        "d on the blind holdout",
        "needed",
        "learned from",
        "in service, pool",
        "candidate, pool",
        "in service, all of the holdout",
        "candidate, all of the holdout",
    )
    return [*heading(head), *(row(decision_cells(line, one)) for line, one in compared(measured))]


def compared(measured: Sequence[Record]) -> list[tuple[Record, Record]]:
    """(the first line after it, the decision) of each decision between two models, by seed."""
    found = []
    by_seed = sorted(measured, key=lambda line: (line["seed"], line["answers"]))
    for _, lines in groupby(by_seed, key=lambda line: line["seed"]):
        known = 0
        for line in lines:
            found += [(line, one) for one in line["decisions"][known:] if one["word"] or one["action"] == PUT_BACK]
            known = len(line["decisions"])
    return found


def decision_cells(line: Record, one: Record) -> list[str]:
    """The cells of one decision."""
    pair = (one["previous"], one["version"])
    return [
        str(line["seed"]),
        str(line["answers"]),
        one["action"],
        one["word"] or "",
        signed(one["difference"]),
        signed(one["needed"]),
        " to ".join(str(line["models"][version]["learned_from"]) for version in pair),
        *(f"{f1(line, version, where):.3f}" for where in (POOL, HOLDOUT) for version in pair),
    ]


def ready_table(measured: Sequence[Record]) -> list[str]:
    """The seconds until a new `up` is ready."""
    head = ("seed", "Label Studio answers, s", "ready, s")
    lines = [line for line in measured if "ready" in line]
    names = ("label_studio", "ready")
    cells = ([str(line["seed"]), *(str(line["ready"].get(name, "")) for name in names)] for line in lines)
    return [*heading(head), *map(row, cells)]


def heading(names: Sequence[str]) -> list[str]:
    """The first two lines of a table."""
    return [row(names), row(["---"] * len(names))]


def row(cells: Sequence[str]) -> str:
    """A line of a table."""
    return f"| {' | '.join(cells)} |"


def over_seeds(values: Sequence[float]) -> str:
    """The mean, and each value."""
    return f"**{mean(values):.3f}** ({', '.join(f'{value:.3f}' for value in values)})"


def percent(shares: Sequence[float]) -> str:
    """Each share in percent."""
    return ", ".join(f"{100 * share:.0f} %" for share in shares)


def signed(value: float | None) -> str:
    """A difference of F1, or nothing."""
    return "" if value is None else f"{value:+.3f}"
