"""The targets that a model can be exported to. A new target is a module of this room, and its line here."""

from __future__ import annotations

from loop.targets import adapter, onnx_folder, openvino_ir, transformers_folder, triton

TARGETS = {
    one.name: one
    for one in (
        transformers_folder.TARGET,
        adapter.TARGET,
        onnx_folder.TARGET,
        triton.TARGET,
        openvino_ir.TARGET,
    )
}
