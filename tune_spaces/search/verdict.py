"""What a search came to, in sentences that a person can repeat."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from scipy.special import nctdtr, stdtrit

from analysis.inference.t_tests import ALPHA, PairedDifference, holm, paired_difference
from csg.messages.wording import pluralize

POWER: Final = 0.8
"""Probability with which the seeds that are asked for would tell a difference, if it is as large as it seems."""
MOST_SEEDS: Final = 1000
"""Seeds beyond which nobody would go to tell two configurations apart."""


@dataclass(frozen=True)
class Confirmed:
    """Figures on real images under fresh seeds, in percent, by seed."""

    best: Mapping[int, float]
    references: Mapping[str, Mapping[int, float]]
    """By the name for people: what the best is compared with."""


def make_verdict(confirmed: Confirmed, *, words: str, is_default: bool) -> list[str]:
    """Say how the best configuration compares with each reference, what is sure of that, and what would make it sure.

    Significant is a paired t test at 5 %, Holm-corrected for the number of references.

    Args:
        confirmed: figures of finished runs.
        words: the figure's name.
        is_default: whether the search chose the default setting.

    Returns:
        Sentences, the sobering ones first.
    """
    if not confirmed.best:
        return ["No run of the best configuration has finished under a fresh seed, so there is no verdict."]
    found = {name: paired_difference(confirmed.best, values) for name, values in confirmed.references.items()}
    adjusted = dict(zip(found, holm([each.p for each in found.values()]), strict=True))
    sure = {name for name, p in adjusted.items() if p is not None and p <= ALPHA}
    sentences = ["The best configuration is the default setting: the search has found nothing better."] * is_default
    sentences += [
        f"The best configuration {'is worse' if name in sure else 'has a lower mean'} than {name}."
        for name, difference in found.items()
        if difference.mean is not None and difference.mean < 0
    ]
    mean = statistics.fmean(confirmed.best.values())
    seeds = pluralize(len(confirmed.best), "fresh seed")
    compared = [
        said for name, each in found.items() if (said := _describe_difference(each, name, significant=name in sure))
    ]
    sentences.append(
        f"Under {seeds} the best configuration has a real {words} of {mean:.1f} %" + "".join(compared) + "."
    )
    unsure = {name: difference for name, difference in found.items() if name not in sure}
    alpha = ALPHA / max(len(unsure), 1)  # of Holm's first step
    sentences += [said for name, difference in unsure.items() if (said := _advise(difference, name, alpha))]
    return sentences


def _describe_difference(difference: PairedDifference, name: str, *, significant: bool) -> str:
    if difference.mean is None:
        return ""
    interval = difference.interval
    sure = "" if interval is None else f" [{interval.low:+.1f}, {interval.high:+.1f}]"
    alone = interval is not None and interval.low * interval.high > 0
    mark = "significant" if significant else "not significant after Holm's correction" if alone else "not significant"
    return f", {difference.mean:+.1f} points{sure} against {name} ({mark})"


def _advise(difference: PairedDifference, name: str, alpha: float) -> str:
    """Say how many seeds would tell the best from a reference at a level; empty where they do not differ."""
    if not difference.mean:
        return ""
    if difference.sd is None:
        return f"To know whether it differs from {name} takes two seeds or more: --seeds 3."
    if not difference.sd:
        return ""
    needed = count_seeds(difference.mean, difference.sd, alpha)
    if needed is None:
        return f"It cannot be told from {name}: at this spread more than {MOST_SEEDS:,} seeds would be needed."
    return (
        f"To tell it from {name} four times in five, if difference and spread are these, takes about {needed} seeds: "
        f"--seeds {needed}."
    )


def count_seeds(mean: float, sd: float, alpha: float = ALPHA) -> int | None:
    """Return the fewest seeds at which a paired t test finds a true difference with probability ``POWER``.

    Args:
        mean: true mean difference, not zero.
        sd: true standard deviation of the differences.
        alpha: level of the two-sided test.

    Returns:
        At least 2; None beyond MOST_SEEDS.
    """
    for n in range(2, MOST_SEEDS + 1):
        bound, centre = float(stdtrit(n - 1, 1 - alpha / 2)), abs(mean) / sd * math.sqrt(n)
        missed = float(nctdtr(n - 1, centre, bound))
        if missed <= 1 - POWER or math.isnan(missed):  # NaN far beyond the bound
            return n
    return None
