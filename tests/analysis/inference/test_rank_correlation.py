import math

import numpy as np
import pytest
from scipy import stats

from analysis.inference.rank_correlation import rank_correlation, rho_lead


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
    assert found.tau == pytest.approx(tau.statistic)
    assert (found.n, found.reason) == (40, "")


@pytest.mark.parametrize("n", [3, 5, 6])
def test_p_of_few_points_comes_from_all_permutations(n: int) -> None:
    x, y = correlated(n, seed=n)
    found = rank_correlation(x, y)
    reference = stats.permutation_test(
        (y,), lambda permuted: stats.spearmanr(x, permuted).statistic, permutation_type="pairings", n_resamples=math.inf
    )
    # scipy doubles the smaller tail, which differs where the distribution is not symmetric.
    extreme = np.abs(reference.null_distribution) >= abs(reference.statistic) - 1e-12
    assert found.rho_p == pytest.approx(np.mean(extreme))


def test_three_points_in_order_are_no_evidence() -> None:
    found = rank_correlation([1, 2, 3], [10, 20, 30])
    # The t approximation would say p = 0.
    assert (found.rho, found.tau) == pytest.approx((1, 1))
    assert found.rho_p == pytest.approx(1 / 3)


def test_interval_of_rho_is_that_of_ranking_each_resample() -> None:
    points = correlated(25)
    found = rank_correlation(*points, resamples=4000)
    drawn = np.random.default_rng(7).integers(25, size=(4000, 25))
    ranks_x, ranks_y = (stats.rankdata(np.array(values)[drawn], axis=1) for values in points)
    draws = [np.corrcoef(a, b)[0, 1] for a, b in zip(ranks_x, ranks_y, strict=True)]
    low, high = np.quantile(draws, [0.025, 0.975])
    assert found.rho_interval is not None
    assert (found.rho_interval.low, found.rho_interval.high) == pytest.approx((low, high), abs=0.03)


def test_the_interval_covers_a_correlation_of_configurations_whose_seeds_resemble_each_other() -> None:
    """12 configurations of 8 seeds each, drawn 300 times: seed by seed the interval is far too short."""
    rng = np.random.default_rng(0)
    # Both figures are a configuration's own, with a correlation of 0.7, and a little noise of each seed.
    truth = 6 / math.pi * math.asin(0.7 / (1 + 0.1**2) / 2)  # Spearman's rho of normal figures
    covered = {"together": 0, "apart": 0}
    groups = np.repeat(np.arange(12), 8)
    for _ in range(300):
        own = rng.normal(size=(12, 1))
        figures = [own, 0.7 * own + math.sqrt(1 - 0.7**2) * rng.normal(size=(12, 1))]
        x, y = ((each + 0.1 * rng.normal(size=(12, 8))).ravel().tolist() for each in figures)
        for name, drawn in (("together", groups.tolist()), ("apart", None)):
            found = rank_correlation(x, y, groups=drawn, resamples=200)
            assert found.rho_interval is not None
            covered[name] += found.rho_interval.low <= truth <= found.rho_interval.high
    assert found.groups == 96
    assert covered["together"] >= 0.85 * 300 and covered["apart"] <= 0.6 * 300


def test_the_interval_of_groups_of_any_sizes_is_that_of_ranking_each_resample() -> None:
    """Two configurations under ten seeds, and six under one, as a search leaves them."""
    groups = np.repeat(np.arange(8), [10, 10, 1, 1, 1, 1, 1, 1])
    x, y = correlated(26, seed=3)
    found = rank_correlation(x, y, groups=groups.tolist(), resamples=4000)
    draws = []
    for drawn in np.random.default_rng(5).integers(8, size=(2000, 8)):
        points = np.concatenate([np.flatnonzero(groups == group) for group in drawn])
        one, other = np.array(x)[points], np.array(y)[points]
        if np.ptp(one) and np.ptp(other):
            draws.append(stats.spearmanr(one, other).statistic)
    assert found.rho_interval is not None
    low, high = np.quantile(draws, [0.025, 0.975])
    assert (found.rho_interval.low, found.rho_interval.high) == pytest.approx((low, high), abs=0.04)


def test_the_interval_of_a_lead_draws_the_seeds_of_a_configuration_together() -> None:
    """Six seeds that say what one does make no interval narrower."""
    figures = np.random.default_rng(0).normal(size=(3, 12))
    once = rho_lead(*figures.tolist())
    groups = np.repeat(np.arange(12), 6).tolist()
    together = rho_lead(*np.repeat(figures, 6, axis=1).tolist(), groups=groups)
    assert together[0] == pytest.approx(once[0])
    assert (together[1].low, together[1].high) == pytest.approx((once[1].low, once[1].high), abs=0.05)


def test_few_groups_show_no_interval() -> None:
    x, y = correlated(30)
    assert rank_correlation(x, y, groups=[n % 6 for n in range(30)]).shown_interval is None
    assert rank_correlation(x, y, groups=[n % 7 for n in range(30)]).shown_interval is not None


def test_resamples_without_an_answer_are_left_out() -> None:
    # Of a third of them, all are from the first three points, or all the last: (3 / 4) ** 4 + (1 / 4) ** 4 = 32 %.
    found = rank_correlation([0, 0, 0, 1], [1, 2, 3, 4], resamples=4000)
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
    assert (found.rho, found.rho_p, found.tau, found.rho_interval) == (None,) * 4


@pytest.mark.parametrize(("x", "y"), [([1, 2, 3], [1, 2]), ([1, 2, math.nan], [1, 2, 3])])
def test_points_that_are_not_pairs_of_numbers_are_refused(x: list[float], y: list[float]) -> None:
    with pytest.raises(ValueError, match="Expected"):
        rank_correlation(x, y)
