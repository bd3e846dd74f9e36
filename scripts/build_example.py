"""Write tasks.jsonl and gold.jsonl of each example from the marked-up messages in its source/ folder.

A source file holds messages, each under a line `=== kind`; kinds.txt lists the kinds, one a line. An entity is marked
where it stands: `[[Outlook|SOFTWARE]]`.
The offsets of the gold file are derived from the marks and never written by hand. `--check` writes nothing, and exits
with 1 if the shipped files differ from what the sources say.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from ner.errors import InputError
from ner.label_studio.label_config import LabelConfig
from ner.spans import Span, check_span

EXAMPLES = Path(__file__).parents[1] / "examples"
EXAMPLE = EXAMPLES / "it_support"

_HEADER = re.compile(r"^=== (\w+)$", re.MULTILINE)
_MARK = re.compile(r"\[\[(.+?)\|([A-Z_]+)\]\]", re.DOTALL)


@dataclass(frozen=True)
class Message:
    """One message with its entities; offsets are half-open code points into `text`. source: "01" for 01.txt."""

    id: str
    source: str
    kind: str
    text: str
    spans: tuple[Span, ...]

    def task(self) -> dict[str, object]:
        """The record without its entities, as it is imported."""
        return {"id": self.id, "text": self.text}

    def gold(self) -> dict[str, object]:
        """The record with its entities."""
        spans = [{"start": span.start, "end": span.end, "label": span.label} for span in self.spans]
        return {"id": self.id, "text": self.text, "spans": spans}


def read_messages(example: Path = EXAMPLE) -> tuple[Message, ...]:
    """Every message of source/*.txt, in order of file name. Raises InputError for a wrong mark or header."""
    labels = LabelConfig.parse((example / "labels.xml").read_text("utf-8")).labels
    kinds = (example / "kinds.txt").read_text("utf-8").split()
    messages: list[Message] = []
    for path in sorted((example / "source").glob("*.txt")):
        before, *parts = _HEADER.split(path.read_text(encoding="utf-8"))
        if before.strip():
            raise InputError("a source file begins with a line `=== kind`", value=before, next_step=f"See {path}.")
        for kind, body in zip(parts[::2], parts[1::2], strict=True):
            if kind not in kinds:
                raise InputError(f"a kind is one of {', '.join(kinds)}", value=kind, next_step=f"See {path}.")
            text, spans = unmark(body.strip("\n"), labels)
            prefix = example.name.partition("_")[0]
            messages.append(Message(f"{prefix}-{len(messages) + 1:04d}", path.stem, kind, text, spans))
    return tuple(messages)


def seen_sources(example: Path) -> frozenset[str]:
    """The source files that were read before the labelling functions were written: the lines of seen.txt, if any."""
    seen = example / "seen.txt"
    return frozenset(seen.read_text("utf-8").split()) if seen.is_file() else frozenset()


def unmark(marked: str, labels: tuple[str, ...]) -> tuple[str, tuple[Span, ...]]:
    """The text without its marks, and what they mark. Raises InputError for an unknown type or a mark left over."""
    text = ""
    spans: list[Span] = []
    rest = 0
    for mark in _MARK.finditer(marked):
        surface, label = mark.groups()
        text += marked[rest : mark.start()]
        span = Span(len(text), len(text) + len(surface), label)
        text += surface
        rest = mark.end()
        check_span(span, len(text))
        if label not in labels or surface != surface.strip():
            raise InputError(f"a mark is [[words|TYPE]], TYPE of {', '.join(labels)}", value=mark.group())
        spans.append(span)
    text += marked[rest:]
    if not text.strip() or "[[" in text or "]]" in text:
        raise InputError("a message has text, and its marks are closed", value=marked)
    return text, tuple(spans)


def file_contents(example: Path = EXAMPLE) -> dict[Path, str]:
    """The content of each file that is derived from the sources of an example, by path."""
    messages = read_messages(example)
    return {
        example / "tasks.jsonl": "".join(_line(message.task()) for message in messages),
        example / "gold.jsonl": "".join(_line(message.gold()) for message in messages),
    }


def _line(record: dict[str, object]) -> str:
    return json.dumps(record, ensure_ascii=False) + "\n"


def main() -> int:
    """Write the files, or check them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file is out of date")
    check = parser.parse_args().check
    files = {path: text for found in EXAMPLES.glob("*/source") for path, text in file_contents(found.parent).items()}
    stale = [path for path, content in files.items() if not path.is_file() or path.read_text("utf-8") != content]
    for path in stale:
        print(f"{'out of date' if check else 'written'}: {path.relative_to(EXAMPLES)}")
        if not check:
            path.write_text(files[path], encoding="utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
