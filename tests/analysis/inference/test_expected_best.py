from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from analysis.inference.expected_best import expected_best

SCORES = [0.3, 0.9, 0.5, 0.5, 0.8, 0.1, 0.9]
"""Selection scores of 7 trials, some equal."""
OUTCOMES = [0.2, 0.4, 0.7, 0.1, 0.6, 0.3, 0.8]


def by_enumeration(scores: list[float], outcomes: list[float], budget: int) -> tuple[float, float]:
    """Average the best score, and the outcome of the trial that has it, over every draw; ties share."""
    best, chosen = [], []
    for draw in itertools.combinations(range(len(scores)), budget):
        best.append(max(scores[trial] for trial in draw))
        chosen.append(np.mean([outcomes[trial] for trial in draw if scores[trial] == best[-1]]))
    return float(np.mean(best)), float(np.mean(chosen))


def test_expected_best_is_that_of_all_draws() -> None:
    found = expected_best(SCORES, OUTCOMES, range(1, 8))
    assert [best.budget for best in found] == [1, 2, 3, 4, 5, 6, 7]
    for best in found:
        assert (best.score, best.outcome) == pytest.approx(by_enumeration(SCORES, OUTCOMES, best.budget))


def test_expected_best_runs_from_the_mean_to_the_maximum() -> None:
    scores = np.random.default_rng(0).normal(size=1000).tolist()
    found = [best.score for best in expected_best(scores, scores, [1, 10, 100, 1000], resamples=50)]
    assert found == sorted(found)
    assert (found[0], found[-1]) == pytest.approx((np.mean(scores), max(scores)))


@pytest.mark.slow
def test_drawing_without_replacement_is_unbiased_and_with_is_not() -> None:
    """Ten trials of a uniform score, best of eight: the truth is 8 / 9."""
    samples = np.random.default_rng(0).random((4000, 10))
    without = np.mean([expected_best(sample, sample, [8], resamples=1)[0].score for sample in samples.tolist()])
    shares = np.diff((np.arange(11) / 10) ** 8)
    assert without == pytest.approx(8 / 9, abs=0.005)
    assert np.mean(np.sort(samples) @ shares) < 8 / 9 - 0.02


def test_interval_of_the_expected_best_is_that_of_drawing_trials() -> None:
    rng = np.random.default_rng(3)
    scores = np.round(rng.normal(size=30), 1)
    outcomes = scores + rng.normal(size=30)
    (found,) = expected_best(scores.tolist(), outcomes.tolist(), [4])
    draws = []
    for _ in range(1500):
        drawn = rng.integers(30, size=30)
        (best,) = expected_best(scores[drawn].tolist(), outcomes[drawn].tolist(), [4], resamples=1)
        draws.append((best.score, best.outcome))
    low, high = np.quantile(np.array(draws, dtype=float), [0.025, 0.975], axis=0)
    for index, interval in enumerate((found.score_interval, found.outcome_interval)):
        assert (interval.low, interval.high) == pytest.approx((low[index], high[index]), abs=0.08)


def test_no_budget_has_no_expected_best() -> None:
    assert expected_best([0.5, 0.6], [0.5, 0.6], []) == []


@pytest.mark.parametrize(
    ("scores", "outcomes", "budgets", "message"),
    [
        ([0.1, 0.2], [0.1, 0.2], [3], "from 1 to the number of trials, 2, found 3"),
        ([0.1, 0.2], [0.1, 0.2], [0], "found 0"),
        ([], [], [1], "the number of trials, 0"),
        ([0.1, math.nan], [0.1, 0.2], [1], "finite scores"),
        ([0.1, 0.2], [0.3, math.inf], [1], "finite outcomes"),
        ([0.1, 0.2], [0.3], [1], "an outcome for each of 2 scores, found 1"),
    ],
)
def test_searches_that_do_not_fit_are_refused(
    scores: list[float], outcomes: list[float], budgets: list[int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        expected_best(scores, outcomes, budgets)
