"""Each attempt at a promotion as a run of MLflow, where the setting `[mlflow] tracking_uri` names a tracking server.

The decision is recorded before. Nothing here can undo the decision, or delay it for long. Only the tracking server
hears of the attempt: MLflow's own usage reports are switched off before MLflow is imported.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from loop.evaluation.significance import Difference
from loop.promotion.attempt import Attempt
from loop.settings.model import MLflowSettings
from ner.errors import BundleError, ConfigError
from ner.models.bundle import Manifest, read_manifest

# MLflow 3.17 reads these variables at its import: before it starts the thread that reports usage to its makers, and
# before it sets up loggers that write to standard error.
SILENT = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_CONFIGURE_LOGGING": "false"}
# By default MLflow waits 120 s for a request and retries seven times, with pauses that double.
HASTY = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
_LONGEST = 500  # characters of a parameter or tag, which stores since MLflow 1.28 hold
_BATCH = 1_000  # metrics that a server takes at once
_SQLITE = "sqlite:///"


def require_mlflow() -> None:
    """Raise ConfigError where MLflow is not installed. To be called before an attempt, while nothing is decided."""
    if find_spec("mlflow") is None:
        raise ConfigError(
            "[mlflow] tracking_uri needs MLflow",
            value="not installed",
            next_step='Install it with `pip install "mlflow-skinny>=3.17"` (the extra "mlflow"), or empty the setting.',
        )


def log_attempt(settings: MLflowSettings, attempt: Attempt, report_folder: Path, bundle_folder: Path) -> str | None:
    """Log parameters, metrics, tags, the files of the report and the bundle. None when done, else why not.

    With a tracking URI of SQLite, the artefacts of a new experiment are in `mlartifacts` beside the database.
    """
    try:
        require_mlflow()
        _log(settings, attempt, report_folder, bundle_folder)
    except Exception as error:  # noqa: BLE001  # the boundary: whatever fails here, the decision stands
        return f"the decision stands, but MLflow did not take it: {_first_line(error, settings.tracking_uri)}"
    return None


def parameters(attempt: Attempt, manifest: Manifest | None) -> dict[str, str]:
    """The settings of the attempt and of the candidate's training, by name."""
    found: dict[str, object] = {"incumbent": attempt.incumbent, "against": attempt.against, "command": attempt.command}
    if attempt.look is not None:
        look = attempt.look
        found |= {"holdout": look.epoch, "look": look.number, "looks": look.looks}
        found |= {"alpha": look.alpha, "alpha_total": look.total, "spending": look.schedule}
    if attempt.comparison is not None:
        compared = attempt.comparison
        found |= {"permutations": compared.permutations, "resamples": compared.resamples, "test_seed": compared.seed}
    if manifest is not None:
        found |= {"encoder": manifest.encoder, "parent": manifest.parent, "seed": manifest.seed}
        found |= {"data_fingerprint": manifest.data_fingerprint, "max_length": manifest.max_length}
        found |= {f"settings.{name}": value for name, value in manifest.settings.items()}
        found |= {f"libraries.{name}": value for name, value in manifest.libraries.items()}
    return {_name(name): str(value)[:_LONGEST] for name, value in found.items() if value is not None}


def metrics(attempt: Attempt) -> dict[str, float]:
    """Every figure of the attempt by name: `micro.f1`, `OS.difference`, `latency_ms.ONNX INT8`; F1 in 0..1."""
    found = dict(_measured(attempt))
    return {_name(name): float(value) for name, value in found.items() if math.isfinite(value)}


def tags(attempt: Attempt) -> dict[str, str]:
    """Which attempt it was, and how the attempt ended."""
    found = {
        "project": attempt.project,
        "version": attempt.version,
        "outcome": attempt.outcome,
        "word": attempt.ruling.word if attempt.ruling else None,
        "policy": attempt.ruling.policy if attempt.ruling else None,
        "reason": attempt.reason,
        "who": attempt.who,
        "because": attempt.because,
        "mlflow.user": attempt.who,
        "mlflow.source.name": attempt.command,
    }
    return {name: value[:_LONGEST] for name, value in found.items() if value}


