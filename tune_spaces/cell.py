"""One cell of an ablation under one seed: a training run in a process of its own."""

from __future__ import annotations

from csg.config import Config
from csg.data import load_pair
from csg.object_store import StoreGoneError
from csg.training.record import source_digest
from csg.training.run import Run


def train_cell(config: Config, program: str) -> None:
    """Train one run to its end, in a worker's process; what it came to is in the run's record.

    Raises:
        RuntimeError: the worker has other sources than the driver.
        StoreGoneError: the store that holds the results does not answer any more.
    """
    if source_digest() != program:
        raise RuntimeError("the sources of csg changed while the ablation was running; start it again")
    run = Run(config, load_pair(config.data)).create()
    try:
        for _ in run.epochs():
            pass
        run.finish()
    except StoreGoneError:
        raise  # no fault of this run's
    except Exception as error:  # whatever it was, it is this run's, and the ablation goes on
        run.fail(error)
