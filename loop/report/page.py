"""A report as it is read, from the content of report.json alone: the head, the figures at the top, the sections."""

from __future__ import annotations

from typing import Any

from loop.promotion.attempt import DEFERRED, FAIL, FORCED, INSUFFICIENT, NOT_MEASURED, PASS, PROMOTED
from loop.report import decision_sections, figure_sections, rollback_sections
from loop.report.blocks import Page, Tile
from loop.report.undoing import undoing
from loop.report.wording import chance, interval, moment, number_of, points, score, share

_TONES = {PROMOTED: "good", FORCED: "bad", DEFERRED: "open"}
ROLLBACK = "rollback"


def page_of(report: dict[str, Any]) -> Page:
    """The page of either kind of report."""
    if report["kind"] == ROLLBACK:
        return rollback_sections.page(report)
    return Page(
        title=f"{report['version']}: {report['verdict']['headline']}",
        over=f"{report['project']} · promotion report · {moment(report['at'])}",
        headline=report["verdict"]["headline"],
        tone=_TONES.get(report["outcome"], "bad"),
        sentences=tuple(report["verdict"]["sentences"]),
        notices=tuple(_notices(report)),
        tiles=tuple(_tiles(report)),
        sections=(
            decision_sections.gates(report),
            decision_sections.metadata(report),
            decision_sections.data(report),
            figure_sections.results(report),
            figure_sections.errors(report),
            figure_sections.efficiency(report),
            figure_sections.robustness(report),
            decision_sections.ledger(report),
            decision_sections.outlook(report),
            undoing(report),
        ),
        foot=f"Decided by {report['who']} at {moment(report['at'])}. report.json holds every figure.",
    )


def _notices(report: dict[str, Any]) -> list[str]:
    """What must not be missed: force, and a holdout that was spent."""
    said = []
    if report["outcome"] == FORCED:
        said.append(f"Put into service by force. {report['who']} said why: {report['because'] or report['reason']}")
    others = [one for one in report["ledger"]["forced"] if one["version"] != report["version"]]
    if others:
        names = ", ".join(dict.fromkeys(one["version"] for one in others))
        said.append(f"{number_of(len(others), 'earlier promotion')} by force in this project: {names}.")
    rotation = report["ledger"]["rotation"]
    if rotation:
        drawn = number_of(rotation["drawn"] + rotation["carried"], "document")
        said.append(
            f"The holdout was spent: {number_of(rotation['retired'], 'document')} of it went into training, and "
            f"holdout {rotation['epoch']} was drawn, {drawn}."
        )
    return said


def _others(gates: list[dict[str, Any]]) -> str:
    """What became of the gates that did not pass."""
    failed = sum(gate["status"] in (FAIL, NOT_MEASURED) for gate in gates)
    unjudged = sum(gate["status"] == INSUFFICIENT for gate in gates)
    told = [f"{failed} failed"] if failed else []
    return ", ".join([*told, f"{unjudged} could not be judged"] if unjudged else told)


def _tiles(report: dict[str, Any]) -> list[Tile]:
    results, look, gates = report["results"], report["ledger"]["look"], report["gates"]
    micro = next((row for row in results["rows"] if row["name"] == "micro"), None)
    tiles = []
    if micro:
        tiles.append(
            Tile("micro-F1", score(micro["candidate"]["f1"]), f"{number_of(micro['support'], 'entity', 'entities')}")
        )
        if micro["delta"] is not None:
            bounds = interval(micro["low"], micro["high"])
            note = f"{share(results['confidence'])}: {bounds}" if results["confidence"] else "without an interval"
            tiles.append(Tile("difference in points", points(micro["delta"]), note))
    if results["p_value"] is not None:
        tiles.append(Tile("p-value", chance(results["p_value"]), f"alpha {chance(look['alpha'])}" if look else ""))
    if gates:
        passed = sum(gate["status"] == PASS for gate in gates)
        tiles.append(Tile("gates passed", f"{passed} of {len(gates)}", _others(gates)))
    if look:
        tiles.append(Tile("look", f"{look['number']} of {look['looks']}", f"holdout {look['epoch']}"))
    return tiles
