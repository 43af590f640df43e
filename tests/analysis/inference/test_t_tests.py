import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.multitest import multipletests  # type: ignore[import-untyped]

from analysis.inference.t_tests import PairedDifference, estimate_mean, holm, mark_cells, paired_difference

REPLICATIONS = 20_000
TABLES = 10_000
MONTE_CARLO = 3 * math.sqrt(0.05 * 0.95 / TABLES)
"""Three standard errors of a simulated rate of 5 %: 0.65 percentage points."""

p_values = st.lists(st.none() | st.floats(0, 1), max_size=12)


def by_seed(values: NDArray[np.float64]) -> dict[int, float]:
    return dict(enumerate(values.tolist()))


def test_mean_interval_is_students() -> None:
    values = [61.8, 64.0, 58.9, 60.2, 63.3]
    found = estimate_mean(values)
    low, high = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((low, high))
    assert (found.mean, found.sd, found.n) == pytest.approx((np.mean(values), np.std(values, ddof=1), 5))


def test_one_seed_has_a_mean_and_no_spread() -> None:
    found = estimate_mean([61.8])
    assert (found.mean, found.sd, found.n, found.interval) == (61.8, None, 1, None)


def test_equal_values_have_no_interval() -> None:
    found = estimate_mean([0.1, 0.1, 0.1])
    assert (found.mean, found.sd, found.interval) == (0.1, 0.0, None)


@pytest.mark.parametrize("values", [[], [0.5, math.nan], [0.5, math.inf]])
def test_mean_of_nothing_or_of_nan_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"Expected .*, found .*: .+"):
        estimate_mean(values)


@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_paired_difference_is_the_paired_t_test(n: int) -> None:
    rng = np.random.default_rng(n)
    cell, base = rng.normal(0.62, 0.02, n), rng.normal(0.60, 0.02, n)
    found = paired_difference(by_seed(cell), by_seed(base))
    reference = stats.ttest_rel(cell, base)
    interval = reference.confidence_interval(0.95)
    assert found.p == pytest.approx(reference.pvalue)
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((interval.low, interval.high))
    assert (found.mean, found.sd) == pytest.approx((np.mean(cell - base), np.std(cell - base, ddof=1)))


def test_seeds_are_paired_by_name_and_lone_ones_counted() -> None:
    found = paired_difference({2: 5.0, 0: 1.0, 7: 9.0}, {0: 0.5, 2: 3.0, 3: 100.0, 4: 100.0})
    assert (found.n, found.left_out, found.mean) == (2, 3, 1.25)


def test_below_two_common_seeds_nothing_is_tested() -> None:
    assert paired_difference({0: 1.0}, {0: 3.0, 1: 2.0}) == PairedDifference(-2.0, None, 1, 1, None, None)
    assert paired_difference({0: 1.0}, {1: 2.0}) == PairedDifference(None, None, 0, 2, None, None)
    assert paired_difference({}, {}) == PairedDifference(None, None, 0, 0, None, None)


def test_equal_differences_prove_nothing() -> None:
    base = {0: 0.25, 1: 0.5, 2: 0.75}
    same = paired_difference(base, base)
    assert (same.mean, same.sd, same.p, same.interval, same.untestable) == (0.0, 0.0, None, None, True)
    shifted = paired_difference({seed: value + 0.125 for seed, value in base.items()}, base)
    assert (shifted.mean, shifted.sd, shifted.p, shifted.interval, shifted.untestable) == (0.125, 0.0, None, None, True)


def test_counts_of_images_at_two_seeds_raise_few_false_alarms() -> None:
    """Equal cells of 200 images: the two differences are the same in 3 % of tables, which once were all alarms."""
    right = np.random.default_rng(0).binomial(200, 0.6, size=(TABLES, 2, 2)) / 200
    found = [paired_difference(by_seed(cell), by_seed(base)) for cell, base in right]
    assert np.mean([each.untestable for each in found]) > 0.02
    assert np.mean([each.p is not None and each.p <= 0.05 for each in found]) <= 0.05 + MONTE_CARLO
    assert not any(each.p == 0 for each in found)
    best, behind = {0: 0.75, 1: 0.5}, {0: 0.625, 1: 0.375}
    assert mark_cells({"a": best, "b": behind}) == {"a": "best", "b": "not distinguishable"}


def test_rounding_is_no_effect() -> None:
    # 0.1 + 0.2 differs from 0.3 in the last place, by the same amount for every seed.
    assert paired_difference(dict.fromkeys(range(5), 0.1 + 0.2), dict.fromkeys(range(5), 0.3)).p is None
    # Differences of 13 images in 1258, whose floats are not all the same.
    cell, base = ({seed: (images + 37 * seed) / 1258 for seed in range(5)} for images in (583, 570))
    assert len({cell[seed] - base[seed] for seed in cell}) > 1
    found = paired_difference(cell, base)
    assert (found.sd, found.p) == (0.0, None)


