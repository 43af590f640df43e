"""The bundled pair with a class for every pixel: digits on made-up backgrounds -> handwritten digits on photographs.

Nothing is downloaded. A scene holds one or two digits, each on a plate, as on houses and shirts; a plate's pixels have
the class of its digit, and where plates overlap the one on top counts. (Strokes alone would be finer than the maps of a
network.) The synthetic digits are those of ``csg.data.pairs.glyphs``, coloured, over gradients, noise and shapes;
source/val has its held-out fonts. The real ones are scikit-learn's handwritten digits over its two photographs.
target/val and target/test share neither a digit nor a pixel of a photograph: val has the left halves, test the right
ones.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache, partial
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, features

from csg.config import DataConfig
from csg.data.maps.shifted import ShiftedMaps
from csg.data.maps.stream import ArrayMapStream
from csg.data.pair import SOURCE_SHIFTED, SOURCE_TRAIN, SOURCE_VAL, TARGET_TEST, TARGET_VAL, Pair
from csg.data.pairs import backgrounds, glyphs, nist
from csg.data.pairs.rendered import load_or_render
from csg.data.reading.cache import cache_folder
from csg.messages.errors import UserError
from csg.randomness import generator
from csg.storage.files import digest_file

Bytes = npt.NDArray[np.uint8]
Reals = npt.NDArray[np.float64]

CLASSES: Final = ("background", *glyphs.CLASSES)
SIDE: Final = 64
"""Of a scene, in pixels: what evaluation sees."""
SCENES: Final = {SOURCE_VAL: 96, TARGET_VAL: 96, TARGET_TEST: 192}
"""How many there are beside source/train."""
SEED: Final = 17
"""Of the data set: no setting moves it."""
DIGITS: Final = (1, 2)
"""Fewest and most in a scene."""
HEIGHTS: Final = (24, 36)
"""Of digits, in pixels."""
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

    @property
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


def load(config: DataConfig) -> Pair:
    """Return the pair: ``config.source_images`` scenes of source/train, and of the other streams as in ``SCENES``.

    Raises:
        UserError: ``data.image_size`` is larger than a scene, ``data.cache`` cannot be written, or a part of the
            handwritten digits would miss a class.
    """
    if config.image_size > SIDE:
        raise UserError(
            f"data.image_size: expected at most {SIDE}, the side of the scenes of data.name={config.name}, found "
            f"{config.image_size}"
        )
    images = config.source_images_asked
    assert images is not None
    counts = {SOURCE_TRAIN: images, **SCENES}
    shapes = {stream.replace("/", "_"): (count, SIDE, SIDE, 4) for stream, count in counts.items()}
    rendering = cache(partial(Rendering.of, config.target_val_fraction))
    path = cache_folder(config) / f"glyph-scenes-{_identity(config)}.npz"
    scenes = load_or_render(path, shapes=shapes, render=lambda name: rendering().scenes(name, shapes[name][0]))
    stream = partial(ArrayMapStream, side=config.image_size, mirror=False)
    streams = {name: stream(held[..., :3], held[..., 3]) for name, held in zip(counts, scenes.values(), strict=True)}
    return Pair(
        name="glyph_scenes",
        classes=CLASSES,
        streams={**streams, SOURCE_SHIFTED: ShiftedMaps(streams[SOURCE_VAL])},
        flip_averaging=False,
        description=(
            f"scenes of synthetic digits -> real handwritten digits on photographs (scikit-learn), {SIDE}x{SIDE}, "
            f"{len(CLASSES)} classes, squares of {config.image_size}x{config.image_size}: source train/val "
            f"{images}/{SCENES[SOURCE_VAL]}, target val/test {SCENES[TARGET_VAL]}/{SCENES[TARGET_TEST]}"
        ),
    )


@dataclass(frozen=True)
class Rendering:
    """Composes scenes: each is a function of its stream and number, and of the share of digits in target/val."""

    handwritten: dict[str, npt.NDArray[np.int64]]
    """Which of scikit-learn's digits target_val and target_test have."""
    digits: Reals
    """(1797, 8, 8) ink, 0 to 1."""
    labels: npt.NDArray[np.int64]
    """(1797,)."""
    photographs: dict[str, tuple[Bytes, ...]]
    """(H, W, 3) parts of the photographs that target_val and target_test have."""

    @classmethod
    def of(cls, target_val_fraction: float) -> Rendering:
        """Read the digits and the photographs, and split both.

        Raises:
            UserError: see :func:`csg.data.pairs.glyphs.split_target`.
        """
        from sklearn.datasets import load_sample_images

        real = glyphs.load_handwritten()
        labels = real["real_labels"].astype(np.int64)
        val, test = glyphs.split_target(torch.from_numpy(labels), target_val_fraction)
        whole = [np.asarray(photograph) for photograph in load_sample_images().images]
        return cls(
            handwritten={"target_val": val.numpy(), "target_test": test.numpy()},
            digits=real["real"] / (nist.LEVELS - 1),
            labels=labels,
            photographs={
                "target_val": tuple(one[:, : one.shape[1] // 2] for one in whole),
                "target_test": tuple(one[:, one.shape[1] // 2 :] for one in whole),
            },
        )

    def scenes(self, split: str, count: int) -> Bytes:
        """Return the first ``count`` scenes of a split as (count, SIDE, SIDE, 4): red, green, blue and class."""
        return np.stack([self.scene(split, index) for index in range(count)])

    def scene(self, split: str, index: int) -> Bytes:
        """Return a scene as (SIDE, SIDE, 4): red, green, blue and class."""
        rng = generator(SEED, "glyph scenes", split, index)
        if split in self.photographs:
            photographs = self.photographs[split]
            background = backgrounds.photograph(photographs[rng.integers(len(photographs))], SIDE, rng)
        else:
            background = backgrounds.draw_background(SIDE, rng)
        number = int(rng.integers(DIGITS[0], DIGITS[1] + 1))
        return compose(background, [self._digit(split, rng) for _ in range(number)], rng)

    def _digit(self, split: str, rng: np.random.Generator) -> Digit:
        height = int(rng.integers(HEIGHTS[0], HEIGHTS[1] + 1))
        if split in self.handwritten:
            chosen = int(rng.choice(self.handwritten[split]))
            return Digit(1 + int(self.labels[chosen]), handwritten_alpha(self.digits[chosen], height))
        number = int(rng.integers(2**31))
        fonts = split.removeprefix("source_")
        return Digit(1 + number % len(glyphs.CLASSES), rendered_alpha(glyphs.draw_glyph(fonts, number), height))


def rendered_alpha(glyph: nist.Bitmap, height: int) -> Reals:
    """Shrink a drawn glyph's bounding box to ``height`` rows, with antialiasing."""
    rows, columns = np.flatnonzero(glyph.any(axis=1)), np.flatnonzero(glyph.any(axis=0))
    box = glyph[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    size = (max(1, round(height * box.shape[1] / box.shape[0])), height)
    drawn = Image.fromarray(box.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(drawn, dtype=np.float64).clip(0, 1)


def handwritten_alpha(ink: Reals, height: int) -> Reals:
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
            under = _colour(under, rng)
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


def _colour(under: Reals, rng: np.random.Generator) -> Reals:
    """Draw a colour that is lighter or darker than another one, by enough to be seen."""
    drawn = rng.uniform(0, 255, size=(TRIES, 3))
    contrast = np.abs((drawn - under) @ LUMINANCE)
    enough = np.flatnonzero(contrast >= CONTRAST)
    chosen: Reals = drawn[enough[0] if len(enough) else contrast.argmax()]
    return chosen


def _identity(config: DataConfig) -> str:
    """Twelve hexadecimal digits that change with whatever may change the scenes."""
    assert config.source_images_asked is not None
    matters = {
        "sources": [digest_file(source) for source in (__file__, backgrounds.__file__)],
        "glyphs": glyphs.identity(config.source_images_asked),
        "jpeg": features.version("jpg"),
        "fraction": config.target_val_fraction,
    }
    return hashlib.sha256(json.dumps(matters, sort_keys=True).encode()).hexdigest()[:12]
