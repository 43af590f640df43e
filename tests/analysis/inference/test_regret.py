"""What choosing by a score costs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.inference.regret import estimate_regret


def test_the_cost_is_what_the_best_has_more_than_the_chosen() -> None:
    lost, interval = estimate_regret([0.1, 0.9, 0.5], [70.0, 60.0, 65.0])
    assert lost == 10.0
    assert interval.low == 0.0, "samples without the first run, or of the second alone, lose less"
    assert interval.high == 10.0


def test_runs_of_a_group_are_drawn_together() -> None:
    """Two groups: a sample is one of them, or both; each alone loses nothing, both lose 10."""
    scores, outcomes = [0.9, 0.9, 0.1, 0.1], [60.0, 60.0, 70.0, 70.0]
    apart, (lost, interval) = (estimate_regret(scores, outcomes, groups=each) for each in (None, "aabb"))
    assert lost == apart[0] == interval.high == 10 and interval.low == 0
    alone = estimate_regret(scores, outcomes, groups="aaaa")[1]
    assert (alone.low, alone.high) == (10, 10), "there is one sample"


def test_of_equal_scores_the_first_is_chosen() -> None:
    assert estimate_regret([0.5, 0.5], [1.0, 3.0])[0] == 2.0


@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(0, 100)), min_size=1, max_size=12))
def test_choosing_by_the_outcome_itself_costs_nothing(runs: list[tuple[float, float]]) -> None:
    outcomes = [outcome for _, outcome in runs]
    lost, interval = estimate_regret(outcomes, outcomes, resamples=50)
    assert (lost, interval.low, interval.high) == (0.0, 0.0, 0.0)
    lost, interval = estimate_regret([score for score, _ in runs], outcomes, resamples=50)
    assert 0 <= interval.low <= interval.high <= np.ptp(outcomes) + 1e-9 and lost >= 0


@pytest.mark.parametrize(("scores", "outcomes"), [([], []), ([1.0], [1.0, 2.0]), ([float("nan")], [1.0])])
def test_what_is_no_choice_is_refused(scores: list[float], outcomes: list[float]) -> None:
    with pytest.raises(ValueError, match="found"):
        estimate_regret(scores, outcomes)
