"""What a search says at its end of the configuration that it chose."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import nct as noncentral
from scipy.stats import t as student
from scipy.stats import ttest_1samp

from tune_spaces.search.verdict import MOST_SEEDS, Confirmed, count_seeds, make_verdict

BEST = {1: 80.0, 2: 82.0, 3: 84.0}


def verdict(best: dict[int, float], *, is_default: bool = False, **references: dict[int, float]) -> list[str]:
    named = {name.replace("_", " "): values for name, values in references.items()}
    return make_verdict(Confirmed(best, named), words="accuracy", is_default=is_default)


def test_a_sure_gain_is_one_sentence_with_its_paired_interval() -> None:
    [said] = verdict(BEST, source_only={1: 70.0, 2: 71.0, 3: 74.0})
    # The differences 10, 11, 10 have the mean 10.33 and the standard error 1/3; t(2) at 97.5 % is 4.303.
    assert said == (
        "Under 3 fresh seeds the best configuration has a real accuracy of 82.0 %, +10.3 points [+8.9, +11.8] against "
        "source only (significant)."
    )


def test_what_is_not_sure_is_said_with_the_seeds_that_would_tell() -> None:
    said = verdict(BEST, source_only={1: 70.0, 2: 71.0, 3: 74.0}, default_setting={1: 79.0, 2: 84.0, 3: 81.0})
    assert "+0.7 points [-5.6, +6.9] against default setting (not significant)" in said[0]
    # Differences 1, -2, 3: mean 2/3, deviation 2.517; ((1.96 + 0.84) * 2.517 * 3 / 2)^2 = 112, and some for the t.
    assert said[1] == (
        "To tell it from default setting four times in five, if difference and spread are these, takes about 114 "
        "seeds: --seeds 114."
    )
    assert len(said) == 2


def test_what_the_correction_leaves_unsure_takes_more_seeds_than_there_were() -> None:
    said = verdict(
        {1: 80.0, 2: 80.0, 3: 80.0},
        source_only={1: 76.4, 2: 74.4, 3: 72.4},
        default_setting={1: 79.0, 2: 81.0, 3: 80.1},
    )
    # Differences of 5.6 +- 2: t = 4.85, beyond 4.303 (5 %) and below 6.205 (2.5 %, of two comparisons).
    assert "+5.6 points [+0.6, +10.6] against source only (not significant after Holm's correction)" in said[-3]
    assert said[-2].endswith("takes about 4 seeds: --seeds 4.")


def test_the_sobering_comes_first() -> None:
    said = verdict(BEST, is_default=True, source_only={1: 90.0, 2: 91.0, 3: 93.0})
    assert said[0] == "The best configuration is the default setting: the search has found nothing better."
    assert said[1] == "The best configuration is worse than source only."
    assert "-9.3 points" in said[2]


def test_a_lower_mean_is_called_worse_only_where_that_is_sure() -> None:
    said = verdict(BEST, source_only={1: 79.0, 2: 85.0, 3: 82.3})
    assert said[0] == "The best configuration has a lower mean than source only."
    assert "(not significant)" in said[1]


def test_one_seed_has_no_interval_and_asks_for_more() -> None:
    said = verdict({1: 80.0}, source_only={1: 70.0})
    assert said[0].endswith("80.0 %, +10.0 points against source only (not significant).")
    assert said[1] == "To know whether it differs from source only takes two seeds or more: --seeds 3."


def test_failed_runs_leave_no_verdict_or_a_shorter_one() -> None:
    assert verdict({}, source_only=BEST) == [
        "No run of the best configuration has finished under a fresh seed, so there is no verdict."
    ]
    assert verdict(BEST) == ["Under 3 fresh seeds the best configuration has a real accuracy of 82.0 %."]


@given(mean=st.floats(0.01, 50), sd=st.floats(0.01, 50))
def test_the_seeds_that_would_tell_four_times_in_five_are_the_fewest(mean: float, sd: float) -> None:
    def power(n: int) -> float:
        bound = float(student.ppf(0.975, n - 1))
        return 1.0 if mean / sd > 100 else float(noncentral.sf(bound, n - 1, mean / sd * math.sqrt(n)))

    needed = count_seeds(mean, sd)
    if needed is None:
        assert power(MOST_SEEDS) <= 0.8 + 1e-6
    else:
        assert power(needed) >= 0.8 - 1e-6
        assert needed == 2 or power(needed - 1) <= 0.8 + 1e-6
    assert count_seeds(-mean, sd) == needed


def test_as_many_seeds_do_tell_four_times_in_five() -> None:
    """By simulation: a true difference of one standard deviation."""
    needed = count_seeds(1.0, 1.0)
    assert needed == 10
    drawn = np.random.default_rng(0).normal(1.0, 1.0, size=(4000, needed))
    found = ttest_1samp(drawn, 0.0, axis=1).pvalue <= 0.05
    assert 0.78 < found.mean() < 0.83


def test_equal_configurations_ask_for_no_seeds() -> None:
    said = verdict(BEST, default_setting=dict(BEST))
    assert len(said) == 1 and "+0.0 points against default setting (not significant)" in said[0]
