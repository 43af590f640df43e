"""Tiny untrained networks of transformers and timm on disk, for tests; to import either takes some seconds."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
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
OF_TIMM: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "timm_resnet": ("test_resnet", {}),
    "timm_vit": (
        "vit_tiny_patch16_224",
        {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 4, "num_heads": 2},
    ),
    "timm_convnext": ("test_convnext", {}),
    "timm_efficientnet": ("test_efficientnet", {}),
    "timm_swin": (
        "swin_tiny_patch4_window7_224",
        {"img_size": 32, "window_size": 2, "embed_dim": 16, "depths": (1, 1, 2, 1), "num_heads": (1, 2, 2, 4)},
    ),
}
"""Names of timm's networks, and what else they are made with."""
NEEDS_TIMM: Final = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("timm", "torchvision")),
    reason="timm and torchvision are not installed",
)
NORMALISED: Final = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.5, 0.5], "size": {"shortest_edge": 40}}


def list_families(*families: str) -> list[Any]:
    """Return families as parameters of a test, which skips those of timm where it is not installed."""
    return [pytest.param(family, marks=[NEEDS_TIMM] if family in OF_TIMM else []) for family in families]


def save(folder: Path, family: str, **more: object) -> Path:
    """Write an untrained network of a family, and how its images are prepared."""
    torch.manual_seed(0)
    made = _make(family, more)
    with torch.no_grad():
        for name, parameter in made.named_parameters():  # as large as after a training: DINOv2's scales begin at 1e-5
            if parameter.ndim == 1 and "norm" not in name:
                parameter.uniform_(-0.5, 0.5)
            if "lambda" in name or name.endswith(("layer_scale_parameter", "grn.weight")):
                parameter.uniform_(0.5, 1)
    if family in OF_TIMM:
        _save_as_timm(made, folder)
    else:
        made.save_pretrained(folder)
        (folder / "preprocessor_config.json").write_text(json.dumps(NORMALISED))
    return folder


def _make(family: str, more: dict[str, object]) -> Any:
    if family in OF_TIMM:
        import timm

        name, values = OF_TIMM[family]
        return timm.create_model(name, **(values | more))
    import transformers

    settings, network, values = FAMILIES[family]
    return getattr(transformers, network)(getattr(transformers, settings)(**(values | more)))


def _save_as_timm(made: Any, folder: Path) -> None:
    from timm.models import save_for_hf

    save_for_hf(made, folder, safe_serialization=True)
    about = json.loads((folder / "config.json").read_text())
    about["pretrained_cfg"] |= {"mean": [0.5] * 3, "std": [0.25, 0.5, 0.5], "input_size": [3, 40, 40]}
    (folder / "config.json").write_text(json.dumps(about))


@cache
def _saved(root: Path, family: str) -> Path:
    return save(root / family, family)


def saver(root: Path) -> Callable[[str], Path]:
    """Return the function that writes a family's network below ``root`` when it is first asked for."""
    return lambda family: _saved(root, family)
