"""What an annotator gets out of `scripts/up`: python -m scripts.bench.up RESULTS.jsonl

Starts everything as `scripts/up` does, on the bundled example: a real Label Studio, the ML backend and the service. The
simulated annotator then answers the tasks that Label Studio offers, from the gold file, up to each number of answers in
turn. After each number the script waits until the service has pulled, retrained, decided and published. Then it scores
the model in service, the first model and all others, as their INT8 files, on the texts of the pool that nobody has
answered, and on the texts of the holdout. It also asks Label Studio whose pre-labels it shows.

The first model serves without a comparison (`first_model = "gates"`), as it did when the figures were first taken; the
line of 0 answers is of the moment when it serves. "Ready" comes before that: the agreed votes pre-label until then.

A seed decides which texts are held out, and every training; the models decide the order of the queue. The holdout of
seed 1 is that of `scripts/up`.

Each seed and number adds a line to RESULTS.jsonl, and what stands there is not measured again. The folder of a seed
stands beside the file until the seed is done (--keep: for good), so a stopped script goes on where it was. At the end
the script prints Markdown tables of every seed in the file.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from loop.settings.toml_text import with_values
from loop.up.options import Options
from loop.up.project import SALT, make_project
from scripts.bench.up.desk import ROOT, Desk
from scripts.bench.up.tables import print_tables
from tests.server.real_label_studio import free_port

STOPS, SEEDS = (50, 100, 150, 250), (1, 2, 3, 4)
READY = "simulate-annotator"
_SAID = re.compile(r"^\[ *(\d+) s\] (.*)$", re.MULTILINE)

Record = dict[str, Any]


def main(words: Sequence[str] | None = None) -> None:
    """Read the arguments, measure what is not in the file yet, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--stops", nargs="*", type=int, default=STOPS, metavar="ANSWERS", help="numbers of answers")
    parser.add_argument("--seeds", nargs="*", type=int, default=SEEDS)
    parser.add_argument("--threads", type=int, default=0, help="of a training; 0, as in `up`, takes every core")
    parser.add_argument("--keep", action="store_true", help="keep the folder of each seed")
    given = parser.parse_args(words)
    for seed in given.seeds:
        done = {line["answers"] for line in lines(given.results) if line["seed"] == seed}
        if missing := [stop for stop in sorted({0, *given.stops}) if stop not in done]:
            folder = given.results.resolve().with_suffix("") / f"seed-{seed}"
            for line in measured(folder, seed, missing, given.threads):
                with given.results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"seed": seed, **line}) + "\n")
            if not given.keep:
                shutil.rmtree(folder)
    print_tables(lines(given.results))


def measured(folder: Path, seed: int, stops: Sequence[int], threads: int) -> Iterator[Record]:
    """The lines of a seed, one for each number of answers; at 0 the first model has just begun to serve."""
    options = Options(free_port(), free_port(), folder)
    make_project(options, salt=SALT if seed == 1 else f"{SALT}-{seed}")
    config = options.project / "loop.toml"
    values = {"train.seed": seed, "train.threads": threads, "promotion.first_model": "gates"}
    config.write_text(with_values(config.read_text("utf-8"), values), "utf-8")
    with running(options) as output:
        desk = Desk(options)
        for stop in stops:
            began = time.monotonic()
            desk.answer(stop)
            answered = time.monotonic()
            desk.settle(stop)
            seconds = {"answering": round(answered - began, 1), "settling": round(time.monotonic() - answered, 1)}
            told = {"ready": moments(output.read_text("utf-8"))} if not stop else {}
            yield {"answers": stop, **desk.figures(), "seconds": seconds, **told}


@contextmanager
def running(options: Options) -> Iterator[Path]:
    """`scripts/up` at work and ready; gives the file of what it says. Ends it as Ctrl-C does."""
    options.logs.mkdir(parents=True, exist_ok=True)
    output = options.logs / "up.log"
    words = ["--port", str(options.port), "--backend-port", str(options.backend_port), "--data", str(options.data)]
    with output.open("wb") as sink:
        up = subprocess.Popen(
            [sys.executable, "-m", "loop.up", *words],
            cwd=ROOT,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        while READY not in output.read_text("utf-8", "replace"):
            if up.poll() is not None:
                sys.exit(f"up ended with {up.returncode}: {output.read_text('utf-8', 'replace')}")
            time.sleep(0.5)
        yield output
    finally:
        if up.poll() is None:
            up.send_signal(signal.SIGINT)
        up.wait(120)


def moments(said: str) -> dict[str, int]:
    """The seconds from the start of `up` to each of its messages that matters; of a message told twice the first."""
    wanted = {
        "Label Studio answers": "label_studio",
        "the loop is running": "ready",
    }
    told: dict[str, int] = {}
    for seconds, message in _SAID.findall(said):
        for beginning, name in wanted.items():
            if message.startswith(beginning):
                told.setdefault(name, int(seconds))
    return told


def lines(results: Path) -> list[Record]:
    """What was measured so far."""
    return [json.loads(line) for line in results.read_text("utf-8").splitlines()] if results.exists() else []


if __name__ == "__main__":
    for ending in (signal.SIGINT, signal.SIGTERM):  # a shell lets what it starts in the background ignore SIGINT
        signal.signal(ending, lambda number, _: sys.exit(128 + number))
    main()
