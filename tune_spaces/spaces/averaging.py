"""What is searched of an averaging of weights, beside what is searched of the method that it is around."""

from __future__ import annotations

from typing import Final

from tune_spaces.spaces.space import Choice, Float

AVERAGINGS: Final[dict[str, tuple[Float | Choice, ...]]] = {
    "swad": (
        Choice("averaging.open_patience", default=3, options=(2, 3, 5)),
        Choice("averaging.close_patience", default=6, options=(3, 6, 10)),
        Float("averaging.tolerance", default=1.3, low=1.05, high=2.0),
    ),
    "wise_ft": (Float("averaging.mixing", default=0.5, low=0.1, high=1.0),),
}
"""By the value of ``averaging.name``."""
