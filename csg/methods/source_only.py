"""Source only: cross-entropy fine-tuning on synthetic images from ImageNet weights (the baseline of CSG, table 1)."""

from __future__ import annotations

from pydantic.dataclasses import dataclass

from csg.config import MethodConfig
from csg.config.settings import STRICT
from csg.methods.method import Method


@dataclass(frozen=True, config=STRICT)
class SourceOnlyConfig(MethodConfig):
    """Source only has no settings."""

    name: str = "source_only"


class SourceOnly(Method):
    """Adds no term."""

    Config = SourceOnlyConfig
