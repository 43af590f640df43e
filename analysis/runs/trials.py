"""A search's trials, as its figures read them: numbered, with their role and their scores by epoch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from csg.tracking import TrackedRun
from csg.tracking.tags import ROLE_TAG, TRIAL_TAG
from csg.training.evaluation import PROTOCOL_STREAMS

REFERENCES = ("source_only", "default")
"""Roles of the trials that were not suggested by the search, but set beside it."""


@dataclass(frozen=True)
class Trial:
    """One trial of a search."""

    number: int
    role: str
    """"suggested", "source_only" or "default"."""
    run: TrackedRun
    scores: Mapping[int, float]
    """The selection score by epoch, a fraction."""

    @property
    def epoch(self) -> int:
        """The last epoch that was measured; 0 if none was."""
        return max(self.scores, default=0)

    @property
    def score(self) -> float | None:
        """The score at the last epoch measured; None if there is none or it is not finite."""
        value = self.scores.get(self.epoch, math.nan)
        return value if math.isfinite(value) else None


def trials_of(runs: Iterable[TrackedRun], score: str) -> list[Trial]:
    """Return the trials among ``runs`` by trial number; runs without the tag ``csg.trial`` are no trials."""
    found = [
        Trial(int(run.tags[TRIAL_TAG]), _role(run), run, run.history.get(score, {}))
        for run in runs
        if TRIAL_TAG in run.tags
    ]
    return sorted(found, key=lambda trial: trial.number)


def _role(run: TrackedRun) -> str:
    role = run.tags.get(ROLE_TAG, "")
    return role if role in REFERENCES else "suggested"


def protocol_of_score(score: str) -> str:
    """Return the selection protocol that looks at the score's stream; empty if none does."""
    stream = score.rpartition("/")[0]
    return next((protocol for protocol, looked_at in PROTOCOL_STREAMS.items() if looked_at == stream), "")
