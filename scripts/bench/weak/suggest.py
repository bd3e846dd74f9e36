"""What accepted suggestions are worth on the examples: python -m scripts.bench.weak.suggest [NAME...]

Of each example, half of the texts (drawn by chance) have gold, and suggestions are made for the other half, which is
read as unlabelled. All suggestions are accepted: their terms as gazetteers and their patterns vote beside the sources.
Prints a Markdown table: how many of the example's sources are left, drawn by chance; micro F1 of the majority vote on
the other half, without and with the accepted suggestions; how many there are; how much of what they add is right; and
the share of suggestions that are at least as precise there as their lower bound says, of all suggestions and of those
that add MANY spans or more.
"""

from __future__ import annotations

import argparse
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from loop.evaluation.scores import score
from ner.label_studio.label_config import LabelConfig
from ner.labels import LabelSet
from scripts.build_example import EXAMPLES, Message, read_messages
from weak_labeling.aggregate.majority import majority_vote
from weak_labeling.apply import apply_functions
from weak_labeling.gazetteers import Gazetteer
from weak_labeling.loading import text_sources
from weak_labeling.source import TextSource
from weak_labeling.sources.gazetteer import GazetteerSource
from weak_labeling.suggesting.drafts import Draft, TermDraft
from weak_labeling.suggesting.evidence import KnownText
from weak_labeling.suggesting.ranking import suggestions

# Of fewer spans, chance alone may leave too few that are right.
MANY = 5
NAMES = ("it_support", "maritime", "utility_specs", "helpline")


@dataclass
class Row:
    """Sums over seeds. added, right: spans of all suggestions; held: suggestions that are as precise as their bound.

    many, many_held: of those that add MANY spans.
    """

    without: float = 0.0
    with_all: float = 0.0
    number: int = 0
    added: int = 0
    right: int = 0
    held: int = 0
    many: int = 0
    many_held: int = 0


def main() -> None:
    """Read the arguments, and print a row for each example and share of sources."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=NAMES, help="folders of examples/")
    parser.add_argument("--seeds", type=int, default=2)
    given = parser.parse_args()
    shown = ("F1 without", "F1 with", "suggestions", "right of what they add", "bounds that hold", f"with {MANY}")
    print(f"| example | sources left | {' | '.join(shown)} |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in given.names:
        for left in (1.0, 0.5, 0.0):
            row = Row()
            for seed in range(given.seeds):
                measure(row, name, left, random.Random(seed))
            scores = f"{row.without / given.seeds:.3f} | {row.with_all / given.seeds:.3f}"
            shares = f"{row.right / max(row.added, 1):.0%} | {row.held / max(row.number, 1):.0%}"
            shares += f" | {row.many_held} of {row.many}"
            print(f"| {name} | {left:.0%} | {scores} | {row.number / given.seeds:g} | {shares} |", flush=True)


def measure(row: Row, name: str, left: float, chance: random.Random) -> None:
    """Add one draw of sources and texts to the row."""
    labels = LabelSet(LabelConfig.parse((EXAMPLES / name / "labels.xml").read_text("utf-8")).labels)
    sources = [one for one in text_sources(EXAMPLES / name, labels.types) if chance.random() < left]
    messages = list(read_messages(EXAMPLES / name))
    chance.shuffle(messages)
    half = len(messages) // 2
    known = [known_text(sources, message, labels, place < half) for place, message in enumerate(messages)]
    found = suggestions(known[:half], known[half:])
    others = messages[half:]
    for one in found:
        right = sum(span in others[place].spans for place, span in one.added)
        row.added, row.right = row.added + len(one.added), row.right + right
        holds, many = right >= one.evidence.low * len(one.added), len(one.added) >= MANY
        row.held, row.many, row.many_held = row.held + holds, row.many + many, row.many_held + (many and holds)
    row.number += len(found)
    row.without += f1(sources, others, labels)
    row.with_all += f1([*sources, *accepted(one.draft for one in found)], others, labels)


def known_text(sources: Sequence[TextSource], message: Message, labels: LabelSet, labelled: bool) -> KnownText:
    """The message with what the sources mark."""
    votes = apply_functions(sources, [(message.id, message.text)], labels.types).votes[message.id]
    gold = frozenset(message.spans) if labelled else None
    return KnownText(message.text, message.id, frozenset(vote.span for vote in votes), gold)


def accepted(drafts: Iterable[Draft]) -> list[TextSource]:
    """The sources that weak.toml has when all are accepted: one gazetteer for each label and case, and each pattern."""
    terms: dict[tuple[str, str], list[TermDraft]] = defaultdict(list)
    made: list[TextSource] = []
    for draft in drafts:
        if isinstance(draft, TermDraft):
            terms[draft.label, draft.case].append(draft)
        else:
            made.append(draft.build(f"suggested {draft.number}"))
    for (label, case), ones in terms.items():
        finder = Gazetteer([one.term for one in ones], label, case=ones[0].case)
        made.append(GazetteerSource(f"suggested {label} {case}", finder))
    return made


def f1(sources: Sequence[TextSource], messages: Sequence[Message], labels: LabelSet) -> float:
    """Micro F1 of the majority vote."""
    votes = apply_functions(sources, [(one.id, one.text) for one in messages], labels.types).votes
    said = [majority_vote(votes[one.id], one.text) for one in messages]
    return score([one.spans for one in messages], said, labels).micro.f1


if __name__ == "__main__":
    main()
