"""`loop connect`, `pull`, `publish`, `simulate-annotator`, `serve`: what speaks with Label Studio."""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loop import console
from loop.cli.data import FileOptions
from loop.cli.invocation import Invocation, command
from loop.wording import number_of
from ner.containers import hold, with_variables
from ner.errors import ConfigError, RuleError

if TYPE_CHECKING:
    from loop.sync.config_check import ConfigCheck


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    command(app, "connect", "loop connect --push")(connect)
    command(app, "pull", "loop pull --full")(pull)
    command(app, "publish", "loop publish")(publish)
    command(app, "simulate-annotator", "loop simulate-annotator gold.jsonl --count 50 --error-rate 0.05")(simulate)
    command(app, "run", "loop run --once")(run)
    command(app, "serve", "loop serve")(serve)


def connect(
    invocation: Invocation,
    ls_project: Annotated[
        int | None,
        typer.Option("--ls-project", metavar="ID", help="Link this project, instead of a new one."),
    ] = None,
    push: Annotated[bool, typer.Option("--push", help="Make tasks of the open texts that were imported here.")] = False,
    backend: Annotated[bool, typer.Option(help="Connect the ML backend, which must be running.")] = True,
    moved: Annotated[bool, typer.Option("--moved", help="The linked server has another address now.")] = False,
) -> int | None:
    """Link the project to a project in Label Studio, and connect the ML backend there. Safe to repeat.

    Once tasks of a server are known here, another server is refused. If LABEL_STUDIO_URL changed because the server
    moved, say --moved: the tasks there are compared with the known ones, and every link stays.
    """
    from loop.doctor.diagnosis import account_of
    from loop.sync.connect import connect_backend, follow_server, link_project, make_tasks, prepare_queue

    store, client, project = invocation.store, invocation.client, invocation.project
    if moved:
        follow_server(store, client, project)
    linked = link_project(
        store, client, project.id, ls_project_id=ls_project or invocation.settings.label_studio.project
    )
    prepare_queue(client, linked.ls_project_id)
    pushed = make_tasks(store, client, project) if push else 0
    rows = connect_backend(client, linked.ls_project_id, account_of(invocation.settings)) if backend else None
    where = f"{client.url}/projects/{linked.ls_project_id}"
    again = " (an earlier try had made it)" if linked.found_again else ""
    said = f"{'Made' if linked.created else 'Linked'} project {linked.ls_project_id}{again}: {where}"
    tasks = [f"{pushed:,} texts are tasks now."] if push else []
    done = [f"ML backend {'connected' if rows.added else 'was connected already'}."] if rows else []
    notes = _notes(linked.check) if linked.check is not None else []
    if push:
        following = "People can label now. Next, with a model or sources of weak labels: loop publish"
    else:
        following = f"Next: loop {'connect --push' if linked.created else 'pull'}"
    invocation.answer({"project": linked, "pushed": pushed, "backend": rows}, said, *notes, *tasks, *done, following)
    return 0


def _notes(check: ConfigCheck) -> list[str]:
    """What people must know of the project that was linked; nothing when all that it holds can be learned from."""
    from loop.files.doubts import doubts_lines

    notes = [f"Not learned from: {control}." for control in check.left_out]
    if check.labels_added or check.labels_removed:
        changes = f"+{_list(check.labels_added)} -{_list(check.labels_removed)}"
        notes.append(f"The label config there has other labels: {changes}. The next pull takes it over.")
    first = f"Of the first {check.tasks_read:,} tasks"
    if check.without_text:
        notes.append(f"{first}: {check.without_text:,} without a text that can be read.")
    for one in check.foreign:
        control = f"<Labels name={one.from_name!r} toName={one.to_name!r}>"
        notes.append(f"{first}: {one.regions:,} x region of {control}, which the label config there lacks.")
    doubts = doubts_lines(check.doubts, check.labels)
    return [*notes, f"{first}: {doubts[0]}", *doubts[1:]] if doubts else notes


