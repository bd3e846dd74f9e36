"""Setting keys of a TOML file line by line, so that its comments and the rest of it stay as people wrote them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

_SECTION = re.compile(r"\[([^\[\]]+)\]\s*(#.*)?$")
_KEY = re.compile(r"(?:#\s*)?([A-Za-z_][\w-]*)\s*=")


def with_values(text: str, values: Mapping[str, str | int | float]) -> str:
    """`text` with `section.key` set to each value; a line that is commented out becomes the setting.

    A key without a line is added at the end of its section, a section that is missing at the end of the text.
    """
    lines = text.splitlines()
    for name, value in values.items():
        section, _, key = name.partition(".")
        lines = _with_value(lines, section, key, json.dumps(value, ensure_ascii=False))
    return "\n".join(lines) + "\n"


def _with_value(lines: list[str], section: str, key: str, written: str) -> list[str]:
    place = _place(lines, section, key)
    setting = f"{key} = {written}"
    if place is not None:
        return [*lines[:place], setting, *lines[place + 1 :]]
    header = next((i for i, line in enumerate(lines) if _section(line) == section), None)
    if header is None:
        return [*lines, "", f"[{section}]", setting]
    return [*lines[: header + 1], setting, *lines[header + 1 :]]


def _place(lines: list[str], section: str, key: str) -> int | None:
    """The line that sets the key in its section, else the one where it is commented out."""
    current, commented = "", None
    for i, line in enumerate(lines):
        current = _section(line) or current
        match = _KEY.match(line.strip())
        if current != section or match is None or match.group(1) != key:
            continue
        if not line.strip().startswith("#"):
            return i
        commented = i if commented is None else commented
    return commented


def _section(line: str) -> str | None:
    match = _SECTION.match(line.strip())
    return match.group(1).strip() if match else None
