"""Labelling functions: a name, a callable from a text to spans, and a digest that changes when the function does.

A function votes by yielding spans, and abstains everywhere else: where it says nothing about a word, it does not vote
that the word is outside every entity. Data programming: Ratner et al. 2016; for sequences: Lison et al. 2021.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import inspect
import re
import sys
import traceback
import types
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Protocol

from ner.errors import InputError
from ner.spans import Span
from weak_labeling.source import SourceError

_DECORATOR = "labeling_function"


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
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise InputError(
            "a labelling function has a name of printable characters",
            value=name,
            next_step="Write `name='versions'`, say.",
        )
    return lambda find: LabelingFunction(name, find)


@dataclass(frozen=True)
class LoadedFunctions:
    """The labelling functions of a file in the order they stand there, and why others were left out."""

    functions: tuple[LabelingFunction, ...] = ()
    problems: tuple[SourceError, ...] = ()


def load_functions(path: Path) -> tuple[LabelingFunction, ...]:
    """The labelling functions of the file `path`, as `read_functions`. Raises the first problem, if there is one."""
    read = read_functions(path)
    if read.problems:
        raise read.problems[0]
    return read.functions


def read_functions(path: Path) -> LoadedFunctions:
    """The labelling functions at the top level of the Python file `path`.

    The file is run, so it must be one you trust. It may read files beside it by `Path(__file__)`; it cannot import
    Python files beside it. A file that is missing, does not run or holds no labelling function is a problem. Of two
    functions with one name the first counts, and the second is a problem. The others are read.
    """
    try:
        source = _source(path)
        module = _run(source, path)
    except SourceError as error:
        return LoadedFunctions(problems=(error,))
    lines = _Lines(source)
    problems = list(_lost(lines, path))
    functions: dict[str, LabelingFunction] = {}
    seen: Counter[str] = Counter()
    for function in dict.fromkeys(_defined(module)):
        try:
            if function.name in functions:
                raise _taken(function.name)
            _ = function.digest  # taken now, from the file as it was run, not as it may be edited later
        except InputError as error:
            problems.append(SourceError(error, path, lines.of(function, seen[function.name]), function.name))
        else:
            functions[function.name] = function
        seen[function.name] += 1
    if not functions and not problems:
        problems.append(SourceError(_no_function(), path))
    return LoadedFunctions(tuple(functions.values()), tuple(problems))


def _defined(module: types.ModuleType) -> Iterator[LabelingFunction]:
    for value in vars(module).values():
        if isinstance(value, LabelingFunction):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from (item for item in value if isinstance(item, LabelingFunction))


class _Lines:
    """Where labelling functions stand in a file that was run."""

    def __init__(self, source: str) -> None:
        with warnings.catch_warnings(action="ignore"):  # they were shown when the file was run
            self._tree = ast.parse(source)

    def of(self, function: LabelingFunction, earlier: int) -> int:
        """The line where it gets its name; 0 where none is found. earlier: functions with this name before it."""
        code = getattr(function.find, "__code__", None)
        calls = [node for node in ast.walk(self._tree) if isinstance(node, ast.Call)]
        named = sorted(call.lineno for call in calls if _name_given(call) == function.name)
        if isinstance(code, types.CodeType) and code.co_firstlineno in named:
            return code.co_firstlineno
        return named[min(earlier, len(named) - 1)] if named else 0

    def repeated(self) -> Iterator[tuple[str, str, int, int]]:
        """(name of the labelling function, Python name, line, line of the definition that takes its place)."""
        later: dict[str, int] = {}
        for node in reversed(self._tree.body):
            if isinstance(node, ast.FunctionDef):
                given = next(filter(None, map(_name_given, node.decorator_list)), None)
                if given is not None and node.name in later:
                    yield given, node.name, node.lineno, later[node.name]
                later[node.name] = node.lineno


def _name_given(node: ast.AST) -> str | None:
    """NAME of the call `labeling_function(name="NAME")`; None for everything else."""
    if not isinstance(node, ast.Call) or getattr(node.func, "id", getattr(node.func, "attr", "")) != _DECORATOR:
        return None
    values = (keyword.value for keyword in node.keywords if keyword.arg == "name")
    return next((str(value.value) for value in values if isinstance(value, ast.Constant)), None)


def _lost(lines: _Lines, path: Path) -> Iterator[SourceError]:
    """Functions that Python replaced by later functions of the same Python name."""
    for name, python_name, line, later in lines.repeated():
        wrong = InputError(
            "the functions of a file have distinct Python names; Python keeps the last of two",
            value=f"{python_name}, which line {later} defines again",
            next_step="Rename one of them.",
        )
        yield SourceError(wrong, path, line, name)


def _taken(name: str) -> InputError:
    return InputError(
        "sources have distinct names; votes are stored by name",
        value=name,
        next_step="Rename it: an earlier function of the file has this name.",
    )


def _no_function() -> InputError:
    return InputError(
        "a file of labelling functions defines at least one",
        value="none",
        next_step="Decorate a function with `@labeling_function(name=...)` at the top level of the file.",
    )


def _source(path: Path) -> str:
    """The text of the file. Raises SourceError."""
    try:
        content = path.read_bytes()
        return content.decode("utf-8-sig")
    except OSError as error:
        rule, next_step = "a file of labelling functions can be read", "Check the path."
        raise SourceError(InputError(rule, value=error.strerror, next_step=next_step), path) from error
    except UnicodeDecodeError as error:
        wrong = InputError(
            "a file of labelling functions can be read as UTF-8",
            value=content[error.start : error.start + 4],
            next_step='Save the file as UTF-8: it is in another encoding, such as "Windows-1252" or "UTF-16".',
        )
        raise SourceError(wrong, path, content.count(b"\n", 0, error.start) + 1) from error


def _run(source: str, path: Path) -> types.ModuleType:
    """The file as a module that is known to nobody else once this returns. Raises SourceError where it does not run."""
    module = types.ModuleType(f"labeling_functions_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses look their module up while it runs
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except InputError as error:  # it says itself which rule it is
        raise SourceError(error, path, _line_in(path, error)) from error
    except (Exception, SystemExit) as error:
        wrong = InputError(
            "a file of labelling functions runs without an error",
            value=f"{type(error).__name__}: {error}",
            next_step="Mend the file; `python FILE` shows the whole traceback.",
        )
        raise SourceError(wrong, path, _line_in(path, error)) from error
    finally:
        del sys.modules[module.__name__]
    return module


def _line_in(path: Path, error: BaseException) -> int:
    """The line of the last frame that is in `path`; a SyntaxError brings its own; 0 where there is none."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno or 0
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    return (lines[-1] or 0) if lines else 0


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
