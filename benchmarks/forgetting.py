"""How source only scatters over seeds on a bundled pair, and what it forgets: ``python -m benchmarks.forgetting``.

By these figures the constants of the bundled pairs were chosen. Any setting may be given, such as ``--optim.lr 0.01
--data.name glyph_scenes``. What the encoder still knows is how many of the digits that its weights were trained on are
answered by the classifier that came with these; ahead of the training and at its end.
"""

from __future__ import annotations

import dataclasses
import statistics
import sys
from collections.abc import Iterator
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from csg.commands.script import run_script
from csg.config import Config
from csg.config.settings import Count, flatten
from csg.data.mnist import load_digits
from csg.messages.console import Console
from csg.models.encoder import Encoder
from csg.models.handwriting import IMAGE_SIDE, show_in_scenes
from csg.models.weights import load_encoder
from csg.notebook import train
from csg.parsing import ConfigOptions, build_config, parse_flags
from csg.tasks import find_task

SCENES: Final = 10
"""Batches of scenes that an encoder of scenes is asked about."""
BATCH: Final = 100
SEED: Final = 99
"""Of these scenes: weights are trained on others."""


@dataclasses.dataclass(frozen=True)
class ForgettingOptions(ConfigOptions):
    """Flags of the script."""

    seeds: Count = 8
    """Seeds, from train.seed."""


def main() -> int:
    """Train and print; see :func:`~csg.commands.script.run_script` for the exit code."""
    return run_script(measure)


def measure(console: Console) -> bool:
    """Do the work of the script.

    Raises:
        UserError: a flag, a setting or the data cannot be used.
    """
    base, description = {"method.name": "source_only"}, __doc__ or ""
    flags = parse_flags(ForgettingOptions, sys.argv[1:], prog="forgetting", description=description, base=base)
    torch.set_num_threads(flags.config.train.threads)
    first = flags.config.train.seed
    metric = find_task(flags.config.data).real_headline
    rows = []
    for seed in range(first, first + flags.options.seeds):
        config = build_config(flatten(flags.config) | {"train.seed": seed})
        undilated = dataclasses.replace(config.model, output_stride=32)  # as the weights were trained
        start = load_encoder(undilated, seed=seed).eval()
        before = count_known(start, config)
        run = train(config, tracking_uri="none")
        state = torch.load(run.weights, weights_only=True)["model"]
        prefix = "encoder."
        trained = {name.removeprefix(prefix): each for name, each in state.items() if name.startswith(prefix)}
        start.load_state_dict(start.state_dict() | trained)
        rows.append((100 * run.final[metric], before, count_known(start, config)))
    for what, values in zip(("real", "known before", "known after"), zip(*rows, strict=True), strict=True):
        spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
        console.print(f"{what:<13} {statistics.fmean(values):5.1f}{spread} %")
    return True


@torch.no_grad()
def count_known(encoder: Encoder, config: Config) -> float:
    """Return how many digits the classifier of the weights answers, in percent."""
    head = encoder.get_old_head()
    assert head is not None
    right = total = 0
    for images, labels in draw_batches(config):
        answers = head(encoder(encoder.normalise(images))[-1].mean(dim=(2, 3))).argmax(dim=1)
        right, total = right + int((answers == labels).sum()), total + len(labels)
    return 100 * right / total


def draw_batches(config: Config) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield all digits as they are, or for an encoder of scenes some of them in scenes."""
    digits, labels = load_digits()
    if config.data.task == "classification":
        images = F.interpolate(
            digits[:, None].float(), size=(IMAGE_SIDE, IMAGE_SIDE), mode="bilinear", align_corners=False
        )
        yield from zip(torch.split(images.expand(-1, 3, -1, -1), BATCH), torch.split(labels, BATCH), strict=True)
        return
    draw = show_in_scenes(digits, SEED)
    apart = len(digits) // (SCENES * BATCH)
    for step in range(SCENES):
        chosen = apart * torch.arange(step * BATCH, (step + 1) * BATCH)
        yield draw(chosen, step), labels[chosen]


if __name__ == "__main__":
    sys.exit(main())
