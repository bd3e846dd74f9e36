"""Labelling functions: a name, a callable from a text to spans, and a digest that changes when the function does.

A function votes by yielding spans, and abstains everywhere else: where it says nothing about a word, it does not vote
that the word is outside every entity. Data programming: Ratner et al. 2016; for sequences: Lison et al. 2021.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import re
import sys
import traceback
import types
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Protocol

from ner.errors import InputError
from ner.spans import Span


class SpanFinder(Protocol):
    """What the user writes: spans of `text` (half-open, code points), or None to abstain on the whole text."""

    def __call__(self, text: str, /) -> Iterable[Span] | None: ...


@dataclass(frozen=True)
class LabelingFunction:
    """A span finder under the name its votes are stored by."""

    name: str
    find: SpanFinder
    kind: ClassVar[str] = "function"

    def __call__(self, text: str) -> Iterable[Span] | None:
        """The finder's own answer, unchecked; `weak_labeling.apply` checks it."""
        return self.find(text)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the finder's source and of the patterns, lists and helpers of its module that it names.

        Raises InputError where the source cannot be read. Helpers imported from other modules count by name only.
        """
        return hashlib.sha256(_fingerprint(self.find, None, set()).encode()).hexdigest()


def labeling_function(*, name: str) -> Callable[[SpanFinder], LabelingFunction]:
    """Decorate a span finder into a LabelingFunction. Nothing is registered: `load_functions` finds it in its file."""
    if not name.strip() or not name.isprintable():
        raise InputError(
            "a labelling function has a name of printable characters",
            value=name,
            next_step="Write `name='versions'`, say.",
        )
    return lambda find: LabelingFunction(name, find)


def load_functions(path: Path) -> tuple[LabelingFunction, ...]:
    """The labelling functions at the top level of the Python file `path`, in the order they stand there.

    The file is run, so it must be one you trust. It may read files beside it by `Path(__file__)`; it cannot import
    Python files beside it. Raises InputError when it is missing, does not run, holds no labelling function, or gives
    one name to two.
    """
    module = _run_file(path)
    functions = tuple(dict.fromkeys(_defined(module)))
    if not functions:
        raise InputError(
            "a file of labelling functions defines at least one",
            value=str(path),
            next_step="Decorate a function with `@labeling_function(name=...)` at the top level of the file.",
        )
    _refuse_repeated_names(functions, path)
    for function in functions:
        _ = function.digest  # taken now, from the file as it was run, not as it may be edited later
    return functions


def _defined(module: types.ModuleType) -> Iterator[LabelingFunction]:
    for value in vars(module).values():
        if isinstance(value, LabelingFunction):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from (item for item in value if isinstance(item, LabelingFunction))


def _refuse_repeated_names(functions: tuple[LabelingFunction, ...], path: Path) -> None:
    names = [function.name for function in functions]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(
            f"labelling functions have distinct names, in {path}",
            value=", ".join(repeated),
            next_step="Votes are stored by name: rename one of them.",
        )


def _run_file(path: Path) -> types.ModuleType:
    """The file as a module that is known to nobody else once this returns."""
    try:
        source = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            "a file of labelling functions can be read as UTF-8", value=f"{path} ({error})", next_step="Check the path."
        ) from error
    module = types.ModuleType(f"labeling_functions_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses look their module up while it runs
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        raise InputError(
            "a file of labelling functions runs without an error",
            value=f"{path}{_line_in(path, error)}: {type(error).__name__}: {error}",
            next_step="Mend the file; `python FILE` shows the whole traceback.",
        ) from error
    finally:
        del sys.modules[module.__name__]
    return module


def _line_in(path: Path, error: BaseException) -> str:
    """`, line N` of the last frame that is in `path`; a SyntaxError brings its own."""
    if isinstance(error, SyntaxError):
        return f", line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    return f", line {lines[-1]}" if lines else ""


def _fingerprint(value: object, module: str | None, seen: set[int]) -> str:
    """A text that differs when `value` would behave differently; follows functions of `module` only (None: any)."""
    if isinstance(value, LabelingFunction):
        return _fingerprint(value.find, module, seen)
    digest = getattr(value, "digest", None)
    if isinstance(digest, str):
        return digest
    if isinstance(value, re.Pattern):
        return f"re:{value.pattern!r}:{value.flags}"
    if isinstance(value, types.FunctionType):
        return _function_fingerprint(value, module, seen)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return f"{type(value).__qualname__}{_fingerprint(fields, module, seen)}"
    if isinstance(value, dict):
        return f"{{{','.join(f'{k!r}={_fingerprint(v, module, seen)}' for k, v in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{','.join(_fingerprint(item, module, seen) for item in value)}]"
    if isinstance(value, (set, frozenset)):
        return f"set[{','.join(sorted(_fingerprint(item, module, seen) for item in value))}]"
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
        return repr(value)
    return str(getattr(value, "__qualname__", None) or getattr(value, "__name__", None) or type(value).__qualname__)


def _function_fingerprint(function: types.FunctionType, module: str | None, seen: set[int]) -> str:
    """Its source, defaults, closed-over values and the globals it names; functions of other modules by name only."""
    if id(function) in seen or module not in (None, function.__module__):
        return f"{function.__module__}.{function.__qualname__}"
    seen.add(id(function))
    try:
        source = inspect.getsource(function)
    except OSError as error:
        raise InputError(
            "the source of a labelling function can be read, to tell when it changes",
            value=function.__qualname__,
            next_step="Define it in a file.",
        ) from error
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    names = sorted(_names(function.__code__) & function.__globals__.keys())
    named = {name: function.__globals__[name] for name in names}
    parts = (function.__defaults__, function.__kwdefaults__, cells, named)
    return source + "".join(_fingerprint(part, function.__module__, seen) for part in parts)


def _names(code: types.CodeType) -> set[str]:
    """Every name that the code or a comprehension or lambda inside it looks up."""
    inner = (const for const in code.co_consts if isinstance(const, types.CodeType))
    return set(code.co_names).union(*(_names(const) for const in inner))
