"""Squares out of an image and its class map: the same scale and the same place for both."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from csg.data.maps.label_maps import VOID, Bytes
from csg.data.pair import IGNORED

SCALES: Final = (0.75, 1.0, 1.25)
"""By which training enlarges or reduces an image, each as often as the others."""
GREY: Final = (124, 116, 104)
"""Mean colour of ImageNet's photographs: where a square reaches beyond its image."""


def random_crop(
    picture: Image.Image, classes: Bytes, side: int, rng: np.random.Generator, *, mirror: bool
) -> tuple[Tensor, Tensor]:
    """Scale an image, mirror it or not, and cut a square out of it at any place.

    Along a side on which the scaled image is shorter than the square, the whole image lies somewhere in the square.

    Args:
        picture: RGB.
        classes: (H, W) classes and ``VOID``, of the same size.
        side: of the square, in pixels.
        rng: draws scale, place and mirroring.
        mirror: whether every other square is its own mirror image.

    Returns:
        (3, side, side) uint8 pixels, bilinear, and (side, side) int64 classes of the nearest pixels, ``IGNORED``
        where there is none.
    """
    scale = SCALES[rng.integers(len(SCALES))]
    width, height = (max(1, round(scale * length)) for length in picture.size)
    left, top = (int(rng.integers(min(0, rest), max(0, rest) + 1)) for rest in (width - side, height - side))
    pixels, labels = _cut_square(picture, classes, side, scaled=(width, height), corner=(left, top))
    if mirror and rng.random() < 0.5:
        return pixels.flip(2), labels.flip(1)
    return pixels, labels


def centre_crop(picture: Image.Image, classes: Bytes, side: int) -> tuple[Tensor, Tensor]:
    """Cut out the middle square at the image's own size; see :func:`random_crop`."""
    left, top = ((length - side) // 2 for length in picture.size)
    return _cut_square(picture, classes, side, scaled=picture.size, corner=(left, top))


def make_tensors(picture: Image.Image, classes: Bytes) -> tuple[Tensor, Tensor]:
    """Return (3, H, W) uint8 pixels and (H, W) int64 classes, ``IGNORED`` where there is none."""
    return _make_pixels(picture), _make_labels(classes)


def _cut_square(
    picture: Image.Image, classes: Bytes, side: int, *, scaled: tuple[int, int], corner: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Cut a square out of the image as it would be after scaling, without scaling what is outside the square."""
    spans = [(max(0, start), min(length, start + side)) for start, length in zip(corner, scaled, strict=True)]
    (left, right), (top, bottom) = spans
    across, down = (length / whole for length, whole in zip(picture.size, scaled, strict=True))
    box = (left * across, top * down, right * across, bottom * down)
    place = (left - corner[0], top - corner[1])
    square = Image.new("RGB", (side, side), GREY)
    square.paste(picture.resize((right - left, bottom - top), Image.Resampling.BILINEAR, box=box), place)
    labels = np.full((side, side), VOID, dtype=np.uint8)
    columns, rows = (
        _find_nearest(np.arange(*span), length, of_scaled)
        for span, length, of_scaled in zip(spans, picture.size, scaled, strict=True)
    )
    labels[place[1] : place[1] + bottom - top, place[0] : place[0] + right - left] = classes[np.ix_(rows, columns)]
    return make_tensors(square, labels)


def _find_nearest(places: npt.NDArray[np.int64], length: int, scaled: int) -> npt.NDArray[np.int64]:
    """Return which of ``length`` pixels the middles of pixels lie in when they are ``scaled`` in all; exact."""
    nearest: npt.NDArray[np.int64] = (2 * places + 1) * length // (2 * scaled)
    return nearest


def _make_pixels(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()


def _make_labels(classes: Bytes) -> Tensor:
    labels = torch.from_numpy(classes.astype(np.int64))
    return labels.masked_fill_(labels == VOID, IGNORED)
