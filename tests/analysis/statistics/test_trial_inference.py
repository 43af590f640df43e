import itertools
import math

import numpy as np
import pytest
from scipy import stats

from analysis.statistics.trial_inference import ExpectedBest, expected_best, rank_correlation

SCORES = [0.3, 0.9, 0.5, 0.5, 0.8, 0.1, 0.9]
"""Selection scores of 7 trials, some equal."""
OUTCOMES = [0.2, 0.4, 0.7, 0.1, 0.6, 0.3, 0.8]


def correlated(n: int, seed: int = 0) -> tuple[list[float], list[float]]:
    """Draw points with ties in both coordinates."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    return np.round(x, 1).tolist(), np.round(0.6 * x + 0.8 * rng.normal(size=n), 1).tolist()


def test_rank_correlations_are_scipys() -> None:
    x, y = correlated(40)
    found = rank_correlation(x, y)
    rho, tau = stats.spearmanr(x, y), stats.kendalltau(x, y, variant="b")
    assert (found.rho, found.rho_p) == pytest.approx((rho.statistic, rho.pvalue))
    assert (found.tau, found.tau_p) == pytest.approx((tau.statistic, tau.pvalue))
    assert (found.n, found.undefined, found.reason) == (40, 0, "")


@pytest.mark.parametrize("n", [3, 5, 6])
def test_p_of_few_points_comes_from_all_permutations(n: int) -> None:
    x, y = correlated(n, seed=n)
    found = rank_correlation(x, y)
    for p, statistic in ((found.rho_p, stats.spearmanr), (found.tau_p, stats.kendalltau)):
        reference = stats.permutation_test(
            (y,),
            lambda permuted, s=statistic: s(x, permuted).statistic,
            permutation_type="pairings",
            n_resamples=math.inf,
        )
        # scipy doubles the smaller tail, which differs where the distribution is not symmetric.
        extreme = np.abs(reference.null_distribution) >= abs(reference.statistic) - 1e-12
        assert p == pytest.approx(np.mean(extreme))


def test_three_points_in_order_are_no_evidence() -> None:
    found = rank_correlation([1, 2, 3], [10, 20, 30])
    # The t approximation would say p = 0.
    assert (found.rho, found.tau) == pytest.approx((1, 1))
    assert (found.rho_p, found.tau_p) == pytest.approx((1 / 3, 1 / 3))


def test_interval_of_rho_is_that_of_ranking_each_resample() -> None:
    points = correlated(25)
    found = rank_correlation(*points, resamples=4000)
    drawn = np.random.default_rng(7).integers(25, size=(4000, 25))
    ranks_x, ranks_y = (stats.rankdata(np.array(values)[drawn], axis=1) for values in points)
    draws = [np.corrcoef(a, b)[0, 1] for a, b in zip(ranks_x, ranks_y, strict=True)]
    low, high = np.quantile(draws, [0.025, 0.975])
    assert found.rho_interval is not None
    assert (found.rho_interval.low, found.rho_interval.high) == pytest.approx((low, high), abs=0.03)


def test_resamples_without_an_answer_are_counted() -> None:
    found = rank_correlation([0, 0, 0, 1], [1, 2, 3, 4], resamples=4000)
    # All from the first three points, or all the last: (3 / 4) ** 4 + (1 / 4) ** 4 = 32 %.
    assert found.undefined / 4000 == pytest.approx(0.320, abs=0.03)
    assert found.rho_interval is not None and found.rho_interval.low > 0


@pytest.mark.parametrize(
    ("x", "y", "reason"),
    [
        ([], [], "0 points, and a rank correlation needs 3"),
        ([1, 2], [1, 2], "2 points, and a rank correlation needs 3"),
        ([1, 1, 1], [1, 2, 3], "all 3 values of x are equal"),
        ([1, 2, 3], [5, 5, 5], "all 3 values of y are equal"),
    ],
)
def test_no_rank_correlation_has_a_reason(x: list[float], y: list[float], reason: str) -> None:
    found = rank_correlation(x, y)
    assert found.reason == reason
    assert (found.rho, found.rho_p, found.tau, found.tau_p, found.rho_interval) == (None,) * 5


@pytest.mark.parametrize(("x", "y"), [([1, 2, 3], [1, 2]), ([1, 2, math.nan], [1, 2, 3])])
def test_points_that_are_not_pairs_of_numbers_are_refused(x: list[float], y: list[float]) -> None:
    with pytest.raises(ValueError, match="Expected"):
        rank_correlation(x, y)


def by_enumeration(scores: list[float], outcomes: list[float], budget: int) -> tuple[float, float]:
    """Average the best score, and the outcome of the trial that has it, over every draw; ties share."""
    best, chosen = [], []
    for draw in itertools.combinations(range(len(scores)), budget):
        best.append(max(scores[trial] for trial in draw))
        chosen.append(np.mean([outcomes[trial] for trial in draw if scores[trial] == best[-1]]))
    return float(np.mean(best)), float(np.mean(chosen))


def test_expected_best_is_that_of_all_draws() -> None:
    found = expected_best(SCORES, range(1, 8), outcomes=OUTCOMES)
    assert [best.budget for best in found] == [1, 2, 3, 4, 5, 6, 7]
    for best in found:
        assert (best.score, best.outcome) == pytest.approx(by_enumeration(SCORES, OUTCOMES, best.budget))


def test_expected_best_where_lower_is_better() -> None:
    mirrored = expected_best([-score for score in SCORES], [1, 3, 7], outcomes=OUTCOMES, higher_is_better=False)
    for low, high in zip(mirrored, expected_best(SCORES, [1, 3, 7], outcomes=OUTCOMES), strict=True):
        assert (low.score, low.outcome) == pytest.approx((-high.score, high.outcome))
        assert (low.score_interval.low, low.score_interval.high) == pytest.approx(
            (-high.score_interval.high, -high.score_interval.low)
        )
        assert low.outcome_interval == high.outcome_interval


def test_expected_best_runs_from_the_mean_to_the_maximum() -> None:
    scores = np.random.default_rng(0).normal(size=1000).tolist()
    found = [best.score for best in expected_best(scores, [1, 10, 100, 1000], resamples=50)]
    assert found == sorted(found)
    assert (found[0], found[-1]) == pytest.approx((np.mean(scores), max(scores)))


@pytest.mark.slow
def test_drawing_without_replacement_is_unbiased_and_with_is_not() -> None:
    """Ten trials of a uniform score, best of eight: the truth is 8 / 9."""
    samples = np.random.default_rng(0).random((4000, 10))
    without = np.mean([expected_best(sample, [8], resamples=1)[0].score for sample in samples.tolist()])
    shares = np.diff((np.arange(11) / 10) ** 8)
    assert without == pytest.approx(8 / 9, abs=0.005)
    assert np.mean(np.sort(samples) @ shares) < 8 / 9 - 0.02


def test_interval_of_the_expected_best_is_that_of_drawing_trials() -> None:
    rng = np.random.default_rng(3)
    scores = np.round(rng.normal(size=30), 1)
    outcomes = scores + rng.normal(size=30)
    (found,) = expected_best(scores.tolist(), [4], outcomes=outcomes.tolist())
    draws = []
    for _ in range(1500):
        drawn = rng.integers(30, size=30)
        (best,) = expected_best(scores[drawn].tolist(), [4], outcomes=outcomes[drawn].tolist(), resamples=1)
        draws.append((best.score, best.outcome))
    low, high = np.quantile(np.array(draws, dtype=float), [0.025, 0.975], axis=0)
    assert found.outcome_interval is not None
    for index, interval in enumerate((found.score_interval, found.outcome_interval)):
        assert (interval.low, interval.high) == pytest.approx((low[index], high[index]), abs=0.08)


def test_expected_best_without_outcomes() -> None:
    (best,) = expected_best([0.5], [1])
    assert best == ExpectedBest(1, 0.5, best.score_interval, None, None)
    assert expected_best([0.5, 0.6], []) == []


@pytest.mark.parametrize(
    ("scores", "budgets", "outcomes", "message"),
    [
        ([0.1, 0.2], [3], None, "from 1 to the number of trials, 2, found 3"),
        ([0.1, 0.2], [0], None, "found 0"),
        ([], [1], None, "the number of trials, 0"),
        ([0.1, math.nan], [1], None, "finite scores"),
        ([0.1, 0.2], [1], [0.3, math.inf], "finite outcomes"),
        ([0.1, 0.2], [1], [0.3], "an outcome for each of 2 scores, found 1"),
    ],
)
def test_searches_that_do_not_fit_are_refused(
    scores: list[float], budgets: list[int], outcomes: list[float] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        expected_best(scores, budgets, outcomes=outcomes)
