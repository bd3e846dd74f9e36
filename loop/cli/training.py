"""`loop retrain`, `loop evaluate`: from gold to a candidate, and its scores."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from loop import console
from loop.cli.data import FileOptions
from loop.cli.invocation import Invocation, Version, command
from loop.cli.views.parts import scores_table
from loop.wording import number_of

if TYPE_CHECKING:
    from loop.training.retrain import RetrainResult


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    command(app, "retrain", "loop retrain --from-scratch")(retrain)
    command(app, "evaluate", "loop evaluate --on labelled.jsonl --json")(evaluate)


def retrain(
    invocation: Invocation,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Start from the base encoder, not from the model in service.")
    ] = False,
) -> int | None:
    """Train on the gold in the store, export the model, and prove the file; the result is a candidate.

    The file that serves is INT8 where INT8 finds what FP32 finds, and keeps as much FP32 as it takes elsewhere.

    Without any gold, what the sources of weak labels say together is learned from (`loop weak apply`). With gold,
    sources that do harm by it are muted first; then weak labels are learned from before the gold where they help: both
    ways are tried on gold that is held back for the try. From a thousand labelled documents on, a tenth, and about 500
    at most, is held back as a development split; the file is scored on this split. The holdout is not touched. Ctrl-C
    and kill -9 leave store and models consistent.
    """
    from store.runs import RETRAIN, check_free

    project = invocation.project
    with invocation.store.read() as session:
        check_free(session, project.id, RETRAIN)  # before torch is imported and the votes are read

    from loop.cli.views.training import TrainingView
    from loop.training.retrain import retrain as train
    from loop.weak.aggregating import weak_documents
    from loop.weak.muting import mute_harmful

    with TrainingView(quiet=invocation.as_json) as view:
        muted = mute_harmful(invocation.store, invocation.settings, project)
        weak = partial(weak_documents, invocation.store, project, texts=invocation.settings.weak.texts)
        done = train(
            invocation.store,
            invocation.settings,
            project,
            from_scratch=from_scratch,
            progress=view,
            weak=weak,
            notices=muted,
        )
    source = "gold" if done.kind == "gold" else "weak labels"
    source += f" after {done.weak_documents:,} with weak labels" if done.weak_documents else ""
    said = console.styled(
        f"Candidate [bold]{done.version}[/] from {done.parent or 'the base encoder'}: {done.train_documents:,} texts "
        f"with {source}, {number_of(done.epochs, 'epoch')} in {done.seconds:.0f} s, served as {done.precision}."
    )
    answer = {
        "version": done.version,
        "path": done.path,
        "parent": done.parent,
        "kind": done.kind,
        "train_documents": done.train_documents,
        "weak_documents": done.weak_documents,
        "weak_choice": done.choice.as_dict() if done.choice else None,
        "muted": [one.harm for one in muted],
        "dev_documents": done.dev_documents,
        "epochs": done.epochs,
        "steps": done.steps,
        "seconds": done.seconds,
        "dev_f1": done.dev_f1,
        "precision": done.precision,
        "parity": done.parity.as_dict(),
        "scores": done.scores.as_dict() if done.scores else None,
        "notices": done.notices,
    }
    invocation.answer(answer, said, *_development(done), "Next: loop promote")
    return 0


def _development(done: RetrainResult) -> tuple[str | Table, ...]:
    """The scores on the development split, where one was held back."""
    if done.scores is None:
        return ("All texts were learned from; the holdout tells how good the candidate is.",)
    rows = [*done.scores.per_type.items(), ("micro", done.scores.micro), ("macro", done.scores.macro)]
    return f"On the development split ({done.dev_documents:,} texts):", scores_table(rows)


def evaluate(
    invocation: Invocation,
    version: Version = None,
    on: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A labelled file instead of the holdout; any format of `loop import`."),
    ] = None,
    *,
    reading: FileOptions,
) -> int | None:
    """Entity-level strict precision, recall and F1 of the file as served: the model in service, or VERSION.

    On the holdout the scores are kept in the store; to see a candidate there spends a look, as `loop promote` does.
    Labels of a file are renamed by [label_map] of loop.toml.
    """
    from loop.files.predicting import read_labelled
    from loop.promotion.evaluate import evaluate_on_documents, evaluate_on_holdout

    project = invocation.project
    gold = None
    if on is not None:
        gold = read_labelled(on, reading.request(invocation), skip_bad=reading.skip_bad)
    tagger = invocation.tagger(version)
    if gold is None:
        done = evaluate_on_holdout(invocation.store, project, tagger, invocation.settings.promotion)
    else:
        done = evaluate_on_documents(
            invocation.store, project, tagger, gold.documents, str(on), invocation.settings.promotion
        )
    title = console.styled(f"[bold]{done.version}[/] on {escape(done.on)}, {done.scores.documents:,} texts:")
    spent = f"A candidate was seen: look {done.look.number} of {done.look.looks} at this holdout." if done.look else ""
    said = gold.said if gold else ()
    invocation.answer(
        {**done.as_json(), "said": said}, title, scores_table(done.rows), *([spent] if spent else []), *said
    )
    return 0
