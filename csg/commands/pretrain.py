"""``csg pretrain``: make the weights that the bundled benchmark's encoder starts from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from csg.commands.progress import CountProgress
from csg.config.flags import read_options
from csg.messages.console import Console
from csg.models.handwriting import load_or_train, locate_weights


@dataclasses.dataclass(frozen=True)
class PretrainOptions:
    """There is nothing to set: the weights are the same for everybody."""


def pretrain(argv: Sequence[str], console: Console) -> int:
    """Run the command."""
    read_options(PretrainOptions, argv, prog="csg pretrain", description=__doc__)
    make_mnist_weights(console, left="no weights were made")
    console.print(f"The weights mnist of resnet10: {locate_weights()}")
    return 0


def make_mnist_weights(console: Console, *, left: str) -> None:
    """Train the weights ``mnist``, unless this machine has them, and show how far that is.

    ``left`` says what is left when Ctrl-C ends it.

    Raises:
        UserError: see :func:`csg.models.handwriting.load_or_train`.
    """
    if locate_weights().is_file():
        return
    console.print("Training resnet10 on 5,000 MNIST digits, once on this machine.")
    line = "pre-training step {}/{}".format
    with CountProgress(console, doing="pre-training steps", line=line, lines=4, left=left) as progress:
        load_or_train(on_step=progress)
