"""Held-out images under distortions that no training view has: a stand-in for the target that needs no target.

Each image is distorted once, always in the same way. None of the distortions is among RandAugment's operations.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from functools import cached_property
from typing import Final

import kornia
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from csg.data.pair import ArrayStream, LabelledImages, Reading
from csg.randomness import make_generator

SEED: Final = 17
"""Of the distortions: no setting moves it."""
VERSION: Final = 1
"""Raise it whenever the same image would come out otherwise."""

Distortion = Callable[[Tensor, np.random.Generator], Tensor]
"""Takes a (1, 3, S, S) float image with values 0 to 1; returns its like, values not yet clamped."""


def shift_stream(stream: LabelledImages) -> LabelledImages:
    """Return a stream of the same length and labels whose images are distorted, one distortion an image.

    Which one, and how, is a function of the index alone.
    """
    return _ShiftedStream(stream)


class _ShiftedStream(LabelledImages):
    """Distorts on demand, so that a stream on disk stays there; what is held in memory is distorted once."""

    def __init__(self, stream: LabelledImages) -> None:
        self._stream = stream
        self.labels = stream.labels

    @property
    def sources(self) -> Tensor:
        """See :class:`Stream`."""
        return self._stream.sources

    @cached_property
    def fingerprint(self) -> str:  # type: ignore[override]
        """See :class:`Stream`."""
        text = f"shifted {VERSION} {SEED} {self._stream.fingerprint}"
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def _distorted(self) -> Tensor:
        everything = torch.arange(len(self._stream))
        return _distort_images(self._stream.load_images(everything), everything)

    def load_images(self, indices: Tensor) -> Tensor:
        if isinstance(self._stream, ArrayStream):
            return self._distorted[indices]
        return _distort_images(self._stream.load_images(indices), indices)

    def read(self, indices: Tensor) -> Reading:
        if isinstance(self._stream, ArrayStream):
            return super().read(indices)
        plain = self._stream.read(indices)
        return dataclasses.replace(plain, views=(_distort_images(plain.views[0], plain.indices),))


def _distort_images(plain: Tensor, indices: Tensor) -> Tensor:
    # One at a time, because a convolution over a batch may round otherwise than over one image.
    distorted = [distort(plain[place : place + 1], index) for place, index in enumerate(indices.tolist())]
    return torch.cat(distorted) if distorted else plain


def distort(image: Tensor, index: int) -> Tensor:
    """Return the (1, 3, S, S) uint8 image as image ``index`` of a stream is distorted."""
    rng = make_generator(SEED, "shifted", index)
    name = tuple(DISTORTIONS)[rng.integers(len(DISTORTIONS))]
    return DISTORTIONS[name](image / 255, rng).mul(255).round().clamp(0, 255).to(torch.uint8)


def _gaussian_noise(image: Tensor, rng: np.random.Generator) -> Tensor:
    deviation = rng.uniform(0.15, 0.35)  # the same for all channels: a grey image stays grey
    return image + deviation * _make_like(rng.standard_normal(image.shape[-2:]), image)


def _salt_and_pepper(image: Tensor, rng: np.random.Generator) -> Tensor:
    share = rng.uniform(0.1, 0.3)
    place = _make_like(rng.random(image.shape[-2:]), image)
    return torch.where(place < share / 2, 0.0, torch.where(place > 1 - share / 2, 1.0, image))


def _gaussian_blur(image: Tensor, rng: np.random.Generator) -> Tensor:
    deviation = image.shape[-1] * rng.uniform(0.04, 0.1)
    window = 2 * int(2 * deviation) + 1
    blurred: Tensor = kornia.filters.gaussian_blur2d(image, (window, window), (deviation, deviation))
    return blurred


def _gamma(image: Tensor, rng: np.random.Generator) -> Tensor:
    exponent = 2.0 ** (rng.choice((-1.0, 1.0)) * rng.uniform(1.0, 2.0))
    bent: Tensor = kornia.enhance.adjust_gamma(image, float(exponent))
    return bent


def _perspective(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Move each corner inwards by up to 30 % of the side."""
    side = image.shape[-1] - 1
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * side
    moved = corners + (1 - 2 * corners / side) * rng.uniform(0, 0.3, size=(4, 2)) * side
    homography = kornia.geometry.get_perspective_transform(
        _make_like(corners, image)[None], _make_like(moved, image)[None]
    )
    tilted: Tensor = kornia.geometry.warp_perspective(image, homography, image.shape[-2:])
    return tilted


def _elastic(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Shift pixels by up to 8 % of the side, smoothly: drawn at 5x5 places, bicubic in between."""
    side = image.shape[-1]
    drawn = _make_like(rng.uniform(-0.08, 0.08, size=(1, 2, 5, 5)), image)
    shift = F.interpolate(drawn, size=(side, side), mode="bicubic", align_corners=True) * side
    place = torch.arange(side, device=image.device)
    y, x = torch.meshgrid(place, place, indexing="ij")
    wobbly: Tensor = kornia.geometry.remap(image, x + shift[:, 0], y + shift[:, 1], align_corners=True)
    return wobbly


def _occluding_bar(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Lay a grey bar across, as wide as 15 to 30 % of the side, its middle in the middle half."""
    side = image.shape[-1]
    width, middle = rng.uniform(0.15, 0.3) * side, rng.uniform(0.25, 0.75) * side
    bar = slice(round(middle - width / 2), round(middle + width / 2))
    covered = image.clone()
    rows_or_columns = covered if rng.random() < 0.5 else covered.transpose(2, 3)
    rows_or_columns[:, :, bar] = rng.random()
    return covered


DISTORTIONS: Final[dict[str, Distortion]] = {
    "gaussian_noise": _gaussian_noise,
    "salt_and_pepper": _salt_and_pepper,
    "gaussian_blur": _gaussian_blur,
    "gamma": _gamma,
    "perspective": _perspective,
    "elastic": _elastic,
    "occluding_bar": _occluding_bar,
}


def _make_like(drawn: npt.NDArray[np.float64], image: Tensor) -> Tensor:
    return torch.from_numpy(drawn).to(image)
