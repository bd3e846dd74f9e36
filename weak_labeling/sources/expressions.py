"""Regular expressions from weak.toml: compiled, tried for catastrophic backtracking, and given a time limit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import regex

from weak_labeling.sources.entry import EntryError

FLAGS = {
    "ascii": regex.ASCII,
    "dotall": regex.DOTALL,
    "ignorecase": regex.IGNORECASE,
    "multiline": regex.MULTILINE,
    "verbose": regex.VERBOSE,
}
LONGEST = 20_000
# How long an expression may take on a text when it is used, and on a hostile text when it is loaded.
SECONDS_A_TEXT = 1.0
_SECONDS_A_TRIAL = 0.5
# So long that an expression whose time grows with the third power of the length is caught; no text of a project may be
# shorter in practice.
_LENGTH = 1000
_MOST_LETTERS = 12


def compiled(pattern: str, flags: int, key: str) -> regex.Pattern[str]:
    """The expression. Raises EntryError with its place where it is none."""
    if len(pattern) > LONGEST:
        raise EntryError(
            f"a regular expression has at most {LONGEST:,} characters",
            key=key,
            value=pattern,
            next_step="A list of names is a gazetteer.",
        )
    try:
        return regex.compile(pattern, flags)
    except (regex.error, RecursionError) as error:
        raise EntryError(
            f"`{key}` is a regular expression ({error})",
            key=key,
            value=pattern,
            next_step="Mend it. In weak.toml it stands between single quotes, so that a backslash is a backslash.",
        ) from error


def flags_of(names: Sequence[str]) -> int:
    """The flags of these names."""
    found = 0
    for name in names:
        found |= int(FLAGS[name])
    return found


def harmless(expression: regex.Pattern[str], key: str) -> None:
    """Raise EntryError for an expression that does not end in time on one of a few hostile texts.

    Backtracking takes time that grows exponentially, or with a high power of the length, where a part of an expression
    may match the same characters in several ways (`(a+)+b`): Davis et al. 2018.
    """
    for text in _hostile_texts(expression.pattern):
        try:
            for _ in expression.finditer(text, timeout=_SECONDS_A_TRIAL):
                pass
        except TimeoutError:
            raise EntryError(
                f"a regular expression reads {_LENGTH:,} characters within {_SECONDS_A_TRIAL:g} s",
                key=key,
                value=f"{expression.pattern} on {text[:8]!r} repeated",
                next_step="Let no two repeats match the same characters, `a+b` for `(a+)+b`, or bound them: `{1,40}`.",
            ) from None


def _hostile_texts(pattern: str) -> Iterator[str]:
    """Runs of characters, some from the pattern, that end in a character that hardly any pattern expects."""
    letters = dict.fromkeys(character for character in pattern if character.isalnum())
    units = ("a", "A", "0", " ", "a ", "A. ", "a0", "-", "\n", *list(letters)[:_MOST_LETTERS])
    for unit in dict.fromkeys(units):
        yield (unit * _LENGTH)[:_LENGTH] + "\x00"
