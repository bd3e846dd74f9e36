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
# The module `regex` writes a repeated part out as often as it must match, and a repeat within a repeat multiplies. This
# many parts take a tenth of a second and less than 100 MB to compile.
MOST_PARTS = 100_000
# How long an expression may take on a text when it is used, and on a hostile text when it is loaded.
SECONDS_A_TEXT = 1.0
_SECONDS_A_TRIAL = 0.5
# So long that an expression whose time grows with the third power of the length is caught; no text of a project may be
# shorter in practice.
_LENGTH = 1000
_MOST_LETTERS = 12
# An escaped character, a class, a count (`least`: how often the part before it must match), or one other character.
_TOKEN = regex.compile(r"\\.|\[\^?\]?(?:\\.|\[:\w+:\]|[^\]\\])*+\]|\{(?P<least>\d+)(?:,\d*)?\}|.", regex.DOTALL)


def compiled(pattern: str, flags: int, key: str) -> regex.Pattern[str]:
    """The expression. Raises EntryError with its place where it is none."""
    if len(pattern) > LONGEST:
        raise EntryError(
            f"a regular expression has at most {LONGEST:,} characters",
            key=key,
            value=pattern,
            next_step="A list of names is a gazetteer.",
        )
    if _parts(pattern) > MOST_PARTS:
        raise EntryError(
            f"the repeats of a regular expression, multiplied, stand for at most {MOST_PARTS:,} parts",
            key=key,
            value=pattern,
            next_step="Take smaller counts: `{1000}` within `{1000}` is a million. `{0,1000}` and `+` cost nothing.",
        )
    try:
        return regex.compile(pattern, flags)
    except (regex.error, ValueError, RecursionError) as error:  # ValueError: flags that exclude each other
        raise EntryError(
            f"`{key}` is a regular expression ({error})",
            key=key,
            value=pattern,
            next_step="Mend it. In weak.toml it stands between single quotes, so that a backslash is a backslash.",
        ) from error


def _parts(pattern: str) -> float:
    """How many characters, classes and groups the expression has once repeats are written out; a bound from above where
    the brackets do not pair.
    """
    open_groups, last, product = [0.0], 1.0, 1.0
    for token in _TOKEN.finditer(pattern):
        times = max(float(token["least"] or 0), 1.0)
        product *= times
        if token[0] == "(":
            open_groups.append(0.0)
        elif token[0] == ")" and len(open_groups) > 1:
            last = open_groups.pop() + 1
            open_groups[-1] += last
        elif token["least"]:
            open_groups[-1] += (times - 1) * last
            last *= times
        else:
            last = 1.0
            open_groups[-1] += 1
    return open_groups[0] if len(open_groups) == 1 else product * len(pattern)


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
