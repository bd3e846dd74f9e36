"""The plot of F1 against time: where its marks and its labels stand."""

from __future__ import annotations

from itertools import pairwise

import pytest

from loop.report.page.figures import TimedF1, scatter


def points(*systems: tuple[str, float, float]) -> list[TimedF1]:
    """(name, F1, ms of its fastest runtime): torch takes ten times as long."""
    return [
        TimedF1(name, runtime, f1, times * ms)
        for name, f1, ms in systems
        for runtime, times in (("torch FP32", 10.0), ("ONNX INT8", 1.0))
    ]


def test_a_higher_f1_stands_higher_and_a_faster_system_further_left() -> None:
    plot = scatter(points(("full", 0.7, 2.0), ("distilled", 0.6, 1.0)))
    assert plot is not None
    full, student = plot.marks[1], plot.marks[3]
    assert full.y < student.y
    assert student.x < full.x
    assert all(0 <= place <= 100 for mark in plot.marks for place in (mark.x, mark.y))


def test_ten_times_the_time_is_the_same_way_everywhere_on_the_axis() -> None:
    plot = scatter(points(("full", 0.7, 2.0), ("distilled", 0.6, 1.0)))
    assert plot is not None
    ways = [torch.x - served.x for torch, served in (plot.marks[:2], plot.marks[2:])]
    assert ways[0] == pytest.approx(ways[1], abs=0.02)


def test_the_last_runtime_of_a_system_is_labelled_and_lines_stay_within_a_system() -> None:
    plot = scatter(points(("full", 0.7, 2.0), ("lora", 0.6, 1.0)))
    assert plot is not None
    assert [mark.label for mark in plot.marks] == ["", "full", "", "lora"]
    ends = [(mark.x, mark.y) for mark in plot.marks]
    assert plot.segments == ((*ends[0], *ends[1]), (*ends[2], *ends[3]))


def test_labels_of_systems_that_score_alike_do_not_lie_on_each_other() -> None:
    plot = scatter(points(("full", 0.7, 2.0), ("lora", 0.7, 2.0), ("distilled", 0.699, 2.0)))
    assert plot is not None
    labels = sorted(mark.label_y for mark in plot.marks if mark.label)
    assert min(below - above for above, below in pairwise(labels)) >= 9


def test_nothing_timed_is_no_plot() -> None:
    assert scatter([]) is None
