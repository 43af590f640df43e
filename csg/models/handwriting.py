"""The weights ``mnist`` and ``mnist_scenes``: what a small encoder knows of handwriting ahead of synthetic digits.

They are trained at their first use, on 5,000 real digits (:mod:`csg.data.mnist`) in several resolutions, and kept in
this machine's cache: for each seed weights of their own, so that what several seeds show of a method does not rest on
one draw of its start.
Those of ``mnist_scenes`` know these digits on plates over photographs (:mod:`csg.data.mnist_scenes`).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import PIL
import torch
from PIL import features
from torch import Tensor
from torch.nn import functional as F

from csg import randomness
from csg.data import mnist, mnist_scenes
from csg.data.mnist import find_digits, load_digits
from csg.data.pairs import backgrounds, plates
from csg.models import encoder as encoders
from csg.models import resnet
from csg.models.encoder import Encoder
from csg.models.resnet import resnet10
from csg.randomness import make_generator, seed_torch
from csg.storage.files import digest_file, hold_lock, open_replacement
from csg.storage.paths import get_home

OnStep = Callable[[int, int], None]
"""Called after every step with the number of steps done and the number of all."""
Draw = Callable[[Tensor, int], Tensor]
"""Draws (N, 3, H, W) images of 0 to 255 of the digits with the numbers (N,), for a step."""
IMAGE_SIDE: Final = 32
"""Side of the images that ``mnist`` is trained on, in pixels."""
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
COARSE_SIDES: Final = (8, 12, 16)
"""Sides, in pixels, that images are shrunk to and enlarged from, a quarter of them to each: the digits of the real
targets have 8x8 pixels, and what the domains differ in shall be shape and not resolution."""


@dataclass(frozen=True)
class Recipe:
    """What weights are trained on, and how long."""

    images: str
    """What is shown, for people."""
    epochs: int
    prepare: Callable[[Tensor, int], Draw]
    """Makes what draws a batch from the (5000, 28, 28) digits, by a seed."""


def load_or_train(name: str, seed: int, *, on_step: OnStep | None = None) -> Path:
    """Return the file of the weights of a name and a seed; train them where this machine has none of this recipe.

    If several processes ask at once, one of them trains and the others wait. A kill leaves no part of a file.

    Raises:
        UserError: see :func:`csg.data.mnist.find_digits`.
    """
    path = locate_weights(name, seed)
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with hold_lock(path.with_suffix(".lock"), wait=True):
            if not path.is_file():
                encoder = train(name, seed, on_step=on_step)
                with open_replacement(path) as file:
                    torch.save(encoder.state_dict(), file)
    return path


def locate_weights(name: str, seed: int) -> Path:
    """Return the file of the weights of a name and a seed, by this recipe, whether it exists or not.

    Raises:
        UserError: see :func:`csg.data.mnist.find_digits`.
    """
    return get_home() / "weights" / f"{name}-{compute_identity()}-seed{seed}.pt"


def compute_identity() -> str:
    """Compute twelve hexadecimal digits that change with what may change weights, beside their seed and the CPU."""
    modules = (mnist, mnist_scenes, plates, backgrounds, encoders, resnet, randomness)
    files = [__file__, *(str(module.__file__) for module in modules)]
    matters = {
        "sources": [digest_file(file) for file in files],
        "images": [digest_file(str(file)) for file in (find_digits(), *backgrounds.find_photographs())],
        "libraries": [torch.__version__, np.__version__, PIL.__version__, features.version("jpg")],
    }
    return hashlib.sha256(json.dumps(matters, sort_keys=True).encode()).hexdigest()[:12]


def train(name: str, seed: int, *, on_step: OnStep | None = None) -> Encoder:
    """Train the encoder and its classifier of digits by AdamW with one learning-rate cycle."""
    digits, labels = load_digits()
    recipe = RECIPES[name]
    draw = recipe.prepare(digits, seed)
    with seed_torch(seed, name), _use_threads(THREADS):
        encoder = resnet10()
        encoder.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimiser = torch.optim.AdamW(encoder.parameters(), lr=PEAK_LR, weight_decay=WEIGHT_DECAY)
        per_epoch = len(digits) // BATCH
        total = recipe.epochs * per_epoch
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK_LR, total_steps=total)
        for step in range(total):
            epoch, place = divmod(step, per_epoch)
            order = make_generator(seed, "order", epoch).permutation(len(digits))
            chosen = torch.from_numpy(order[place * BATCH : (place + 1) * BATCH])
            images = encoder.normalise(draw(chosen, step)).contiguous(memory_format=torch.channels_last)
            loss = F.cross_entropy(encoder.fc(encoder(images)[-1].mean(dim=(2, 3))), labels[chosen])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            if on_step is not None:
                on_step(step + 1, total)
    return encoder.eval()


def show_alone(digits: Tensor, seed: int) -> Draw:
    """Show the digits alone, as :func:`draw_views` draws them."""
    images = F.interpolate(digits[:, None].float(), size=(IMAGE_SIDE, IMAGE_SIDE), mode="bilinear", align_corners=False)

    def draw(chosen: Tensor, step: int) -> Tensor:
        return draw_views(images[chosen], seed=seed, step=step).expand(-1, 3, -1, -1)

    return draw


def show_in_scenes(digits: Tensor, seed: int) -> Draw:
    """Show the digits, as :func:`draw_views` draws them, each on a plate over a photograph."""
    photographs = backgrounds.load_photographs("pretraining")

    def draw(chosen: Tensor, step: int) -> Tensor:
        moved = draw_views(digits[chosen, None].float(), seed=seed, step=step).squeeze(1).double().numpy() / 255
        scenes = [
            mnist_scenes.compose_image(digit, photographs, make_generator(seed, "scenes", step, place))
            for place, digit in enumerate(moved)
        ]
        return torch.from_numpy(np.stack(scenes)).permute(0, 3, 1, 2)

    return draw


def draw_views(images: Tensor, *, seed: int, step: int) -> Tensor:
    """Turn, scale, shear, shift and coarsen each of (N, 1, H, W) images by amounts that depend on seed and step."""
    rng = make_generator(seed, "views", step)
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
    return _coarsen(F.grid_sample(images, places, align_corners=False), seed=seed, step=step)


def _coarsen(images: Tensor, *, seed: int, step: int) -> Tensor:
    """Shrink images to COARSE_SIDES and enlarge them again; as many stay as they are as get each of these sides."""
    choices = make_generator(seed, "coarse", step).integers(len(COARSE_SIDES) + 1, size=len(images))
    coarse = images.clone()
    for number, side in enumerate(COARSE_SIDES):
        chosen = torch.from_numpy(choices == number)
        shrunk = F.interpolate(images[chosen], size=(side, side), mode="area")
        coarse[chosen] = F.interpolate(shrunk, size=images.shape[2:], mode="bilinear", align_corners=False)
    return coarse


@contextmanager
def _use_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


RECIPES: Final = {
    "mnist": Recipe("5,000 MNIST digits", epochs=8, prepare=show_alone),
    "mnist_scenes": Recipe("5,000 MNIST digits over photographs", epochs=4, prepare=show_in_scenes),
}
"""By the names of the weights."""
