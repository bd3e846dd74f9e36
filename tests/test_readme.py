"""What README says of commands, exit codes and variables is what the program knows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from loop.cli.app import EXIT_CODES, app
from loop.settings.settings import variables

README = Path(__file__).parents[1] / "README.md"


@pytest.fixture(scope="module")
def readme() -> str:
    return README.read_text("utf-8")


def section(text: str, title: str) -> str:
    return text.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def first_cells(text: str) -> list[str]:
    """The first column of a section's tables, without their heads."""
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")]
    return [row for row in rows if not set(row) <= set("- ") and row not in ("command", "code", "variable")]


def test_every_command_stands_in_the_readme_and_no_other(readme: str):
    named = [re.match(r"`loop ([\w-]+)", cell) for cell in first_cells(section(readme, "Commands"))]
    known = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    assert {match.group(1) for match in named if match} == known


def test_every_exit_code_means_what_the_help_says(readme: str):
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", section(readme, "Exit codes"), re.MULTILINE)
    told = dict(re.findall(r"(\d+) ([^;.]+)[;.]", EXIT_CODES))
    assert {code: meaning.replace("`loop doctor`", "doctor") for code, meaning in rows} == told


def test_every_variable_stands_in_the_readme(readme: str):
    named = set(re.findall(r"`([A-Z_]+)`", "\n".join(first_cells(section(readme, "Settings")))))
    assert named == {*variables(), "LOOP_HOME"}
