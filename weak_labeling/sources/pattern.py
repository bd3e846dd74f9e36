"""Kind "pattern": a regular expression, with the words around it as a condition."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Literal

import regex

from ner.errors import InputError
from ner.spans import Span
from weak_labeling.sources.context import Context, ContextEntry
from weak_labeling.sources.entry import EntryError, SourceContext, Text, digest_of
from weak_labeling.sources.expressions import SECONDS_A_TEXT, compiled, flags_of, harmless

_VERSION = 1

FlagName = Literal["ascii", "dotall", "ignorecase", "multiline", "verbose"]


@dataclass(frozen=True)
class PatternSource:
    """Votes `label` for `group` of each match of `pattern`, left to right; a group that is empty or unset abstains."""

    name: str
    label: str
    pattern: str
    group: int | str = 0
    flags: int = 0
    context: Context = field(default_factory=Context)
    kind: ClassVar[str] = "pattern"

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the keys."""
        return digest_of(_VERSION, self)

    def __call__(self, text: str, /) -> Iterator[Span]:
        """Spans in text order. Raises InputError where the expression does not end in time."""
        try:
            yield from self.context.keep(self._matches(text), text)
        except TimeoutError:
            raise InputError(
                f"a regular expression reads a text within {SECONDS_A_TEXT:g} s",
                value=f"{self.pattern} on {len(text)} characters",
                next_step="Let no two repeats in it match the same characters, or bound the repeats: `{1,40}`.",
            ) from None

    def _matches(self, text: str) -> Iterator[Span]:
        for match in self._expression.finditer(text, timeout=SECONDS_A_TEXT):
            start, end = match.span(self.group)
            if start < end:
                yield Span(start, end, self.label)

    @cached_property
    def _expression(self) -> regex.Pattern[str]:
        return regex.compile(self.pattern, self.flags)


class PatternEntry(ContextEntry):
    """`pattern` is an expression of the module `regex`; `group` is the part that is the entity."""

    label: Text
    pattern: Text
    group: int | str = 0
    flags: tuple[FlagName, ...] = ()

    def build(self, _: SourceContext, /) -> PatternSource:
        """Raises EntryError for an expression that does not compile or backtracks, or has no such group."""
        flags = flags_of(self.flags)
        expression = compiled(self.pattern, flags, "pattern")
        if self.group not in expression.groupindex and self.group not in range(expression.groups + 1):
            raise EntryError(
                f"`group` is a group of `pattern`, which has {expression.groups}",
                key="group",
                value=self.group,
                next_step="Group 0 is the whole match.",
            )
        harmless(expression, "pattern")
        return PatternSource(self.name, self.label, self.pattern, self.group, flags, self.context())
