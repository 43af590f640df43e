"""Held-out images with class maps under distortions that no training view has; the maps stay as they are.

Of the distortions for classification those remain that move and hide nothing. The blur is gentler: it must not wash
away whole objects, whose pixels are still to be told apart.
"""

from __future__ import annotations

import dataclasses
import hashlib
from functools import cached_property
from typing import Final

import kornia
import numpy as np
import torch
from torch import Tensor

from csg.data.pair import Reading, Stream
from csg.data.views.shifted import DISTORTIONS, SEED, Distortion
from csg.randomness import make_generator

VERSION: Final = 1
"""Raise it whenever the same image would come out otherwise."""


def _gentle_blur(image: Tensor, rng: np.random.Generator) -> Tensor:
    deviation = min(image.shape[-2:]) * rng.uniform(0.01, 0.02)
    window = 2 * int(2 * deviation) + 1
    blurred: Tensor = kornia.filters.gaussian_blur2d(image, (window, window), (deviation, deviation))
    return blurred


MAP_DISTORTIONS: Final[dict[str, Distortion]] = {
    **{name: DISTORTIONS[name] for name in ("gaussian_noise", "salt_and_pepper", "gamma")},
    "gentle_blur": _gentle_blur,
}


def distort_picture(image: Tensor, index: int) -> Tensor:
    """Return the (3, H, W) uint8 image as image ``index`` of a stream is distorted."""
    rng = make_generator(SEED, "shifted maps", index)
    name = tuple(MAP_DISTORTIONS)[rng.integers(len(MAP_DISTORTIONS))]
    distorted = MAP_DISTORTIONS[name](image[None] / 255, rng)
    return distorted[0].mul(255).round().clamp(0, 255).to(torch.uint8)


class ShiftedMaps(Stream):
    """The images of another stream, each distorted in one way, which is a function of its index alone."""

    def __init__(self, stream: Stream) -> None:
        """Take the stream; what it reads is distorted on demand."""
        self._stream = stream

    @property
    def sources(self) -> Tensor:
        """See :class:`Stream`."""
        return self._stream.sources

    @cached_property
    def fingerprint(self) -> str:  # type: ignore[override]
        """See :class:`Stream`."""
        text = f"shifted maps {VERSION} {SEED} {self._stream.fingerprint}"
        return hashlib.sha256(text.encode()).hexdigest()

    def __len__(self) -> int:
        return len(self._stream)

    def read(self, indices: Tensor) -> Reading:
        """See :class:`Stream`."""
        return _distort_reading(self._stream.read(indices))

    def read_centre(self, indices: Tensor) -> Reading:
        """See :class:`Stream`."""
        return _distort_reading(self._stream.read_centre(indices))

    def read_crops(self, indices: Tensor, *, seed: int, epoch: int, views: int) -> Reading:
        """See :class:`Stream`."""
        return _distort_reading(self._stream.read_crops(indices, seed=seed, epoch=epoch, views=views))


def _distort_reading(plain: Reading) -> Reading:
    places = plain.indices.tolist()
    if not places:
        return plain
    images = torch.stack([distort_picture(image, index) for image, index in zip(plain.views[0], places, strict=True)])
    return dataclasses.replace(plain, views=(images,) * len(plain.views))
