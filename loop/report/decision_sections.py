"""The sections on the decision itself: gates, where the models come from, the data, the ledger, what is next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from loop.promotion.attempt import PASS
from loop.report.blocks import Block, Command, Facts, GateStatus, Items, Section, Table, Words, some
from loop.report.next_steps import recommended
from loop.report.wording import NOTHING, chance, duration, moment, number_of, share, size, value, whole

MOST_ROWS = 100
_SHOWN_HASH = 16
_ENTRIES = (
    ("findings", "Findings"),
    ("risks", "Risks"),
    ("limits", "Limits of these figures"),
    ("next_steps", "Next steps"),
)


def gates(report: dict[str, Any]) -> Section:
    """Every gate, and the contract of the file."""
    shown = report["gates"]
    if len(shown) > MOST_ROWS:  # then what did not pass stands first
        shown = sorted(shown, key=lambda gate: gate["status"] == PASS)
    shown, note = some(shown, MOST_ROWS, "gates")
    rows = tuple((g["name"], g["target"], g["value"], GateStatus(g["status"]), g["note"]) for g in shown)
    columns = ("gate", "target", "value", "status", "note")
    blocks: list[Block] = [
        Table("Every gate with its target, its value and its status", columns, rows, frozenset({1, 2, 3, 4}), note=note)
        if rows
        else Words("No gate was judged.")
    ]
    if report["contract"]:
        checks = tuple(
            (c["name"], c["expected"], c["found"], GateStatus(PASS if c["holds"] else "fail"))
            for c in report["contract"]
        )
        caption = "What the file has to be before it is judged"
        blocks.append(Table(caption, ("check", "expected", "found", "status"), checks, frozenset({1, 2, 3})))
    blocks.append(Facts("The decision as it is recorded", tuple(_recorded(report))))
    return Section("gates", "Gates", tuple(blocks))


def metadata(report: dict[str, Any]) -> Section:
    """Both models, side by side, and how to make the attempt again."""
    found = report["metadata"]
    candidate, incumbent = found["candidate"] or {}, found["incumbent"] or {}
    blocks: list[Block] = [Command("The command that was given:", found["command"]), *_retraining(found)]
    rows = tuple(_origins(candidate, incumbent))
    names = ("", candidate.get("version", report["version"]), incumbent.get("version", "no incumbent"))
    if rows:
        blocks.append(Table("Where the models come from", names, rows, frozenset({1, 2})))
    facts = [("judging took", duration(found["judged_seconds"]))]
    facts += [(name.replace("_", " "), value(one)) for name, one in found["machine"].items()]
    blocks.append(Facts("The machine that judged", tuple(facts)))
    if candidate.get("settings"):
        settings = tuple((name.replace("_", " "), value(one)) for name, one in candidate["settings"].items())
        blocks.append(Facts("Training settings of the candidate", settings))
    return Section("metadata", "Models and machine", tuple(blocks))


def data(report: dict[str, Any]) -> Section:
    """Documents, tokens and entities; gold against weak; who annotated; which types fall short."""
    found = report["data"]
    blocks: list[Block] = [
        Table(
            "Documents, tokens and entities per split",
            ("split", "documents", "tokens", "with gold", "their tokens", "entities"),
            tuple(_split_row(row) for row in found["splits"]),
            note=f"A token is {found['token']}.",
        ),
        _type_counts(found),
        Table(
            f"What {report['version']} was trained on",
            ("labels", "to train on", "to stop by", "entities"),
            (
                ("gold", *map(whole, found["trained"]["gold"].values()), whole(found["trained"]["entities"])),
                ("weak", *map(whole, found["trained"]["weak"].values()), NOTHING),
            ),
            note=_lineage(found["trained"]),
        ),
    ]
    if found["annotators"]:
        people, note = some(found["annotators"], MOST_ROWS, "annotators")
        rows = tuple(
            (one["who"] or "not named", whole(one["annotations"]), whole(one["documents"]), whole(one["entities"]))
            for one in people
        )
        columns = ("annotator", "annotations", "gold documents", "gold entities")
        blocks.append(Table("Who annotated how much", columns, rows, note=note))
    troubles = tuple(_troubles(found))
    if troubles:
        blocks.append(Items("What else is known of the data", troubles))
    return Section("data", "Data", tuple(blocks))


def ledger(report: dict[str, Any]) -> Section:
    """What was spent on this holdout, and what was promoted by force."""
    found, blocks = report["ledger"], list[Block]()
    if found["look"]:
        blocks.append(Facts("This look", tuple(_look(found))))
    else:
        blocks.append(Words("No look was spent: nothing of the holdout was seen."))
    if found["rotation"]:
        blocks.append(Facts("The holdout was spent and replaced", tuple(_rotation(found["rotation"]))))
    if found["spent"]:
        looks = tuple(
            (str(one["number"]), one["version"], one["purpose"], chance(one["alpha"]), moment(one["at"]))
            for one in found["spent"]
        )
        columns: tuple[str, ...] = ("look", "version", "purpose", "alpha", "when")
        blocks.append(Table("Every look at this holdout so far", columns, looks, frozenset({1, 2, 4})))
    if found["forced"]:
        rows = tuple((one["version"], moment(one["at"]), one["who"], one["reason"]) for one in found["forced"])
        columns = ("version", "when", "by", "because")
        blocks.append(Table("Promotions by force so far", columns, rows, frozenset({1, 2, 3})))
    else:
        blocks.append(Words("No model of this project was ever promoted by force."))
    return Section("ledger", "Ledger", tuple(blocks))


def outlook(report: dict[str, Any]) -> Section:
    """Risks, limits and next steps."""
    blocks: list[Block] = []
    found = report["power"]
    if found:
        needed = whole(found["documents_needed"]) if found["documents_needed"] else NOTHING
        facts = (
            ("smallest difference it finds", f"{size(found['detectable'])} of micro-F1, in four cases of five"),
            ("difference that is wanted", size(found["wanted"])),
            ("documents now", whole(found["documents"])),
            ("documents needed for that", needed),
        )
        blocks.append(Facts("What this holdout can see", facts))
    for key, caption in _ENTRIES:
        entries, note = some([entry["text"] for entry in report.get(key, ())], MOST_ROWS, key.replace("_", " "))
        texts = (*entries, *([note] if note else []))
        if texts:
            blocks.append(Items(caption, texts, numbered=key == "next_steps"))
    return Section("outlook", "Limits and next steps", tuple(blocks) or (Words("Nothing follows from the figures."),))


def _recorded(report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "outcome", report["outcome"]
    yield "reason", report["reason"]
    if report["because"]:
        yield "forced because", report["because"]
    yield "by", report["who"]
    yield "at", moment(report["at"])


def _retraining(found: dict[str, Any]) -> Iterator[Block]:
    """What trains the candidate again: a version that was decided on is no candidate any more."""
    again = found.get("retraining")
    if not again:
        return
    parent, differing = again["parent"], again["settings"]
    while_serving = f", while {parent} is in service" if parent else ""
    yield Command(f"The candidate is trained again, as another version{while_serving}, by:", again["command"])
    settings = f"With {differing} in loop.toml" if differing else "With the default settings"
    yield Words(f"{settings}, on data of the fingerprint {_hash(again['data_fingerprint'])}.")


def _origins(candidate: dict[str, Any], incumbent: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """One row for each fact of either model."""
    both = (candidate, incumbent)
    if not candidate:
        return
    for name, key in (("encoder", "encoder"), ("goes on from", "parent"), ("learned from", "kind"), ("seed", "seed")):
        none = "the base encoder" if key == "parent" else NOTHING
        yield (name, *((value(one.get(key) or none) if one else NOTHING) for one in both))
    for key in dict.fromkeys(key for one in both for key in one.get("adapter", {})):
        yield (f"LoRA {key}", *(value(one.get("adapter", {}).get(key)) for one in both))
    yield ("data fingerprint", *(_hash(one.get("data_fingerprint")) for one in both))
    yield ("trained", *(moment(one.get("trained_at")) for one in both))
    yield ("training took", *(duration(one.get("training_seconds")) for one in both))
    for key in dict.fromkeys(key for one in both for key in one.get("libraries", {})):
        yield (key, *(value(one.get("libraries", {}).get(key)) for one in both))
    for key in dict.fromkeys(key for one in both for key in one.get("files", {})):
        yield (f"{key}, SHA-256", *(_hash(one.get("files", {}).get(key)) for one in both))


def _hash(written: Any) -> str:
    text = value(written)
    return text if len(text) <= _SHOWN_HASH else f"{text[:_SHOWN_HASH]}…"


def _split_row(row: dict[str, Any]) -> tuple[str, ...]:
    counts = (row[key] for key in ("documents", "tokens", "labelled", "labelled_tokens", "entities"))
    return row["split"], *map(whole, counts)


def _type_counts(found: dict[str, Any]) -> Table:
    shown, note = some(found["types"], MOST_ROWS, "types")
    minimum = whole(found["minimum"])
    rows = tuple(
        (
            row["name"],
            whole(row["labels"]),
            whole(row["trained"]),
            whole(row["holdout"]),
            GateStatus(
                "short of minimum" if row["short_of_minimum"] else "below recommended" if _below(row) else "enough"
            ),
            whole(row["short_of_minimum"] or row["short_of_recommended"]) if _below(row) else "",
        )
        for row in shown
    )
    return Table(
        f"Entities per type; the minimum is {minimum} to learn from, {recommended(found)}",
        ("type", "to learn from", "this model saw", "in the holdout", "status", "missing"),
        rows,
        frozenset({4}),
        note=note,
    )


def _below(row: dict[str, Any]) -> bool:
    return bool(row["short_of_recommended"])


def _lineage(trained: dict[str, Any]) -> str:
    votes = f"Labelling functions cast {trained['weak_votes']:,} votes on them." if trained["weak_votes"] else ""
    before = "; ".join(
        f"{one['version']} on {one['gold']:,} gold and {one['weak']:,} weak documents" for one in trained["lineage"]
    )
    return f"{votes} {f'It goes on from models that were trained on these: {before}.' if before else ''}".strip()


def _troubles(found: dict[str, Any]) -> Iterable[str]:
    if found["disagreements"]:
        yield f"Annotators disagree on {number_of(found['disagreements'], 'document')}."
    if found["duplicates"]:
        yield f"{number_of(found['duplicates'], 'labelled text')} also in the holdout, and not learned from."
    if found["skipped"]:
        yield f"{number_of(found['skipped'], 'skip')}."
    if found["open"]:
        yield f"{number_of(found['open'], 'document')} still to be labelled."
    for reason, count in found["set_aside"].items():
        yield f"Set aside, {count:,} times: {reason}."


def _look(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    look = found["look"]
    yield "holdout", str(look["epoch"])
    yield "look", f"{look['number']} of {look['looks']}, {look['schedule']} spending"
    yield "alpha of this look", chance(look["alpha"])
    yield "alpha spent", f"{chance(look['spent'])} of {chance(look['total'])} ({share(look['spent'] / look['total'])})"
    yield "alpha left", f"{chance(found['alpha_left'])}, over {number_of(found['looks_left'], 'look')}"


def _rotation(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "new holdout", str(found["epoch"])
    yield "retired into training", number_of(found["retired"], "document")
    yield "drawn", f"{number_of(found['drawn'], 'document')} of {whole(found['eligible'])} that could be"
    yield "carried over", f"{number_of(found['carried'], 'document')} that had judged nothing"
    yield "barred", f"{number_of(found['barred'], 'document')}: labelled or trained on before, or kin to such"
