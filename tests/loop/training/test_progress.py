from __future__ import annotations

from loop.training.progress import BEAT_SECONDS, Epoch, Silence, Teller, TrainingStep


def test_a_long_epoch_is_heard_of_once_a_minute_and_its_end_at_once() -> None:
    now, beats = [0.0], []
    teller = Teller(Silence(), clock=lambda: now[0])
    teller.beat = lambda: beats.append(now[0])
    for _ in range(10):
        now[0] += BEAT_SECONDS / 4
        teller.step(TrainingStep(1, 1, 1, 10, 0.5, 1.0))
    assert beats == [BEAT_SECONDS, 2 * BEAT_SECONDS]
    teller.epoch(Epoch(1, 1, 0.5, 0.5, 0.5, True))
    assert beats[2:] == [2.5 * BEAT_SECONDS]


def test_every_stage_is_a_sign_of_life() -> None:
    beats: list[int] = []
    teller = Teller(Silence())
    teller.beat = lambda: beats.append(1)
    teller.stage("exporting")
    assert beats == [1]
