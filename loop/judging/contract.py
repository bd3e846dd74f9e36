"""What a candidate's files have to be before their answers count."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from loop.judging.measured import ContractCheck
from ner.disk import sha256
from ner.errors import BundleError, BundleUnavailableError
from ner.labels import LabelSet
from ner.models.bundle import LABELS, MODEL, TOKENIZER, read_manifest

OPSETS = (11, 21)  # what the runtime's INT8 operators are defined for, and this project was tried with
_TRAIN = "Train the model again: `loop retrain`."


class WrongFileError(BundleError):
    """A model's files are shown to be wrong. A reason that may pass, such as a missing folder, is another error."""


def check_contract(
    folder: Path, version: str, recorded: Mapping[str, Any], labels: Sequence[str]
) -> tuple[ContractCheck, ...]:
    """Prove version, files, label list, tokenizer, opset and output width of a model folder, in that order.

    recorded: SHA-256 of each file as the store noted it when the model was made, {} where the store noted none. A
    changed file is found although its manifest was written anew. labels: the project's. Nothing is run.
    Raises WrongFileError, named after the check, for the first check that does not hold. Raises BundleUnavailableError
    where a file cannot be read, and BundleError for another label list: the project's may be changed back.
    """
    manifest = read_manifest(folder)
    done = [_check("version", version, manifest.version, "Put the model's own folder back.")]
    for name, digest in (recorded or manifest.files).items():
        done.append(_check(_name(name), _short(digest), _short(_sha256(folder / name)), _TRAIN))
    done.append(_check_labels(labels, manifest.labels))
    done.append(_check(f"label list in {LABELS}", list(labels), _written(folder), _TRAIN))
    opset, width = _read_graph(folder / MODEL)
    done.append(_check_opset(opset))
    tags = len(LabelSet(manifest.labels).tags)
    if width is not None:
        done.append(_check("output width", f"{tags} tags of {len(labels)} labels", _width(width, tags, labels), _TRAIN))
    return tuple(done)


def _name(file: str) -> str:
    return {TOKENIZER: "tokenizer hash", MODEL: "model hash"}.get(file, f"hash of {file}")


def _check(name: str, expected: object, found: object, next_step: str) -> ContractCheck:
    if expected != found:
        raise WrongFileError(
            f"contract, {name}: the file is what was trained",
            value=f"{found}, expected {expected}",
            next_step=next_step,
        )
    return ContractCheck(name, _shown(expected), _shown(found), True)


def _check_labels(labels: Sequence[str], own: Sequence[str]) -> ContractCheck:
    if list(labels) != list(own):
        raise BundleError(
            "contract, label list: the model's labels are the project's, in order",
            value=f"model {list(own)}, project {list(labels)}",
            next_step="Retrain for the project's labels, or put the config back.",
        )
    return ContractCheck("label list", ", ".join(labels), ", ".join(own), True)


def _check_opset(opset: int) -> ContractCheck:
    first, last = OPSETS
    if not first <= opset <= last:
        raise WrongFileError(f"contract, opset: {first} to {last}", value=opset, next_step="Export the model again.")
    return ContractCheck("opset", f"{first} to {last}", str(opset), True)


def _read_graph(path: Path) -> tuple[int, int | None]:
    """(opset, width of the output where the graph names it)."""
    import onnx

    try:
        graph = onnx.load(str(path), load_external_data=False)
    except (OSError, MemoryError) as error:
        raise _unread(error) from error
    except Exception as error:
        raise WrongFileError(
            "contract, model file: it is a whole ONNX graph", value=f"{path}: {str(error)[:100]}", next_step=_TRAIN
        ) from error
    opset = next((item.version for item in graph.opset_import if item.domain in ("", "ai.onnx")), 0)
    outputs = {item.name: item for item in graph.graph.output}
    chosen = outputs.get("logits") or (graph.graph.output[0] if graph.graph.output else None)
    dims = list(chosen.type.tensor_type.shape.dim) if chosen is not None else []
    return opset, (dims[-1].dim_value or None) if len(dims) == 3 else None


def _width(width: int, tags: int, labels: Sequence[str]) -> str:
    return f"{width} tags of {len(labels)} labels" if width == tags else f"{width} tags"


def _written(folder: Path) -> Any:
    try:
        return json.loads((folder / LABELS).read_text("utf-8"))
    except OSError as error:
        raise _unread(error) from error
    except (ValueError, RecursionError) as error:
        raise WrongFileError(f"contract, label list: {LABELS} is JSON", value=str(error), next_step=_TRAIN) from error


def _sha256(path: Path) -> str:
    try:
        return sha256(path)
    except OSError as error:
        raise _unread(error) from error


def _unread(error: Exception) -> BundleUnavailableError:
    rule, step = "every file of a model can be read", "Put the file back, or free some memory, and try again."
    return BundleUnavailableError(rule, value=repr(error), next_step=step)


def _short(digest: object) -> str:
    return str(digest)[:16]


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
