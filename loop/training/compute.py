"""Where the steps of a training are computed, and in which precision."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from loop.settings.model import TrainSettings
from loop.training.progress import TrainingError


@dataclass(frozen=True, slots=True)
class Compute:
    """device: "cpu" or "cuda", as torch names it. bfloat16: whether matrices are multiplied in bfloat16."""

    device: str
    bfloat16: bool

    def precision(self) -> AbstractContextManager[Any]:
        """Inside, a model computes in this precision; its weights stay in float32."""
        return torch.autocast(self.device, dtype=torch.bfloat16) if self.bfloat16 else nullcontext()


def find_compute(settings: TrainSettings) -> Compute:
    """What the settings ask for, on this machine. Raises TrainingError where they ask for a GPU that torch does not
    see."""
    seen = torch.cuda.is_available()
    if settings.device == "cuda" and not seen:
        raise TrainingError(
            'with train.device = "cuda", torch sees a GPU',
            value=f"none seen by torch {torch.__version__}",
            next_step='Install a build of torch for your GPU, or set train.device to "auto".',
        )
    device = "cuda" if seen and settings.device != "cpu" else "cpu"
    fast = torch.cuda.is_bf16_supported(including_emulation=False) if device == "cuda" else _processor_has_bfloat16()
    return Compute(device, settings.precision == "bfloat16" or (settings.precision == "auto" and fast))


def _processor_has_bfloat16() -> bool:
    """Whether this processor multiplies matrices in bfloat16 (Linux's names); emulated it is slower than float32."""
    try:
        flags = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
