"""Tiny untrained networks of transformers on disk, for tests; to import transformers takes some seconds."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final

import torch

PLAIN: Final = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
TOWER: Final = PLAIN | {"intermediate_size": 64}
STAGED: Final = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}
SHIFTED: Final = {"embed_dim": 16, "depths": [1, 1, 2, 1], "num_heads": [1, 2, 2, 4], "image_size": 32, "patch_size": 4}
FAMILIES: Final[dict[str, tuple[str, str, dict[str, Any]]]] = {
    "dinov2": ("Dinov2Config", "Dinov2Model", PLAIN),
    "dinov3": ("DINOv3ViTConfig", "DINOv3ViTModel", PLAIN | {"intermediate_size": 64, "num_register_tokens": 2}),
    "vit": ("ViTConfig", "ViTModel", TOWER),
    "clip": ("CLIPVisionConfig", "CLIPVisionModel", TOWER),
    "siglip": ("SiglipVisionConfig", "SiglipVisionModel", TOWER),
    "convnext": ("ConvNextConfig", "ConvNextModel", STAGED),
    "convnextv2": ("ConvNextV2Config", "ConvNextV2Model", STAGED),
    "swin": ("SwinConfig", "SwinModel", SHIFTED | {"window_size": 2}),
    "swinv2": ("Swinv2Config", "Swinv2Model", SHIFTED | {"window_size": 2}),
    "resnet": ("ResNetConfig", "ResNetModel", STAGED | {"embedding_size": 8, "layer_type": "basic"}),
}
"""Names of the classes of settings and network, and the settings."""
NORMALISED: Final = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.5, 0.5], "size": {"shortest_edge": 40}}


def save(folder: Path, family: str, **more: object) -> Path:
    """Write an untrained network of a family, and how its images are prepared."""
    import transformers

    settings, network, values = FAMILIES[family]
    torch.manual_seed(0)
    made = getattr(transformers, network)(getattr(transformers, settings)(**(values | more)))
    with torch.no_grad():
        for name, parameter in made.named_parameters():  # as large as after a training: DINOv2's scales begin at 1e-5
            if parameter.ndim == 1 and "norm" not in name:
                parameter.uniform_(-0.5, 0.5)
            if "lambda" in name or name.endswith(("layer_scale_parameter", "grn.weight")):
                parameter.uniform_(0.5, 1)
    made.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(NORMALISED))
    return folder


@cache
def _saved(root: Path, family: str) -> Path:
    return save(root / family, family)


def saver(root: Path) -> Callable[[str], Path]:
    """Return the function that writes a family's network below ``root`` when it is first asked for."""
    return lambda family: _saved(root, family)
