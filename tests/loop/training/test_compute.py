from __future__ import annotations

import pytest
import torch

from loop.settings.model import TrainSettings
from loop.training.compute import find_compute
from loop.training.progress import TrainingError


@pytest.fixture(params=[False, True], ids=["no GPU", "a GPU"])
def has_gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """What torch says it sees; where the machine has no GPU, nothing can be computed on the one that is claimed."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: request.param)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: not including_emulation)
    return bool(request.param)


def test_a_gpu_is_taken_where_there_is_one_and_the_processor_where_people_say_so(has_gpu: bool) -> None:
    assert find_compute(TrainSettings()).device == ("cuda" if has_gpu else "cpu")
    assert find_compute(TrainSettings(device="cpu")).device == "cpu"


def test_a_gpu_that_is_asked_for_and_not_there_is_an_error_that_tells_the_way_out(has_gpu: bool) -> None:
    asked = TrainSettings(device="cuda")
    if has_gpu:
        assert find_compute(asked).device == "cuda"
        return
    with pytest.raises(TrainingError, match=r'Install a build of torch for your GPU, or set train\.device to "auto"'):
        find_compute(asked)


def test_people_decide_the_precision_and_otherwise_the_device_does(has_gpu: bool) -> None:
    assert find_compute(TrainSettings(precision="bfloat16")).bfloat16
    assert not find_compute(TrainSettings(precision="float32")).bfloat16
    if has_gpu:
        assert find_compute(TrainSettings(precision="auto")).bfloat16
