"""MixStyle: training images exchange style inside the network (Zhou et al., ICLR 2021, arXiv:2104.02008).

The loss is cross-entropy alone. Behind each chosen stage, with a probability, every image's map takes a style between
its own and that of another image of the batch (:mod:`csg.models.style_mixing` has equations 5 to 7), with
lambda ~ Beta(alpha, alpha). Evaluation mixes nothing.

As in the paper where domains have no labels, the other image is any of the batch: the batch in a random order. What is
drawn of an image is a function of the seed, the epoch and its place in the data; whether a batch is mixed at all, of
those of its first image. With several workers the batch is the one of all of them. No departure is known.
"""

from __future__ import annotations

import re
from typing import Annotated

import torch
from pydantic import AfterValidator, BeforeValidator, Field
from pydantic.dataclasses import dataclass

from csg.collective import gather_rows
from csg.config import MethodConfig
from csg.config.settings import STRICT
from csg.methods.method import Batch, Method
from csg.models.encoder import Encoder
from csg.models.model import Model
from csg.models.style_mixing import Draws, StyleMixing
from csg.randomness import make_generator

STAGES = (1, 2, 3)
"""Stages that can be chosen; what is drawn for one does not depend on which are."""


def _check_stages(text: str) -> str:
    if not re.fullmatch(r"1(\+2)?(\+3)?|2(\+3)?|3", text):
        raise ValueError("expected ascending stages of 1 to 3 joined by +, such as 1+2")
    return text


EarlyStages = Annotated[
    str, BeforeValidator(lambda value: str(value) if type(value) is int else value), AfterValidator(_check_stages)
]


@dataclass(frozen=True, config=STRICT)
class MixStyleConfig(MethodConfig):
    """Settings of MixStyle."""

    name: str = "mixstyle"
    stages: EarlyStages = "1+2"
    """Stages behind which styles are mixed, joined by +; the last stage is too near to the classes."""
    probability: Annotated[float, Field(gt=0, le=1)] = 0.5
    """How often a batch is mixed behind a stage."""
    alpha: Annotated[float, Field(gt=0, le=100)] = 0.1
    """Of the Beta distribution: small values leave an image nearly its own style, or give it nearly another one's."""

    @property
    def summary(self) -> str:
        """Stages, probability and alpha."""
        return f"mixstyle {self.stages} p={self.probability:.3g} alpha={self.alpha:.3g}"


class MixStyle(Method):
    """Mixes the styles of early stages' maps between the images of a batch."""

    Config = MixStyleConfig

    def __init__(self, config: MixStyleConfig, model: Model, *, teacher: Encoder, seed: int) -> None:
        super().__init__(config, model, teacher=teacher, seed=seed)
        self.config: MixStyleConfig = config
        self._seed = seed
        self._mixings = {int(stage): StyleMixing(int(stage)) for stage in config.stages.split("+")}
        for stage, mixing in self._mixings.items():
            model.encoder.list_groups()[f"stage{stage}"][-1].register_forward_hook(mixing)

    def prepare(self, batch: Batch) -> Batch:
        """Return the batch as it is, having drawn how its maps are mixed."""
        everyone = gather_rows(batch.indices).tolist()
        drawn = [self._draw(batch.epoch, index) for index in everyone]
        tosses, keys, shares = torch.tensor(drawn, dtype=torch.float64).permute(1, 2, 0)
        mine = torch.tensor([everyone.index(index) for index in batch.indices.tolist()], dtype=torch.int64)
        for stage, mixing in self._mixings.items():
            is_mixed = bool(tosses[stage - 1, 0] < self.config.probability)
            partners = keys[stage - 1].argsort()[mine]
            mixing.draws = Draws(shares[stage - 1, mine], partners) if is_mixed else None
        return batch

    def _draw(self, epoch: int, index: int) -> list[list[float]]:
        """Draw of an image for each stage: whether its batch is mixed, its rank in the random order, and lambda."""
        rng = make_generator(self._seed, "mixstyle", epoch, index)
        alpha = self.config.alpha
        return [*rng.random((2, len(STAGES))).tolist(), rng.beta(alpha, alpha, len(STAGES)).tolist()]
