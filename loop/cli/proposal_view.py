"""What `loop init --from-export` shows: the label config that a file gave, and what people should check."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType

from loop.console import table
from loop.files.proposing import Proposal
from loop.report.wording import number_of


def view(found: Proposal) -> Iterator[RenderableType]:
    """A table of the labels of each control, where the texts stand, and what to check."""
    texts, labelled = number_of(found.texts, "text"), f"{found.labelled:,} of them annotated"
    yield f"Found in {found.file} ({found.format}): {texts}, {labelled}."
    rows = [
        (f"{label}", control.name, control.to_name, number if control.taken else f"{number:,}, left out")
        for control in found.controls
        for label, number in control.labels.items()
    ]
    yield table("", ("label", "control", "over", "regions"), rows)
    yield f"The texts stand in the field {found.data_field!r} of a task (for Label Studio)."
    for sentence in found.check:
        yield f"Check: {sentence}"
    yield "Check: labels.xml holds the labels of this file alone. Add any further label before you import."
