"""Gazetteers: lists of names, found in a text at token boundaries, the longest first."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from ner.errors import InputError
from ner.spans import Span

LetterCase = Literal["ignore", "exact"]

# A token is a run of word characters with their combining marks, or one other character ("C", "+", "+").
_TOKEN = re.compile(r"\w[\w\u0300-\u036f]*|[^\w\s]")


class Gazetteer:
    """Votes `label` wherever one of `terms` stands in a text as whole tokens.

    The text is read from left to right. The longest term wins, and its tokens are used up. Any run of white space in a
    term matches any other, so that a term may be wrapped over a line end. A blank line matches none, and "Wi-Fi" is not
    found in "Wi - Fi". Composed and decomposed accents are the same.
    """

    def __init__(self, terms: Iterable[str], label: str, *, case: LetterCase = "ignore") -> None:
        """Raises InputError for a term without any character that shows."""
        self.label = label
        self.case = case
        self.terms = frozenset(terms)
        self._known = {self._keys(term) for term in self.terms}
        self._lengths: dict[str, set[int]] = {}  # of the terms that begin with a token, in tokens
        for keys in self._known:
            self._lengths.setdefault(keys[0], set()).add(len(keys))

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the label, the case rule and the terms; the order of the list does not count."""
        content = "\n".join((self.label, self.case, *sorted(self.terms)))
        return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()

    def __call__(self, text: str, /) -> Iterator[Span]:
        """Spans that do not overlap, in text order."""
        tokens = self._tokens(text)
        first = 0
        while first < len(tokens):
            start = tokens[first][0].strip()
            lengths = sorted(self._lengths.get(start, ()), reverse=True)
            keys = (start, *(key for key, _, _ in tokens[first + 1 : first + max(lengths, default=1)]))
            count = next((n for n in lengths if n <= len(keys) and keys[:n] in self._known), 0)
            if count:
                yield Span(tokens[first][1], tokens[first + count - 1][2], self.label)
            first += max(count, 1)

    def _keys(self, term: str) -> tuple[str, ...]:
        keys = [key for key, _, _ in self._tokens(term)]
        if not keys:
            raise InputError("a gazetteer term has a character that shows", value=term, next_step="Remove the term.")
        return keys[0].strip(), *keys[1:]

    def _tokens(self, text: str) -> list[tuple[str, int, int]]:
        """(key, start, end) each; a key begins with the gap before: nothing, a space, or a line feed (blank line)."""
        tokens: list[tuple[str, int, int]] = []
        end = 0
        for match in _TOKEN.finditer(text):
            gap = text[end : match.start()]
            before = "\n" if gap.count("\n") > 1 else " " if gap else ""
            end = match.end()
            tokens.append((before + self._folded(match.group()), match.start(), end))
        return tokens

    def _folded(self, token: str) -> str:
        composed = unicodedata.normalize("NFC", token)
        return composed.casefold() if self.case == "ignore" else composed


def load_terms(path: Path) -> tuple[str, ...]:
    """The terms of a file, one a line, in UTF-8; blank lines and lines that begin with `# ` are left out.

    Raises InputError when the file cannot be read or holds no term.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            "a gazetteer file can be read as UTF-8", value=f"{path} ({error})", next_step="Check the path."
        ) from error
    terms = tuple(line.strip() for line in lines if line.strip() and not line.startswith("# "))
    if not terms:
        raise InputError("a gazetteer file holds a term", value=str(path), next_step="Write one term on each line.")
    return terms