def pull(
    invocation: Invocation,
    full: Annotated[bool, typer.Option("--full", help="Read everything again, and compare all ids.")] = False,
) -> int | None:
    """Bring what changed in Label Studio into the store: tasks, annotations, skips, deletions.

    Regions that nothing can be learned from are kept, and named with the reason. A text of which something was not
    understood is in doubt: it is not learned from. [label_map] of loop.toml renames labels; when it has changed,
    everything is read again. Safe to repeat and to interrupt.
    """
    from loop.files.doubts import doubts_lines
    from loop.sync.pull import pull as pull_tasks
    from store.projects import project_by_id

    done = pull_tasks(invocation.store, invocation.client, invocation.project, full=full)
    names = ("tasks", "new", "edited", "deleted", "annotations", "versions", "removed", "skipped", "refused")
    rows = [(name, getattr(done, name)) for name in names]
    asides = [f"Set aside: {count:,} x {reason}." for reason, count in sorted(done.set_aside.items())]
    config = [f"Label config changed: +{_list(done.labels_added)} -{_list(done.labels_removed)}"]
    notes = asides + (config if done.config_changed else [])
    with invocation.store.read() as session:
        labels = project_by_id(session, invocation.project.id).labels
    units = [
        f"Offsets of {number_of(count, 'annotation')} count {unit}: converted."
        for unit, count in done.converted.items()
    ]
    notes += units + doubts_lines(done.doubts, labels)
    invocation.answer(done, console.table("", ("pulled", ""), rows), *notes)
    return 0


def publish(invocation: Invocation) -> int | None:
    """Send the predictions of the model in service for the open tasks, and order the queue by them.

    While no model is in service, the agreed votes of the sources of weak labels predict, under a version of their own
    (votes-...). Tasks that have these predictions already are left alone. Tasks of the holdout get an empty prediction:
    pre-labels would bias the annotations that judge the models.
    """
    from loop.sync.publish import publish as publish_predictions
    from loop.weak.agreed import votes_that_serve

    store, project = invocation.store, invocation.project
    predictor = votes_that_serve(store, invocation.settings, project) or invocation.tagger()
    ticker = invocation.ticker("texts tagged")
    done = publish_predictions(store, invocation.client, project, predictor, progress=lambda tagged, _: ticker(tagged))
    said = (
        f"{done.version}: {done.created:,} predictions stored for {done.open:,} open tasks "
        f"({done.carried:,} had theirs, {done.holdout:,} of the holdout are empty)."
    )
    invocation.answer(done, said)
    return 0


def simulate(
    invocation: Invocation,
    gold: Annotated[
        Path, typer.Argument(metavar="GOLD", help="A labelled file of the tasks' texts; any format of `loop import`.")
    ],
    count: Annotated[int, typer.Option(min=1, help="How many tasks to answer.")] = 50,
    error_rate: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of the spans to get wrong.")] = 0.0,
    pace: Annotated[float, typer.Option(min=0.0, help="Seconds to pause after each task.")] = 0.0,
    seed: Annotated[int, typer.Option(help="The same seed makes the same mistakes.")] = 13,
    key_file: Annotated[
        list[Path] | None,
        typer.Option("--key-file", metavar="FILE", help="API key of a further annotator; may be given again."),
    ] = None,
    *,
    reading: FileOptions,
) -> int | None:
    """Play an annotator: take the next task that Label Studio offers, and submit its gold, with mistakes if you like.

    Each answer is a real annotation of the user whose key is configured, so that you can watch the loop learn.
    """
    from loop.files.predicting import read_labelled
    from loop.label_studio.client import LabelStudioClient
    from loop.label_studio.simulated_annotator import GoldBook, Habits
    from loop.label_studio.simulated_annotator import simulate as annotate
    from loop.sync.pull import linked_project_id

    project, client = invocation.project, invocation.client
    known = read_labelled(gold, reading.request(invocation), skip_bad=reading.skip_bad)
    clients = [client, *(LabelStudioClient(client.url, _key(path)) for path in key_file or ())]
    ticker, number = invocation.ticker("annotations submitted"), itertools.count(1)
    done = annotate(
        clients,
        linked_project_id(project, client),
        GoldBook(known.documents),
        count=count,
        habits=Habits(error_rate, pace, seed),
        submitted=lambda _: ticker(next(number)),
    )
    mistakes = ", ".join(f"{number} {kind}" for kind, number in done.mistakes.items() if number) or "no mistakes"
    said = f"{done.submitted:,} annotations with {done.spans:,} spans submitted ({mistakes}), {done.skipped:,} skipped."
    empty = ["The queue is empty."] if done.queue_empty else []
    invocation.answer(done, *known.said, said, *empty)
    return 0