def _log(settings: MLflowSettings, attempt: Attempt, report_folder: Path, bundle_folder: Path) -> None:
    os.environ.update(SILENT)
    for name, value in HASTY.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, RunTag

    client = MlflowClient(tracking_uri=settings.tracking_uri)
    experiment = _experiment(client, settings.experiment or attempt.project, settings.tracking_uri)
    began = int(attempt.at.timestamp() * 1000)
    run = client.create_run(experiment, start_time=began, run_name=attempt.version).info.run_id
    status = "FAILED"
    try:
        given = [Param(name, value) for name, value in parameters(attempt, _manifest(bundle_folder)).items()]
        client.log_batch(run, (), given, [RunTag(name, value) for name, value in tags(attempt).items()])
        figures = [Metric(name, value, began, 0) for name, value in metrics(attempt).items()]
        for first in range(0, len(figures), _BATCH):
            client.log_batch(run, figures[first : first + _BATCH])
        for folder, place in ((report_folder, "report"), (bundle_folder, "bundle")):
            if folder.is_dir():
                client.log_artifacts(run, str(folder), place)
        status = "FINISHED"
    finally:
        client.set_terminated(run, status)


def _experiment(client: Any, name: str, uri: str) -> str:
    """The id of the experiment, which is created where it is missing."""
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    place = None
    if uri.startswith(_SQLITE):  # by default MLflow puts such artefacts under the current folder
        place = (Path(uri.removeprefix(_SQLITE)).resolve().parent / "mlartifacts").as_uri()
    return str(client.create_experiment(name, artifact_location=place))


def _measured(attempt: Attempt) -> Iterator[tuple[str, float]]:
    compared = attempt.comparison
    for row in (compared.micro, *compared.per_type) if compared is not None else ():
        yield from _of_row(row)
    if attempt.ruling is not None:
        yield "probability_better", attempt.ruling.served.better
        yield "standard_error", attempt.ruling.served.error
    if attempt.efficiency is not None:
        yield "memory_mb", attempt.efficiency.memory_mb
        yield "bundle_mb", attempt.efficiency.bundle_mb
        for speed in attempt.efficiency.speeds:
            yield f"latency_ms.{speed.runtime}", speed.latency_ms
            yield f"latency_p95_ms.{speed.runtime}", speed.latency_p95_ms
            yield f"documents_per_second.{speed.runtime}", speed.documents_per_second
    for perturbed in attempt.robustness:
        yield f"robustness.{perturbed.name}.f1", perturbed.micro_f1
    for gate in attempt.gates:
        yield f"gate.{gate.name}", float(not gate.blocks)
    yield "judged_seconds", attempt.judged_seconds


def _of_row(row: Difference) -> Iterator[tuple[str, float]]:
    yield f"{row.name}.f1", row.new_f1
    yield f"{row.name}.incumbent_f1", row.old_f1
    yield f"{row.name}.difference", row.delta
    yield f"{row.name}.difference_low", row.low
    yield f"{row.name}.difference_high", row.high
    yield f"{row.name}.support", row.support
    if row.p_value is not None:
        yield f"{row.name}.p_value", row.p_value


def _manifest(bundle: Path) -> Manifest | None:
    try:
        return read_manifest(bundle)
    except BundleError:  # the attempt itself says what is wrong with the bundle
        return None


def _name(name: str) -> str:
    """A name that MLflow accepts: letters, digits, `_-./: ` and at most 250 characters."""
    return re.sub(r"[^/\w.\- :]", "_", name)[:250]


def _first_line(error: Exception, uri: str) -> str:
    """The error's message, on one line and without the password of the address."""
    told = " ".join(str(error).split()) or type(error).__name__
    password = urlsplit(uri).password
    for secret in filter(None, (password, password and unquote(password))):
        told = told.replace(secret, "...")
    return told if len(told) <= _LONGEST else f"{told[:_LONGEST]}..."
