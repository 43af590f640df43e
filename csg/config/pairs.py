"""Facts about a pair that are known before its data are read: settings without effect, and its own defaults."""

from __future__ import annotations

from typing import Final, Literal

from csg.config.settings import Flat

DEFAULT_PAIR: Final = "glyphs"
BUNDLED: Final = ("glyphs", "glyph_scenes")
"""Pairs that are made at run time and need no files."""
SEGMENTED: Final = ("gta5_cityscapes", "glyph_scenes")
"""Pairs with a class for each pixel. All others have a class for each image."""
IDLE: Final[dict[str, tuple[str, ...]]] = {
    "glyphs": (
        *("root", "source", "target", "target_unlabelled", "class_map", "target_split", "source_ids", "target_ids"),
        *("source_val_fraction", "allow_missing_classes", "on_bad_image", "max_megapixels", "grey_bits"),
        "resized_gigabytes",
    ),
    "visda17": ("source", "target", "target_unlabelled", "class_map", "source_ids", "target_ids", "balance"),
    "folders": ("root", "target_split", "source_ids", "target_ids"),
    "glyph_scenes": (
        *("root", "source", "target", "target_unlabelled", "class_map", "target_split", "source_ids", "target_ids"),
        *("source_val_fraction", "allow_missing_classes", "on_bad_image", "max_megapixels", "grey_bits", "balance"),
        "resized_gigabytes",
    ),
    "gta5_cityscapes": ("root", "class_map", "target_split", "allow_missing_classes", "resized_gigabytes"),
}
"""Data settings without effect, by the name of the pair."""
BUNDLED_SOURCE_IMAGES: Final = {"glyphs": 1024, "glyph_scenes": 1280}
"""Default number of synthetic training images of the bundled pairs."""
_OBJECTS: Final[Flat] = {"data.pasta_alpha": 10.0, "data.pasta_k": 1.0, "data.pasta_beta": 0.5}
"""PASTA as its authors train VisDA-17 with it; the general defaults are theirs for segmentation."""
_PHOTOGRAPHS: Final[Flat] = _OBJECTS | {"data.image_size": 224}
_DENSE: Final[Flat] = {
    "data.augmentation": "colour_jitter",
    "model.output_stride": 8,
    "model.frozen_norms": True,
    "selection.validator": "bnm",
}
PAIR_DEFAULTS: Final[dict[str, Flat]] = {
    "glyphs": _OBJECTS
    | {"data.image_size": 32, "model.name": "resnet10", "model.weights": "mnist"}
    | {"optim.lr": 0.007, "optim.backbone_lr_factor": 1.0, "optim.warmup_steps": 50, "train.epochs": 8},
    "gta5_cityscapes": _DENSE
    | {"data.image_size": 512, "data.window": 1024, "model.head_width": 256, "optim.lr": 1e-3}
    | {"optim.warmup_steps": 100, "train.epochs": 50, "train.batch_size": 6, "train.evaluation_batch_size": 2},
    "visda17": _PHOTOGRAPHS,
    "folders": _PHOTOGRAPHS,
    "glyph_scenes": _DENSE
    | {"model.name": "resnet10", "model.weights": "mnist_scenes", "model.aspp_rates": "1+2+3", "model.head_width": 64}
    | {"data.image_size": 64, "optim.name": "adamw", "optim.weight_decay": 0.01}
    | {"optim.lr": 3e-3, "optim.backbone_lr_factor": 0.3, "train.epochs": 4, "train.batch_size": 16},
}
"""Defaults that differ from the general ones, by the name of the pair. Of gta5_cityscapes sizes, rates and
length are published. With a class for every pixel the validator is the score without labels that had the highest rank
correlation over the runs of all methods on glyph_scenes, by labels of its target/test (docs/choosing.md)."""
METHOD_DEFAULTS: Final[dict[tuple[str, str], Flat]] = {
    ("glyphs", "csg"): {"method.queue_size": 4096},
    ("glyphs", "gcisg"): {"method.queue_size": 4096},
    ("gta5_cityscapes", "csg"): {"method.weight": 75.0, "method.chunks": 8, "method.train_projections": False},
    ("glyph_scenes", "csg"): {"method.weight": 0.75, "method.chunks": 4, "method.queue_size": 4096},
    ("glyph_scenes", "gcisg"): {"method.queue_size": 4096},
}
"""Defaults of a method on one pair, by the names of pair and method.

glyph_scenes trains for 320 steps, in which AdamW learns more than the published SGD did at any rate that was tried.
Its maps are 8x8, and the published ones 64x64, so they are cut into 4x4 patches and not 8x8. Its weight, a 100th of the
published one, is that of an earlier optimiser, by which the encoder learnt 90 times as fast as published; the design
``weight`` tries a tenth of it to ten times it. The queue is short because comparing 256 patches a step with 65,536 keys
would take long.
"""


def get_defaults(*, pair: str, method: str) -> Flat:
    """Return the defaults of a method on a pair that differ from the general ones."""
    return {**PAIR_DEFAULTS.get(pair, {}), **METHOD_DEFAULTS.get((pair, method), {})}


def get_pair_task(name: str) -> Literal["classification", "segmentation"]:
    """Return the task of a pair."""
    return "segmentation" if name in SEGMENTED else "classification"
