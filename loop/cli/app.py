"""The command line: it parses, calls the core and prints the result. It decides nothing.

A command imports the heavy libraries that it needs when it runs, so that `loop --help` answers at once.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import typer
from rich.markup import escape

from loop import console
from loop.cli import (
    backup,
    compare,
    data,
    export_model,
    predict,
    project,
    promotion,
    report,
    server,
    study,
    training,
)
from loop.cli.invocation import AsJson, Directory, Invocation, Verbose
from loop.cli.weak import sources
from ner.errors import RuleError

USAGE, INTERRUPTED = 2, 130
EXIT_CODES = (
    "Exit codes: 0 done; 1 unexpected failure; 2 wrong usage; 3 configuration or project not found; 4 input refused; "
    "5 Label Studio unreachable or refused; 6 another run holds the project; 7 training failed; 8 candidate not "
    "promoted; 9 model bundle or export refused; 10 doctor found a problem; 11 backup or restore refused; "
    "130 interrupted."
)
_ABOUT = (
    "The annotation loop around Label Studio for named entity recognition: annotate, retrain, promote, pre-label, and "
    "again.\n\n"
    "A project is a folder with a loop.toml; `loop init` makes one. Only connect, pull, publish, run and "
    "simulate-annotator need Label Studio. doctor and rollback use Label Studio where the project names one."
)

app = typer.Typer(
    name="loop",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback(help=_ABOUT)
def shared_options(
    ctx: typer.Context, directory: Directory = None, as_json: AsJson = False, verbose: Verbose = False
) -> None:
    """Take in the options that stand before the command's name."""
    ctx.obj.merge(directory, as_json, verbose)


_GROUPS = (
    project,
    data,
    sources,
    training,
    promotion,
    report,
    compare,
    study,
    predict,
    export_model,
    server,
    backup,
)

for commands in _GROUPS:
    commands.register(app)


def main(words: Sequence[str] | None = None) -> None:
    """The entry point `loop`.

    Threads of torch that wait shall sleep. By default they spin, and when a server or another training has the cores,
    a training takes up to twelve times longer. OpenMP reads the variable once, when it is loaded.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    code = run(sys.argv[1:] if words is None else words)
    try:
        sys.stdout.flush()
    except OSError:  # `run` has told it already
        _drop_output()
    sys.exit(code)


def run(words: Sequence[str]) -> int:
    """Run one command line and return its exit code. Every failure becomes a message here."""
    invocation = Invocation()
    try:
        code = typer.main.get_command(app).main(list(words), prog_name="loop", standalone_mode=False, obj=invocation)
        sys.stdout.flush()  # here a full disk can still be told
    except typer.TyperException as error:
        return _usage(invocation, error, words)
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted(invocation)
    except RuleError as error:
        return _tell(invocation, error)
    except BrokenPipeError:  # the reader has left: nothing more to say
        _drop_output()
        return 0
    except Exception as error:  # noqa: BLE001  # the boundary: nothing above could still handle it
        what = f"{type(error).__name__}: {error}"
        return _tell(invocation, RuleError("unexpected failure", value=what, next_step=_AGAIN))
    # typer itself turns Ctrl-C into this code.
    return _interrupted(invocation) if code == INTERRUPTED else code if isinstance(code, int) else 0


_AGAIN = "Run again with -v for the traceback; `loop doctor` checks the set-up."


class _UsageError(RuleError):
    exit_code = USAGE


class _InterruptedError(RuleError):
    exit_code = INTERRUPTED


def _usage(invocation: Invocation, error: typer.TyperException, words: Sequence[str]) -> int:
    message = " ".join(str(getattr(error, "format_message", lambda: str(error))()).split())
    if not message:  # then the help was shown: there were no words at all
        return USAGE
    ctx = getattr(error, "ctx", None)
    see = f"See `{ctx.command_path} --help`." if ctx is not None else ""
    invocation.as_json |= "--json" in words  # which was perhaps not read yet
    if invocation.as_json:
        return _tell(invocation, _UsageError(message.rstrip("."), next_step=see))
    _complain(f"{message}{'' if message.endswith(('.', '?')) else '.'} {see}".rstrip())
    return USAGE


def _interrupted(invocation: Invocation) -> int:
    if invocation.as_json:
        return _tell(invocation, _InterruptedError("interrupted", next_step="The same command can be given again."))
    console.stderr().print("Interrupted; the same command can be given again.")
    return INTERRUPTED


def _tell(invocation: Invocation, error: RuleError) -> int:
    """Say what is wrong, and return the exit code. Standard error takes what standard output cannot."""
    if invocation.verbose:
        traceback.print_exc()
    if invocation.as_json:
        value = None if error.value is None else str(error.value)
        told = {"rule": error.rule, "value": value, "next_step": error.next_step, "exit_code": error.exit_code}
        try:
            console.print_json({"error": told}, one_line=True)  # one more line where lines of JSON came before
            return error.exit_code
        except OSError:
            _drop_output()
    _complain(str(error))
    return error.exit_code


def _complain(message: str) -> None:
    """Print one line, however long, so that it can be copied and found in a log."""
    console.stderr().print(f"[bold red]loop:[/] {escape(message)}", soft_wrap=True)


def _drop_output() -> None:
    """Drop what is left to be written. Python would try again at its end, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
