"""Gates: what a candidate has to pass. Each is one row of the report, with its target, its value and its status."""

from __future__ import annotations

from dataclasses import dataclass

PASS, FAIL, INSUFFICIENT, NOT_MEASURED = "pass", "fail", "insufficient", "not measured"
SIGNIFICANCE, ABSOLUTE, FILE = "significance", "absolute", "file"


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate, judged.

    kind: "significance", "non-inferiority", "absolute" or "file". target and value are written out, with their units.
    status: FAIL stands in the way of a promotion, and so does NOT_MEASURED, which is a target that nothing was measured
    for; INSUFFICIENT (too little gold to say) does not, but is no pass either: it is a risk. note: what would help.
    """

    name: str
    kind: str
    target: str
    value: str
    status: str
    note: str = ""

    @property
    def blocks(self) -> bool:
        """Whether it stands in the way."""
        return self.status in (FAIL, NOT_MEASURED)
