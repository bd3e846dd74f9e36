"""The counts that are made once and replayed: one small file for each candidate, then one file for all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loop.evaluation.scores import count
from ner.arrays import IntArray
from ner.labels import LabelSet
from scripts.bench.policy.loops import Candidate, Loop


@dataclass(frozen=True, slots=True, eq=False)
class LoopCounts:
    """What all candidates of a loop say, by text; the texts to judge by come first, then the truth.

    types: K of them. gold: (n, K). document: (n,), the number of the document that a text is of. round: (n,), the round
    from which on a text judges; 0 for the truth. batch: annotations of a round. rounds: those that have a candidate.
    right, found: of each candidate by name, (n, K) true positives and predicted spans. A training that failed has none.
    """

    set_name: str
    seed: int
    batch: int
    types: tuple[str, ...]
    rounds: tuple[int, ...]
    gold: IntArray
    document: IntArray
    round: IntArray
    right: Mapping[str, IntArray]
    found: Mapping[str, IntArray]


def candidate_path(folder: Path, loop: Loop, candidate: Candidate) -> Path:
    """Of the file of one candidate."""
    return folder / f"{loop.name}-{candidate.name}.npz"


def write_candidate(path: Path, right: IntArray, found: IntArray, seconds: float, learned: int) -> None:
    """Written whole or not at all. seconds: of a processor. learned: the texts that the candidate learned from."""
    _write(path, {"right": right, "found": found, "seconds": seconds, "learned": learned})


def read_candidate(path: Path) -> tuple[IntArray, IntArray, float, int]:
    """What `write_candidate` wrote."""
    with np.load(path) as kept:
        return kept["right"], kept["found"], float(kept["seconds"]), int(kept["learned"])


def gather(folder: Path, loop: Loop, candidates: Sequence[Candidate]) -> LoopCounts:
    """The counts of a loop from the files of its candidates."""
    asked = [*loop.judged(), *loop.truth]
    numbers: dict[str, int] = {}
    gold = count([item.spans for item in asked], [()] * len(asked), LabelSet(loop.source.types)).gold
    sides = {one.name: read_candidate(candidate_path(folder, loop, one))[:2] for one in candidates}
    made = {name: pair for name, pair in sides.items() if len(pair[0])}
    rounds = [number for number, batch in enumerate(loop.held_out, start=1) for _ in batch]
    return LoopCounts(
        loop.source.name,
        loop.seed,
        loop.source.batch,
        loop.source.types,
        tuple(one.number for one in candidates if one.number and not one.corruption),
        gold,
        np.array([numbers.setdefault(item.doc, len(numbers)) for item in asked]),
        np.array(rounds + [0] * len(loop.truth)),
        {name: right for name, (right, _) in made.items()},
        {name: found for name, (_, found) in made.items()},
    )


def write_counts(path: Path, loops: Sequence[LoopCounts]) -> None:
    """One compressed file for all loops; counts of a text are below 256."""
    arrays: dict[str, object] = {}
    for loop in loops:
        start = f"{loop.set_name}-{loop.seed}"
        names = list(loop.right)
        arrays |= {
            f"{start}-batch": loop.batch,
            f"{start}-types": np.array(loop.types),
            f"{start}-rounds": np.array(loop.rounds, dtype=np.uint8),
            f"{start}-names": np.array(names),
            f"{start}-gold": loop.gold.astype(np.uint8),
            f"{start}-document": loop.document.astype(np.uint16),
            f"{start}-round": loop.round.astype(np.uint8),
            f"{start}-right": np.stack([loop.right[name] for name in names]).astype(np.uint8),
            f"{start}-found": np.stack([loop.found[name] for name in names]).astype(np.uint8),
        }
    _write(path, arrays)


def read_counts(path: Path) -> list[LoopCounts]:
    """What `write_counts` wrote."""
    with np.load(path) as kept:
        return list(_loops({name: kept[name] for name in kept.files}))


def _loops(arrays: Mapping[str, np.ndarray]) -> Iterator[LoopCounts]:
    for start in (name.removesuffix("-batch") for name in arrays if name.endswith("-batch")):
        part = {name.removeprefix(f"{start}-"): one for name, one in arrays.items() if name.startswith(f"{start}-")}
        names = part["names"].tolist()
        wide = {name: part[name].astype(np.int64) for name in ("gold", "document", "round", "right", "found")}
        set_name, seed = start.rsplit("-", 1)
        yield LoopCounts(
            set_name,
            int(seed),
            int(part["batch"]),
            tuple(part["types"].tolist()),
            tuple(part["rounds"].tolist()),
            wide["gold"],
            wide["document"],
            wide["round"],
            dict(zip(names, wide["right"], strict=True)),
            dict(zip(names, wide["found"], strict=True)),
        )


def _write(path: Path, arrays: Mapping[str, object]) -> None:
    """A compressed file, whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.part.npz")
    np.savez_compressed(draft, **{name: np.asarray(one) for name, one in arrays.items()})
    draft.replace(path)
