"""Seconds of stages: what is within another one is counted once."""

from types import SimpleNamespace

from annotate.data import stages
from annotate.data.stages import Stages


def test_a_stage_within_another_is_counted_for_itself(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(stages, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    made = Stages()

    def passes(seconds: float) -> None:
        now[0] += seconds

    def frames():
        for _ in range(3):
            passes(1)
            yield

    passes(100)
    for _ in made.each("decode", frames()):
        passes(1000)  # of nobody
        with made.of("track"):
            passes(10)
            with made.of("ground"):
                passes(5)
            passes(20)
    assert made.seconds == {"decode": 3, "track": 90, "ground": 15}
