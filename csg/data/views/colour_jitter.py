"""Colour jitter, one draw for every image: what CSG's key view has on dense tasks, where pixels must not move.

Departs from the usual implementation in the order, which is always brightness, contrast, saturation, hue.
"""

from __future__ import annotations

import math
from typing import Final

import kornia
import numpy as np
import torch
from torch import Tensor

from csg.data.views.operations import OPERATIONS
from csg.randomness import make_generator

FACTORS: Final = ("brightness", "contrast", "color")
"""RandAugment's operations whose amount is a factor, 1 leaving an image as it is."""


def colour_jitter(images: Tensor, *, indices: Tensor, seed: int, epoch: int, strength: float) -> Tensor:
    """Change brightness, contrast and saturation by factors, and the hue by an angle, each drawn for each image.

    Args:
        images: (N, 3, H, W) uint8.
        indices: (N,) places in the source stream; with seed and epoch they name the draws.
        strength: factors are uniform in 1 - strength to 1 + strength, the hue's turn in -strength to strength (1 being
            the whole circle), 0 to 0.5.

    Returns:
        (N, 3, H, W) uint8.
    """
    if len(images) == 0:
        return images
    draws = [
        make_generator(seed, "jitter", epoch, index).uniform(-1, 1, len(FACTORS) + 1) for index in indices.tolist()
    ]
    amounts = strength * torch.from_numpy(np.stack(draws)).float()
    jittered = images
    for name, amount in zip(FACTORS, amounts.T, strict=False):
        jittered = OPERATIONS[name].apply(jittered, 1 + amount.unsqueeze(1))
    return _turn_hue(jittered, amounts[:, -1])


def _turn_hue(images: Tensor, turns: Tensor) -> Tensor:
    # One at a time: a batch in floating point would take four times the memory of its images, several times over.
    turned = [
        kornia.enhance.adjust_hue(image.unsqueeze(0) / 255, float(2 * math.pi * turn)).mul(255).round()
        for image, turn in zip(images, turns, strict=True)
    ]
    return torch.cat(turned).clamp(0, 255).to(torch.uint8)
