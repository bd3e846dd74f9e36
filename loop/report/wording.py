"""How figures and foreign texts are written out in a report, the same in HTML, in Markdown and on a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

NOTHING = "–"
# Marks that turn or isolate the direction of what follows them: in a report they would turn its own words.
_DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def score(value: float | None) -> str:
    """F1, precision or recall (0..1) with three decimals."""
    return NOTHING if value is None else f"{value:.3f}"


def points(value: float | None) -> str:
    """A difference of F1 (0..1) in points, signed, with a true minus."""
    if value is None:
        return NOTHING
    written = f"{100 * value:+.1f}"
    return "0.0" if written in ("+0.0", "-0.0") else written.replace("-", "−")


def unsigned(value: float | None) -> str:
    """The size of a difference of F1 (0..1) in points: `2`, `0.5`."""
    return NOTHING if value is None else f"{100 * abs(value):.1f}".removesuffix(".0")


def size(value: float | None) -> str:
    """The size of a difference of F1 (0..1): `1 point`, `2.1 points`."""
    written = unsigned(value)
    return f"{written} point" if written == "1" else f"{written} points"


def interval(low: float | None, high: float | None) -> str:
    """`+0.4 to +2.1`, in points."""
    return NOTHING if low is None or high is None else f"{points(low)} to {points(high)}"


def whole(value: float | None) -> str:
    """A count, its thousands parted by commas."""
    return NOTHING if value is None else f"{value:,.0f}"


def quantity(value: float | None, unit: str = "") -> str:
    """A measured figure with three significant digits."""
    if value is None:
        return NOTHING
    written = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{written} {unit}".rstrip()


def chance(value: float | None) -> str:
    """A p-value or an alpha: at most two significant digits, never 0."""
    if value is None:
        return NOTHING
    return (
        "< 0.0001" if 0 < value < 0.0001 else f"{value:.4f}".rstrip("0").rstrip(".") if value < 0.01 else f"{value:.3g}"
    )


def share(value: float | None) -> str:
    """A share (0..1) in percent."""
    return NOTHING if value is None else f"{100 * value:.4g} %"


def duration(seconds: float | None) -> str:
    """`42 s`, `3 min 05 s`, `1 h 07 min`."""
    if seconds is None:
        return NOTHING
    whole_seconds = round(seconds)
    if whole_seconds < 60:
        return f"{whole_seconds} s" if seconds >= 1 else f"{seconds:.1f} s"
    minutes, rest = divmod(whole_seconds, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def moment(written: str | None) -> str:
    """An ISO 8601 instant as `2026-11-21 09:30 UTC`; as it stands where it is none."""
    if not written:
        return NOTHING
    try:
        at = datetime.fromisoformat(written)
    except ValueError:
        return written
    zone = at.strftime(" %Z") if at.tzinfo is not None else ""
    return f"{at:%Y-%m-%d %H:%M}{zone}"


def value(thing: Any) -> str:
    """A setting or a fact as it is read by people."""
    if thing is None or thing == "":
        return NOTHING
    if isinstance(thing, bool):
        return "yes" if thing else "no"
    if isinstance(thing, float):
        return f"{thing:g}"
    if isinstance(thing, Mapping):
        return ", ".join(f"{key} {value(item)}" for key, item in thing.items()) or NOTHING
    if isinstance(thing, Sequence) and not isinstance(thing, str):
        return ", ".join(map(value, thing)) or NOTHING
    return str(thing)


def number_of(count: int, one: str, more: str | None = None) -> str:
    """`1 look`, `2 looks`."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def documents_of(results: Mapping[str, Any], what: str = "document") -> str:
    """`450 documents (2,963 texts)`: what the test counts are groups of texts, which often are one text each."""
    texts = results["documents"]
    groups = results.get("groups") or texts
    counted = number_of(groups, what)
    return counted if groups == texts else f"{counted} ({number_of(texts, 'text')})"


def listed(names: Sequence[str], most: int = 6) -> str:
    """`A, B and C`; of many, the first and how many more."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most:,} more"
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def storable(text: str) -> str:
    """The text without lone surrogates, which no UTF-8 file holds."""
    return text.encode("utf-8", "replace").decode("utf-8") if text.isascii() else _without_surrogates(text)


def visible(text: str) -> str:
    """The text with its control characters shown and its marks of direction written out, on one line."""
    return "".join(_visible(sign) for sign in text)


def shortened(text: str, most: int) -> str:
    """At most `most` characters, the cut said."""
    return text if len(text) <= most else f"{text[: most - 1]}… ({len(text):,} characters)"


def _without_surrogates(text: str) -> str:
    return "".join("\N{REPLACEMENT CHARACTER}" if "\ud800" <= sign <= "\udfff" else sign for sign in text)


def _visible(sign: str) -> str:
    if sign in ("\n", "\u2028", "\u2029", "\x85"):
        return " ⏎ "
    if sign in _DIRECTIONS:
        return f"\\u{ord(sign):04x}"
    category = unicodedata.category(sign)
    if category == "Cc":
        return f"\\x{ord(sign):02x}"
    return "\N{REPLACEMENT CHARACTER}" if category == "Cs" else sign
