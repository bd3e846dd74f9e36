"""Reports of a likely, a held, a rejected and a proven candidate, and of a rollback, from real trainings.

    .venv/bin/python scripts/example_reports.py --home HOME [--out docs/reports]

The script uses the command line alone, on the project's own corpus of IT support (`examples/it_support`): the reports
may quote its texts. The holdout begins with 24 texts. The first model learns from the labelling functions alone. The
second one goes on from the first with 50 gold texts. The third one learns from 250 gold texts from the start, for which
four passes are too few: on 24 texts nothing can be told of this candidate, so it is held. Then the holdout grows to 80
texts, and the same candidate is judged again. The fourth one goes on from the second with the 250 texts. The last step
takes that model back.

The trainings are short, four passes. The outcomes are those of the trainings: on another machine they may differ, and
the script says so at its end.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

EXAMPLE = Path(__file__).parents[1] / "examples" / "it_support"
AT_FIRST, HELD_OUT, FIRST, SECOND = 24, 80, 50, 250
EXPECTED = {
    "likely": "likely better",
    "held": "cannot tell",
    "rejected": "likely worse",
    "proven": "proven better",
    "rollback": None,
}


def main() -> None:
    """Read the arguments, run every step, copy the reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True, help="where the project is made; must not exist")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "reports")
    arguments = parser.parse_args()
    prepare(arguments.home)
    for (name, expected), answer in zip(EXPECTED.items(), run(arguments.home), strict=True):
        target = arguments.out / name
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for file in answer["report"].values():
            shutil.copy(file, target / Path(file).name)
        word = answer.get("word")
        print(f"{name}: {target} {word or ''}{'' if word == expected else f' (expected: {expected})'}")


def prepare(home: Path) -> None:
    """The project, its holdout, and the files of gold that come one after the other."""
    loop(None, "init", str(home), "--config", str(EXAMPLE / "labels.xml"))
    for name in ("labeling_functions.py", "weak.toml", "gazetteers"):
        copy = shutil.copytree if (EXAMPLE / name).is_dir() else shutil.copy
        copy(EXAMPLE / name, home / name)
    settings = home / "loop.toml"
    told = settings.read_text("utf-8")
    told = told.replace("[train]\n", "[train]\npasses = 4\nthreads = 1\n", 1)
    told = told.replace("[promotion]\n", '[promotion]\nfirst_model = "gates"\nrobustness = 40\ntimed = 20\n', 1)
    told = told.replace("[weak]\n", '[weak]\nfunctions = "labeling_functions.py"\n', 1)
    settings.write_text(told, "utf-8")
    records = [json.loads(line) for line in (EXAMPLE / "gold.jsonl").open(encoding="utf-8")]
    held_out, rest = records[::5][:HELD_OUT], [one for at, one in enumerate(records) if at % 5 or at >= 5 * HELD_OUT]
    write(home / "holdout.jsonl", held_out[:AT_FIRST])
    write(home / "more-holdout.jsonl", held_out[AT_FIRST:])
    write(home / "open.jsonl", [{key: one[key] for key in ("id", "text")} for one in rest])
    write(home / "first.jsonl", rest[:FIRST])
    write(home / "second.jsonl", rest[FIRST:SECOND])
    loop(home, "import", str(home / "holdout.jsonl"), "--split", "holdout")
    loop(home, "import", str(home / "open.jsonl"), "--split", "train")


def run(home: Path) -> list[dict[str, Any]]:
    """The answers of the five commands that left a report."""
    loop(home, "label")
    loop(home, "retrain")
    loop(home, "promote")
    loop(home, "import", str(home / "first.jsonl"), "--split", "train")
    loop(home, "retrain")
    answers = [judge(home)]
    loop(home, "import", str(home / "second.jsonl"), "--split", "train")
    set_seed(home, "# seed = 13", 14)
    loop(home, "retrain", "--from-scratch")
    answers.append(judge(home))
    loop(home, "import", str(home / "more-holdout.jsonl"), "--split", "holdout")
    answers.append(judge(home))
    set_seed(home, "seed = 14", 13)
    loop(home, "retrain")
    answers.append(judge(home))
    return [*answers, loop(home, "rollback", "--reason", "to show how a model is taken back")]


def judge(home: Path) -> Any:
    """The answer of `loop promote`, promoted or not."""
    return loop(home, "promote", good=(0, 8))


def set_seed(home: Path, line: str, seed: int) -> None:
    """Another seed for the next trainings, in the place of this line."""
    settings = home / "loop.toml"
    settings.write_text(settings.read_text("utf-8").replace(line, f"seed = {seed}", 1), "utf-8")


def write(path: Path, records: list[dict[str, Any]]) -> None:
    """Records as JSON Lines."""
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), "utf-8")


def loop(home: Path | None, *words: str, good: tuple[int, ...] = (0,)) -> Any:
    """The JSON answer of a command; ends this script where its exit code is another."""
    where = () if home is None else ("-C", str(home))
    command = [sys.executable, "-m", "loop.cli", *where, *words, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in good:
        sys.exit(f"loop {words[0]} ended with {done.returncode}: {done.stdout}")
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
