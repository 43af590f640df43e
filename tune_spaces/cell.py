"""One cell of an ablation under one seed: a training run in a process of its own."""

from __future__ import annotations

from csg.config import Config
from csg.data import load_pair
from csg.faults import find_outside_fault
from csg.training.record import source_digest
from csg.training.run import Run


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
