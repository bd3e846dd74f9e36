"""What a rule of promotion costs over whole loops, from the first model on: python -m scripts.bench.policy

    python -m scripts.bench.policy make --folder FOLDER [--processes 2] [--surrogate]
    python -m scripts.bench.policy replay

`make` trains every candidate of 16 loops once and keeps what each says of blind texts, by text; one small file for each
candidate stands in FOLDER, so that an interrupted `make` goes on where it was. At the end --counts gets them all.
`replay` takes a minute or two: it follows each loop under each rule. Read `loops` for what a loop is.

Regret: true F1 of the best candidate so far, or of the first model, minus the true F1 of the model in service, averaged
over the annotations of a loop. Harm: promotions that lose more than 1 or 3 points of true F1. Each loop is followed
several times, with other texts held out. Intervals (95 %) are bootstrapped over the loops.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from scripts.bench.policy.counts import (
    candidate_path,
    gather,
    read_candidate,
    read_counts,
    write_candidate,
    write_counts,
)
from scripts.bench.policy.loops import SETS, TRUTH, Candidate, Loop, candidates_of, draw_loop
from scripts.bench.policy.tables import corruption_table, drift_table, rules_table, sets_table

COUNTS = Path(__file__).with_name("counts.npz")
# Later rounds change less, and cost more: not every round has a candidate.
ROUNDS, EXAMPLE_ROUNDS = (1, 2, 3, 4, 6, 8, 12), (1, 2, 3, 4, 6, 8)
# CPU seconds of one core for each text that is learned from, and for each text that is asked about: a first guess.
_LEARNED, _ASKED = 0.5, 0.02


def main() -> None:
    """Read the arguments and do one of the two parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(required=True)
    making = parts.add_parser("make", help="train the candidates, and keep their counts")
    making.add_argument("--folder", type=Path, required=True, help="where the file of each candidate stands")
    making.add_argument("--sets", default=",".join(SETS), help="some of the sets")
    making.add_argument("--seeds", type=int, default=4, help="loops of each set")
    making.add_argument("--rounds", type=_numbers, default=ROUNDS, help="rounds of 50 that have a candidate")
    making.add_argument(
        "--example-rounds", type=_numbers, default=EXAMPLE_ROUNDS, help="likewise, of 30, for the example"
    )
    making.add_argument("--truth", type=int, default=TRUTH, help="texts that tell the truth, at most")
    making.add_argument("--processes", type=int, default=2, help="each computes on one thread")
    making.add_argument("--surrogate", action="store_true", help="small networks in place of real models: minutes")
    making.add_argument("--only-estimate", action="store_true", help="tell what is to be made, and end")
    making.set_defaults(do=make)
    replaying = parts.add_parser("replay", help="follow the loops under each rule")
    replaying.add_argument("--draws", type=int, default=6, help="holdouts of each loop")
    replaying.add_argument("--only", type=_numbers, help="the loops of some seeds, such as 3,4")
    replaying.set_defaults(do=show)
    for part in (making, replaying):
        part.add_argument("--counts", type=Path, default=COUNTS)
    given = parser.parse_args()
    given.do(given)


def _numbers(words: str) -> tuple[int, ...]:
    return tuple(int(word) for word in words.split(","))


# Making


@dataclass(frozen=True, slots=True)
class Order:
    """One loop to make."""

    set_name: str
    seed: int
    rounds: tuple[int, ...]
    truth: int
    folder: Path
    surrogate: bool

    def loop(self) -> Loop:
        """The loop, drawn again."""
        return draw_loop(SETS[self.set_name], self.seed, self.rounds[-1], self.truth)

    def missing(self, loop: Loop) -> list[Candidate]:
        """The candidates that have no file yet."""
        return [one for one in candidates_of(self.rounds) if not candidate_path(self.folder, loop, one).exists()]


def make(given: argparse.Namespace) -> None:
    """Make what is missing, then the file of all counts."""
    given.folder.mkdir(parents=True, exist_ok=True)
    orders = [
        Order(
            name,
            seed,
            given.example_rounds if name == "example" else given.rounds,
            given.truth,
            given.folder,
            given.surrogate,
        )
        for seed in range(1, given.seeds + 1)
        for name in given.sets.split(",")
    ]
    for line in estimated(orders, given.processes):
        print(line, flush=True)
    if given.only_estimate:
        return
    os.environ["OMP_NUM_THREADS"] = "1"  # read by the processes that are started below
    with ProcessPoolExecutor(given.processes, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        for done in as_completed([pool.submit(make_loop, order) for order in orders]):
            done.result()
    counts = [gather(order.folder, order.loop(), candidates_of(order.rounds)) for order in orders]
    write_counts(given.counts, counts)
    print(f"{given.counts}: {given.counts.stat().st_size:,} bytes")


def make_loop(order: Order) -> None:
    """Make the candidates of one loop that have no file yet."""
    from scripts.bench.policy.candidates import make_counts, make_real, make_surrogate

    loop = order.loop()
    for candidate in order.missing(loop):
        began = time.process_time()
        right, found = make_counts(make_surrogate if order.surrogate else make_real, loop, candidate)
        seconds, learned = time.process_time() - began, len(candidate.lessons(loop))
        write_candidate(candidate_path(order.folder, loop, candidate), right, found, seconds, learned)
        failed = "" if len(right) else ", failed"
        print(f"{loop.name} {candidate.name}: {learned} texts, {seconds:.0f} CPU s{failed}", flush=True)


def estimated(orders: Sequence[Order], processes: int) -> Iterator[str]:
    """How much is to be made, and the CPU time that it takes, by what was made already."""
    learned = asked = made = 0
    known_seconds, known_guess = 0.0, 0.0
    for order in orders:
        loop = order.loop()
        texts = len(loop.judged()) + len(loop.truth)
        missing = order.missing(loop)
        made += len(missing)
        asked += texts * len(missing)
        learned += sum(len(one.lessons(loop)) for one in missing)
        for one in candidates_of(order.rounds):
            path = candidate_path(order.folder, loop, one)
            if path.exists():
                _, _, seconds, known = read_candidate(path)
                known_seconds += seconds
                known_guess += _LEARNED * known + _ASKED * texts
    scale = known_seconds / known_guess if known_guess else 1.0
    hours = scale * (_LEARNED * learned + _ASKED * asked) / 3600
    yield (
        f"{made} candidates are to be made, of {learned:,} texts to learn from and {asked:,} to be asked about: about "
        f"{hours:.1f} hours of CPU, {hours / processes:.1f} hours on {processes} free cores "
        f"({'by what was made already' if known_guess else 'a first guess'})"
    )


# Replaying


def show(given: argparse.Namespace) -> None:
    """Print every table."""
    if not given.counts.exists():
        sys.exit(f"{given.counts} is missing: make it with `make`")
    began = time.monotonic()
    loops = [loop for loop in read_counts(given.counts) if not given.only or loop.seed in given.only]
    if not loops:
        sys.exit(f"no loop of {given.counts} has such a seed")
    for table in (sets_table, rules_table, corruption_table, drift_table):
        for line in table(loops, given.draws):
            print(line, flush=True)
        print(flush=True)
    print(f"({time.monotonic() - began:.0f} s)")


if __name__ == "__main__":
    main()
