"""What is known of a pair before its data are looked at: settings that do nothing for it, and its own defaults."""

from __future__ import annotations

from typing import Final, Literal

from csg.settings import Flat

BUNDLED: Final = ("glyphs", "glyph_scenes")
"""Pairs that need no files."""
SEGMENTED: Final = ("gta5_cityscapes", "glyph_scenes")
"""Pairs whose labels are a class for each pixel; those of all others are a class for each image."""
IDLE: Final[dict[str, tuple[str, ...]]] = {
    "glyphs": (
        *("root", "source", "target", "target_split"),
        *("source_val_fraction", "allow_missing_classes", "on_bad_image"),
    ),
    "visda17": ("source", "target"),
    "folders": ("root", "target_split"),
    "glyph_scenes": (
        *("root", "source", "target", "target_split"),
        *("source_val_fraction", "allow_missing_classes", "on_bad_image"),
    ),
    "gta5_cityscapes": ("root", "target_split", "allow_missing_classes"),
}
"""Data settings that do nothing for a pair, by the pair's name."""
BUNDLED_SOURCE_IMAGES: Final = {"glyphs": 1024, "glyph_scenes": 640}
"""Synthetic training images of the pairs that are made at run time, unless ``data.source_images`` says otherwise."""
_DENSE: Final[Flat] = {
    "data.augmentation": "colour_jitter",
    "model.output_stride": 8,
    "model.frozen_norms": True,
}
PAIR_DEFAULTS: Final[dict[str, Flat]] = {
    "gta5_cityscapes": _DENSE | {"data.image_size": 512, "data.window": 1024, "model.head_width": 256},
    "glyph_scenes": _DENSE
    | {"data.window": 96, "model.output_stride": 16, "model.aspp_rates": "1+2+3", "model.head_width": 64},
}
"""Defaults of a pair that are not everyone's, by the pair's name."""


def task_of_pair(name: str) -> Literal["classification", "segmentation"]:
    """Name the task of a pair."""
    return "segmentation" if name in SEGMENTED else "classification"
