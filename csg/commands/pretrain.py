"""``csg pretrain``: make the weights that the bundled benchmarks' encoder starts from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from csg.config.flags import read_options
from csg.messages.console import Console
from csg.messages.progress import CountProgress
from csg.models.handwriting import RECIPES, load_or_train, locate_weights


@dataclasses.dataclass(frozen=True)
class PretrainOptions:
    """What is made. Nothing else can be set: weights are a function of the seed, of the libraries and of the CPU."""

    weights: Literal["all", "mnist", "mnist_scenes"] = "all"
    """Which weights: mnist (of the pair glyphs), mnist_scenes (of glyph_scenes), or all."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Those that runs of this train.seed start from."""


def pretrain(argv: Sequence[str], console: Console) -> int:
    """Run the command."""
    asked = read_options(PretrainOptions, argv, prog="csg pretrain", description=__doc__)
    for name in tuple(RECIPES) if asked.weights == "all" else (asked.weights,):
        make_weights(name, asked.seed, console, left="what was begun is not kept")
        console.print(f"The weights {name} of resnet10, seed {asked.seed}: {locate_weights(name, asked.seed)}")
    return 0


def make_weights(name: str, seed: int, console: Console, *, left: str) -> None:
    """Train weights of handwriting by their name and seed, unless this machine has them, and show how far that is.

    ``left`` says what is left when Ctrl-C ends it.

    Raises:
        UserError: see :func:`csg.models.handwriting.load_or_train`.
    """
    if locate_weights(name, seed).is_file():
        return
    console.print(f"Training resnet10 on {RECIPES[name].images} for seed {seed}, once on this machine.")
    line = "pre-training step {}/{}".format
    with CountProgress(console, doing="pre-training steps", line=line, lines=4, left=left) as progress:
        load_or_train(name, seed, on_step=progress)
