"""What selects: the protocols, the metric that each looks at, and the epoch that it chooses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, Literal, get_args

from csg.config import Config
from csg.data.held_out import HELD_OUT
from csg.data.pair import SOURCE_SHIFTED, SOURCE_VAL, TARGET_VAL
from csg.metrics.validators import VALIDATORS
from csg.tasks import find_task

SELECTION_SCORE: Final = "selection/score"
"""The selection score of a finished run, taken on the weights that target/test was measured with."""
Protocol = Literal["source", "shifted", "held_out_source", "unlabelled", "oracle"]
PROTOCOLS: Final[tuple[str, ...]] = get_args(Protocol)
"""The protocols by which configurations may be chosen; ``paper`` would show a search the images that are reported."""
TARGET_ALL: Final = "target/all"
"""All real images together: what the paper's own protocol selects an epoch on."""
PROTOCOL_STREAMS: Final = {
    "source": SOURCE_VAL,
    "shifted": SOURCE_SHIFTED,
    "held_out_source": HELD_OUT,
    "unlabelled": TARGET_VAL,
    "oracle": TARGET_VAL,
    "paper": TARGET_ALL,
}
"""The one stream that each selection protocol may look at; ``unlabelled`` at its images alone."""


ASKS: Final[Mapping[str, Literal["nothing", "images", "labels"]]] = {
    "source": "nothing",
    "shifted": "nothing",
    "held_out_source": "nothing",
    "unlabelled": "images",
    "oracle": "labels",
    "paper": "labels",
}
"""What of the target each protocol looks at."""


def get_score_metric(config: Config) -> str:
    """Return the metric that configurations or epochs are selected by: the score of the protocol's own stream."""
    protocol = config.selection.protocol
    score = config.selection.validator if protocol == "unlabelled" else find_task(config.data).score
    return f"{PROTOCOL_STREAMS[protocol]}/{score}"


def get_selection_score(metrics: Mapping[str, float], config: Config) -> float:
    """Return an epoch's figure under :func:`get_score_metric`."""
    return metrics[get_score_metric(config)]


def compute_score_after(epochs: Sequence[Mapping[str, float]], config: Config) -> float:
    """Return the selection score of the weights that would be measured after ``epochs``.

    NaN of a training on all sources under ``held_out_source``, whose score those without each source have.
    """
    if config.selection.epoch == "last":
        return epochs[-1].get(get_score_metric(config), math.nan)
    return max(get_selection_score(metrics, config) for metrics in epochs)


def selects_newest(epochs: Sequence[Mapping[str, float]], config: Config) -> bool:
    """Whether the newest of ``epochs`` has, so far, the weights to measure on target/test."""
    if config.selection.epoch == "last":
        return len(epochs) == config.train.epochs
    return len(epochs) == 1 or compute_score_after(epochs, config) > compute_score_after(epochs[:-1], config)


def describe_selected(epochs: Sequence[Mapping[str, float]], config: Config) -> dict[str, float]:
    """Return which of all epochs was selected, and what the validation streams showed of its weights."""
    task = find_task(config.data)
    kept = (task.score, task.overall, *VALIDATORS)
    number = len(epochs)
    if config.selection.epoch == "best":
        scores = [get_selection_score(metrics, config) for metrics in epochs]
        number = scores.index(max(scores)) + 1
    shown = {f"selected/{name}": value for name, value in epochs[number - 1].items() if name.rpartition("/")[2] in kept}
    return {"selected/epoch": float(number), **shown}
