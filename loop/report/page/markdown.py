"""A report as Markdown that can be read in a terminal, too: a pure function of its page. Tables stand for the plots."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from loop.evaluation.errors import Piece
from loop.report.page.blocks import (
    Block,
    Cases,
    Cell,
    Command,
    Facts,
    GateStatus,
    Items,
    Page,
    Picture,
    Quotation,
    Section,
    Table,
    Words,
)
from loop.wording import shortened, visible

GOLD, FOUND = ("⟦", "⟧"), ("⟪", "⟫")
_LONGEST = 2000
# What would begin markup, an entity, a link or a picture; _ only where it could open or close emphasis.
_ACTIVE = re.compile(r"[\\`*\[\]<&|~$]|(?<![^\W_])_|_(?![^\W_])")
_COMMAND = re.compile(r"`(loop [^`]+)`")
_LINE_START = re.compile(r"^\s*(?=[#+=>-]|\d+[.)]\s)")


def render_markdown(page: Page) -> str:
    """The whole report."""
    blocks = [_head(page), *(_section(number, section) for number, section in enumerate(page.sections, 1))]
    return "\n\n".join([*blocks, line(page.foot)]) + "\n"


def escaped(text: str) -> str:
    """Foreign text as text within a line: on one line, of a bounded length, and without any markup."""
    text = visible(shortened(text, _LONGEST))
    return _ACTIVE.sub(lambda found: "&lt;" if found[0] == "<" else f"\\{found[0]}", text)


def line(text: str) -> str:
    """The same, where a line or an item of a list begins with the text."""
    return _LINE_START.sub(lambda found: f"{found[0]}\\", escaped(text))


def _sentence(text: str) -> str:
    """The same as `line`, with commands of this program as code."""
    first, *rest = _COMMAND.split(visible(shortened(text, _LONGEST)))
    return line(first) + "".join(escaped(part) if at % 2 else f"`{part}`" for at, part in enumerate(rest))


def _head(page: Page) -> str:
    lines = [f"# {escaped(page.title)}", line(page.over), *map(line, page.sentences)]
    lines += [f"**Next step:** {_sentence(page.next_step)}"] if page.next_step else []
    lines += [f"> **Note:** {_sentence(notice)}" for notice in page.notices]
    tiles = [f"- {line(tile.name)}: **{escaped(tile.value)}**{_aside(tile.note)}" for tile in page.tiles]
    return "\n\n".join([*lines, "\n".join(tiles)] if tiles else lines)


def _section(number: int, section: Section) -> str:
    parts = [f"## {number} {escaped(section.title)}"]
    for block in section.blocks:
        parts += _block(block)
    return "\n\n".join(parts)


def _block(block: Block) -> Iterator[str]:
    if isinstance(block, Words):
        yield line(block.text)
    elif isinstance(block, Command):
        yield f"{escaped(block.caption)}\n\n{_indented(block.text)}"
    elif isinstance(block, Picture):
        yield f"*Plot in report.html:* {escaped(block.caption)}"
        if block.table:
            yield from _block(block.table)
    elif isinstance(block, Items):
        yield f"### {escaped(block.caption)}"
        signs = (f"{index}." if block.numbered else "-" for index in range(1, len(block.texts) + 1))
        yield "\n".join(f"{sign} {_sentence(text)}" for sign, text in zip(signs, block.texts, strict=True))
    elif isinstance(block, Facts):
        yield f"### {escaped(block.caption)}"
        yield "\n".join(f"- {line(name)}: {escaped(value)}" for name, value in block.rows)
    elif isinstance(block, Table):
        yield f"### {escaped(block.caption)}"
        yield _table(block)
        if block.note:
            yield line(block.note)
    elif isinstance(block, Cases):
        yield f"### {escaped(block.caption)}"
        yield f"{GOLD[0]}gold{GOLD[1]}, {FOUND[0]}found{FOUND[1]}"
        yield "\n".join(map(_case, block.cases))


def _table(block: Table) -> str:
    """The table, with cells of one column padded to the same width."""
    heads = [_head_of(block, index) for index in range(len(block.columns))]
    rows = [[_cell(cell) for cell in row] for row in block.rows]
    widths = [max(3, *(len(row[index]) for row in [heads, *rows])) for index in range(len(heads))]
    left = {0, *block.words}
    ruler = [("-" * width if index in left else "-" * (width - 1) + ":") for index, width in enumerate(widths)]
    return "\n".join(f"| {' | '.join(_padded(row, widths, left))} |" for row in [heads, ruler, *rows])


def _head_of(block: Table, index: int) -> str:
    """The head of a column, with the name of its group."""
    at = 0
    for name, width in block.groups:
        if at <= index < at + width and name:
            return escaped(f"{name} {block.columns[index]}")
        at += width
    return escaped(block.columns[index])


def _padded(row: Sequence[str], widths: Sequence[int], left: Iterable[int]) -> list[str]:
    known = set(left)
    return [
        text.ljust(width) if index in known else text.rjust(width)
        for index, (text, width) in enumerate(zip(row, widths, strict=True))
    ]


def _cell(content: Cell) -> str:
    if isinstance(content, str):
        return escaped(content)
    return escaped(content.word if isinstance(content, GateStatus) else content.text)


def _case(case: Quotation) -> str:
    return f"- **{escaped(case.what)}** ({escaped(case.document)}): {_marked(case.pieces)}"


def _marked(pieces: Sequence[Piece]) -> str:
    """The text with brackets where a span begins and where it ends; a span may consist of several pieces."""
    made, open_gold, open_found = "", False, False
    for piece in [*pieces, Piece("")]:
        made += FOUND[1] if open_found and not piece.predicted else ""
        made += GOLD[1] if open_gold and not piece.gold else ""
        made += GOLD[0] if piece.gold and not open_gold else ""
        made += FOUND[0] if piece.predicted and not open_found else ""
        open_gold, open_found = piece.gold, piece.predicted
        made += escaped(piece.text)
    return made


def _indented(text: str) -> str:
    return f"    {visible(shortened(text, _LONGEST))}"


def _aside(note: str) -> str:
    return f" ({escaped(note)})" if note else ""
