"""The bundled pair with a class for every pixel: digits on made-up backgrounds -> handwritten digits on photographs.

Nothing is downloaded. A scene holds one or two digits, each on a plate, as on houses and shirts; a plate's pixels have
the class of its digit, and where plates overlap the one on top counts. (Strokes alone would be finer than the maps of a
network.) The synthetic digits are those of ``csg.data.pairs.glyphs``, coloured, over gradients, noise and shapes;
source/val has its held-out fonts. The real ones are scikit-learn's handwritten digits over its two photographs.
target/val, target/test and what the encoder starts from (:mod:`csg.data.mnist_scenes`) share neither a digit nor a
pixel of a photograph.
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
from PIL import features

from csg.config import DataConfig
from csg.data.maps.shifted import ShiftedMaps
from csg.data.maps.stream import ArrayMapStream
from csg.data.pair import SOURCE_SHIFTED, SOURCE_TRAIN, SOURCE_VAL, TARGET_TEST, TARGET_VAL, Pair
from csg.data.pairs import backgrounds, glyphs, nist, plates
from csg.data.pairs.plates import Bytes, Digit, Reals, compose, enlarge_alpha, render_alpha
from csg.data.pairs.rendered import load_or_render
from csg.data.reading.cache import get_cache_folder
from csg.messages.errors import UserError
from csg.randomness import make_generator
from csg.storage.files import digest_file

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
    path = get_cache_folder(config) / f"glyph-scenes-{_compute_identity(config)}.npz"
    scenes = load_or_render(path, shapes=shapes, render=lambda name: rendering().compose_scenes(name, shapes[name][0]))
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
        real = glyphs.load_handwritten()
        labels = real["real_labels"].astype(np.int64)
        val, test = glyphs.split_target(torch.from_numpy(labels), target_val_fraction)
        return cls(
            handwritten={"target_val": val.numpy(), "target_test": test.numpy()},
            digits=real["real"] / (nist.LEVELS - 1),
            labels=labels,
            photographs={split: backgrounds.load_photographs(split) for split in ("target_val", "target_test")},
        )

    def compose_scenes(self, split: str, count: int) -> Bytes:
        """Return the first ``count`` scenes of a split as (count, SIDE, SIDE, 4): red, green, blue and class."""
        return np.stack([self.compose_scene(split, index) for index in range(count)])

    def compose_scene(self, split: str, index: int) -> Bytes:
        """Return a scene as (SIDE, SIDE, 4): red, green, blue and class."""
        rng = make_generator(SEED, "glyph scenes", split, index)
        if split in self.photographs:
            photographs = self.photographs[split]
            background = backgrounds.cut_photograph(photographs[rng.integers(len(photographs))], SIDE, rng)
        else:
            background = backgrounds.draw_background(SIDE, rng)
        number = int(rng.integers(DIGITS[0], DIGITS[1] + 1))
        return compose(background, [self._draw_digit(split, rng) for _ in range(number)], rng)

    def _draw_digit(self, split: str, rng: np.random.Generator) -> Digit:
        height = int(rng.integers(HEIGHTS[0], HEIGHTS[1] + 1))
        if split in self.handwritten:
            chosen = int(rng.choice(self.handwritten[split]))
            return Digit(1 + int(self.labels[chosen]), enlarge_alpha(self.digits[chosen], height))
        number = int(rng.integers(2**31))
        fonts = split.removeprefix("source_")
        return Digit(1 + number % len(glyphs.CLASSES), render_alpha(glyphs.draw_glyph(fonts, number), height))


def _compute_identity(config: DataConfig) -> str:
    """Twelve hexadecimal digits that change with whatever may change the scenes."""
    assert config.source_images_asked is not None
    matters = {
        "sources": [digest_file(source) for source in (__file__, backgrounds.__file__, plates.__file__)],
        "glyphs": glyphs.compute_identity(config.source_images_asked),
        "jpeg": features.version("jpg"),
        "fraction": config.target_val_fraction,
    }
    return hashlib.sha256(json.dumps(matters, sort_keys=True).encode()).hexdigest()[:12]
