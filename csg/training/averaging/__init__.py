"""Which weights of a training are measured and kept: the last step's, or a mean or a mixture of several."""

from __future__ import annotations

from typing import Final

from csg.config import Config
from csg.data.pair import Pair
from csg.training.averaging.averaging import Averaging
from csg.training.averaging.swad import Swad
from csg.training.averaging.wise_ft import WiseFt
from csg.training.step import Learner

AVERAGINGS: Final[dict[str, type[Averaging]]] = {"none": Averaging, "swad": Swad, "wise_ft": WiseFt}


def make_averaging(config: Config, learner: Learner, pair: Pair) -> Averaging:
    """Make what ``averaging.name`` says, for a learner that has taken no step."""
    return AVERAGINGS[config.averaging.name](config, learner, pair)
