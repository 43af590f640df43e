"""Inference over a few seeds: Student's t intervals, paired tests and Holm's correction.

A value is the figure (an accuracy, an energy) of one run, under one seed. Errors are assumed to be normal. For
intervals over test images see ``analysis.inference.bootstrap``.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

ALPHA = 0.05
"""The level that ``mark_cells`` tests at."""
LEVEL = 0.95
"""The confidence level of all intervals."""
ROUNDING = 2.0**-50
"""Relative to the larger value (4 units in its last place). Smaller differences count as zero."""

Mark = Literal["best", "not distinguishable", "worse", "not compared", "missing"]


@dataclass(frozen=True)
class Interval:
    """A two-sided interval, in the unit of its figure."""

    low: float
    high: float


@dataclass(frozen=True)
class MeanEstimate:
    """The mean over seeds, its spread and its interval."""

    mean: float
    sd: float | None
    """Sample standard deviation (n - 1 in the denominator); None at n = 1."""
    n: int
    interval: Interval | None
    """Student's t interval of the mean; None at n = 1, and if all values are equal."""


@dataclass(frozen=True)
class PairedDifference:
    """By how much a cell exceeds its base on the seeds that both have."""

    mean: float | None
    """Mean difference, cell minus base; None without common seeds."""
    sd: float | None
    """Sample standard deviation of the differences; None below 2 common seeds."""
    n: int
    """Common seeds."""
    left_out: int
    """Seeds that only one of the two has."""
    interval: Interval | None
    """Student's t interval of the mean difference; None below 2 common seeds, and if all differences are equal."""
    p: float | None
    """Two-sided p-value of the paired t test of no difference; None below 2 common seeds, and if all differences are
    equal."""

    @property
    def untestable(self) -> bool:
        """Whether all differences are equal, so that there is no spread to test by."""
        return self.sd == 0


def estimate_mean(values: Sequence[float]) -> MeanEstimate:
    """Estimate the mean of ``values``, one a seed, with Student's t interval.

    Raises:
        ValueError: no values, or a value that is not finite.
    """
    if not values:
        raise ValueError("Expected at least one value, found none: show the cell as missing instead.")
    check_finite(values)
    mean, sd = _compute_moments(values, ROUNDING * max(map(abs, values)))
    return MeanEstimate(mean, sd, len(values), _t_interval(mean, sd, len(values)))


