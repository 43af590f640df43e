"""What choosing by a score costs against the best choice, with its bootstrap interval over groups of runs."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from analysis.inference.bootstrap import RESAMPLES, Floats, Ints, percentile_interval, resample_groups
from analysis.inference.t_tests import Interval, check_finite


def estimate_regret(
    scores: Sequence[float],
    outcomes: Sequence[float],
    *,
    groups: Sequence[Hashable] | None = None,
    resamples: int = RESAMPLES,
) -> tuple[float, Interval]:
    """Return how much more than the chosen run the best one has, and the percentile interval over resampled groups.

    The interval shows how far the figure hangs on single groups. Its coverage is below its name, as for all bootstraps
    of a maximum: no resample has a better run than the best one seen
    (:func:`analysis.inference.expected_best.expected_best` has figures).

    Args:
        scores: (n,) what is chosen by; the largest is chosen, the first of several.
        outcomes: (n,) what the choice is worth, of the same runs.
        groups: (n,) of runs that are drawn together, such as the seeds of one configuration; unset, each alone.
        resamples: bootstrap samples of the groups.

    Raises:
        ValueError: no runs, different lengths, or a value that is not finite.
    """
    score, outcome = check_finite(scores, "scores"), check_finite(outcomes, "outcomes")
    if not len(score) or len(score) != len(outcome):
        raise ValueError(f"Expected a score and an outcome of each run, found {len(score)} and {len(outcome)}.")
    order = np.argsort(-score, kind="stable")

    def regret(counts: Ints) -> Floats:
        drawn = counts > 0
        chosen = outcome[order][drawn[:, order].argmax(axis=1)]
        best = np.where(drawn, outcome, -np.inf).max(axis=1)
        return np.asarray(best - chosen)[:, None]

    seen = float(regret(np.ones((1, len(score)), dtype=np.int64))[0, 0])
    drawn_together = range(len(score)) if groups is None else groups
    return seen, percentile_interval(resample_groups(drawn_together, resamples, regret)[:, 0])
