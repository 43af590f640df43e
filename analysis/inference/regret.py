"""What choosing by a score costs against the best choice, with its bootstrap interval over the runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.inference.bootstrap import RESAMPLES, Floats, Ints, percentile_interval, resample
from analysis.inference.t_tests import Interval, check_finite


def estimate_regret(
    scores: Sequence[float], outcomes: Sequence[float], *, resamples: int = RESAMPLES
) -> tuple[float, Interval]:
    """Return how much more than the chosen run the best one has, and the percentile interval over resampled runs.

    Args:
        scores: (n,) what is chosen by; the largest is chosen, the first of several.
        outcomes: (n,) what the choice is worth, of the same runs.
        resamples: bootstrap samples of the runs.

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
    return seen, percentile_interval(resample(len(score), resamples, regret)[:, 0])
