"""One cell of an ablation under one seed: a training run in a process of its own."""

from __future__ import annotations

import socket

from csg.config.settings import Flat
from csg.messages.errors import UserError
from csg.messages.faults import LostProcessError, OutsideFaultError, find_outside_fault, is_process_fault
from csg.training.identity import Identity
from csg.training.program import source_digest
from csg.training.run import Run
from csg.workers.run import train_run
from tune_spaces.execution.opening import open_run


def train_cell(settings: Flat, expected: Identity) -> None:
    """Train one run to its end, in a worker's process; what it came to is in the run's record.

    Args:
        settings: of the run, by dotted name.
        expected: what the run is to the driver, which looks for its record under that name.

    Raises:
        UserError: the worker has other sources than the driver.
        OutsideFaultError: something that is no fault of the run's, such as a full disk, a store that is away, or a node
            that lacks the driver's data or has others.
        LostProcessError: memory ran out, or a process of the run was killed; another try may do better.
    """
    if source_digest() != expected.source_digest:
        raise UserError("the sources of csg changed while the ablation was running; start it again")
    run: Run | None = None
    try:
        run = open_run(settings, {}, config_id=expected.config_id, data=expected.data_fingerprint).create()
        for _ in train_run(run):
            pass
        run.finish()
    except Exception as error:
        fault = find_outside_fault(error)
        if fault is not None:
            raise OutsideFaultError(f"node {socket.gethostname()}: {fault}") from None
        if is_process_fault(error):
            raise LostProcessError(f"{type(error).__name__}: {error}") from None
        if run is None:
            raise
        run.fail(error)  # whatever else it was, it is this run's, and the ablation goes on
