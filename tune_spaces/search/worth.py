"""What the score that a search chose by is worth: its rank correlation with real accuracy over the runs on record."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.inference.rank_correlation import INTERVAL_FROM, rank_correlation
from analysis.runs.comparable import keep_comparable_with
from analysis.runs.metrics import get_configuration, has_metrics
from csg.messages.console import Console
from csg.messages.wording import pluralize
from csg.tasks import find_task
from csg.tracking import TrackedRun, read_experiment
from csg.training.score_words import describe_score
from csg.training.selection import ASKS
from tune_spaces.execution.driver import Outcome
from tune_spaces.search.plan import Search


def show_worth(search: Search, outcome: Outcome, console: Console) -> None:
    """Print :func:`describe_worth` of all runs of a search's experiment."""
    trials = outcome.tracker.read_children(outcome.parent)
    if worth := describe_worth(search, trials, read_experiment(search.tracking_uri, search.experiment)):
        console.print()
        console.print(worth)


def describe_worth(search: Search, trials: Sequence[TrackedRun], runs: Sequence[TrackedRun]) -> str:
    """Say how well the runs on record rank by the search's score as they do on real images.

    Args:
        search: the search.
        trials: its own, the newest last; runs of their program and data count.
        runs: of its experiment, the newest last.

    Returns:
        A sentence. Nothing under ``oracle``, which looks at labels, and where no real image has one.
    """
    task, protocol = find_task(search.config.data), search.config.selection.protocol
    metric = f"selected/{search.score_metric}"
    own = [run for run in trials if has_metrics(run, metric, task.real_score)]
    if ASKS[protocol] == "labels" or not own:
        return ""
    compared = keep_comparable_with(own[-1], runs).runs
    measured = [run for run in compared if has_metrics(run, metric, task.real_score)]
    real = f"real {task.score_words}"
    found = rank_correlation(
        [run.metrics[metric] for run in measured],
        [run.metrics[task.real_score] for run in measured],
        groups=[get_configuration(run) for run in measured],
    )
    interval = found.shown_interval
    if found.rho is None or interval is None:
        why = found.reason or f"runs of {pluralize(found.groups, 'configuration')}, and it takes {INTERVAL_FROM}"
        return f"What {describe_score(search.config)} says of {real} is not known on these data yet: {why}."
    return (
        f"Over {pluralize(len(measured), 'comparable finished run')} on record "
        f"({pluralize(found.groups, 'configuration')}), {describe_score(search.config)} "
        f"has a rank correlation of {found.rho:.2f} [{interval.low:.2f}, {interval.high:.2f}] with {real} "
        "(1 ranks them alike, 0 says nothing of it)."
    )
