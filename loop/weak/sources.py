"""The sources of weak labels that a project's files declare."""

from __future__ import annotations

from dataclasses import dataclass

from loop.settings.settings import Settings
from ner.errors import ConfigError, InputError
from store.schema import Project
from weak_labeling.functions import load_functions
from weak_labeling.source import WeakSource


@dataclass(frozen=True)
class DeclaredSources:
    """The sources of a project's files, and what keeps others from being read."""

    sources: tuple[WeakSource, ...]
    problems: tuple[InputError, ...]

    def require_any(self) -> None:
        """Raise the first problem where no source could be read."""
        if self.problems and not self.sources:
            raise self.problems[0]


def has_sources(settings: Settings) -> bool:
    """Whether the project's files declare sources at all."""
    return settings.weak_functions is not None


def declared_sources(settings: Settings, _project: Project) -> DeclaredSources:
    """Load them. A source that breaks a rule is among the problems; the others go on."""
    if settings.weak_functions is None:
        return DeclaredSources((), ())
    try:
        return DeclaredSources(load_functions(settings.weak_functions), ())
    except InputError as problem:
        return DeclaredSources((), (problem,))


def require_sources(settings: Settings) -> None:
    """Raise ConfigError where the project's files declare no source."""
    if not has_sources(settings):
        raise ConfigError(
            "sources of weak labels stand in a file",
            value="weak.functions is not set",
            next_step='Write [weak] functions = "functions.py" into loop.toml.',
        )