def run(
    invocation: Invocation,
    once: Annotated[
        bool,
        typer.Option("--once", help="One cycle, then end: with 1 when one of its steps failed, 130 when interrupted."),
    ] = False,
) -> int | None:
    """The loop: pull, label, retrain when enough is new, evaluate and promote, publish; again and again.

    Each step is logged with its time and counts. A step that fails is tried again later, also while Label Studio or the
    store's server is down. With --json each cycle is one line of JSON. Ctrl-C and SIGTERM end the loop cleanly.
    """
    try:
        return _run(invocation, once)
    except RuleError as error:
        hold(os.environ, error.exit_code, str(error))
        raise


def _run(invocation: Invocation, once: bool) -> int:
    from loop.service.starting import check_folders, when_store_answers
    from ner.models.shared_folder import check_at_start

    settings, client = invocation.settings, invocation.client
    check_folders(settings.home, settings.model_dir)
    check_at_start(settings.models.remote, settings.model_dir, writing=True)
    project = invocation.project if once else when_store_answers(lambda: invocation.project)

    from loop.service.cycle import Cycle  # imports torch, which takes seconds: what is wrong is told before
    from loop.service.service import CycleReport, Service

    failed: list[str] = []

    def report(cycle: CycleReport) -> None:
        failed[:] = [step.name for step in cycle.failed]
        if invocation.as_json:
            console.print_json(cycle, one_line=True)

    def make() -> Cycle:
        return Cycle(invocation.store, client, settings, project.id)

    cycle = make() if once else when_store_answers(make)
    done = Service(cycle).run_forever(cycles=1 if once else None, reported=report)
    if once and not done:
        raise KeyboardInterrupt  # the one cycle that was asked for did not come to its end
    return 1 if once and failed else 0


def serve(invocation: Invocation) -> int | None:
    """Start the ML backend on this project's store and models, until Ctrl-C.

    The backend serves every project of the store that is linked to Label Studio. Its settings are those of loop.toml
    and of PORT, WORKERS, THREADS, BASIC_AUTH_USER and BASIC_AUTH_PASS.
    """
    settings = invocation.settings
    backend = settings.backend
    values = {
        "LOOP_STORE_URL": settings.store_url,
        "MODEL_DIR": str(settings.model_dir),
        "MODEL_STORE": settings.models.remote,
        "MODEL_CACHE_MB": str(settings.models.cache_mb),
        "HOST": backend.host,
        "PORT": str(backend.port),
        "WORKERS": str(backend.workers),
        "THREADS": str(backend.threads),
        "BASIC_AUTH_USER": backend.basic_auth_user,
        "BASIC_AUTH_PASS": backend.basic_auth_pass,
        "ENGINE": backend.engine,
        "ENGINE_MODEL": backend.engine_model,
        "ENGINE_SECONDS": str(backend.engine_seconds),
        "LOG_LEVEL": settings.log.level,
    }
    environ = with_variables(os.environ, values)
    os.execve(sys.executable, [sys.executable, "-m", "ml_backend"], environ)


def _key(path: Path) -> str:
    try:
        key = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError(
            "a file of --key-file can be read as UTF-8", value=f"{path}: {why}", next_step="Check the path."
        ) from error
    if not key:
        raise ConfigError(
            "a file of --key-file holds an API key", value=f"{path} is empty", next_step="Write it there."
        )
    return key


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "none"
