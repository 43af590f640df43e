"""The vocabulary: settings as frozen dataclasses, from text to a configuration, and what identifies one."""

from csg.config.sections import (
    SECTIONS,
    Config,
    DataConfig,
    Ids,
    MethodConfig,
    ModelConfig,
    OptimConfig,
    SelectionConfig,
    TrainConfig,
)

__all__ = [
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
