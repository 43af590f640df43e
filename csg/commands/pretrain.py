"""``csg pretrain``: make the weights that the bundled benchmarks' encoder starts from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

from csg.config.flags import read_options
from csg.messages.console import Console
from csg.messages.progress import CountProgress
from csg.models.handwriting import RECIPES, load_or_train, locate_weights


@dataclasses.dataclass(frozen=True)
class PretrainOptions:
    """What is made. Nothing else can be set: the weights are the same for everybody."""

    weights: Literal["all", "mnist", "mnist_scenes"] = "all"
    """Which weights: mnist (of the pair glyphs), mnist_scenes (of glyph_scenes), or all."""


def pretrain(argv: Sequence[str], console: Console) -> int:
    """Run the command."""
    asked = read_options(PretrainOptions, argv, prog="csg pretrain", description=__doc__).weights
    for name in tuple(RECIPES) if asked == "all" else (asked,):
        make_weights(name, console, left="what was begun is not kept")
        console.print(f"The weights {name} of resnet10: {locate_weights(name)}")
    return 0


def make_weights(name: str, console: Console, *, left: str) -> None:
    """Train weights of handwriting by their name, unless this machine has them, and show how far that is.

    ``left`` says what is left when Ctrl-C ends it.

    Raises:
        UserError: see :func:`csg.models.handwriting.load_or_train`.
    """
    if locate_weights(name).is_file():
        return
    console.print(f"Training resnet10 on {RECIPES[name].images}, once on this machine.")
    line = "pre-training step {}/{}".format
    with CountProgress(console, doing="pre-training steps", line=line, lines=4, left=left) as progress:
        load_or_train(name, on_step=progress)
