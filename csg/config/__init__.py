"""The settings of a run, their defaults, and how flags and files are read into them."""

from csg.config.config import SECTIONS, Config
from csg.config.data import DataConfig, Ids
from csg.config.sections import (
    NAMED_WEIGHTS,
    MethodConfig,
    ModelConfig,
    OptimConfig,
    SelectionConfig,
    TrainConfig,
)

__all__ = [
    "NAMED_WEIGHTS",
    "SECTIONS",
    "Config",
    "DataConfig",
    "Ids",
    "MethodConfig",
    "ModelConfig",
    "OptimConfig",
    "SelectionConfig",
    "TrainConfig",
]
