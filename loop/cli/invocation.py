"""What every command shares: its options, its answer, and the project, the store and the server, opened on demand."""

from __future__ import annotations

import functools
import getpass
import inspect
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.text import Text

from loop import console
from ner.errors import ConfigError

if TYPE_CHECKING:
    from loop.label_studio.client import LabelStudioClient
    from loop.settings.settings import Settings
    from ner.tagger import Tagger
    from store.database.schema import Project
    from store.database.session import Store

Directory = Annotated[
    Path | None,
    typer.Option(
        "-C",
        "--project",
        metavar="DIR",
        help="The project's folder, or a folder inside it; by default LOOP_HOME, or the working directory.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the answer, or the failure, as JSON on standard output.")]
Version = Annotated[str | None, typer.Argument(metavar="VERSION", help="A model's version.", show_default=False)]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Log more, and show the traceback of a failure.")]


@dataclass
class Invocation:
    """The options that every command shares. The settings, the store and the rest are made on first use and kept."""

    directory: Path | None = None
    as_json: bool = False
    verbose: bool = False

    @cached_property
    def settings(self) -> Settings:
        """The settings of the project that this command is about."""
        from loop.settings.settings import Settings

        settings = Settings.load(self.directory)
        start_logging("DEBUG" if self.verbose else settings.log.level)
        return settings

    @cached_property
    def store(self) -> Store:
        """The store, at this code's schema: an older store is backed up and upgraded first."""
        from loop.backup.upgrade import open_upgraded

        return open_upgraded(self.settings)

    @cached_property
    def project(self) -> Project:
        """The project's row, with the label config as its file says it now."""
        from loop.settings.project import current_project

        return current_project(self.store, self.settings)

    @cached_property
    def client(self) -> LabelStudioClient:
        """Label Studio, at the URL and with the key of the settings. Raises ConfigError without one of the two."""
        from loop.label_studio.client import LabelStudioClient

        url, key = self.settings.label_studio.url, self.settings.label_studio.api_key
        if not url:
            raise ConfigError(
                "this command needs Label Studio",
                value="no address",
                next_step="Set LABEL_STUDIO_URL, or label_studio.url in loop.toml.",
            )
        if not key:
            raise ConfigError(
                "Label Studio is asked with an API key",
                value=f"no file {file}" if (file := self.settings.label_studio.api_key_file) else "no key",
                next_step="Set LABEL_STUDIO_API_KEY, or name a file that holds the key as label_studio.api_key_file.",
            )
        return LabelStudioClient(url, key)

    def tagger(self, version: str | None = None) -> Tagger:
        """The model `version`, or the model in service; its bundle is verified first."""
        from loop.settings.project import open_tagger

        return open_tagger(self.store, self.settings, self.project, version)

    def answer(self, value: Any, *printed: Any) -> None:
        """Print `value` as JSON with --json, otherwise what was made of it for people."""
        if self.as_json:
            console.print_json(value)
        else:
            self.say(*printed)

    def ticker(self, title: str, total: int | None = None) -> console.Ticker:
        """Tells how much is done, every few seconds; nothing with --json."""
        return console.Ticker(title, quiet=self.as_json, total=total)

    def stage(self, name: str) -> None:
        """Tell what begins now; nothing with --json."""
        if not self.as_json:
            console.stderr().print(f"{name} ...", highlight=False)

    def say(self, *printed: Any) -> None:
        """Print for people. A string is printed as it is: it is no markup (`console.styled` makes some).

        A long string is not cut into lines, so that a path or a command in it can be copied.
        """
        out = console.stdout()
        for item in printed:
            if isinstance(item, str):
                out.print(Text(item), soft_wrap=True)
            else:
                out.print(item)

    def merge(self, directory: Path | None, as_json: bool, verbose: bool) -> None:
        """Take in options of a second place: they may stand before the command's name, or behind it."""
        self.directory = directory or self.directory
        self.as_json = as_json or self.as_json
        self.verbose = verbose or self.verbose


def who() -> str:
    """Who decides, for the records: the user's name, or the user's number where no name is known (in containers)."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _prose(docstring: str) -> str:
    """A docstring as help: each paragraph is one line, which the terminal's width then breaks; nothing is markup."""
    paragraphs = inspect.cleandoc(docstring).split("\n\n")
    return "\n\n".join(escape(" ".join(paragraph.split())) for paragraph in paragraphs)


def start_logging(level: str) -> None:
    """Log this project from `level` on, and libraries from WARNING on, to standard error."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    for package in ("loop", "ner", "store", "weak_labeling"):
        logging.getLogger(package).setLevel(level)
    # Each repetition of a request would be a warning; what comes of them is told by the command.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)


def command(app: typer.Typer, name: str, example: str) -> Callable[[Callable[..., int | None]], Callable[..., Any]]:
    """Register `function(invocation, ...)` as the command `name`, with the shared options behind its own.

    The function returns the exit code. Its docstring is the help, and `example` ends the help. A parameter whose type
    is a dataclass stands for a group of options: the fields of the dataclass.
    """

    def register(function: Callable[..., int | None]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(ctx: typer.Context, directory: Path | None, as_json: bool, verbose: bool, **own: Any) -> int | None:
            ctx.obj.merge(directory, as_json, verbose)
            given = {name: kinds[name](**{one: own.pop(one) for one in spread[name]}) for name in kinds}
            try:
                return function(ctx.obj, **own, **given)
            except BrokenPipeError:  # the reader has left: nothing is flushed at the end
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                return 0

        taken = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        kinds: dict[str, Any] = {one.name: one.annotation for one in taken if is_dataclass(one.annotation)}
        spread = {name: inspect.signature(kind, eval_str=True).parameters for name, kind in kinds.items()}
        own = [option for one in taken for option in spread.get(one.name, {one.name: one}).values()]
        keyword = inspect.Parameter.KEYWORD_ONLY
        shared = [
            inspect.Parameter("directory", keyword, default=None, annotation=Directory),
            inspect.Parameter("as_json", keyword, default=False, annotation=AsJson),
            inspect.Parameter("verbose", keyword, default=False, annotation=Verbose),
        ]
        context = inspect.Parameter("ctx", keyword, annotation=typer.Context)
        parameters = [context, *(parameter.replace(kind=keyword) for parameter in own), *shared]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        del run.__wrapped__  # typer would read the annotations of the function inside
        app.command(name, help=_prose(function.__doc__ or ""), epilog=f"Example: {escape(example)}")(run)
        return function

    return register