def test_difference_of_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="found nan"):
        paired_difference({0: 1.0}, {0: 1.0, 1: math.nan})


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_statsmodels(values: list[float]) -> None:
    with mock.patch("gc.collect"):  # statsmodels would collect the whole suite's garbage at each call
        theirs = multipletests(values, method="holm")[1].tolist()
    assert holm(values) == pytest.approx(theirs, abs=1e-12)


@given(p_values)
def test_holm_keeps_order_and_never_lowers(values: list[float | None]) -> None:
    pairs = [(p, q) for p, q in zip(values, holm(values), strict=True) if p is not None and q is not None]
    assert all(p <= q <= 1 for p, q in pairs)
    assert all(q <= other_q for (p, q), (other_p, other_q) in itertools.permutations(pairs, 2) if p <= other_p)


@given(p_values, st.randoms())
def test_holm_does_not_depend_on_the_order(values: list[float | None], random: Any) -> None:
    order = list(range(len(values)))
    random.shuffle(order)
    adjusted = holm(values)
    assert holm([values[index] for index in order]) == [adjusted[index] for index in order]


@given(p_values)
def test_holm_does_not_count_what_was_not_tested(values: list[float | None]) -> None:
    adjusted = holm(values)
    assert [q is None for q in adjusted] == [p is None for p in values]
    assert [q for q in adjusted if q is not None] == holm([p for p in values if p is not None])


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_holm_refuses_what_is_no_p_value(p: float) -> None:
    with pytest.raises(ValueError, match="p-values from 0 to 1"):
        holm([0.5, p])


def test_marks_follow_the_rule() -> None:
    noise = [0.3, -0.2, 0.1, -0.1, -0.1]
    cells = {
        "source only": {seed: 54.0 + 2 * seed - noise[seed] for seed in range(5)},
        "always 6 below": {seed: 54.1 + 2 * seed for seed in range(5)},
        "csg": {seed: 60.0 + 2 * seed + noise[seed] for seed in range(5)},
        "csg, apool": {seed: 60.1 + 2 * seed for seed in range(5)},
        "one seed": {0: 50.0},
        "other seeds": dict.fromkeys(range(10, 15), 50.0),
        "to do": {},
    }
    assert mark_cells(cells) == {
        "source only": "worse",
        "always 6 below": "not distinguishable",
        "csg": "not distinguishable",
        "csg, apool": "best",
        "one seed": "not compared",
        "other seeds": "not compared",
        "to do": "missing",
    }


def test_marks_where_lower_is_better() -> None:
    energies = {"low": {0: -0.3, 1: -0.28, 2: -0.29}, "high": {0: 0.1, 1: 0.13, 2: 0.11}}
    assert mark_cells(energies, higher_is_better=False) == {"low": "best", "high": "worse"}
    assert mark_cells(energies) == {"low": "worse", "high": "best"}


def test_marks_correct_for_the_number_of_comparisons() -> None:
    best, close = {0: 1.0, 1: 1.3, 2: 1.1}, {0: 0.9, 1: 1.15, 2: 0.92}
    p = paired_difference(close, best).p
    assert p is not None and 0.025 < p < 0.05
    assert mark_cells({"a": best, "b": close})["b"] == "worse"
    assert mark_cells({"a": best, "b": close, "c": {0: 0.0, 1: 2.0, 2: 0.5}})["b"] == "not distinguishable"


def test_a_cell_ahead_on_the_common_seeds_is_not_worse() -> None:
    # The best owes its mean to a seed that the other lacks.
    cells = {"best": {0: 1.0, 1: 1.0, 2: 9.0}, "other": {0: 2.0, 1: 2.0}}
    assert mark_cells(cells) == {"best": "best", "other": "not distinguishable"}


def test_equal_means_share_the_mark() -> None:
    values = {0: 0.5, 1: 0.6}
    assert mark_cells({"a": values, "b": dict(values)}) == {"a": "best", "b": "best"}
    assert mark_cells({"a": values, "b": {0: 0.6, 1: 0.5}, "c": {7: 0.55}}) == dict.fromkeys("abc", "best")
    rounded = {"a": {0: 0.1 + 0.2, 1: 0.1}, "b": {0: 0.3, 1: 0.1}, "c": {0: 0.2, 1: 0.1}}
    assert mark_cells(rounded) == {"a": "best", "b": "best", "c": "not distinguishable"}
    energies = {"a": {0: -0.5, 1: -0.25}, "b": {0: -0.25, 1: -0.5}, "c": {0: 0.0, 1: 0.25}}
    assert mark_cells(energies, higher_is_better=False) == {"a": "best", "b": "best", "c": "not distinguishable"}
    assert mark_cells({name: dict.fromkeys(range(3), 0.0) for name in "ab"}) == {"a": "best", "b": "best"}
    assert mark_cells({"a": {0: 0.5}, "b": {0: 0.5}, "c": {0: 0.25}}) == {"a": "best", "b": "best", "c": "not compared"}


