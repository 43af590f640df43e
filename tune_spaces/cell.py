"""One cell of an ablation under one seed: a training run in a process of its own."""

from __future__ import annotations

from csg.config import Config
from csg.data import load_pair
from csg.faults import find_outside_fault
from csg.parsing import config_from_flat
from csg.settings import Flat
from csg.training.record import source_digest
from csg.training.run import Run


def train_settings(settings: Flat, program: str) -> None:
    """Make a configuration in the worker's own process, and train it there; see :func:`train_cell`.

    The objects of a method from a file could not be sent here: only who imported that file can read them.

    Args:
        settings: of the run, by dotted name.
        program: digest of the driver's sources.

    Raises:
        ConfigError: the settings, or the method they name, cannot be used on this machine.
    """
    train_cell(config_from_flat(settings), program)


def train_cell(config: Config, program: str) -> None:
    """Train one run to its end, in a worker's process; what it came to is in the run's record.

    Raises:
        RuntimeError: the worker has other sources than the driver.
        OutsideFaultError: something that is no fault of the run's, such as a full disk or a store that is away.
    """
    if source_digest() != program:
        raise RuntimeError("the sources of csg changed while the ablation was running; start it again")
    run: Run | None = None
    try:
        run = Run(config, load_pair(config.data)).create()
        for _ in run.epochs():
            pass
        run.finish()
    except Exception as error:
        fault = find_outside_fault(error)
        if fault is not None:
            raise fault from None
        if run is None:
            raise
        run.fail(error)  # whatever else it was, it is this run's, and the ablation goes on
