"""What faults cost a team's installation: python -m scripts.bench.topology [--stopped SECONDS] [--rounds N]

Starts the services of `docker-compose.yml` as processes, with two backends (`tests/topology`; this needs root). People
annotate through Label Studio's API, and clients ask the backends for predictions. Meanwhile, in each round, one backend
is killed (`kill -9`), PostgreSQL is restarted while the loop is killed as well, and Label Studio is stopped for some
seconds. In the end the store is compared with the list that Label Studio exports. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.topology import team as teams
from tests.topology.accounts import repeated_versions
from tests.topology.faults import Suffered, Window, suffer
from tests.topology.load import CHANGED, CREATED, DELETED, REFUSED, SKIPPED

FIRST = 60


def main(words: Sequence[str] | None = None) -> None:
    """Read the arguments, let it happen, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stopped", type=float, default=60.0, help="seconds without Label Studio, in each round")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--people", type=int, default=3)
    parser.add_argument("--pace", type=float, default=0.2, help="seconds that each waits between two answers")
    parser.add_argument("--clients", type=int, default=4, help="who ask the backends, one request after another")
    given = parser.parse_args(words)
    texts = teams.gold(given.tasks)
    with tempfile.TemporaryDirectory(prefix="topology-") as folder, teams.working(Path(folder), texts) as team:
        people = team.annotators(texts, given.people, given.pace)
        people.start()
        try:
            people.wait(FIRST, 240)
            team.wait_for_a_model()
            visitor = team.visitor("visitor", given.clients, pause=0.01)
            suffered = suffer(team, people, visitor, stopped=given.stopped, rounds=given.rounds)
        finally:
            people.stop()
        there = team.agreed()
        _print(suffered, len(there), len(repeated_versions(team.store)))


def _print(suffered: Suffered, listed: int, repeated: int) -> None:
    done = suffered.done
    print("| fault | times | seconds | requests meanwhile | failed | slowest |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, windows in {"a backend killed": suffered.kills, **suffered.windows}.items():
        _print_fault(name, windows, suffered)
    print(f"\n{len(suffered.requests):,} requests in all, {len(suffered.failed):,} failed.")
    print(
        f"{done[CREATED] + done[SKIPPED]:,} annotations submitted, of them {done[SKIPPED]:,} skips; {done[CHANGED]:,} "
        f"changed, {done[DELETED]:,} deleted afterwards; {done[REFUSED]:,} tries while Label Studio did not answer."
    )
    print(f"Label Studio lists {listed:,}; the store holds the same; {repeated:,} stored twice.")


def _print_fault(name: str, windows: Iterable[Window], suffered: Suffered) -> None:
    during = [one for one in suffered.requests if any(window.meets(one) for window in windows)]
    slowest = max((one.ended - one.began for one in during), default=0.0)
    spans = ", ".join(f"{window.end - window.begin:.1f}" for window in windows)
    failed = sum(one.failed for one in during)
    print(f"| {name} | {len(tuple(windows))} | {spans} | {len(during):,} | {failed:,} | {1000 * slowest:,.0f} ms |")


if __name__ == "__main__":
    main()
