"""From flags to the run they mean."""

from __future__ import annotations

from csg.commands.verification import open_pair
from csg.config import Config
from csg.messages.console import Console
from csg.methods import method_of
from csg.models.weights import check_weights
from csg.storage.object_store import check_store
from csg.training.run import Run


def open_run(config: Config, console: Console, *, writing: bool = True) -> Run:
    """Check the store and the weights, load the data and open the run; only to read it, unless it is for ``writing``.

    Raises:
        UserError: the weights, the data or the output folder cannot be used.
    """
    check_store(config.train.output, writing=writing)
    check_weights(config.model, old_head=method_of(config).uses_old_head(config.method))
    pair = open_pair(config, console)
    console.print(f"{config.method.summary} on {pair.description}")
    run = Run(config, pair)
    return run.create() if writing else run
