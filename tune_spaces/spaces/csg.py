"""What is searched of CSG: contrastive temperature, loss weights, stages, pooling or patches, queue, learning rates.

A search starts at its configuration's values, whose defaults depend on the pair (``csg.config.pairs``); those here are
the ones of classification.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from csg.config.pairs import METHOD_DEFAULTS
from tune_spaces.spaces.space import Choice, Float, Space
from tune_spaces.spaces.training import LEARNING_RATES


@dataclass(frozen=True)
class StageChosen:
    """Holds where ``method.stages`` contains a stage."""

    stage: int

    def __call__(self, point: Mapping[str, Any]) -> bool:
        """Look at a partial point."""
        return str(self.stage) in str(point["method.stages"]).split("+")


STAGES = Choice("method.stages", default="3+4", options=("3+4", "4", "3", "2+3+4"))
TEMPERATURE = Float("method.temperature", default=0.07, low=0.01, high=1.0, log=True)
QUEUE_SIZE = Choice("method.queue_size", default=65536, options=(1024, 4096, 16384, 65536))
WEIGHTS = tuple(
    Float(f"method.stage{stage}.weight", default=0.1, low=0.01, high=3.0, log=True, when=StageChosen(stage))
    for stage in (2, 3, 4)
)
POOLING = tuple(
    Choice(f"method.stage{stage}.pooling", default="apool", options=("apool", "average"), when=StageChosen(stage))
    for stage in (2, 3, 4)
)
CSG = Space((STAGES, TEMPERATURE, QUEUE_SIZE, *WEIGHTS, *POOLING, *LEARNING_RATES), follows=True)


def make_dense_space(pair: str, chunks: tuple[int, ...]) -> Space:
    """Return the space for maps of classes, around a pair's own weight and patches.

    Args:
        pair: its name.
        chunks: patches a side that a map is cut into.
    """
    own = METHOD_DEFAULTS[pair, "csg"]
    weight, chunk = own["method.weight"], own["method.chunks"]
    weights = (
        Float(f"method.stage{s}.weight", weight, weight / 100, 4 * weight, log=True, relative=True, when=StageChosen(s))
        for s in (2, 3, 4)
    )
    cuts = (Choice(f"method.stage{stage}.chunks", chunk, chunks, when=StageChosen(stage)) for stage in (2, 3, 4))
    return Space((STAGES, TEMPERATURE, QUEUE_SIZE, *weights, *POOLING, *cuts, *LEARNING_RATES), follows=True)


SEGMENTATION = make_dense_space("gta5_cityscapes", (2, 4, 8))
GLYPH_SCENES = make_dense_space("glyph_scenes", (1, 2, 4))
"""Its maps are 8x8."""
CONTRAST = Space((TEMPERATURE, QUEUE_SIZE, *WEIGHTS), follows=True)
STAGES_ALONE = Space((STAGES, *POOLING), follows=True)


def name_for_every_stage(name: str) -> str:
    """Return the setting that says of every stage what ``name`` says of one; other names as they are."""
    return re.sub(r"^method\.stage\d\.", "method.", name)
