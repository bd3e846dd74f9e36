"""`loop study`: which variant of a training is worth it on somebody's data, without a project."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loop.cli.data import FileOptions
from loop.cli.invocation import Invocation, command
from loop.console import plain
from loop.wording import listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loop.study.study import StudyPlan


def register(app: typer.Typer) -> None:
    """Add this command to `app`."""
    command(app, "study", "loop study gold.jsonl --dev dev.jsonl --variants full,lora,distilled")(study)


def study(
    invocation: Invocation,
    data: Annotated[
        list[Path], typer.Argument(metavar="DATA", help="Files of labelled texts in any format of `loop import`.")
    ],
    dev: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Labelled texts to judge by, instead of a share of DATA.")
    ] = None,
    dev_share: Annotated[
        float, typer.Option(min=0.01, max=0.9, help="Share of DATA's groups (`doc`) to judge by, without --dev.")
    ] = 0.2,
    variants: Annotated[
        str, typer.Option(metavar="NAMES", help="Some of full, lora and distilled, with commas between.")
    ] = "full,lora,distilled",
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A name or folder that transformers loads; may be given again.",
            show_default="minilm",
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...", help="The entity types to learn; other labels count as no entity. By default all."
        ),
    ] = None,
    seed: Annotated[
        list[int] | None,
        typer.Option(
            min=0,
            max=2**32 - 1,
            help="Of a training; may be given again: then each variant is trained again.",
            show_default="13",
        ),
    ] = None,
    full_rate: Annotated[
        float | None,
        typer.Option(
            min=1e-7,
            help="Learning rate of full and distilled. By default 2e-4 for an encoder of 384 channels, 5e-5 for 768.",
        ),
    ] = None,
    threads: Annotated[
        int, typer.Option(min=0, max=1024, help="Of training and timing; 0 for every core that may be used.")
    ] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Where the report goes; a folder that does not exist.", show_default="DATA-study"
        ),
    ] = None,
    *,
    reading: FileOptions,
) -> int | None:
    """Train variants on the same texts, judge them on the same other texts, and write one report. No project is needed.

    full: every weight of the encoder learns. lora: an adapter and a classifier learn, as `loop retrain` trains them.
    distilled: half of the layers of the best other variant, taught by its soft labels and the gold; it also learns from
    the texts without labels of DATA. Every variant is exported and served in INT8, as a project's model is.

    The report tells strict precision, recall and F1 as served, by type; the difference to lora with its interval;
    parameters and sizes; latency in torch FP32, ONNX FP32 and ONNX INT8; errors; and F1 on perturbed texts. FOLDER gets
    report.html (one file), report.md and report.json. With -C, [train] of that project is the recipe.

    Exits with 7 if a variant could not be trained; the report then tells why, and has the others.
    """
    from loop.cli.views.study import summary
    from loop.cli.views.training import TrainingView
    from loop.settings.model import TrainSettings
    from loop.settings.whole_files import check_free
    from loop.study.data import HowToRead, read_texts
    from loop.study.page import write_report
    from loop.study.study import StudyPlan, every_core, run_study
    from loop.training.progress import TrainingError

    folder = out or Path(f"{data[0].name.partition('.')[0].strip('-') or 'data'}-study")
    check_free(folder)
    settings = invocation.settings.train if invocation.directory else TrainSettings()
    plan = StudyPlan(
        encoders=tuple(dict.fromkeys(encoder or [settings.encoder])),
        variants=_listed(variants),
        seeds=tuple(dict.fromkeys(seed or [settings.seed])),
        threads=every_core(threads),
        full_rate=full_rate,
    )
    how = HowToRead(reading.file_format.value, reading.hints(), reading.skip_bad)
    texts = read_texts(data, dev, share=dev_share, labels=_listed(labels or ""), seed=plan.seeds[0], how=how)
    with TrainingView(quiet=invocation.as_json) as view:
        for note in texts.said:
            view.notice(note)
        names = listed([path.name for path in data]), dev.name if dev else None
        again = _command(invocation.directory, data, dev, dev_share, labels, plan, reading)
        done = run_study(texts, names, plan, settings, again, view)
    write_report(done, folder)
    invocation.answer({**plain(done), "out": folder}, *summary(done, folder))
    return TrainingError.exit_code if any(one.error for one in done.variants) else 0


def _listed(given: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in given.split(",") if part.strip()))


def _command(
    home: Path | None,
    data: Sequence[Path],
    dev: Path | None,
    share: float,
    labels: str | None,
    plan: StudyPlan,
    reading: FileOptions,
) -> str:
    """The command that makes this study again, from the same working directory."""
    words = ["loop", *(("-C", str(home)) if home else ()), "study", *map(str, data)]
    words += ["--dev-share", f"{share:g}"] if dev is None else ["--dev", str(dev)]
    words += ["--variants", ",".join(plan.variants)]
    words += [word for encoder in plan.encoders for word in ("--encoder", encoder)]
    words += ["--labels", labels] if labels else []
    words += [word for seed in plan.seeds for word in ("--seed", str(seed))]
    words += ["--full-rate", f"{plan.full_rate:g}"] if plan.full_rate else []
    return shlex.join([*words, "--threads", str(plan.threads), *reading.words()])
