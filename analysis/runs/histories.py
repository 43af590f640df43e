"""The scores of a search's trials by epoch, which a table of runs does not hold."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

from analysis.runs.run_table import RunTable, SearchRuns
from csg.tracking import TrackedRun, add_histories


def with_scores(table: RunTable, search: SearchRuns) -> list[TrackedRun]:
    """Return a search's trials with the history of its score.

    In an exported folder that was written without histories a finished trial has its score at its last epoch, and all
    others, of which it is not known how far they came, have none, so that still no rung is compared with another.

    Raises:
        UserError: the store does not answer.
    """
    if not Path(table.place).is_dir():
        return add_histories(table.place, search.runs, [search.score])
    return [
        run if run.history else dataclasses.replace(run, history={search.score: _last(run, search.score)})
        for run in search.runs
    ]


def _last(run: TrackedRun, score: str) -> dict[int, float]:
    value = run.metrics.get(score, math.nan)
    return {int(run.params["train.epochs"]): value} if run.status == "finished" and math.isfinite(value) else {}
