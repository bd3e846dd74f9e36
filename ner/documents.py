"""A text with its spans, and the rules that every text obeys before it is used."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ner.errors import InputError
from ner.spans import Span

MAX_TEXT_CHARS = 1_000_000


@dataclass(frozen=True, slots=True)
class LabelledText:
    """One text and the entities in it. Texts of one source, such as a thread, have the same `group`.

    unannotated: the types that nobody looked for in the text, so that predictions of these types are not judged.
    """

    id: str
    text: str
    spans: tuple[Span, ...] = ()
    group: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    unannotated: frozenset[str] = frozenset()

    @property
    def group_key(self) -> str:
        """The key that splits are drawn by: the group, or the content hash of a text without a group."""
        return self.group if self.group else content_hash(self.text)


def check_text(text: object) -> str:
    """The text itself. Raises InputError for a value that is no text that people can label.

    Refused are values that are no string, empty or blank texts, texts of more than MAX_TEXT_CHARS code points, texts
    with U+0000 (databases and tokenizers cut or drop it), and texts with lone surrogates (they have no UTF-8 form).
    """
    if not isinstance(text, str):
        raise InputError("a text is a string", value=text)
    if not text or text.isspace():
        raise InputError("a text is not empty or blank", value=repr(text), next_step="Leave this text out.")
    if len(text) > MAX_TEXT_CHARS:
        raise InputError(
            f"a text has at most {MAX_TEXT_CHARS:,} characters",
            value=f"{len(text):,} characters",
            next_step="Split it into documents.",
        )
    _check_characters(text)
    return text


def content_hash(text: str) -> str:
    """SHA-256 (hex) of the exact text as UTF-8: no normalisation, so equal hashes mean equal texts."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _check_characters(text: str) -> None:
    nul = text.find("\0")
    if nul >= 0:
        raise InputError(
            "a text holds no U+0000", value=f"U+0000 at character {nul}", next_step="Remove the character."
        )
    if text.isascii():
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            "a text holds no lone surrogate",
            value=f"U+{ord(text[error.start]):04X} at character {error.start}",
            next_step="Mend the text's encoding: half of a surrogate pair is missing.",
        ) from None
