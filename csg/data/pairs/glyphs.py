"""The bundled pair: digits rendered from matplotlib's fonts -> the handwritten digits of scikit-learn.

Nothing is downloaded. The rendered digits go through the sensor of the real ones (``csg.data.pairs.nist``), so that the
gap between the domains is shape, not resolution. ``source/val`` holds out a whole superfamily of fonts.
"""

from __future__ import annotations

import hashlib
import json
import math
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy as np
import PIL
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont, features
from torch import Tensor

from csg import randomness
from csg.config import DataConfig
from csg.data.pair import (
    SOURCE_SHIFTED,
    SOURCE_TRAIN,
    SOURCE_VAL,
    TARGET_TEST,
    TARGET_VAL,
    ArrayStream,
    Pair,
    split_by_class,
)
from csg.data.pairs import nist
from csg.data.pairs.rendered import Images, load_or_render
from csg.data.reading.cache import get_cache_folder
from csg.data.views.shifted import shift_stream
from csg.messages.errors import UserError
from csg.randomness import make_generator
from csg.storage.files import digest_file

CLASSES: Final = tuple("0123456789")
FONTS: Final[dict[str, tuple[str, ...]]] = {
    "train": (
        *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
        *("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique", "DejaVuSansMono-BoldOblique"),
        *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
    ),
    "val": ("cmr10", "cmb10", "cmti10", "cmmi10", "cmss10", "cmtt10"),
}
"""Fonts of matplotlib's that have ten digits. All of Computer Modern is held out, so that no held-out font is the
bold, oblique or fixed-width twin of a training font."""
FAMILIES: Final = {
    **{"DejaVuSansMono": "DejaVu Sans Mono", "DejaVuSans": "DejaVu Sans", "DejaVuSerif": "DejaVu Serif"},
    "cm": "Computer Modern",
}
"""The sources of the synthetic digits, by what their fonts' names begin with; the first that fits counts."""
VAL_IMAGES: Final = 320
REAL_IMAGES: Final = 1797
SEED: Final = 17
"""Of the data set: no setting moves it."""
FONT_SIZE: Final = 80
"""Pixels per em: a digit is about 55 high, which the sensor shrinks to 32."""
CANVAS: Final = 128
"""Side of the frame a glyph is drawn in, in pixels."""
ROTATION: Final = 10.0
"""Largest rotation either way, in degrees."""
SLANT: Final = 0.25
"""Largest shear either way. The sensor undoes it after it has fitted the glyph to a box: a slanted glyph ends up
narrow. (A drawn aspect would leave no trace: the sensor stretches every glyph to the same box.)"""
PENS: Final = 4
"""Strokes are thickened by 0 to 3 pixels on either side."""


def load(config: DataConfig) -> Pair:
    """Return the pair: ``config.source_images`` of ``source/train`` and 1,797 real images split in two.

    Raises:
        UserError: ``data.cache`` cannot be written, or a part of the target would miss a class.
    """
    images = config.source_images_asked
    assert images is not None
    rendered = {"train": (images, 8, 8), "val": (VAL_IMAGES, 8, 8)}
    shapes = {**rendered, "real": (REAL_IMAGES, 8, 8), "real_labels": (REAL_IMAGES,)}
    path = get_cache_folder(config) / f"glyphs-{compute_identity(images)}.npz"
    counts = load_or_render(
        path,
        shapes=shapes,
        render=lambda name: render_split(name, shapes[name][0]) if name in rendered else load_handwritten()[name],
    )
    labels = torch.from_numpy(counts["real_labels"].astype(np.int64))
    val, test = split_target(labels, config.target_val_fraction)
    real = to_images(counts["real"], config.image_size)
    side = config.image_size
    source_val = _make_rendered_stream(counts["val"], "val", side)
    return Pair(
        name="glyphs",
        classes=CLASSES,
        streams={
            SOURCE_TRAIN: _make_rendered_stream(counts["train"], "train", side),
            SOURCE_VAL: source_val,
            SOURCE_SHIFTED: shift_stream(source_val),
            TARGET_VAL: ArrayStream(real[val], labels[val]),
            TARGET_TEST: ArrayStream(real[test], labels[test]),
        },
        flip_averaging=False,
        sources=tuple(FAMILIES.values()),
        description=(
            f"synthetic digits from {sum(map(len, FONTS.values()))} fonts ({len(FONTS['val'])} of them only in "
            f"source/val) -> {len(labels):,} real handwritten digits (scikit-learn), {side}x{side}: "
            f"source train/val {images}/{VAL_IMAGES}, target val/test {len(val)}/{len(test)}"
        ),
    )


