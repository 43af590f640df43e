"""What the score that a search chose by is worth: its rank correlation with real accuracy over the runs on record."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.inference.rank_correlation import INTERVAL_FROM, rank_correlation
from analysis.runs.comparable import keep_comparable_with, keep_distinct
from analysis.runs.metrics import has_metrics
from csg.messages.console import Console
from csg.messages.wording import pluralize
from csg.tasks import find_task
from csg.tracking import TrackedRun, read_experiment
from csg.training.score_words import describe_score
from csg.training.selection import ASKS
from tune_spaces.search.plan import Search


def show_worth(search: Search, console: Console) -> None:
    """Print :func:`describe_worth` of all runs of a search's experiment."""
    if worth := describe_worth(search, read_experiment(search.tracking_uri, search.experiment)):
        console.print(worth)


def describe_worth(search: Search, runs: Sequence[TrackedRun]) -> str:
    """Say how well the runs on record rank by the search's score as they do on real images.

    Args:
        search: the search.
        runs: of its experiment, the newest last.

    Returns:
        A sentence. Nothing under ``oracle``, which looks at labels, and where no real image has one.
    """
    task, protocol = find_task(search.config.data), search.config.selection.protocol
    distinct = keep_distinct(runs)
    if ASKS[protocol] == "labels" or not distinct:
        return ""
    metric = f"selected/{search.score_metric}"
    compared = keep_comparable_with(distinct[-1], distinct).runs
    measured = [run for run in compared if has_metrics(run, metric)]
    real = f"real {task.score_words}"
    found = rank_correlation(
        [run.metrics[metric] for run in measured], [run.metrics[task.real_score] for run in measured]
    )
    interval = found.shown_interval
    if found.rho is None or interval is None:
        return (
            f"What {describe_score(search.config)} says of {real} is not known on these data yet: that takes "
            f"{INTERVAL_FROM} finished runs that differ, found {len(measured)}."
        )
    return (
        f"Over {pluralize(len(measured), 'comparable finished run')} on record, {describe_score(search.config)} "
        f"has a rank correlation of {found.rho:.2f} [{interval.low:.2f}, {interval.high:.2f}] with {real} "
        "(1 ranks them alike, 0 says nothing of it)."
    )
