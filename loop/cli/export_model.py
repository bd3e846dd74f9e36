"""`loop export-model`: a model leaves the project, as a folder that other programs read."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loop import console
from loop.cli.invocation import Invocation, command

if TYPE_CHECKING:
    from loop.targets.export import ExportedModel, ExportedTarget
    from loop.targets.proof import SpanComparison


class TargetName(StrEnum):
    """Names of `loop.targets.export.TARGETS`, which the command imports only when it runs."""

    TRANSFORMERS = "transformers"
    ADAPTER = "adapter"
    ONNX = "onnx"
    TRITON = "triton"
    OPENVINO = "openvino"


class Precision(StrEnum):
    """What Triton's model computes in."""

    FP32 = "fp32"
    INT8 = "int8"


def register(app: typer.Typer) -> None:
    """Add this command to `app`."""
    command(app, "export-model", "loop export-model exported --target transformers --licence apache-2.0")(export_model)


def export_model(
    invocation: Invocation,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A folder that does not exist yet, or is empty.")],
    target: Annotated[
        list[TargetName],
        typer.Option(
            help="transformers: FP32 weights for pipeline(). adapter: the LoRA adapter for peft, with its base's hash. "
            "onnx: the file that serves, and an example that needs onnxruntime and tokenizers alone. triton: a model "
            "repository. openvino: OpenVINO's format (extra openvino). May be given again: then each target gets a "
            "folder of its name inside OUT."
        ),
    ],
    version: Annotated[
        str | None, typer.Option(metavar="VERSION", help="A model's version; by default the model in service.")
    ] = None,
    texts: Annotated[int, typer.Option(min=1, max=100_000, help="Texts by which each folder is proven.")] = 200,
    precision: Annotated[Precision, typer.Option(help="Of triton. int8 takes a quarter of the room.")] = Precision.FP32,
    ensemble: Annotated[
        bool, typer.Option("--ensemble", help="With triton: also the steps from a text to its spans, in Python.")
    ] = False,
    licence: Annotated[
        str | None, typer.Option(metavar="ID", help="For the model card, such as apache-2.0 or cc-by-sa-4.0.")
    ] = None,
    language: Annotated[
        str | None, typer.Option(metavar="CODE", help="Of the texts, for the model card, such as en.")
    ] = None,
    allow_differences: Annotated[
        bool, typer.Option("--allow-differences", help="Write a folder even if it differs by more than it may.")
    ] = False,
) -> int | None:
    """Write a model as a folder for other programs, with a model card, and prove that the folder says the same.

    Each folder is asked about the project's own texts, and the spans are compared with those of `loop predict`. The
    table says how many spans differ, and where the differences come from. A folder that differs by more than its target
    may is not written, and the command ends with exit code 9. The bound is 2 percent where the file is the same, 6
    percent where FP32 weights stand for INT8 or INT8 is made anew for Triton, and 25 percent where transformers
    decodes.

    OUT appears whole or not at all. The model card (README.md) tells of data, scores with intervals, limits, licence
    and lineage. It never shows a text.
    """
    from loop.targets.export import export_model as export
    from loop.targets.source import Choices

    done = export(
        invocation.store,
        invocation.settings,
        invocation.project,
        out,
        [one.value for one in target],
        version=version,
        texts=texts,
        choices=Choices(precision.value, ensemble, licence, language),
        allow_differences=allow_differences,
        stages=invocation.stage,
    )
    invocation.answer(_as_json(done), *_shown(done))
    return 0


def _as_json(done: ExportedModel) -> dict[str, Any]:
    return {
        "version": done.version,
        "path": done.path,
        "targets": [
            {
                "target": one.target,
                "path": one.path,
                "comparisons": [_comparison(row) for row in one.proof.comparisons],
                "differing_texts": one.proof.differing,
                "reason": one.proof.reason,
            }
            for one in done.targets
        ],
    }


def _comparison(row: SpanComparison) -> dict[str, Any]:
    counted = ("what", "texts", "differing_texts", "spans", "missing", "added", "differing", "share", "bound", "holds")
    return {name: getattr(row, name) for name in counted}


def _shown(done: ExportedModel) -> list[Any]:
    shown: list[Any] = []
    for one in done.targets:
        rows = [
            (row.what, row.texts, row.spans, row.differing, f"{row.share:.1%}", _bound(row.bound))
            for row in one.proof.comparisons
        ]
        columns = ("compared", "texts", "spans", "differ", "share", "accepted")
        shown += [f"{done.version} as {one.target}: {one.path}", console.table("", columns, rows), *_why(one)]
    return shown


def _why(one: ExportedTarget) -> list[str]:
    if not one.proof.total.differing:
        return [""]
    failed = "More spans differ than may; written all the same. " if one.proof.failed else ""
    return [f"{failed}Spans differ since {one.proof.reason}. For example in: {', '.join(one.proof.differing)}.", ""]


def _bound(bound: float | None) -> str | None:
    return None if bound is None else f"<= {bound:.0%}"
