"""The command line: parses, calls the core, prints what it returned. Nothing is decided here.

Heavy libraries are imported by the command that needs them, so that `loop --help` answers at once.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import typer
from rich.markup import escape

from loop import console
from loop.cli import compare, data, predict, project, promotion, report, rollback, server, training
from loop.cli.invocation import AsJson, Directory, Invocation, Verbose
from ner.errors import RuleError

USAGE, INTERRUPTED, UNEXPECTED = 2, 130, 1
EXIT_CODES = (
    "Exit codes: 0 done; 1 unexpected failure; 2 wrong usage; 3 configuration or project not found; 4 input refused; "
    "5 Label Studio unreachable or refused; 6 another run holds the project; 7 training failed; 8 candidate not "
    "promoted; 9 model bundle refused; 10 doctor found a problem; 130 interrupted."
)
_ABOUT = (
    "Annotate, retrain, promote, pre-label, again: the loop around Label Studio for named entity recognition.\n\n"
    "A project is a folder with a loop.toml; `loop init` makes one. Everything but connect, pull, publish, run, serve "
    "and simulate-annotator works without a server."
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
    """What stands before the command's name."""
    ctx.obj.merge(directory, as_json, verbose)


for commands in (project, data, training, promotion, rollback, report, compare, predict, server):
    commands.register(app)


def main(words: Sequence[str] | None = None) -> None:
    """The entry point `loop`.

    Threads of torch wait asleep unless told otherwise: they would else spin while a server, the backend or another
    training has the cores, which makes a training up to twelve times slower. OpenMP reads this once, when it is loaded.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    code = run(sys.argv[1:] if words is None else words)
    try:
        sys.stdout.flush()
    except OSError:  # which was told already
        _drop_output()
    sys.exit(code)


def run(words: Sequence[str]) -> int:
    """Run one command line and return its exit code; every failure is translated to a message here."""
    invocation = Invocation()
    try:
        code = typer.main.get_command(app).main(list(words), prog_name="loop", standalone_mode=False, obj=invocation)
        sys.stdout.flush()  # now, where a full disk can still be told
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
    _complain(f"{message} {see}".rstrip())
    return USAGE


def _interrupted(invocation: Invocation) -> int:
    if invocation.as_json:
        return _tell(invocation, _InterruptedError("interrupted", next_step="The next run picks up from here."))
    console.stderr().print("Interrupted; the next run picks up from here.")
    return INTERRUPTED


def _tell(invocation: Invocation, error: RuleError) -> int:
    """Say what is wrong; gives the exit code. What cannot be written to standard output goes to standard error."""
    if invocation.verbose:
        traceback.print_exc()
    if invocation.as_json:
        value = None if error.value is None else str(error.value)
        told = {"rule": error.rule, "value": value, "next_step": error.next_step, "exit_code": error.exit_code}
        try:
            console.print_json({"error": told}, one_line=True)  # behind lines of JSON it is one more
            return error.exit_code
        except OSError:
            _drop_output()
    _complain(str(error))
    return error.exit_code


def _complain(message: str) -> None:
    """One line, however long: what is to be copied from it, or found in a log, is not cut."""
    console.stderr().print(f"[bold red]loop:[/] {escape(message)}", soft_wrap=True)


def _drop_output() -> None:
    """What is left to be written goes nowhere: Python would try once more at its end, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
