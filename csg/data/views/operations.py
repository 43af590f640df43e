"""The fourteen operations of RandAugment, on batches with an amount of its own for every image.

No bit of an image's result depends on the other images of the batch or on the number of threads. Therefore nothing is
summed over pixels except in integers, and no convolution is used: their low bits change with the shape of a batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import kornia
import torch
from torch import Tensor

STRONGEST: Final = 30
"""The magnitude at which every operation is at its strongest."""


def _as_is(amount: float) -> tuple[float, ...]:
    return (amount,)


@dataclass(frozen=True)
class Operation:
    """What is done to an image, and how much of it at magnitudes 0 and 30."""

    apply: Callable[[Tensor, Tensor], Tensor]
    """Takes (n, C, S, S) uint8 images and (n, P) float32 parameters; returns the images' like."""
    neutral: float = 0.0
    """Amount at magnitude 0."""
    strongest: float = 0.0
    """Amount at magnitude 30."""
    two_sided: bool = False
    """Whether a draw decides which way from neutral the amount goes."""
    parameters: Callable[[float], tuple[float, ...]] = _as_is
    """What ``apply`` takes for an amount; operations with the same ``apply`` can be done in one call."""

    def compute_amount(self, magnitude: int, *, forwards: bool) -> float:
        """Return how much to do; ``forwards`` is what was drawn."""
        sign = 1 if forwards or not self.two_sided else -1
        return self.neutral + sign * (self.strongest - self.neutral) * magnitude / STRONGEST


def _identity(images: Tensor, _: Tensor) -> Tensor:
    return images


def _autocontrast(images: Tensor, _: Tensor) -> Tensor:
    flat = images.amax((2, 3), keepdim=True) == images.amin((2, 3), keepdim=True)
    return torch.where(flat, images, _to_uint8(kornia.enhance.normalize_min_max(images.float(), 0.0, 255.0)))


def _equalize(images: Tensor, _: Tensor) -> Tensor:
    return _to_uint8(kornia.enhance.equalize(images / 255) * 255)


def _solarize(images: Tensor, thresholds: Tensor) -> Tensor:
    return _to_uint8(kornia.enhance.solarize(images / 255, thresholds.flatten() / 255) * 255)


def _posterize(images: Tensor, bits: Tensor) -> Tensor:
    return _to_uint8(kornia.enhance.posterize(images / 255, bits.flatten().round().int()) * 255)


def _color(images: Tensor, factors: Tensor) -> Tensor:
    return _blend(_luminance(images), images, factors)


def _contrast(images: Tensor, factors: Tensor) -> Tensor:
    sums = _luminance(images).sum((1, 2, 3), keepdim=True, dtype=torch.int64)
    return _blend((sums / images[0, 0].numel()).round(), images, factors)


def _brightness(images: Tensor, factors: Tensor) -> Tensor:
    return _blend(torch.zeros((), device=images.device), images, factors)


def _sharpness(images: Tensor, factors: Tensor) -> Tensor:
    """Blend with Pillow's SMOOTH: (the 3x3 neighbours + 4 times the pixel) / 13, the border left as it is."""
    exact = images.float()
    rows = exact[..., :-2, :] + exact[..., 1:-1, :] + exact[..., 2:, :]
    box = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    smooth = exact.clone()
    smooth[..., 1:-1, 1:-1] = torch.round((box + 4 * exact[..., 1:-1, 1:-1]) / 13)
    return _blend(smooth, images, factors)


def _blend(other: Tensor, images: Tensor, factors: Tensor) -> Tensor:
    """Go from ``other`` (factor 0) to the images (factor 1) and beyond, as Pillow's ImageEnhance does."""
    return _to_uint8(other + factors.view(-1, 1, 1, 1) * (images.float() - other))


def _luminance(images: Tensor) -> Tensor:
    """Return (n, 1, S, S) grey values, ITU-R 601 in Pillow's integers: grey stays the same grey."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images.int().unbind(1)
    return ((19595 * red + 38470 * green + 7471 * blue + 32768) >> 16).to(torch.uint8).unsqueeze(1)


def _warp(images: Tensor, affine: Tensor) -> Tensor:
    """Move pixels by affine maps about the centre; what comes from outside is black.

    Args:
        images: (n, C, S, S).
        affine: (n, 6), the rows (a, b, x) and (c, d, y) of the maps, x and y as shares of the side.
    """
    side = images.shape[-1]
    centre = (side - 1) / 2
    maps = affine.view(-1, 2, 3).clone()
    maps[:, :, 2] = centre * (1 - maps[:, :, 0] - maps[:, :, 1]) + side * maps[:, :, 2]
    return _to_uint8(kornia.geometry.transform.warp_affine(images.float(), maps, (side, side)))


def _rotation(degrees: float) -> tuple[float, ...]:
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return (cos, -sin, 0, sin, cos, 0)


def _shear_x(columns_per_row: float) -> tuple[float, ...]:
    return (1, columns_per_row, 0, 0, 1, 0)


def _shear_y(rows_per_column: float) -> tuple[float, ...]:
    return (1, 0, 0, rows_per_column, 1, 0)


def _shift_x(share: float) -> tuple[float, ...]:
    return (1, 0, share, 0, 1, 0)


def _shift_y(share: float) -> tuple[float, ...]:
    return (1, 0, 0, 0, 1, share)


def _to_uint8(images: Tensor) -> Tensor:
    return images.round().clamp(0, 255).to(torch.uint8)


OPERATIONS: Final[dict[str, Operation]] = {
    "identity": Operation(_identity),
    "autocontrast": Operation(_autocontrast),
    "equalize": Operation(_equalize),
    "rotate": Operation(_warp, 0, 30, two_sided=True, parameters=_rotation),  # degrees
    "solarize": Operation(_solarize, 256, 0),  # lowest grey value that is inverted
    "color": Operation(_color, 1, 1.9, two_sided=True),  # 0 is grey
    "posterize": Operation(_posterize, 8, 4),  # bits kept
    "contrast": Operation(_contrast, 1, 1.9, two_sided=True),  # 0 is the mean grey
    "brightness": Operation(_brightness, 1, 1.9, two_sided=True),  # 0 is black
    "sharpness": Operation(_sharpness, 1, 1.9, two_sided=True),  # 0 is smoothed
    "shear_x": Operation(_warp, 0, 0.3, two_sided=True, parameters=_shear_x),  # columns per row
    "shear_y": Operation(_warp, 0, 0.3, two_sided=True, parameters=_shear_y),  # rows per column
    "translate_x": Operation(_warp, 0, 0.45, two_sided=True, parameters=_shift_x),  # share of the side
    "translate_y": Operation(_warp, 0, 0.45, two_sided=True, parameters=_shift_y),  # share of the side
}
"""The paper's fourteen: what is done, amount at magnitude 0, amount at magnitude 30 (AutoAugment's ranges)."""
