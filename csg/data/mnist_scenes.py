"""Real digits on plates over photographs, one an image: what teaches an encoder handwriting as ``glyph_scenes`` has it.

The digits are those of :mod:`csg.data.mnist`, and the photographs the parts that no stream of ``glyph_scenes`` has.
Plates and colours are drawn as those of its scenes.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from csg.data.pairs import backgrounds
from csg.data.pairs.plates import Bytes, Digit, Reals, compose, enlarge_alpha

SIDE: Final = 48
"""Of an image, in pixels."""
HEIGHTS: Final = (24, 32)
"""Of digits, in pixels, as in a scene; a larger plate would not fit."""
INK: Final = 0.3
"""From which a pixel belongs to a digit."""


def compose_image(digit: Reals, photographs: tuple[Bytes, ...], rng: np.random.Generator) -> Bytes:
    """Lay a digit's ink, (H, W) of 0 to 1, over a piece of one of the photographs.

    Its brightest pixel becomes full ink: of a coarse digit even that may be faint, and nothing of it would be seen.

    Returns:
        (SIDE, SIDE, 3) colours.
    """
    background = backgrounds.cut_photograph(photographs[rng.integers(len(photographs))], SIDE, rng)
    height = int(rng.integers(HEIGHTS[0], HEIGHTS[1] + 1))
    return compose(background, [Digit(0, enlarge_alpha(cut_square(digit / digit.max()), height))], rng)[..., :3]


def cut_square(digit: Reals) -> Reals:
    """Cut out the smallest square around a digit's ink, which lies in its middle unless the image ends before."""
    rows, columns = (np.flatnonzero((digit >= INK).any(axis=axis)) for axis in (1, 0))
    side = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    top, left = (
        min(max((places[0] + places[-1] + 1 - side) // 2, 0), length - side)
        for places, length in ((rows, digit.shape[0]), (columns, digit.shape[1]))
    )
    return digit[top : top + side, left : left + side]
