"""Digits on plates, laid over a background: the ink's opacity, the plate around it, places and colours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

Bytes = npt.NDArray[np.uint8]
Reals = npt.NDArray[np.float64]

PLATE: Final = 1.5
"""A plate's sides, relative to those of the ink."""
NARROWEST: Final = 0.6
"""Width of the ink, relative to its height, below which a plate grows no narrower."""
ROUND: Final = 4
"""Exponent of a plate's outline (a superellipse: 2 is an ellipse, more is squarer)."""
EDGE: Final = (0.2, 0.5)
"""Ink from which a handwritten stroke begins to cover, and covers in full."""
CONTRAST: Final = 70.0
"""Least difference between the luminance of ink and plate, and of a plate and what it lies on, of 255."""
OVERLAP: Final = 0.1
"""Share of a plate that may be covered, where there is room enough."""
TRIES: Final = 30
"""Places and colours that are drawn before the best of them is taken."""
LUMINANCE: Final = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue (ITU-R 601)."""


@dataclass(frozen=True)
class Digit:
    """What is laid over a background: a plate, and ink on it."""

    label: int
    ink: Reals
    """(h, w) opacity of its strokes, 0 to 1."""

    @cached_property
    def plate(self) -> Reals:
        """Opacity of a plate around the ink, 0 to 1; a pixel is the digit's from 0.5 on."""
        sides = self.ink.shape[0], max(self.ink.shape[1], NARROWEST * self.ink.shape[0])
        height, width = (round(PLATE * side) for side in sides)
        y, x = (np.abs(np.arange(length) + 0.5 - length / 2) / (length / 2) for length in (height, width))
        radius = (y[:, None] ** ROUND + x**ROUND) ** (1 / ROUND)
        return np.asarray(((1 - radius) * min(height, width) / 2 + 0.5).clip(0, 1))

    @property
    def ink_on_plate(self) -> Reals:
        """The ink in the middle of the plate, of its size."""
        plate = self.plate
        (above, over), (before, beside) = (
            (whole - part, (whole - part) // 2) for whole, part in zip(plate.shape, self.ink.shape, strict=True)
        )
        return np.pad(self.ink, ((over, above - over), (beside, before - beside))) * plate


def render_alpha(glyph: npt.NDArray[np.bool_], height: int) -> Reals:
    """Shrink a drawn glyph's bounding box to ``height`` rows, with antialiasing."""
    rows, columns = np.flatnonzero(glyph.any(axis=1)), np.flatnonzero(glyph.any(axis=0))
    box = glyph[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    size = (max(1, round(height * box.shape[1] / box.shape[0])), height)
    drawn = Image.fromarray(box.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(drawn, dtype=np.float64).clip(0, 1)


def enlarge_alpha(ink: Reals, height: int) -> Reals:
    """Enlarge an (8, 8) digit smoothly to ``height`` rows and give its strokes an edge."""
    drawn = Image.fromarray(ink.astype(np.float32)).resize((height, height), Image.Resampling.BICUBIC)
    alpha = ((np.asarray(drawn, dtype=np.float64) - EDGE[0]) / (EDGE[1] - EDGE[0])).clip(0, 1)
    seen = np.flatnonzero((alpha >= 0.5).any(axis=0))
    return alpha[:, seen[0] : seen[-1] + 1]


def compose(background: Reals, digits: list[Digit], rng: np.random.Generator) -> Bytes:
    """Lay digits over a background, the later ones on top.

    Args:
        background: (S, S, 3) colours, 0 to 255.
        digits: what to lay over it.
        rng: draws places and colours.

    Returns:
        (S, S, 4): red, green, blue and class; 0 is the background.
    """
    colours, classes = background.copy(), np.zeros(background.shape[:2], dtype=np.uint8)
    for digit in digits:
        plate = digit.plate
        mask = plate >= 0.5
        top, left = _place(mask, classes, rng)
        area = np.s_[top : top + mask.shape[0], left : left + mask.shape[1]]
        under = colours[area][mask].mean(axis=0)
        for alpha in (plate, digit.ink_on_plate):
            under = _draw_colour(under, rng)
            colours[area] = alpha[..., None] * under + (1 - alpha[..., None]) * colours[area]
        classes[area][mask] = digit.label
    pixels = colours.round().clip(0, 255).astype(np.uint8)
    return np.concatenate([pixels, classes[..., None]], axis=2)


def _place(mask: npt.NDArray[np.bool_], classes: Bytes, rng: np.random.Generator) -> tuple[int, int]:
    """Draw a corner where little of other digits is covered."""
    best, least = (0, 0), 2.0
    for _ in range(TRIES):
        top, left = (int(rng.integers(whole - part + 1)) for whole, part in zip(classes.shape, mask.shape, strict=True))
        under = classes[top : top + mask.shape[0], left : left + mask.shape[1]]
        covered = float((under[mask] > 0).mean())
        if covered < least:
            best, least = (top, left), covered
        if covered <= OVERLAP:
            break
    return best


def _draw_colour(under: Reals, rng: np.random.Generator) -> Reals:
    """Draw a colour that is lighter or darker than another one, by enough to be seen."""
    drawn = rng.uniform(0, 255, size=(TRIES, 3))
    contrast = np.abs((drawn - under) @ LUMINANCE)
    enough = np.flatnonzero(contrast >= CONTRAST)
    chosen: Reals = drawn[enough[0] if len(enough) else contrast.argmax()]
    return chosen
