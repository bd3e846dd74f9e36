"""The arrays of this project, by what they hold; docstrings give the shape of each."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
# What a network answers, of whatever width its floats are.
Logits = npt.NDArray[np.floating[Any]]
