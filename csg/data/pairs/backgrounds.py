"""What lies behind the digits of a scene: made-up colours and shapes, or a piece of a photograph.

The photographs are scikit-learn's two. Their thirds share no pixel: the left ones are target/val's, the right ones
target/test's, and over the middle ones an encoder learns handwriting before it sees a scene.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Reals = npt.NDArray[np.float64]

THIRDS: Final = ("target_val", "pretraining", "target_test")
"""Parts of the photographs, from left to right."""
CUT: Final = (96, 192)
"""Smallest and largest side of the square that is cut out of a photograph, in pixels."""


def find_photographs() -> list[Path]:
    """Return the files of the photographs. scikit-learn is not imported, which takes as long as importing torch."""
    package = find_spec("sklearn")
    assert package is not None and package.origin is not None
    folder = Path(package.origin).parent / "datasets" / "images"
    return [folder / name for name in ("china.jpg", "flower.jpg")]


def load_photographs(part: str) -> tuple[npt.NDArray[np.uint8], ...]:
    """Return one of ``THIRDS`` of each photograph, (H, W, 3)."""
    place = THIRDS.index(part)
    found = []
    for path in find_photographs():
        with Image.open(path) as photograph:
            width = photograph.width
            left, right = (round(width * third / len(THIRDS)) for third in (place, place + 1))
            found.append(np.asarray(photograph)[:, left:right])
    return tuple(found)


def draw_background(side: int, rng: np.random.Generator) -> Reals:
    """Return a gradient, noise, shapes or clouds as (side, side, 3) colours, 0 to 255."""
    return MADE_UP[rng.integers(len(MADE_UP))](side, rng)


def cut_photograph(picture: npt.NDArray[np.uint8], side: int, rng: np.random.Generator) -> Reals:
    """Cut a square out of an (H, W, 3) photograph and scale it to (side, side, 3)."""
    cut = int(rng.integers(CUT[0], CUT[1] + 1))
    top, left = (int(rng.integers(length - cut + 1)) for length in picture.shape[:2])
    # Cut out first: scaled in place, the square's rim would mix with what lies beyond it.
    square = Image.fromarray(picture[top : top + cut, left : left + cut])
    return np.asarray(square.resize((side, side), Image.Resampling.BILINEAR), dtype=np.float64)


def _draw_gradient(side: int, rng: np.random.Generator) -> Reals:
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:side, :side] / (side - 1) - 0.5
    along = x * np.cos(angle) + y * np.sin(angle)
    share = ((along - along.min()) / np.ptp(along))[..., None]
    one, other = rng.uniform(0, 255, size=(2, 3))
    mixed: Reals = one + share * (other - one)
    return mixed


def _draw_noise(side: int, rng: np.random.Generator) -> Reals:
    grain: Reals = rng.uniform(30, 225, size=3) + rng.normal(0, rng.uniform(8, 30), size=(side, side, 3))
    return grain.clip(0, 255)


def _draw_shapes(side: int, rng: np.random.Generator) -> Reals:
    canvas = Image.new("RGB", (2 * side, 2 * side), _draw_colour(rng))
    draw = ImageDraw.Draw(canvas)
    for _ in range(int(rng.integers(4, 10))):
        x, y = rng.uniform(-0.2, 1.0, size=2) * 2 * side
        width, height = rng.uniform(0.1, 0.7, size=2) * 2 * side
        kind = rng.integers(3)
        if kind == 0:
            draw.rectangle((x, y, x + width, y + height), fill=_draw_colour(rng))
        elif kind == 1:
            draw.ellipse((x, y, x + width, y + height), fill=_draw_colour(rng))
        else:
            draw.polygon([(x, y), (x + width, y + height / 2), (x + width / 3, y + height)], fill=_draw_colour(rng))
    return np.asarray(canvas.resize((side, side), Image.Resampling.BOX), dtype=np.float64)


def _draw_clouds(side: int, rng: np.random.Generator) -> Reals:
    """Value noise: random colours on coarse grids, smooth in between, the finer the weaker."""
    colours = np.zeros((side, side, 3))
    for octave, cells in enumerate((2, 4, 8, 16)):
        for channel in range(3):
            grid = Image.fromarray(rng.uniform(-1, 1, size=(cells + 1, cells + 1)).astype(np.float32))
            colours[..., channel] += np.asarray(grid.resize((side, side), Image.Resampling.BICUBIC)) / 2**octave
    return (rng.uniform(70, 185, size=3) + 90 * colours).clip(0, 255)


MADE_UP: Final[tuple[Callable[[int, np.random.Generator], Reals], ...]] = (
    _draw_gradient,
    _draw_noise,
    _draw_shapes,
    _draw_clouds,
)


def _draw_colour(rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in rng.integers(0, 256, size=3))
    return red, green, blue
