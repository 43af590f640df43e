"""How selection scores are named and written for people."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from csg.config import Config
from csg.messages.wording import pluralize
from csg.metrics.validators import VALIDATORS
from csg.tasks import find_task
from csg.training.selection import ASKS, PROTOCOL_STREAMS


def describe_queries(asked: int, protocols: Collection[str]) -> str:
    """Say how often figures measured on real images selected, and whether their labels were looked at."""
    queries = pluralize(asked, "target query", "target queries")
    looked = {ASKS[protocol] for protocol in protocols} - {"nothing"}
    if not asked or not looked:
        return queries
    return f"{queries}, {'without labels' if looked == {'images'} else 'with labels'}"


def describe_score(config: Config) -> str:
    """Name the selection score for people: its stream, and the figure there."""
    protocol = config.selection.protocol
    words = config.selection.validator if protocol == "unlabelled" else find_task(config.data).score_words
    return f"{PROTOCOL_STREAMS[protocol]} {words}"


@dataclass(frozen=True)
class Unit:
    """How a selection score is written for people: a share in percent, a validator's score as it is."""

    factor: float
    sign: str
    """"%" or nothing."""
    decimals: int

    @classmethod
    def of(cls, metric: str) -> Unit:
        """Return the unit of a metric that selects."""
        return cls(1.0, "", 3) if metric.rpartition("/")[2] in VALIDATORS else cls(100.0, "%", 1)

    def format(self, score: float, *, signed: bool = False) -> str:
        """Write a score, without its unit."""
        return f"{self.factor * score:{'+' if signed else ''}.{self.decimals}f}"

    def format_whole(self, score: float) -> str:
        """Write a score with its unit."""
        return f"{self.format(score)} {self.sign}".rstrip()

    def name(self, words: str) -> str:
        """Write a figure's name with the unit, for headings."""
        return f"{words} {self.sign}".rstrip()

    def name_axis(self, words: str) -> str:
        """Write a figure's name with the unit in brackets, for axes."""
        return f"{words} ({self.sign})" if self.sign else words


def compute_wilson(share: float, images: int) -> tuple[float, float]:
    """Return the ends of the 95 % Wilson interval of a share of independent images, as fractions."""
    from scipy.stats import binomtest  # takes a second, which only a finished run has to wait for

    interval = binomtest(round(share * images), images).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def format_wilson(share: float, images: int) -> str:
    """Write the 95 % Wilson interval of a share of independent images, in percent: ``[71.7, 76.5]``."""
    low, high = compute_wilson(share, images)
    return f"[{100 * low:.1f}, {100 * high:.1f}]"
