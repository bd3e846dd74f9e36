"""The refusals of this project: each names the rule, the value that broke it and the next step."""

from __future__ import annotations

from collections.abc import Iterator

_SHOWN = 200
_DEEPEST = 20


class RuleError(Exception):
    """A rule was broken by a value; the message says which, by what, and what to do.

    `rule` is a sentence without its full stop. `value` is what broke the rule, shown by `repr` and cut at 200
    characters. `next_step` is an instruction. The command line exits with `exit_code`.
    """

    exit_code = 1

    def __init__(self, rule: str, *, value: object = None, next_step: str = "") -> None:
        self.rule = rule
        self.value = value
        self.next_step = next_step
        super().__init__(self._message())

    def _message(self) -> str:
        parts = [self.rule]
        if self.value is not None:
            parts.append(f"got {_shorten(self.value)}")
        message = ": ".join(parts)
        return f"{message.removesuffix('.')}. {self.next_step}" if self.next_step else message


class ConfigError(RuleError):
    """The configuration is missing, malformed or contradicts itself."""

    exit_code = 3


class InputError(RuleError):
    """Data from outside (a file, a request, an annotation) breaks a rule."""

    exit_code = 4


class BundleError(RuleError):
    """A model folder is not what its manifest or its project says it is."""

    exit_code = 9


class BundleUnavailableError(BundleError):
    """A model folder could not be read or run for a reason that may pass: too little memory, or a file that is away.

    The error shows nothing about the files themselves.
    """


def show(value: object) -> str:
    """The value as `repr` shows it, cut at 200 characters. No more of a JSON value is read than is shown."""
    if isinstance(value, str) and len(value) > _SHOWN:
        return f"{repr(value[:_SHOWN])[: _SHOWN + 1]}… ({len(value)} characters)"
    shown = ""
    for piece in _pieces(value, 0):
        shown += piece
        if len(shown) > _SHOWN:
            return f"{shown[:_SHOWN]}…"
    return shown


def _shorten(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or not value[: _SHOWN + 1].isprintable():
        return show(value)
    return value if len(value) <= _SHOWN else f"{value[:_SHOWN]}… ({len(value)} characters)"


def _pieces(value: object, depth: int) -> Iterator[str]:
    """The parts of `repr(value)`, made one by one, since the value of a request may be very large and very deep."""
    if not isinstance(value, list | dict):
        yield repr(value[: _SHOWN + 1] if isinstance(value, str) else value)
    elif depth == _DEEPEST:
        yield "…"
    else:
        yield "[" if isinstance(value, list) else "{"
        for index, item in enumerate(value):
            yield ", " if index else ""
            yield from _pieces(item, depth + 1)
            if isinstance(value, dict):
                yield ": "
                yield from _pieces(value[item], depth + 1)
        yield "]" if isinstance(value, list) else "}"
