"""The section that says how a decision is undone or checked."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

from loop.promotion.attempt import FORCED, PROMOTED
from loop.report.blocks import Block, Command, Section, Words

_COMPARE = "loop compare A.jsonl B.jsonl --gold GOLD.jsonl"


def undoing(report: dict[str, Any]) -> Section:
    """Which command takes the decision back, which one checks it, where it is recorded."""
    return Section("undo", "To undo or to check this", (*_undo(report), *_check(report), _recorded(report)))


def _undo(report: dict[str, Any]) -> Iterator[Block]:
    if report["outcome"] not in (PROMOTED, FORCED):
        served = report["incumbent"]
        yield Words(f"There is nothing to undo: {f'{served} stays' if served else 'no model is'} in service.")
        return
    before = report["incumbent"]
    if before is None:
        yield Words("No version served before this one: there is none to go back to.")
        return
    yield Command(f"{before} served before. This puts it back:", 'loop rollback --reason "..."')


def _check(report: dict[str, Any]) -> Iterator[Block]:
    if report["results"]["documents"]:
        yield Command(
            "The test can be made again on files of what both systems say, and of the gold; none of them needs this "
            "program to be made:",
            _COMPARE,
        )


def _recorded(report: dict[str, Any]) -> Block:
    shown = f"loop report --history {shlex.quote(report['version'])}"
    return Words(
        f"The decision lies in the store, in the table promotions with its figures, and `{shown}` shows it; every look "
        "lies in holdout_looks."
    )