def paired_difference(values_by_seed: Mapping[int, float], base_by_seed: Mapping[int, float]) -> PairedDifference:
    """Compare a cell with its base seed by seed, by the paired t test (Student, Biometrika 1908).

    Seeds that only one side has are left out and counted. If all differences are equal, t has no finite value, and
    there is neither an interval nor a p. At 2 or 3 seeds this happens to figures that count few images, and also to
    equal cells. A p of 0 would then pass every correction for the number of tests, and a p of 1 would count in it.

    Raises:
        ValueError: a value that is not finite.
    """
    check_finite([*values_by_seed.values(), *base_by_seed.values()])
    seeds = [seed for seed in values_by_seed if seed in base_by_seed]
    n, left_out = len(seeds), len(values_by_seed) + len(base_by_seed) - 2 * len(seeds)
    if not seeds:
        return PairedDifference(None, None, 0, left_out, None, None)
    rounding = ROUNDING * max(max(abs(values_by_seed[seed]), abs(base_by_seed[seed])) for seed in seeds)
    differences = [values_by_seed[seed] - base_by_seed[seed] for seed in seeds]
    # Sums taken in another order differ in the last place, which would look like an effect without spread.
    mean, sd = _compute_moments([0.0 if abs(value) <= rounding else value for value in differences], rounding)
    p = 2 * float(stdtr(n - 1, -abs(mean) * math.sqrt(n) / sd)) if sd else None
    return PairedDifference(mean, sd, n, left_out, _t_interval(mean, sd, n), p)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjust p-values for their number by the step-down procedure of Holm (Scandinavian Journal of Statistics, 1979).

    The i-th smallest of m is multiplied by m - i + 1, and is at least its predecessor and at most 1. Rejecting all
    tests whose adjusted value is at most alpha keeps the probability of any false rejection at alpha or below, however
    the tests depend on each other. None (not tested) stays None and does not count towards m.

    Raises:
        ValueError: a p-value outside [0, 1].
    """
    wrong = [p for p in p_values if p is not None and not 0 <= p <= 1]
    if wrong:
        raise ValueError(f"Expected p-values from 0 to 1, found {wrong[0]}: use None for a test that was not made.")
    tested = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, index) in enumerate(tested):
        highest = max(highest, min((len(tested) - rank) * p, 1.0))
        adjusted[index] = highest
    return adjusted


def mark_cells(
    cells: Mapping[str, Mapping[int, float]], *, higher_is_better: bool = True, decimals: int | None = None
) -> dict[str, Mark]:
    """Mark the cells with the best mean, and those that do not differ significantly from it.

    The best mean is over a cell's own seeds. Every cell that has it, up to rounding, is ``best``. With ``decimals``, so
    is every cell whose mean is written the same with so many decimals. All other cells are compared with the first best
    cell by the paired t test, with Holm's correction over these comparisons:

    - ``worse``: the adjusted p is at most ``ALPHA``, and the cell's mean over the common seeds is the worse one;
    - ``not distinguishable``: any other cell with at least 2 common seeds, also if all differences are equal;
    - ``not compared``: fewer than 2 seeds in common with the best;
    - ``missing``: no values.

    The marks help reading and prove nothing. Holm's guarantee holds against a base that is named beforehand, not
    against the winner of the same draw. Of 6 equal cells at 3, 5 and 10 seeds, 8, 9 and 10 % of tables mark some cell
    as worse, and 1 to 2 % any given one (simulated, independent normal errors). So the truly best cell is rarely lost.
    A claim about a component rests on its test against the base.

    Args:
        cells: a figure by seed, for each cell.
        higher_is_better: which way is best.
        decimals: with how many decimals means are written.

    Raises:
        ValueError: a value that is not finite.
    """
    filled = {name: values for name, values in cells.items() if values}
    found: dict[str, Mark] = dict.fromkeys(cells, "missing")
    if not filled:
        return found
    sign = 1 if higher_is_better else -1
    means = {name: sign * estimate_mean(list(values.values())).mean for name, values in filled.items()}
    top = max(means.values())
    equal = [name for name, mean in means.items() if _reads_equal(mean, top, None)]
    found |= {name: "best" for name, mean in means.items() if _reads_equal(mean, top, decimals)}
    others = {
        name: paired_difference(values, filled[equal[0]]) for name, values in filled.items() if found[name] != "best"
    }
    adjusted = holm([difference.p for difference in others.values()])
    for (name, difference), p in zip(others.items(), adjusted, strict=True):
        if difference.sd is None or difference.mean is None:
            found[name] = "not compared"
        else:
            behind = p is not None and p <= ALPHA and sign * difference.mean < 0
            found[name] = "worse" if behind else "not distinguishable"
    return found


def _reads_equal(one: float, other: float, decimals: int | None) -> bool:
    """Return whether two means are equal up to rounding, or are written the same with so many decimals."""
    if abs(one - other) <= ROUNDING * max(abs(one), abs(other)):
        return True
    return decimals is not None and round(one, decimals) == round(other, decimals)


def check_finite(values: Sequence[float], name: str = "values") -> npt.NDArray[np.float64]:
    """Return values, one a run, as an array (n,). NaN and infinity must neither spoil a mean nor be dropped silently.

    Raises:
        ValueError: a value is NaN or infinite.
    """
    array = np.asarray(values, dtype=np.float64)
    wrong = array[~np.isfinite(array)]
    if len(wrong):
        raise ValueError(
            f"Expected finite {name}, found {wrong[0]} ({len(wrong)} of {len(array)}): leave such runs out, say so."
        )
    return array


def _compute_moments(values: Sequence[float], rounding: float) -> tuple[float, float | None]:
    """Return mean and sample standard deviation (None at n = 1), which is 0 where values differ by rounding only."""
    if max(values) - min(values) <= rounding:
        return values[0], 0.0 if len(values) > 1 else None
    mean = statistics.fmean(values)
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def _t_interval(mean: float, sd: float | None, n: int) -> Interval | None:
    """Return mean -+ t_{n-1, (1 + LEVEL) / 2} sd / sqrt(n), or None without a positive standard deviation."""
    if not sd:
        return None
    half = float(stdtrit(n - 1, (1 + LEVEL) / 2)) * sd / math.sqrt(n)
    return Interval(mean - half, mean + half)
