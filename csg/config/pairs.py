"""What is known of a pair before its data are looked at: settings that do nothing for it, and its own defaults."""

from __future__ import annotations

from typing import Final, Literal

from csg.config.settings import Flat

BUNDLED: Final = ("glyphs", "glyph_scenes")
"""Pairs that need no files."""
SEGMENTED: Final = ("gta5_cityscapes", "glyph_scenes")
"""Pairs whose labels are a class for each pixel; those of all others are a class for each image."""
IDLE: Final[dict[str, tuple[str, ...]]] = {
    "glyphs": (
        *("root", "source", "target", "target_split", "source_ids", "target_ids"),
        *("source_val_fraction", "allow_missing_classes", "on_bad_image", "max_megapixels"),
    ),
    "visda17": ("source", "target", "source_ids", "target_ids"),
    "folders": ("root", "target_split", "source_ids", "target_ids"),
    "glyph_scenes": (
        *("root", "source", "target", "target_split", "source_ids", "target_ids"),
        *("source_val_fraction", "allow_missing_classes", "on_bad_image", "max_megapixels"),
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
    "gta5_cityscapes": _DENSE
    | {"data.image_size": 512, "data.window": 1024, "model.head_width": 256, "optim.lr": 1e-3}
    | {"optim.warmup_steps": 100, "train.epochs": 50, "train.batch_size": 6, "train.evaluation_batch_size": 2},
    "glyph_scenes": _DENSE
    | {"model.output_stride": 16, "model.aspp_rates": "1+2+3", "model.head_width": 64}
    | {"optim.lr": 0.1, "train.epochs": 4, "train.batch_size": 16},
}
"""Defaults of a pair that are not everyone's, by the pair's name: of gta5_cityscapes the published ones."""
METHOD_DEFAULTS: Final[dict[tuple[str, str], Flat]] = {
    ("gta5_cityscapes", "csg"): {"method.weight": 75.0, "method.chunks": 8, "method.train_projections": False},
    ("glyph_scenes", "csg"): {"method.weight": 0.75, "method.chunks": 4, "method.queue_size": 4096},
}
"""Defaults of a method that are not the same for all pairs, by the names of pair and method.

glyph_scenes trains for 160 steps, in which a new head learns nothing at the published rate of 0.001; at 100 times the
rate, a 100th of the published weight moves the encoder as far. Its maps are 4x4, where the published ones are 64x64, so
they are cut into 4x4 patches, not 8x8; 256 patches a step would take long to compare with 65,536 keys.
"""


def defaults_of(*, pair: str, method: str) -> Flat:
    """Return what a method's defaults are on a pair, where they are not everyone's."""
    return {**PAIR_DEFAULTS.get(pair, {}), **METHOD_DEFAULTS.get((pair, method), {})}


def task_of_pair(name: str) -> Literal["classification", "segmentation"]:
    """Name the task of a pair."""
    return "segmentation" if name in SEGMENTED else "classification"
