"""Kind "gazetteer": a list of names in weak.toml, in a text file, or in a column of a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, ClassVar

from pydantic import AfterValidator

from ner.spans import Span
from weak_labeling.gazetteers import LetterCase, Strictness, TermFinder, TermRules, load_terms, wrong_term
from weak_labeling.sources.context import Context, ContextEntry
from weak_labeling.sources.entry import EntryError, SourceContext, Text, digest_of
from weak_labeling.sources.term_table import DELIMITERS, TermColumns, read_table


@dataclass(frozen=True)
class GazetteerSource:
    """Votes for the label of each term of `finder` wherever the term stands."""

    name: str
    finder: TermFinder = field(repr=False)
    context: Context = field(default_factory=Context)
    kind: ClassVar[str] = "gazetteer"

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the terms, their labels, the rules and the context."""
        return digest_of(self.name, self.finder.digest, self.context)

    def __call__(self, text: str, /) -> Iterator[Span]:
        """Spans that do not overlap, in text order."""
        return self.context.keep(self.finder(text), text)


def _delimiter(given: str) -> str:
    if len(given) != 1 or given in '"\r\n':
        raise ValueError("a delimiter is one character, and no quotation mark or line end")
    return given


class GazetteerEntry(ContextEntry):
    """`terms` or a `file`. A CSV or TSV file has a header: `column` names the terms (by default the first), and
    `label_column` their labels, where they differ.
    """

    label: Text | None = None
    terms: tuple[str, ...] | None = None
    file: Text | None = None
    column: Text | None = None
    label_column: Text | None = None
    delimiter: Annotated[str, AfterValidator(_delimiter)] | None = None
    case: LetterCase = "smart"
    accents: Strictness = "exact"
    plural: bool = False
    punctuation: Strictness = "exact"

    def build(self, place: SourceContext, /) -> GazetteerSource:
        """Raises EntryError or InputError for terms that cannot be read or are none."""
        if (self.terms is None) == (self.file is None):
            raise EntryError(
                "a gazetteer has either `terms` or a `file`",
                value="both" if self.terms else "neither",
                key="file",
                next_step='Write `terms = ["..."]`, or the name of a file: one term on each line, or a CSV.',
            )
        if (self.label is None) == (self.label_column is None):
            raise EntryError(
                "a gazetteer has either a `label` for all terms or a `label_column`",
                value="both" if self.label else "neither",
                key="label",
                next_step="Keep one of them.",
            )
        rules = TermRules(self.case, self.accents, self.plural, self.punctuation)
        finder = TermFinder(self._labels(place), rules)
        finder.prepare()
        return GazetteerSource(self.name, finder, self.context())

    def _labels(self, place: SourceContext) -> dict[str, str]:
        path = place.file(self.file) if self.file else None
        if path and path.suffix.lower() in DELIMITERS:
            columns = TermColumns(self.column, self.label_column, self.delimiter or DELIMITERS[path.suffix.lower()])
            return read_table(path, columns, self.label or "", place)
        for key in ("column", "label_column", "delimiter"):
            if getattr(self, key) is not None:
                raise EntryError(
                    f"`{key}` belongs to a table",
                    key=key,
                    value=self.file or "terms",
                    next_step="Remove it, or name a file that ends in .csv or .tsv.",
                )
        terms = load_terms(path) if path else self._own_terms()
        return dict.fromkeys(terms, self.label or "")

    def _own_terms(self) -> tuple[str, ...]:
        if not self.terms:
            raise EntryError("a gazetteer holds a term", key="terms", value="[]", next_step="Add one.")
        for term in self.terms:
            if rule := wrong_term(term):
                raise EntryError(rule, key="terms", value=ascii(term), next_step="Mend or remove it.")
        return self.terms
