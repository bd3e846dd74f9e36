"""Score the sources of an example and their majority vote against its gold: python -m scripts.bench.weak.labels NAME

The example is `it_support` unless another is named. Prints a Markdown table of strict precision, recall and F1 per
entity type: on the texts that were read when the sources were written (`seen.txt`), and on the untouched texts. A
second table has coverage, overlap, conflict, accuracy and precision of each source. Sources that need more than one
text (kind "neighbours") are left out.
"""

from __future__ import annotations

import argparse

from loop.evaluation.scores import Scores, score
from ner.label_studio.label_config import LabelConfig
from ner.labels import LabelSet
from scripts.build_example import EXAMPLES, read_messages, seen_sources
from weak_labeling.aggregate.majority import majority_vote
from weak_labeling.analysis import FunctionReport, analyse
from weak_labeling.apply import apply_functions
from weak_labeling.loading import load_sources


def main() -> None:
    """Read the arguments, apply, vote, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", default="it_support", help="a folder of examples/")
    example = EXAMPLES / parser.parse_args().name
    labels = LabelSet(LabelConfig.parse((example / "labels.xml").read_text("utf-8")).labels)
    functions, weak_file = example / "labeling_functions.py", example / "weak.toml"
    loaded = load_sources(
        example,
        functions=functions if functions.exists() else None,
        weak_file=weak_file if weak_file.exists() else None,
        labels=labels.types,
    )
    messages = read_messages(example)
    texts = {message.id: message.text for message in messages}
    gold = {message.id: message.spans for message in messages}
    sources = [source for source in loaded.sources if callable(source)]
    applied = apply_functions(sources, texts.items(), labels.types)
    predicted = {name: majority_vote(votes, texts[name]) for name, votes in applied.votes.items()}
    seen = {message.id for message in messages if message.source in seen_sources(example)}
    for part, names in (("seen texts", seen), ("untouched texts", texts.keys() - seen)):
        if names:
            print_scores(part, score([gold[name] for name in names], [predicted[name] for name in names], labels))
    print_functions(analyse([source.name for source in sources], texts, applied.votes, gold))
    for problem in loaded.problems:
        print(problem)
    for failure in applied.failures:
        print(f"{failure.function} failed on {failure.document_id}: {failure.reason}")


def print_scores(part: str, scores: Scores) -> None:
    """The majority vote, by entity type."""
    print(f"| {part} | precision | recall | F1 | support |\n| --- | --- | --- | --- | --- |")
    for name, row in {**scores.per_type, "micro": scores.micro, "macro": scores.macro}.items():
        print(f"| {name} | {row.precision:.3f} | {row.recall:.3f} | {row.f1:.3f} | {row.support} |")
    print()


def print_functions(reports: tuple[FunctionReport, ...]) -> None:
    """Shares of tokens in percent; accuracy and precision of what was voted on."""
    print("| source | votes | documents | coverage | overlap | conflict | accuracy | precision |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for report in reports:
        shares = f"{report.coverage:.2%} | {report.overlap:.2%} | {report.conflict:.2%}"
        right = " | ".join("" if value is None else f"{value:.3f}" for value in (report.accuracy, report.precision))
        print(f"| {report.name} | {report.votes} | {report.documents} | {shares} | {right} |")


if __name__ == "__main__":
    main()
