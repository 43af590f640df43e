"""A search's trials: their number, role and scores by epoch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from analysis.runs.metrics import has_metrics
from analysis.runs.run_table import RunTable, SearchRuns
from csg.tracking import TrackedRun, add_histories
from csg.tracking.tags import Tag
from csg.training.selection import SELECTION_SCORE

REFERENCES: Final = ("source_only", "default")
"""Roles of the trials that the search did not suggest."""


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
        """The score that a finished trial is ranked by, of others that at the last measured epoch; None if not finite.

        They differ under ``selection.epoch=best``. A finished trial without the one has the other.
        """
        if self.run.status == "finished" and has_metrics(self.run, SELECTION_SCORE):
            return self.run.metrics[SELECTION_SCORE]
        value = self.scores.get(self.epoch, math.nan)
        return value if math.isfinite(value) else None


def list_trials(runs: Iterable[TrackedRun], score: str) -> list[Trial]:
    """Return the trials among ``runs`` by trial number; a run without the tag ``csg.trial`` is not a trial."""
    found = [
        Trial(int(run.tags[Tag.TRIAL]), _get_role(run), run, run.history.get(score, {}))
        for run in runs
        if Tag.TRIAL in run.tags
    ]
    return sorted(found, key=lambda trial: trial.number)


def _get_role(run: TrackedRun) -> str:
    role = run.tags.get(Tag.ROLE, "")
    return role if role in REFERENCES else "suggested"


def rank_trials(runs: Iterable[TrackedRun]) -> list[TrackedRun]:
    """Return a search's finished trials by selection score, the best first, without source only.

    Source only lies outside the search space, so the search cannot choose it.
    """
    candidates = [
        run
        for run in runs
        if run.status == "finished" and run.tags.get(Tag.ROLE) != "source_only" and has_metrics(run, SELECTION_SCORE)
    ]
    return sorted(candidates, key=lambda run: -run.metrics[SELECTION_SCORE])


def find_best(trials: Iterable[Trial]) -> Trial | None:
    """Return the finished trial that :func:`rank_trials` puts first, from the scores by epoch where a run has no other.

    Of equal ones it is the earliest.

    None if no trial of the space has finished with a score.
    """
    candidates = [
        trial
        for trial in trials
        if trial.run.status == "finished" and trial.role != "source_only" and trial.score is not None
    ]
    return max(candidates, key=_rank, default=None)


def _rank(trial: Trial) -> tuple[float, int]:
    return (-math.inf if trial.score is None else trial.score), -trial.number


def read_scores(table: RunTable, search: SearchRuns) -> list[TrackedRun]:
    """Return a search's trials with the history of its score.

    A folder may have been exported without histories. Then a finished trial has its score at its last epoch. Every
    other trial has none, because the epoch that it reached is unknown.

    Raises:
        UserError: the store does not answer.
    """
    if not Path(table.place).is_dir():
        return add_histories(table.place, search.runs, [search.score])
    return [
        run if run.history else dataclasses.replace(run, history={search.score: _get_last(run, search.score)})
        for run in search.runs
    ]


def _get_last(run: TrackedRun, score: str) -> dict[int, float]:
    measured = run.status == "finished" and has_metrics(run, score)
    return {int(run.params["train.epochs"]): run.metrics[score]} if measured else {}
