"""The sources of weak labels that a project's files declare."""

from __future__ import annotations

from loop.settings.settings import Settings
from loop.weak.answers import source_tools
from ner.errors import ConfigError
from ner.label_studio.label_config import label_hints
from store.schema import Project
from store.session import Store
from weak_labeling.loading import LoadedSources, load_sources


def has_sources(settings: Settings) -> bool:
    """Whether the project has a file that declares sources."""
    return settings.weak_functions is not None or settings.weak_file is not None


def declared_sources(settings: Settings, project: Project, store: Store) -> LoadedSources:
    """Load them. A source that breaks a rule is among the problems; the others go on.

    Raises the first problem where no source could be read at all.
    """
    loaded = load_sources(
        settings.home,
        functions=settings.weak_functions,
        weak_file=settings.weak_file,
        labels=project.labels,
        definitions=label_hints(project.label_config),
        tools=source_tools(store, project),
    )
    if loaded.problems and not loaded.sources:
        raise loaded.problems[0]
    return loaded


def require_sources(settings: Settings) -> None:
    """Raise ConfigError where the project has no file that declares sources."""
    if not has_sources(settings):
        raise ConfigError(
            "sources of weak labels stand in files",
            value=f"no {settings.weak.file}, and weak.functions is not set",
            next_step='Write a weak.toml, or [weak] functions = "functions.py" into loop.toml.',
        )
