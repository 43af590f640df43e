"""What a finished run makes of a few images of target/test (``test_pictures.npz``): for figures."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from csg.config import Config
from csg.data.pair import TARGET_TEST, Pair, Reading
from csg.losses.attentional_pooling import attention
from csg.randomness import make_generator
from csg.storage.place import Place
from csg.tasks import find_task
from csg.tasks.measurement import Inference

SHOWN: Final = 6
"""Images: the same in every run on the same data."""
SHORT_SIDE: Final = 256
"""Larger pictures are reduced to this shorter side, in pixels."""


def save_pictures(place: Place, inference: Inference, config: Config, pair: Pair) -> None:
    """Write a few images with their labels, the model's answers and the encoder's attention.

    ``images`` (M, 3, h, w) uint8, ``labels`` and ``predicted`` (M,) or (M, h, w) int16, and for each stage
    ``attention_stage1`` to ``attention_stage4`` (M, h', w') float32, the weights of A-pool, which sum to 1 over a map.
    ``classes`` (classes,) are the names.
    Images that cannot be read, or differ from the first in size, are left out; without any there is no file.
    """
    stream = pair.streams[TARGET_TEST]
    drawn = np.sort(make_generator(0, "pictures", len(stream)).permutation(len(stream))[:SHOWN])
    shown: list[dict[str, Tensor]] = []
    size: tuple[int, ...] | None = None
    for index in drawn.tolist():
        reading = stream.read(torch.tensor([index]))
        if len(reading.indices) == 0 or size not in (None, reading.views[0].shape[-2:]):
            continue
        size = reading.views[0].shape[-2:]
        shown.append(_make_picture(reading, inference, config))
    if not shown:
        return
    arrays: dict[str, Any] = {name: torch.cat([each[name] for each in shown]).numpy() for name in shown[0]}
    arrays["classes"] = np.asarray(pair.classes)
    with place.open_replacement() as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def _make_picture(reading: Reading, inference: Inference, config: Config) -> dict[str, Tensor]:
    images = reading.views[0]
    maps = inference(inference.prepare_input(images)).maps
    return {
        "images": _reduce(images.float(), mode="area").round().to(torch.uint8),
        "labels": _reduce_labels(reading.labels),
        "predicted": _reduce_labels(find_task(config.data).predict(inference, config, images)),
        **{f"attention_stage{n}": attention(each.float()).cpu() for n, each in enumerate(maps, start=1)},
    }


def _reduce_labels(labels: Tensor) -> Tensor:
    if labels.ndim == 1:
        return labels.to(torch.int16)
    return _reduce(labels.float().unsqueeze(1), mode="nearest-exact").squeeze(1).to(torch.int16)


def _reduce(images: Tensor, *, mode: str) -> Tensor:
    scale = SHORT_SIDE / min(images.shape[-2:])
    return images if scale >= 1 else F.interpolate(images, scale_factor=scale, mode=mode)
