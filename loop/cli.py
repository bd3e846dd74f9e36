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
from loop.commands import cycle, data, model, project, server
from loop.commands.invocation import AsJson, Directory, Invocation, Verbose
from ner.errors import RuleError

USAGE, INTERRUPTED, UNEXPECTED = 2, 130, 1
EXIT_CODES = (
    "Exit codes: 0 done; 1 unexpected failure; 2 wrong usage; 3 configuration or project not found; 4 input refused; "
    "5 Label Studio unreachable or refused; 6 another run holds the project; 7 training failed; 8 candidate not "
    "promoted; 9 model bundle refused; 10 doctor found a problem; 130 interrupted."
)

app = typer.Typer(
    name="loop",
    help="Annotate, retrain, promote, pre-label, again: the loop around Label Studio for named entity recognition.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def shared_options(
    ctx: typer.Context, directory: Directory = None, as_json: AsJson = False, verbose: Verbose = False
) -> None:
    """Annotate, retrain, promote, pre-label, again: the loop around Label Studio for named entity recognition.

    A project is a folder with a loop.toml; `loop init` makes one. Everything but pull, publish, connect, run and
    simulate-annotator works without a server.
    """
    ctx.obj.merge(directory, as_json, verbose)


for commands in (project, data, cycle, model, server):
    commands.register(app)


def main(words: Sequence[str] | None = None) -> None:
    """The entry point `loop`.

    Threads of torch wait asleep unless told otherwise: they would else spin while a server, the backend or another
    training has the cores, which makes a training up to twelve times slower. OpenMP reads this once, when it is loaded.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.exit(run(sys.argv[1:] if words is None else words))


def run(words: Sequence[str]) -> int:
    """Run one command line and return its exit code; every failure is translated to a message here."""
    invocation = Invocation()
    try:
        code = typer.main.get_command(app).main(list(words), prog_name="loop", standalone_mode=False, obj=invocation)
        return code if isinstance(code, int) else 0
    except typer.TyperException as error:
        return _usage(error)
    except (KeyboardInterrupt, typer.Abort):
        console.stderr().print("Interrupted; the next run picks up from here.")
        return INTERRUPTED
    except RuleError as error:
        _tell(invocation, error)
        return error.exit_code
    except Exception as error:  # noqa: BLE001  # the boundary: nothing above could still handle it
        unexpected = RuleError("unexpected failure", value=f"{type(error).__name__}: {error}", next_step=_AGAIN)
        _tell(invocation, unexpected)
        return UNEXPECTED


_AGAIN = "Run again with -v for the traceback; `loop doctor` checks the set-up."


def _usage(error: typer.TyperException) -> int:
    message = " ".join(str(getattr(error, "format_message", lambda: str(error))()).split())
    if message:  # else the help was shown: there were no words at all
        ctx = getattr(error, "ctx", None)
        where = f" See `{ctx.command_path} --help`." if ctx is not None else ""
        console.stderr().print(f"[bold red]loop:[/] {escape(message)}{where}")
    return USAGE


def _tell(invocation: Invocation, error: RuleError) -> None:
    if invocation.verbose:
        traceback.print_exc()
    if invocation.as_json:
        value = None if error.value is None else str(error.value)
        told = {"rule": error.rule, "value": value, "next_step": error.next_step, "exit_code": error.exit_code}
        console.print_json({"error": told})
        return
    console.stderr().print(f"[bold red]loop:[/] {escape(str(error))}")


if __name__ == "__main__":
    main()
