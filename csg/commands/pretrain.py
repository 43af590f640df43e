"""``csg pretrain``: make the weights that the bundled benchmarks' encoder starts from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

from csg.commands.progress import CountProgress
from csg.config.flags import read_options
from csg.messages.console import Console
from csg.models.handwriting import RECIPES, load_or_train, locate_weights


@dataclasses.dataclass(frozen=True)
class PretrainOptions:
    """What is made. Nothing else can be set: the weights are the same for everybody."""

    weights: Literal["all", "mnist", "mnist_scenes"] = "all"
    """Which weights: mnist (of the pair glyphs), mnist_scenes (of glyph_scenes), or all."""


def pretrain(argv: Sequence[str], console: Console) -> int:
    """Run the command.

    Returns:
        0, or 130 after Ctrl-C.
    """
    asked = read_options(PretrainOptions, argv, prog="csg pretrain", description=__doc__).weights
    try:
        for name in tuple(RECIPES) if asked == "all" else (asked,):
            make_weights(name, console)
            console.print(f"The weights {name} of resnet10: {locate_weights(name)}")
    except KeyboardInterrupt:
        console.print("Interrupted; what was begun is not kept.")
        return 130
    return 0


def make_weights(name: str, console: Console) -> None:
    """Train weights of handwriting by their name, unless this machine has them, and show how far that is.

    Raises:
        UserError: see :func:`csg.models.handwriting.load_or_train`.
    """
    if locate_weights(name).is_file():
        return
    console.print(f"Training resnet10 on {RECIPES[name].images}, once on this machine.")
    with CountProgress(console, doing="pre-training steps", line="pre-training step {}/{}".format, lines=4) as progress:
        load_or_train(name, on_step=progress)
