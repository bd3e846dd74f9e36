"""The refusals of this project: each names the rule, the value that broke it and the next step."""

from __future__ import annotations

_SHOWN = 200


class RuleError(Exception):
    """A rule was broken by a value; the message says which, by what, and what to do.

    `rule` is a sentence without its full stop, `value` whatever broke it (shown by `repr`, cut at 200 characters),
    `next_step` an instruction. `exit_code` is what the command line exits with.
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
        return f"{message}. {self.next_step}" if self.next_step else message


class ConfigError(RuleError):
    """The configuration is missing, malformed or contradicts itself."""

    exit_code = 3


class InputError(RuleError):
    """Data from outside (a file, a request, an annotation) breaks a rule."""

    exit_code = 4


class BundleError(RuleError):
    """A model folder is not what its manifest or its project says it is."""

    exit_code = 9


def _shorten(value: object) -> str:
    shown = value if isinstance(value, str) and value.isprintable() else repr(value)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}… ({len(shown)} characters)"
