"""Frozen encoder: only the new head trains. With ImageNet weights this is the oracle on ImageNet (CSG, table 1)."""

from __future__ import annotations

from typing import Any

from pydantic.dataclasses import dataclass

from csg.config import MethodConfig
from csg.config.settings import STRICT
from csg.methods.method import Method
from csg.models.encoder import Encoder
from csg.models.model import Model


@dataclass(frozen=True, config=STRICT)
class OracleImageNetConfig(MethodConfig):
    """A frozen encoder has no settings."""

    name: str = "oracle_imagenet"


class OracleImageNet(Method):
    """Adds no term and freezes the encoder, batch-norm statistics included."""

    Config = OracleImageNetConfig

    def __init__(self, config: Any, model: Model, *, teacher: Encoder, seed: int) -> None:
        super().__init__(config, model, teacher=teacher, seed=seed)
        model.encoder.requires_grad_(requires_grad=False)
        model.frozen_statistics = True