@lru_cache(maxsize=1)
def load_handwritten() -> dict[str, Images]:
    """Return scikit-learn's digits: "real", (1797, 8, 8) counts, and "real_labels", (1797,) digits.

    Importing scikit-learn takes a process as long as importing torch, so that they lie in the cache too.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    return {"real": digits.images.astype(np.uint8), "real_labels": digits.target.astype(np.uint8)}


def render_split(split: str, images: int) -> Images:
    """Render the first ``images`` of "train" or "val" as (images, 8, 8) counts; image i shows the digit i % 10."""
    return np.stack([nist.sense(draw_glyph(split, index)) for index in range(images)])


def draw_glyph(split: str, index: int) -> nist.Bitmap:
    """Draw glyph ``index`` of a split, a function of these two alone, as a (CANVAS, CANVAS) bitmap."""
    rng = make_generator(SEED, "glyphs", split, index)
    digit = CLASSES[index % len(CLASSES)]
    font = _load_font(FONTS[split][index // len(CLASSES) % len(FONTS[split])])
    pen = int(rng.integers(PENS))
    angle, slant = math.radians(rng.uniform(-ROTATION, ROTATION)), rng.uniform(-SLANT, SLANT)
    canvas = Image.new("L", (CANVAS, CANVAS))
    draw, centre = ImageDraw.Draw(canvas), CANVAS / 2
    left, top, right, bottom = draw.textbbox((0, 0), digit, font=font)
    corner = (centre - (left + right) / 2, centre - (top + bottom) / 2)
    draw.text(corner, digit, fill=255, font=font, stroke_width=pen)
    # Pillow maps places of the result to places of the canvas: (x, y) -> (a x + b y + c, d x + e y + f).
    a, d = math.cos(angle), math.sin(angle)
    b, e = a * slant - d, d * slant + a
    c, f = centre - (a + b) * centre, centre - (d + e) * centre
    turned = canvas.transform(
        canvas.size, Image.Transform.AFFINE, (a, b, c, d, e, f), resample=Image.Resampling.BILINEAR
    )
    return np.asarray(turned) >= 128


def to_images(counts: Images, side: int) -> Tensor:
    """Scale (N, 8, 8) counts of 0 to 16 to grey values of 0 to 255 and resize them bilinearly to (N, side, side)."""
    grey = torch.round(torch.from_numpy(counts).float() * (255 / (nist.LEVELS - 1))).unsqueeze(1)
    # In pieces, because float images take four times the memory of the result.
    pieces = [
        F.interpolate(piece, size=(side, side), mode="bilinear", align_corners=False)
        for piece in torch.split(grey, 256)
    ]
    return torch.cat([piece.round().to(torch.uint8) for piece in pieces]).squeeze(1)


def _make_rendered_stream(counts: Images, split: str, side: int) -> ArrayStream:
    families = [next(n for n, start in enumerate(FAMILIES) if font.startswith(start)) for font in FONTS[split]]
    numbers = torch.arange(len(counts))
    sources = torch.tensor(families)[numbers // len(CLASSES) % len(families)]
    return ArrayStream(to_images(counts, side), numbers % len(CLASSES), sources)


def split_target(labels: Tensor, fraction: float) -> tuple[Tensor, Tensor]:
    """Split the handwritten digits: ``fraction`` of every class for target/val, the rest for target/test.

    Raises:
        UserError: one of the two would miss a class.
    """
    val, test = split_by_class(labels, fraction, make_generator(SEED, "glyphs", "target"))
    for part in (val, test):
        if len(torch.unique(labels[part])) < len(CLASSES):
            raise UserError(
                "data.target_val_fraction: expected a share that leaves every class in target/val and in target/test, "
                f"found {fraction}: {len(val)} and {len(test)} images; choose a share nearer to 0.5"
            )
    return val, test


@lru_cache(maxsize=1)
def _find_font_folder() -> Path:
    return Path(mpl.get_data_path()) / "fonts" / "ttf"


@lru_cache(maxsize=64)
def _load_font(name: str) -> ImageFont.FreeTypeFont:
    # The basic layout needs no library beside FreeType, so that every machine places digits alike.
    return ImageFont.truetype(_find_font_folder() / f"{name}.ttf", FONT_SIZE, layout_engine=ImageFont.Layout.BASIC)


def compute_identity(source_images: int) -> str:
    """Twelve hexadecimal digits that change with whatever may change the rendered images."""
    names = [name for split in FONTS.values() for name in split]
    matters = {
        "sources": [digest_file(source) for source in (__file__, nist.__file__, randomness.__file__)],
        "fonts": {name: digest_file(str(_find_font_folder() / f"{name}.ttf")) for name in names},
        "pillow": PIL.__version__,
        "freetype": features.version("freetype2"),
        "sklearn": version("scikit-learn"),
        "images": [source_images, VAL_IMAGES],
    }
    return hashlib.sha256(json.dumps(matters, sort_keys=True).encode()).hexdigest()[:12]
