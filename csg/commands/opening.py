"""From flags to the run they mean."""

from __future__ import annotations

from rich.console import Console

from csg.commands.verification import open_pair
from csg.config import Config
from csg.models.weights import check_weights
from csg.object_store import check_store
from csg.training.run import Run


def open_run(config: Config, console: Console) -> Run:
    """Check the weights, load the data and open the run, whether or not it exists.

    Raises:
        ConfigError: the weights, the data or the output folder cannot be used.
    """
    check_store(config.train.output)
    check_weights(config.model)
    pair = open_pair(config, console)
    console.print(f"{config.method.summary} on {pair.description}", highlight=False, soft_wrap=True)
    return Run(config, pair)
