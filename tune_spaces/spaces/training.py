"""What is searched of every method: learning rates, epochs where a search can pay for them, and the augmentation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tune_spaces.spaces.space import Choice, Float


@dataclass(frozen=True)
class AugmentedBy:
    """Holds where images are augmented in a certain way."""

    augmentation: str

    def __call__(self, point: Mapping[str, Any]) -> bool:
        """Look at a partial point."""
        return bool(point["data.augmentation"] == self.augmentation)


LEARNING_RATES = (
    Float("optim.lr", default=0.03, low=0.003, high=0.06, log=True, relative=True),
    Float("optim.backbone_lr_factor", default=0.1, low=0.03, high=1.0, log=True),
)
"""The rate around the configuration's own, and what of it the encoder learns at."""
EPOCHS = Choice("train.epochs", default=8, options=(4, 8, 16), relative=True)
"""Half as long, as long and twice as long: for a search that can pay for it."""
AUGMENTATION = {
    "classification": Choice(
        "data.augmentation", "randaugment", options=("randaugment", "pasta", "colour_jitter", "none")
    ),
    "segmentation": Choice("data.augmentation", "colour_jitter", options=("colour_jitter", "pasta", "none")),
}
"""Searched beside the learning rates, by task: with a class for every pixel, no view may move them."""
PASTA = (
    Float("data.pasta_alpha", default=3.0, low=1.0, high=20.0, log=True, when=AugmentedBy("pasta")),
    Float("data.pasta_k", default=2.0, low=0.5, high=4.0, log=True, when=AugmentedBy("pasta")),
    Float("data.pasta_beta", default=0.25, low=0.05, high=1.0, log=True, when=AugmentedBy("pasta")),
)
"""Searched beside the augmentation where a search begins at PASTA; elsewhere its pair's defaults are tried."""
