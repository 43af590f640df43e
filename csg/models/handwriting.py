"""The weights ``mnist``: what a small encoder knows of handwriting before it sees a synthetic digit.

They are trained at their first use, on 5,000 real digits (:mod:`csg.data.mnist`), and kept in this machine's cache.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from csg.data.mnist import find_digits, load_digits
from csg.models import resnet
from csg.models.encoder import Encoder
from csg.models.resnet import resnet10
from csg.randomness import generator, torch_seeded
from csg.storage.files import digest_file, locked, replacing
from csg.storage.paths import home

OnStep = Callable[[int, int], None]
"""Called after every step with the number of steps done and the number of all."""
SEED: Final = 11
"""Seed of these weights. No setting changes it."""
IMAGE_SIDE: Final = 32
"""Side of the images that they are trained on, in pixels."""
EPOCHS: Final = 8
BATCH: Final = 64
PEAK_LR: Final = 2e-3
"""Largest learning rate of the one cycle (Smith and Topin, 2018, arXiv:1708.07120)."""
WEIGHT_DECAY: Final = 0.05
THREADS: Final = 2
"""Threads of the training, on every machine: their number changes the low bits."""
ROTATION: Final = 15.0
"""Largest rotation either way, in degrees."""
SCALE: Final = 0.15
"""Largest relative change of width and of height."""
SHIFT: Final = 0.1
"""Largest shift either way, as a share of the side."""
SHEAR: Final = 0.2
"""Largest horizontal shear either way."""


def load_or_train(*, on_step: OnStep | None = None) -> Path:
    """Return the file of the weights; train them where this machine has none of this recipe.

    If several processes ask at once, one of them trains and the others wait. A kill leaves no part of a file.

    Raises:
        UserError: see :func:`csg.data.mnist.find_digits`.
    """
    path = locate_weights()
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_suffix(".lock"), wait=True):
            if not path.is_file():
                encoder = train(on_step=on_step)
                with replacing(path) as file:
                    torch.save(encoder.state_dict(), file)
    return path


def locate_weights() -> Path:
    """Return the file of the weights of this recipe, whether it exists or not.

    Raises:
        UserError: see :func:`csg.data.mnist.find_digits`.
    """
    return home() / "weights" / f"mnist-{compute_identity()}.pt"


def compute_identity() -> str:
    """Compute twelve hexadecimal digits that change with whatever may change the weights, except for the CPU."""
    matters = {
        "sources": [digest_file(source) for source in (__file__, str(resnet.__file__))],
        "digits": digest_file(str(find_digits())),
        "torch": torch.__version__,
    }
    return hashlib.sha256(json.dumps(matters, sort_keys=True).encode()).hexdigest()[:12]


def train(*, on_step: OnStep | None = None) -> Encoder:
    """Train the encoder and its classifier of digits on random affine views, by AdamW with one learning-rate cycle."""
    digits, labels = load_digits()
    images = F.interpolate(digits[:, None].float(), size=(IMAGE_SIDE, IMAGE_SIDE), mode="bilinear", align_corners=False)
    with torch_seeded(SEED, "mnist"), _use_threads(THREADS):
        encoder = resnet10()
        encoder.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimiser = torch.optim.AdamW(encoder.parameters(), lr=PEAK_LR, weight_decay=WEIGHT_DECAY)
        per_epoch = len(images) // BATCH
        total = EPOCHS * per_epoch
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK_LR, total_steps=total)
        for step in range(total):
            epoch, place = divmod(step, per_epoch)
            order = generator(SEED, "order", epoch).permutation(len(images))
            chosen = torch.from_numpy(order[place * BATCH : (place + 1) * BATCH])
            views = draw_views(images[chosen], step=step).expand(-1, 3, -1, -1)
            maps = encoder(encoder.normalise(views).contiguous(memory_format=torch.channels_last))
            loss = F.cross_entropy(encoder.fc(maps[-1].mean(dim=(2, 3))), labels[chosen])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            if on_step is not None:
                on_step(step + 1, total)
    return encoder.eval()


def draw_views(images: Tensor, *, step: int) -> Tensor:
    """Turn, scale, shear and shift each of (N, 1, H, W) images by its own amounts, which depend on the step."""
    rng = generator(SEED, "views", step)
    count = len(images)
    angle = torch.from_numpy(rng.uniform(-ROTATION, ROTATION, count) * math.pi / 180)
    scale = torch.from_numpy(rng.uniform(1 - SCALE, 1 + SCALE, (count, 2)))
    shear = torch.from_numpy(rng.uniform(-SHEAR, SHEAR, count))
    shift = torch.from_numpy(rng.uniform(-2 * SHIFT, 2 * SHIFT, (count, 2)))
    turn = torch.stack([torch.cos(angle), -torch.sin(angle), torch.sin(angle), torch.cos(angle)], 1).reshape(-1, 2, 2)
    slant = torch.eye(2, dtype=torch.float64).repeat(count, 1, 1)
    slant[:, 0, 1] = shear
    linear = turn @ slant * scale[:, None]
    places = F.affine_grid(torch.cat([linear, shift[:, :, None]], 2).float(), list(images.shape), align_corners=False)
    return F.grid_sample(images, places, align_corners=False)


@contextmanager
def _use_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