def test_means_that_read_alike_share_the_mark() -> None:
    cells = {"a": {0: 61.12, 1: 61.10}, "b": {0: 61.13, 1: 61.13}, "c": {0: 61.0, 1: 60.9}}
    assert mark_cells(cells)["a"] == "not distinguishable"
    assert mark_cells(cells, decimals=1) == {"a": "best", "b": "best", "c": "not distinguishable"}
    zeros = {"a": {0: -0.04}, "b": {0: 0.04}}
    assert mark_cells(zeros, decimals=1) == {"a": "best", "b": "best"}, "-0.0 and 0.0"


def test_what_shares_the_mark_is_no_test_that_counts() -> None:
    best, close = {0: 1.0, 1: 1.3, 2: 1.1}, {0: 0.9, 1: 1.15, 2: 0.92}
    assert mark_cells({"a": best, "b": close, "c": dict(best), "d": dict(best)})["b"] == "worse"


def test_nothing_to_mark_is_missing() -> None:
    assert mark_cells({"a": {}, "b": {}}) == {"a": "missing", "b": "missing"}
    assert mark_cells({}) == {}


@pytest.mark.parametrize("n", [3, 5, 10])
def test_intervals_cover_the_truth_in_95_percent_of_samples(n: int) -> None:
    rng = np.random.default_rng(n)
    noise = rng.normal(size=(REPLICATIONS, 2, n))
    shared = 3 * rng.normal(size=(REPLICATIONS, n))
    means = [estimate_mean(values).interval for values in noise[:, 0].tolist()]
    assert 0.94 < np.mean([interval is not None and interval.low <= 0 <= interval.high for interval in means]) < 0.96
    # What a seed does to both sides cancels, however large.
    cells, bases = 1.5 + shared + noise[:, 0], shared + noise[:, 1]
    differences = [paired_difference(by_seed(a), by_seed(b)).interval for a, b in zip(cells, bases, strict=True)]
    covered = [interval is not None and interval.low <= 1.5 <= interval.high for interval in differences]
    assert 0.94 < np.mean(covered) < 0.96


def adjusted_tests(cells: NDArray[np.float64], bases: NDArray[np.float64]) -> Iterator[list[float | None]]:
    """Test (tables, cells, seeds) against (tables, cells or 1, seeds), with Holm's correction within each table."""
    for mine, base in zip(cells, np.broadcast_to(bases, cells.shape), strict=True):
        yield holm([paired_difference(by_seed(a), by_seed(b)).p for a, b in zip(mine, base, strict=True)])


def shared_base(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    return rng.normal(size=(TABLES, 1, n))


def own_bases(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Make the tests independent, where Holm's bound is nearly reached: 1 - 0.99 ** 5 = 4.9 %."""
    return rng.normal(size=(TABLES, 5, n))


@pytest.mark.slow
@pytest.mark.parametrize("n", [3, 5, 10])
@pytest.mark.parametrize("bases", [shared_base, own_bases])
def test_five_true_nulls_give_a_false_alarm_in_at_most_5_percent_of_tables(
    n: int, bases: Callable[[np.random.Generator, int], NDArray[np.float64]]
) -> None:
    rng = np.random.default_rng(100 + n)
    tests = adjusted_tests(rng.normal(size=(TABLES, 5, n)), bases(rng, n))
    alarms = [any(p is not None and p <= 0.05 for p in adjusted) for adjusted in tests]
    assert 0.03 < np.mean(alarms) <= 0.05 + MONTE_CARLO


@pytest.mark.slow
def test_power_at_an_effect_of_two_standard_deviations() -> None:
    """One of five cells exceeds the base by twice the standard deviation of its differences; four do not."""
    alone, among_five = [], []
    for n in (3, 5, 10):
        rng = np.random.default_rng(200 + n)
        cells, base = rng.normal(size=(TABLES // 2, 5, n)), rng.normal(size=(TABLES // 2, 1, n))
        cells[:, 0] += 2 * math.sqrt(2)
        tests = [adjusted[0] for adjusted in adjusted_tests(cells, base)]
        among_five.append(np.mean([p is not None and p <= 0.05 for p in tests]))
        single = [paired_difference(by_seed(a), by_seed(b)).p for a, b in zip(cells[:, 0], base[:, 0], strict=True)]
        alone.append(np.mean([p is not None and p <= 0.05 for p in single]))
        critical, shift = stats.t.ppf(0.975, n - 1), 2 * math.sqrt(n)
        theory = stats.nct.sf(critical, n - 1, shift) + stats.nct.cdf(-critical, n - 1, shift)
        assert alone[-1] == pytest.approx(theory, abs=0.02)
    assert [alone[0] > 0.44, alone[1] > 0.89, alone[2] > 0.99] == [True] * 3
    # What the correction costs at 3 seeds is the reason to run 5.
    assert [among_five[0] > 0.10, among_five[1] > 0.52, among_five[2] > 0.98] == [True] * 3
    assert alone == sorted(alone) and among_five == sorted(among_five)
