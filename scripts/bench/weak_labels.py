"""Score labelling functions and their majority vote against a gold file: python -m scripts.bench.weak_labels

By default the example's own. Prints a Markdown table of strict precision, recall and F1 per entity type, and one of
coverage, overlap, conflict, accuracy and precision for each function.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from loop.evaluation.scores import Scores, score
from loop.files.predicting import read_labelled
from loop.files.reading import Request
from loop.settings.template import config_of_labels
from ner.label_studio.label_config import LabelConfig
from ner.labels import LabelSet
from weak_labeling.aggregate.majority import majority_vote
from weak_labeling.analysis import FunctionReport, analyse
from weak_labeling.apply import apply_functions
from weak_labeling.functions import load_functions

EXAMPLE = Path(__file__).parents[2] / "examples" / "it_support"


def main() -> None:
    """Read the arguments, apply, vote, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--functions", type=Path, default=EXAMPLE / "labeling_functions.py")
    parser.add_argument("--gold", type=Path, default=EXAMPLE / "gold.jsonl", help="any format of `loop import`")
    parser.add_argument("--labels", default="SOFTWARE,OS,HARDWARE,VERSION,ERROR")
    arguments = parser.parse_args()
    labels = LabelSet(tuple(arguments.labels.split(",")))
    records = read_labelled(arguments.gold, Request(LabelConfig.parse(config_of_labels(arguments.labels)))).documents
    texts = {record.id: record.text for record in records}
    gold = {record.id: record.spans for record in records}
    functions = load_functions(arguments.functions)
    applied = apply_functions(functions, texts.items(), labels.types)
    predicted = {name: majority_vote(votes, texts[name]) for name, votes in applied.votes.items()}
    print_scores(score([gold[name] for name in texts], [predicted[name] for name in texts], labels))
    print_functions(analyse([function.name for function in functions], texts, applied.votes, gold))
    for failure in applied.failures:
        print(f"{failure.function} failed on {failure.document_id}: {failure.reason}")


def print_scores(scores: Scores) -> None:
    """The majority vote, by entity type."""
    print("| majority vote | precision | recall | F1 | support |\n| --- | --- | --- | --- | --- |")
    for name, row in {**scores.per_type, "micro": scores.micro, "macro": scores.macro}.items():
        print(f"| {name} | {row.precision:.3f} | {row.recall:.3f} | {row.f1:.3f} | {row.support} |")


def print_functions(reports: tuple[FunctionReport, ...]) -> None:
    """Shares of tokens in percent; accuracy and precision of what was voted on."""
    print("\n| function | votes | documents | coverage | overlap | conflict | accuracy | precision |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for report in reports:
        shares = f"{report.coverage:.2%} | {report.overlap:.2%} | {report.conflict:.2%}"
        right = " | ".join("" if value is None else f"{value:.3f}" for value in (report.accuracy, report.precision))
        print(f"| {report.name} | {report.votes} | {report.documents} | {shares} | {right} |")


if __name__ == "__main__":
    main()
