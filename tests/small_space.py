"""CSG's search space with small queues, which are saved in no time after every step."""

from __future__ import annotations

import dataclasses
from typing import Final

from tune_spaces.csg_space import CSG, QUEUE_SIZE
from tune_spaces.space import Space

SPACE: Final = Space(
    tuple(
        dataclasses.replace(parameter, default=256, options=(64, 256)) if parameter is QUEUE_SIZE else parameter
        for parameter in CSG.parameters
    )
)
SEARCHED: Final = ("--space", f"{__file__}:SPACE", "--method.queue-size", "256")
"""Flags that search it."""
